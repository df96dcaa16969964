//! Dead letters: messages that are not delivered again are kept until a copy of them is stored elsewhere.
//!
//! They are the exhausted ones, which are saved: so a crash leaves a dead message with its consumer, and it is copied once
//! more. Without [`MachineConfig::dead_letters`](super::MachineConfig::dead_letters) nothing here is asked.

use super::{AckNumbers, AckPolicy, Machine, Now};

/// A message that is not delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The message.
    pub stream_seq: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Whether it was delivered as often as it may be; otherwise somebody ended it.
    pub is_worn_out: bool,
    /// What whoever ended it said, if that is still known.
    pub reason: Option<String>,
}

impl Machine {
    /// The first dead messages, at most so many, whose copies are not stored.
    #[must_use]
    pub fn dead(&self, most: usize) -> Vec<Dead> {
        if !self.config.dead_letters {
            return Vec::new();
        }
        let dead = |(stream_seq, deliveries)| {
            let reason = self.unacked.exhausted_reason(stream_seq).map(str::to_owned);
            let is_worn_out = reason.is_none() && self.config.max_deliver.is_some_and(|max| deliveries >= max);
            Dead { stream_seq, deliveries, is_worn_out, reason }
        };
        self.unacked.exhausted().take(most).map(dead).collect()
    }

    /// The copy of a dead message is stored: it is settled here.
    pub fn buried(&mut self, stream_seq: u64) {
        if self.unacked.forget_exhausted(stream_seq) {
            self.settled(stream_seq);
            self.changed = true;
        }
    }

    /// A client ends a message that is out. Whether that deserves an answer.
    pub(super) fn terminate(&mut self, numbers: AckNumbers, reason: &[u8], now: Now) -> bool {
        let AckNumbers { stream_seq, consumer_seq, .. } = numbers;
        let floor = self.unacked.floor;
        if self.config.ack == AckPolicy::All && (consumer_seq <= floor.consumer || stream_seq <= floor.stream) {
            return true;
        }
        let reason = String::from_utf8_lossy(reason).into_owned();
        self.unacked.exhaust(stream_seq, self.delivered, Some(reason.into()));
        if self.config.ack == AckPolicy::All {
            self.settle(numbers, now);
        }
        self.acked(now);
        true
    }
}
