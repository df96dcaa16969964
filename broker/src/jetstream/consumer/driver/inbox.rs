//! What waits for a consumer's next turn.

use std::collections::VecDeque;

use super::{Consumer, Event};
use crate::limits::{CONSUMER_EVENTS_BYTES_MAX, CONSUMER_EVENTS_MAX};

/// Events that wait for a turn.
#[derive(Default)]
pub(super) struct Inbox {
    events: VecDeque<Event>,
    bytes: usize,
    /// Some were dropped since the last turn, and that was told.
    dropped: bool,
    /// There are no more turns.
    closed: bool,
}

impl Consumer {
    /// Leaves something for its next turn, which is to come. `false`: there is none, it has ended.
    pub(in super::super) fn tell(&self, event: Event) -> bool {
        let told = self.leave(event);
        self.wake();
        told
    }

    /// Has it take a turn.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// As [`Self::tell`], for who wakes it later: what comes together is looked at together.
    pub(in super::super) fn leave(&self, event: Event) -> bool {
        let bytes = event.bytes();
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            return false;
        }
        let full = inbox.events.len() >= CONSUMER_EVENTS_MAX || inbox.bytes + bytes > CONSUMER_EVENTS_BYTES_MAX;
        if full && event.is_from_client() {
            let told = std::mem::replace(&mut inbox.dropped, true);
            drop(inbox);
            if !told {
                let (stream, consumer) = (&*self.stream, &*self.name);
                tracing::warn!(stream, consumer, "Requests and acks are dropped, too many wait for the consumer");
            }
            return true;
        }
        inbox.bytes += bytes;
        inbox.events.push_back(event);
        true
    }

    /// What came since the last turn.
    pub(super) fn take_events(&self) -> VecDeque<Event> {
        let mut inbox = self.inbox.lock();
        (inbox.bytes, inbox.dropped) = (0, false);
        std::mem::take(&mut inbox.events)
    }

    /// Takes nothing more, if nothing waits.
    pub(super) fn close_inbox(&self) -> bool {
        let mut inbox = self.inbox.lock();
        inbox.closed |= inbox.events.is_empty();
        inbox.closed
    }
}
