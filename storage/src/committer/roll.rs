//! From one segment to the next.

use std::sync::Arc;

use super::Committer;
use crate::shared::{Failure, count};
use crate::writer::{self, NewSegment};

impl Committer {
    /// Seals the open segment and makes the next one, whose first record is `first_seq` and which takes a frame of that
    /// many bytes.
    pub(super) fn roll(&mut self, frame_bytes: u64, first_seq: u64) -> Result<(), Failure> {
        let was_unsynced = self.unsynced();
        if first_seq == self.writer.segment.first_seq {
            // Nothing is in it, and the next one takes its place.
            self.writer.shrink_empty()?;
        } else {
            let busy = self.busy();
            self.writer.seal()?;
            drop(busy);
            if was_unsynced {
                count(&self.shared.counters.syncs, 1);
            }
            // What was written is durable now, in every mode, and so it may be read and acknowledged.
            self.sync_at = None;
            self.publish();
            // After a crash limits are enforced again for what is in the open segment; what they took because of this one
            // must be on disk before it is not the open one any more.
            self.tend_journal(self.now, true)?;
            self.journal.sync().map_err(writer::by_kind)?;
        }
        let options = &self.shared.options;
        let capacity = writer::capacity_for(options, self.shared.live().1, frame_bytes);
        let new = self.writer.successor(options, capacity, first_seq);
        let busy = self.busy();
        let made = match writer::create(&self.shared.disk, &self.shared.dir, &new) {
            // A small segment may find room where a large one does not.
            Err(Failure::Full(_)) => {
                let least = NewSegment { capacity: writer::capacity_least(options, frame_bytes), ..new };
                writer::create(&self.shared.disk, &self.shared.dir, &least)?
            }
            other => other?,
        };
        drop(busy);
        self.writer = made;
        let segment = Arc::clone(&self.writer.segment);
        if new.replaces {
            self.shared.replace_last_segment(segment);
        } else {
            self.shared.add_segment(segment);
        }
        count(&self.shared.counters.segments_created, 1);
        Ok(())
    }
}
