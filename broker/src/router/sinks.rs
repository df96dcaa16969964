//! Which declared stream takes a subject.
//!
//! Publishers remember the answer with their routes, so this is only asked when a route is made; a change makes all
//! routes old. The streams' subjects do not overlap, so there is at most one answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::trie::{Matches, Member, Trie};
use crate::jetstream::stream::Stream;

impl Member for Arc<Stream> {
    fn id(&self) -> u64 {
        self.id
    }
}

/// See the module.
#[derive(Default)]
pub struct Sinks {
    streams: RwLock<Trie<Arc<Stream>>>,
    changes: AtomicU64,
}

impl Sinks {
    /// The stream that takes `subject`.
    #[must_use]
    pub fn of(&self, subject: &[u8]) -> Option<Arc<Stream>> {
        let streams = self.streams.read();
        if streams.is_empty() {
            return None;
        }
        let mut found = Matches::default();
        streams.matches(subject, &mut found);
        found.plain.pop()
    }

    pub(super) fn change(&self, stream: &Arc<Stream>, before: &[String], after: &[String]) {
        let mut streams = self.streams.write();
        for filter in before {
            streams.remove(filter.as_bytes(), None, stream.id);
        }
        for filter in after {
            streams.insert(filter.as_bytes(), None, stream.clone());
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often the streams or their subjects have changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}
