//! Blocks that were decompressed, kept for the next reader that comes to the same place.
//!
//! One cache for the whole process, so that its bound holds however many logs are open. A reader looks here once a block, not
//! once a record, and keeps the block it is in; so one lock is enough.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::format::packed::Block;

/// Bytes of blocks that are kept.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// A block larger than this is not kept: it would push out too many others.
const BLOCK_BYTES_MAX: usize = KEPT_BYTES_MAX / 8;
/// What a block takes beside its content, roughly.
const ENTRY_BYTES: usize = 256;

/// The process's blocks.
pub(crate) static BLOCKS: Blocks = Blocks::new(KEPT_BYTES_MAX);

/// A segment, as [`crate::segment::Segment`] numbers them, and the offset of a frame in it.
type Key = (u64, u64);

/// Filled by whoever comes first; others wait for that instead of doing the same.
type Slot = Arc<OnceLock<Option<Arc<Block>>>>;

/// A bounded cache; the block that was not asked for the longest goes first.
pub(crate) struct Blocks {
    kept: Mutex<Kept>,
    bytes_max: usize,
}

struct Kept {
    slots: BTreeMap<Key, Entry>,
    /// By the time of the last use.
    by_age: BTreeMap<u64, Key>,
    /// Counts uses.
    clock: u64,
    bytes: usize,
}

struct Entry {
    slot: Slot,
    used: u64,
    bytes: usize,
}

impl Blocks {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        let kept = Kept { slots: BTreeMap::new(), by_age: BTreeMap::new(), clock: 0, bytes: 0 };
        Self { kept: Mutex::new(kept), bytes_max }
    }

    /// The block at `key`, whose content takes `bytes`; made with `make` if it is not kept. What cannot be made is tried
    /// again the next time.
    pub(crate) fn get(&self, key: Key, bytes: usize, make: impl FnOnce() -> Option<Block>) -> Option<Arc<Block>> {
        if bytes > BLOCK_BYTES_MAX {
            return make().map(Arc::new);
        }
        let slot = self.kept.lock().slot(key, bytes + ENTRY_BYTES, self.bytes_max);
        let block = slot.get_or_init(|| make().map(Arc::new)).clone();
        if block.is_none() {
            self.kept.lock().forget(key, &slot);
        }
        block
    }
}

impl Kept {
    fn slot(&mut self, key: Key, bytes: usize, bytes_max: usize) -> Slot {
        self.clock += 1;
        let used = self.clock;
        if let Some(entry) = self.slots.get_mut(&key) {
            self.by_age.remove(&entry.used);
            self.by_age.insert(used, key);
            entry.used = used;
            return Arc::clone(&entry.slot);
        }
        while self.bytes + bytes > bytes_max
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.bytes -= self.slots.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        let slot = Slot::default();
        self.slots.insert(key, Entry { slot: Arc::clone(&slot), used, bytes });
        self.by_age.insert(used, key);
        self.bytes += bytes;
        slot
    }

    fn forget(&mut self, key: Key, slot: &Slot) {
        if let Some(entry) = self.slots.get(&key)
            && Arc::ptr_eq(&entry.slot, slot)
        {
            self.by_age.remove(&entry.used);
            self.bytes -= entry.bytes;
            self.slots.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::batch::RecordBatch;
    use crate::format::frame::{FrameHeader, FrameKind};
    use crate::format::packed::{Builder, Codec};

    fn block() -> Option<Block> {
        let mut batch = RecordBatch::new();
        batch.push(0, b"s", b"", &[0; 500]).unwrap();
        let mut builder = Builder::new(Codec::Zstd, 128 << 10).unwrap();
        builder.push(1, &batch.body);
        let stored = builder.finish().unwrap();
        let header = FrameHeader {
            kind: FrameKind::Packed(stored.packing),
            offset: 0,
            durable: 0,
            nonce: 0,
            first_seq: 1,
            max_ts: 0,
            count: 1,
            body_len: u32::try_from(stored.bytes.len()).unwrap(),
            prev_crc: 0,
            dir_crc: stored.crc,
            crc: 0,
        };
        Block::decode(&header, stored.bytes.to_vec().into())
    }

    #[test]
    fn those_used_last_are_kept_within_the_bound() {
        let blocks = Blocks::new(10 * (1000 + ENTRY_BYTES));
        let made = AtomicU32::new(0);
        let get = |offset| {
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                block()
            };
            assert!(blocks.get((1, offset), 1000, make).is_some());
            assert!(blocks.kept.lock().bytes <= blocks.bytes_max);
        };
        for offset in 0..10 {
            get(offset);
        }
        get(0);
        get(10);
        get(0);
        assert_eq!(made.load(Ordering::Relaxed), 11, "the first one was used again and is kept");
        get(1);
        assert_eq!(made.load(Ordering::Relaxed), 12, "the one unused for the longest went");
        let kept = blocks.kept.lock();
        assert_eq!((kept.slots.len(), kept.by_age.len()), (10, 10));
    }

    #[test]
    fn what_cannot_be_made_is_tried_again() {
        let blocks = Blocks::new(1 << 20);
        assert!(blocks.get((1, 1), 10, || None).is_none());
        assert_eq!(blocks.kept.lock().bytes, 0);
        assert!(blocks.get((1, 1), 10, block).is_some());
        assert!(blocks.get((1, 2), BLOCK_BYTES_MAX + 1, block).is_some());
        assert_eq!(blocks.kept.lock().slots.len(), 1, "a huge one is not kept");
    }

    #[test]
    fn readers_that_come_together_make_it_once() {
        let (blocks, made, together) = (Blocks::new(1 << 20), AtomicU32::new(0), Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    together.wait();
                    let make = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        block()
                    };
                    assert!(blocks.get((3, 3), 1000, make).is_some());
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }
}
