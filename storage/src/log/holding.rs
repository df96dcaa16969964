//! Records that are still to be known after they were removed: their bytes stay in their files for a while.
//!
//! What is removed is gone for readers at once, and for good. But the owner of a log may have to know, when it opens it again,
//! what it took in lately, whether it is still there or not (a publisher's message id, say). As long as the bytes stay, they
//! tell.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Log;
use crate::error::ReadError;
use crate::reader::{self, Reader};
use crate::record::{RecordRef, Visit};
use crate::segment::Segment;
use crate::sync::atomic::Ordering;

/// Files of which nothing is left take at most this much because they are held, in bytes...
const HELD_BYTES_MAX: u64 = 1 << 30;
/// ...and at most one part in so many of what the disk has free.
const HELD_OF_FREE: u64 = 4;

impl Log {
    /// Records from this number on keep their bytes, even if they are removed: their files are neither given back nor
    /// rewritten. `u64::MAX`, as it is at first: none do. Files of which nothing is left are held up to 1 GiB in all, and
    /// never more than a quarter of what the disk has free; beyond, the oldest go.
    pub fn hold_from(&self, seq: u64) {
        self.shared.held_from.store(seq, Ordering::Release);
    }

    /// Visits records that were written at `from_ns` or later, in their order, until `f` breaks: also those that were
    /// removed or are past their time, as far as their bytes are still there.
    ///
    /// # Errors
    /// A segment cannot be opened or mapped. What is damaged is left out.
    pub fn visit_written(
        &self,
        from_ns: i64,
        f: &mut dyn FnMut(RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let first = reader::seek_time_of_all(&self.shared, from_ns)?;
        let mut reader = Reader::new(Arc::clone(&self.shared));
        reader.show_all();
        reader.seek(first);
        reader.visit(usize::MAX, &mut |visit| match visit {
            Visit::Record(record) => f(record),
            Visit::Lost(_) => ControlFlow::Continue(()),
        })?;
        Ok(())
    }

    /// Whether a segment must stay as it is.
    pub(crate) fn is_held(&self, segment: &Segment) -> bool {
        segment.next_seq() > self.shared.held_from.load(Ordering::Acquire)
    }

    /// Takes out of a list of segments, which ascends, those that are held.
    pub(super) fn spare_held(&self, dead: &mut Vec<Arc<Segment>>) {
        let held = dead.partition_point(|segment| !self.is_held(segment));
        if held == dead.len() {
            return;
        }
        let free = self.shared.disk.free_space(&self.shared.dir).unwrap_or(u64::MAX);
        let mut room = HELD_BYTES_MAX.min(free / HELD_OF_FREE);
        // The newest ones know the most of what is still asked for.
        while let Some(newest) = dead.last().filter(|segment| self.is_held(segment)) {
            let Some(rest) = room.checked_sub(newest.file_bytes()) else { break };
            room = rest;
            dead.pop();
        }
    }
}
