//! Message ids seen lately, so that a message that is published again is not stored again.
//!
//! In memory, bounded in time by the stream's window and in bytes; made again at start from the newest records. Those tell
//! of messages that were removed as well (a work queue's, say): the log holds their bytes for as long as their ids count.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// Memory that the ids of one stream may take, in bytes; the oldest go first.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// What an id costs besides its text: two references to it, its place in the map and in the queue.
const ID_BYTES: usize = 96;

struct Seen {
    at_ns: i64,
    seq: u64,
    id: Arc<[u8]>,
}

/// See the module.
#[derive(Default)]
pub struct Dedup {
    by_id: FxHashMap<Arc<[u8]>, u64>,
    /// In the order they came.
    seen: VecDeque<Seen>,
    bytes: usize,
}

impl Dedup {
    /// The number of the message with this id, if it came within `window_ns` before `now_ns`.
    pub fn find(&mut self, id: &[u8], now_ns: i64, window_ns: i64) -> Option<u64> {
        self.expire(now_ns, window_ns);
        self.by_id.get(id).copied()
    }

    /// A message with this id was given this number.
    pub fn add(&mut self, id: &[u8], seq: u64, now_ns: i64) {
        let id: Arc<[u8]> = id.into();
        self.bytes += ID_BYTES + id.len();
        self.by_id.insert(id.clone(), seq);
        self.seen.push_back(Seen { at_ns: now_ns, seq, id });
        while self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// Messages with these numbers were not stored after all.
    pub fn forget(&mut self, first_seq: u64, last_seq: u64) {
        self.by_id.retain(|_, seq| !(first_seq..=last_seq).contains(seq));
    }

    /// Forgets what is older than the window.
    pub fn expire(&mut self, now_ns: i64, window_ns: i64) {
        let oldest = now_ns.saturating_sub(window_ns);
        while self.seen.front().is_some_and(|seen| seen.at_ns < oldest) {
            self.forget_oldest();
        }
    }

    /// The number of the oldest message whose id is remembered.
    pub fn oldest_seq(&self) -> Option<u64> {
        self.seen.front().map(|seen| seen.seq)
    }

    fn forget_oldest(&mut self) {
        let Some(seen) = self.seen.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(ID_BYTES + seen.id.len());
        // It may have been stored again after its first number was not.
        if self.by_id.get(&seen.id) == Some(&seen.seq) {
            self.by_id.remove(&seen.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_the_window_and_forgets_failures() {
        let mut dedup = Dedup::default();
        dedup.add(b"a", 1, 100);
        dedup.add(b"b", 2, 150);
        assert_eq!(dedup.find(b"a", 199, 100), Some(1));
        assert_eq!(dedup.find(b"a", 201, 100), None);
        assert_eq!(dedup.find(b"b", 201, 100), Some(2));
        dedup.forget(2, 5);
        assert_eq!(dedup.find(b"b", 201, 100), None);
        dedup.add(b"b", 7, 210);
        // The first one's time is over; the second's is not.
        assert_eq!((dedup.find(b"b", 260, 100), dedup.oldest_seq()), (Some(7), Some(7)));
        assert_eq!(dedup.find(b"b", 311, 100), None);
        assert_eq!((dedup.bytes, dedup.by_id.len(), dedup.oldest_seq()), (0, 0, None));
    }
}
