//! What waits for the committer: batches, and those who want to know when they are safe.

use std::collections::VecDeque;

use crate::batch::RecordBatch;
use crate::error::LogError;
use crate::log::{RemovalWaiter, Waiter};

/// Batches up to this size are copied behind the last one; larger ones change hands.
const MERGE_BYTES_MAX: usize = 16 << 10;
/// A batch that others are copied into does not grow beyond this.
const MERGED_BYTES_MAX: usize = 256 << 10;
/// Buffers kept for reuse, and the largest kept one.
const POOL_BATCHES: usize = 32;
const POOL_BATCH_BYTES: usize = 1 << 20;
/// Failed ranges kept apart; beyond, the oldest are merged and may cover numbers between them, which errs on the safe side.
const FAILED_RANGES_MAX: usize = 4096;

/// Numbers that a failed write took with it.
#[derive(Debug, Clone)]
pub(crate) struct FailedRange {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) error: LogError,
}

/// Somebody who waits for a record.
pub(crate) struct Waiting {
    pub(crate) last_seq: u64,
    /// A write is not enough, whatever the mode.
    pub(crate) durable: bool,
    pub(crate) call: Waiter,
}

/// Numbers to remove, and somebody who waits for that.
pub(crate) struct Removing {
    /// Both ends included, in any order.
    pub(crate) ranges: Vec<(u64, u64)>,
    /// It must be on disk when it is answered, whatever the mode, with everything before it.
    pub(crate) barrier: bool,
    pub(crate) call: RemovalWaiter,
}

/// How the committer's thread sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Park {
    /// It does not.
    Awake,
    /// Until a deadline that is set because of what is queued already.
    Until,
    /// Until woken.
    Idle,
}

/// The queue between publishers and the committer. Lives under one mutex.
pub(crate) struct Queue {
    pub(crate) pending: VecDeque<RecordBatch>,
    pub(crate) pending_bytes: usize,
    /// Bytes taken by the committer and not yet written.
    pub(crate) taken_bytes: usize,
    pub(crate) next_seq: u64,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) removals: Vec<Removing>,
    /// Records that are held or on their way to the disk, and their bytes: what limits that refuse are compared with.
    pub(crate) held_messages: u64,
    pub(crate) held_bytes: u64,
    pub(crate) failed: Vec<FailedRange>,
    /// The disk is full: nothing is taken until the committer has room again.
    pub(crate) full: Option<LogError>,
    /// Numbers of records that found no room are given to those that come after them.
    pub(crate) reuses_failed: bool,
    /// Writing has ended.
    pub(crate) dead: Option<LogError>,
    pub(crate) park: Park,
    pub(crate) closing: bool,
    /// The committer is gone; only set in a pool.
    pub(crate) stopped: bool,
    /// An append was refused for want of room.
    pub(crate) refused: bool,
    pool: Vec<RecordBatch>,
}

impl Queue {
    pub(crate) fn new(next_seq: u64) -> Self {
        Self {
            pending: VecDeque::new(),
            pending_bytes: 0,
            taken_bytes: 0,
            next_seq,
            waiting: Vec::new(),
            removals: Vec::new(),
            held_messages: 0,
            held_bytes: 0,
            failed: Vec::new(),
            full: None,
            reuses_failed: false,
            dead: None,
            park: Park::Awake,
            closing: false,
            stopped: false,
            refused: false,
            pool: Vec::new(),
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.pending_bytes + self.taken_bytes
    }

    /// Puts the batch's records at the end and leaves it empty.
    pub(crate) fn push(&mut self, batch: &mut RecordBatch) {
        let bytes = batch.bytes();
        self.pending_bytes += bytes;
        self.next_seq += batch.skip + batch.len() as u64;
        self.held_messages += batch.len() as u64;
        self.held_bytes += batch.body.len() as u64;
        if bytes <= MERGE_BYTES_MAX {
            if let Some(last) = self.pending.back_mut()
                && batch.skip == 0
                && last.bytes() + bytes <= MERGED_BYTES_MAX
            {
                last.absorb(batch);
            } else {
                let mut merged = self.pool.pop().unwrap_or_default();
                merged.absorb(batch);
                self.pending.push_back(merged);
            }
            batch.clear();
        } else {
            let empty = self.pool.pop().unwrap_or_default();
            self.pending.push_back(std::mem::replace(batch, empty));
        }
    }

    /// Takes written batches back for their memory.
    pub(crate) fn recycle(&mut self, batches: &mut Vec<RecordBatch>) {
        for mut batch in batches.drain(..) {
            if self.pool.len() < POOL_BATCHES && batch.body.capacity() <= POOL_BATCH_BYTES {
                batch.clear();
                self.pool.push(batch);
            }
        }
    }

    /// Gives back what memory can be made again.
    pub(crate) fn free_memory(&mut self) {
        self.pool = Vec::new();
        self.pending.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.failed.shrink_to_fit();
    }

    /// Whether somebody waits, or closes.
    pub(crate) fn is_urgent(&self) -> bool {
        !self.waiting.is_empty() || self.closing
    }

    /// Whether somebody waits for what only a sync gives.
    pub(crate) fn wants_sync(&self, weak: bool) -> bool {
        self.closing || if weak { self.waiting.iter().any(|w| w.durable) } else { !self.waiting.is_empty() }
    }

    /// The error that one of these numbers failed with.
    pub(crate) fn failure_in(&self, first_seq: u64, last_seq: u64) -> Option<&LogError> {
        let from = self.failed.partition_point(|range| range.last_seq < first_seq);
        self.failed.get(from).filter(|range| range.first_seq <= last_seq).map(|range| &range.error)
    }

    /// Remembers numbers that will never be written.
    pub(crate) fn fail_range(&mut self, first_seq: u64, last_seq: u64, error: &LogError) {
        if first_seq > last_seq {
            return;
        }
        if self.failed.len() >= FAILED_RANGES_MAX {
            let second = self.failed.remove(1);
            if let Some(first) = self.failed.first_mut() {
                first.last_seq = second.last_seq;
            }
        }
        self.failed.push(FailedRange { first_seq, last_seq, error: error.clone() });
    }

    /// Gives numbers out from this one on, as if those behind it had not been. They were all refused, and nothing waits.
    pub(crate) fn take_back(&mut self, next_seq: u64) {
        self.next_seq = next_seq;
        self.failed.retain_mut(|range| {
            range.last_seq = range.last_seq.min(next_seq.saturating_sub(1));
            range.first_seq <= range.last_seq
        });
    }

    /// Takes records out of what is held.
    pub(crate) fn let_go(&mut self, messages: u64, bytes: u64) {
        self.held_messages = self.held_messages.saturating_sub(messages);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    /// Takes out those waiters for which `is_due` holds, in their order.
    pub(crate) fn take_waiting(&mut self, mut is_due: impl FnMut(&Waiting) -> bool) -> Vec<Waiting> {
        self.waiting.extract_if(.., |waiting| is_due(waiting)).collect()
    }
}
