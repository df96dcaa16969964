//! The end of a log.

use super::Log;
use crate::error::LogError;

impl Log {
    /// Writes and syncs everything appended, and marks the log as closed: later appends fail, readers stay usable.
    ///
    /// # Errors
    /// The log's failure, if it had one.
    pub fn close(&self) -> Result<(), LogError> {
        self.stop();
        let queue = self.shared.queue.lock();
        match &queue.dead {
            Some(error) if error.kind() != crate::error::FailureKind::Closed => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Asks the committer to end at its next step, as [`Log::close`] does, without waiting for it.
    pub fn ask_to_close(&self) {
        let mut queue = self.shared.queue.lock();
        queue.closing = true;
        self.wake_if(queue, |_| true);
    }

    fn stop(&self) {
        self.ask_to_close();
        if self.pool.is_some() {
            let mut queue = self.shared.queue.lock();
            while !queue.stopped {
                self.shared.wake.wait(&mut queue);
            }
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(dir = %self.shared.dir.display(), "the committer's thread panicked");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop();
    }
}
