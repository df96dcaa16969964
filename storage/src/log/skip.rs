//! Numbers that nobody gets.

use super::Log;
use crate::batch::RecordBatch;
use crate::error::AppendError;
use crate::state::Appended;

/// No number beyond this is given out because somebody leaves others out, in hope of room for what follows.
const SEQ_MAX: u64 = 1 << 62;

impl Log {
    /// Leaves out all numbers before `next_seq` that were not given out yet. Like [`Log::append_then_wait`]: for a caller that
    /// waits for [`Appended::last_seq`], which is the last number left out.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn skip_to(&self, next_seq: u64) -> Result<Appended, AppendError> {
        let mut queue = self.shared.queue.lock();
        if let Some(error) = queue.dead.as_ref().or(queue.full.as_ref()) {
            return Err(AppendError::Failed(error.clone()));
        }
        let first_seq = queue.next_seq.max(next_seq.min(SEQ_MAX));
        if first_seq > queue.next_seq {
            let mut batch = RecordBatch::new();
            batch.skip(first_seq - queue.next_seq);
            queue.push(&mut batch);
        }
        Ok(Appended { first_seq, last_seq: first_seq - 1 })
    }

    /// Whether the numbers of records that a full disk refused are given out again once there is room. Otherwise they are left
    /// out, so that nobody who was told of a failure under a number finds another's record under it. For a log whose records
    /// must have numbers of their own, and whose one publisher asks [`Log::next_seq`].
    pub fn reuse_failed(&self, reuse: bool) {
        self.shared.queue.lock().reuses_failed = reuse;
    }

    /// Number that the next record gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.shared.queue.lock().next_seq
    }
}
