//! What happens when a committer cannot write, can again, and when it is to end.

use std::time::Duration;

use super::{Committer, Next, release};
use crate::error::LogError;
use crate::shared::{Failure, count};
use crate::sync::atomic::Ordering;
use crate::writer;

impl Committer {
    /// After a failure: everybody who waits for something unwritten is told, and so is the observer.
    pub(super) fn fail(&mut self, failure: Failure, now: Duration) {
        let (error, dead) = match failure {
            Failure::Full(error) => (error, false),
            Failure::Dead(error) => (error, true),
        };
        let due = {
            let mut queue = self.shared.queue.lock();
            // In mode always what was written and not yet synced is not lost by a full disk; by a dead log it is.
            let first = if dead { self.shared.committed.load(Ordering::Acquire) + 1 } else { self.writer.next_seq };
            let last = queue.next_seq.saturating_sub(1);
            count(&self.shared.counters.records_failed, queue.next_seq.saturating_sub(first));
            queue.pending.clear();
            queue.pending_bytes = 0;
            queue.fail_range(first, last, &error);
            if dead {
                queue.dead = Some(error.clone());
                queue.full = None;
            } else {
                queue.full = Some(error.clone());
            }
            queue.take_waiting(|waiting| dead || waiting.last_seq >= first)
        };
        self.gather_until = None;
        if dead {
            self.retry_at = None;
            tracing::error!(%error, "the log can no longer write; what is durable stays readable");
        } else {
            count(&self.shared.counters.full_episodes, 1);
            self.retry_at = Some(now + self.shared.options.retry_space);
            tracing::warn!(%error, "no room for the log; writing resumes when there is");
        }
        release(due, Some(&error));
        self.shared.observer.failed(&error);
        if !dead && self.writer.durable < self.writer.pos {
            // Frames of the same round that were written before the one that failed.
            match self.sync() {
                Ok(()) => self.publish(),
                Err(failure) => self.fail(failure, now),
            }
        }
        // Nothing is on its way any more.
        let live = self.shared.live();
        let mut queue = self.shared.queue.lock();
        (queue.held_messages, queue.held_bytes) = live;
    }

    /// After a full disk: a new segment, so that what was half written stays behind a footer and the numbers that
    /// failed are a declared gap, unless the owner wants them used.
    pub(super) fn try_again(&mut self, now: Duration) {
        let first_seq = self.first_seq_again();
        match self.mark().map_err(writer::by_kind).and_then(|()| self.roll(0, first_seq)) {
            Ok(()) => {
                self.retry_at = None;
                self.shared.queue.lock().full = None;
                tracing::info!("there is room again, the log goes on");
                self.shared.observer.recovered();
                self.shared.observer.space();
            }
            Err(Failure::Full(_)) => self.retry_at = Some(now + self.shared.options.retry_space),
            Err(failure) => self.fail(failure, now),
        }
    }

    fn first_seq_again(&self) -> u64 {
        let mut flights = self.shared.flights.lock();
        let mut queue = self.shared.queue.lock();
        if queue.reuses_failed && queue.pending.is_empty() {
            queue.take_back(self.writer.next_seq);
            flights.forget();
        }
        queue.next_seq
    }

    /// The end: everything is written and synced, or the log is dead. Says so in the lock file.
    pub(super) fn stop(&mut self) -> Next {
        // A segment that is being exchanged: whoever has the folder next must not find that going on.
        drop(self.shared.changing_files.lock());
        let (due, removals, error) = {
            let mut queue = self.shared.queue.lock();
            let error = queue.dead.clone().or_else(|| queue.full.clone());
            let error = error.unwrap_or_else(|| LogError::closed(&self.shared.dir));
            if queue.dead.is_none() {
                let last = queue.next_seq.saturating_sub(1);
                let first = self.shared.committed.load(Ordering::Acquire) + 1;
                queue.fail_range(first, last, &error);
            }
            let was_dead = queue.dead.is_some();
            queue.dead = Some(error.clone());
            let due = queue.take_waiting(|_| true);
            (due, std::mem::take(&mut queue.removals), was_dead.then_some(error))
        };
        if error.is_none()
            && self.writer.durable >= self.writer.pos
            && let Err(e) = self.lock.closing(&self.writer, self.shared.disk.boot_id())
        {
            tracing::warn!(error = %e, "the log is closed, but its lock file could not say so");
        }
        release(due, Some(&LogError::closed(&self.shared.dir)));
        for removing in removals {
            (removing.call)(Err(LogError::closed(&self.shared.dir)));
        }
        Next::Stop
    }
}
