//! Replies that a user may publish to because a request asked for them (`allow_responses`).

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::permissions::Responses;
use crate::limits::REPLIES_TRACKED_MAX;

/// One connection's replies.
#[derive(Debug, Default)]
pub struct Replies {
    /// When the request came, in milliseconds, and answers so far.
    known: FxHashMap<Box<[u8]>, (u64, u64)>,
    /// In the order they came, with that time: what is oldest goes first.
    order: VecDeque<(Box<[u8]>, u64)>,
}

impl Replies {
    /// A request was delivered that asks for an answer on `reply`.
    pub fn asked(&mut self, reply: &[u8], now_ms: u64, responses: &Responses) {
        self.let_go(now_ms, responses);
        self.known.insert(reply.into(), (now_ms, 0));
        self.order.push_back((reply.into(), now_ms));
    }

    /// Whether an answer on `subject` was asked for, which counts as one.
    pub fn take(&mut self, subject: &[u8], now_ms: u64, responses: &Responses) -> bool {
        let Some((asked_ms, answers)) = self.known.get_mut(subject) else { return false };
        *answers += 1;
        let late = is_late(*asked_ms, now_ms, responses);
        let used_up = responses.max.is_some_and(|max| *answers >= max);
        let allowed = !late && responses.max.is_none_or(|max| *answers <= max);
        if late || used_up {
            self.known.remove(subject);
        }
        allowed
    }

    /// Forgets what is over, and the oldest of too many.
    fn let_go(&mut self, now_ms: u64, responses: &Responses) {
        while let Some((reply, asked_ms)) = self.order.front() {
            let current = self.known.get(reply).is_some_and(|(known_ms, _)| known_ms == asked_ms);
            let full = self.order.len() >= REPLIES_TRACKED_MAX;
            if current && !full && !is_late(*asked_ms, now_ms, responses) {
                return;
            }
            if current {
                self.known.remove(reply);
            }
            self.order.pop_front();
        }
    }
}

fn is_late(asked_ms: u64, now_ms: u64, responses: &Responses) -> bool {
    responses.expires.is_some_and(|span| u128::from(now_ms.saturating_sub(asked_ms)) > span.as_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn answers_are_counted_and_end() {
        let mut replies = Replies::default();
        let responses = Responses { max: Some(2), expires: Some(Duration::from_secs(1)) };
        assert!(!replies.take(b"r", 0, &responses));
        replies.asked(b"r", 0, &responses);
        assert!(replies.take(b"r", 1000, &responses) && replies.take(b"r", 1000, &responses));
        assert!(!replies.take(b"r", 1000, &responses));
        replies.asked(b"late", 1000, &responses);
        assert!(!replies.take(b"late", 2001, &responses));
        let for_ever = Responses { max: None, expires: None };
        replies.asked(b"x", 0, &for_ever);
        assert!((0..100).all(|_| replies.take(b"x", u64::MAX, &for_ever)));
    }

    #[test]
    fn they_are_bounded() {
        let mut replies = Replies::default();
        let for_ever = Responses { max: None, expires: None };
        for i in 0..=REPLIES_TRACKED_MAX as u64 {
            replies.asked(&i.to_le_bytes(), 0, &for_ever);
        }
        assert!(replies.known.len() <= REPLIES_TRACKED_MAX && replies.order.len() <= REPLIES_TRACKED_MAX);
        assert!(!replies.take(&0_u64.to_le_bytes(), 0, &for_ever));
        assert!(replies.take(&(REPLIES_TRACKED_MAX as u64).to_le_bytes(), 0, &for_ever));
        let soon = Responses { max: Some(1), expires: Some(Duration::from_secs(1)) };
        replies.asked(b"new", 10_000, &soon);
        assert_eq!((replies.known.len(), replies.order.len()), (1, 1));
    }
}
