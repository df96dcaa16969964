//! How much a log keeps.

use std::time::Duration;

/// What happens when a limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discard {
    /// The oldest records go.
    #[default]
    Old,
    /// New records are refused.
    New,
}

/// Limits of a log. Enforced with each commit, before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Most records; `None` for no limit.
    pub max_messages: Option<u64>,
    /// Most bytes of records, as [`crate::LogOptions::record_overhead`] counts them; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Most records of one subject, the newest of which are kept; `None` for no limit.
    pub max_per_subject: Option<u64>,
    /// How long a record stays, by its time; `None` for ever. Taken out by [`crate::Log::expire`], oldest first: a record
    /// whose time is before that of one before it goes with that one.
    pub max_age: Option<Duration>,
    /// What gives way when records or bytes are at their limit. Where new ones are refused there, one still comes in whose
    /// subject is at its own limit, because the oldest of that goes; unless it is larger and there is no room for that.
    pub discard: Discard,
    /// New records are refused also where their subject is at its limit. Only with [`Discard::New`].
    pub discard_per_subject: bool,
}

impl Limits {
    /// Whether old records give way.
    pub(crate) fn evicts(&self) -> bool {
        self.discard == Discard::Old && (self.max_messages.is_some() || self.max_bytes.is_some())
    }

    /// Whether what a subject has must be known before a record of it comes in.
    pub(crate) fn counts_subjects(&self) -> bool {
        self.discard == Discard::New && self.max_per_subject.is_some()
    }

    /// Why a batch is refused, if it is. A batch that alone is larger than the limit is refused as well.
    pub(crate) fn refuses(&self, messages: u64, bytes: u64) -> Option<(&'static str, u64)> {
        if self.discard != Discard::New {
            return None;
        }
        let over = |limit: Option<u64>, held: u64| limit.filter(|&limit| held > limit);
        if let Some(limit) = over(self.max_messages, messages) {
            return Some(("messages", limit));
        }
        over(self.max_bytes, bytes).map(|limit| ("bytes", limit))
    }
}
