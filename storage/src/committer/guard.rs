//! What surrounds a committer's calls to the disk: the mark before the first of them, and the watch over each.

use super::Committer;
use crate::error::LogError;
use crate::watch::Busy;

impl Committer {
    /// Before anything is written: the lock file must not say that the log is as it was closed.
    pub(super) fn mark(&mut self) -> Result<(), LogError> {
        let _busy = self.busy();
        let disk = &self.shared.disk;
        self.lock.before_write(&self.writer, || disk.boot_id())
    }

    /// To be held during a call that waits for the disk. Steps without a clock are not watched.
    pub(super) fn busy(&self) -> Option<Busy> {
        self.measure.then(|| Busy::enter(&self.shared))
    }
}
