//! The committer: the one thread of a log that writes.
//!
//! ```text
//!            batches, waiters                frames             one fdatasync
//!  queue ------------------------> round ------------> written ---------------> published, waiters released
//!                                    |  no room: the round fails, retried when there is room
//!                                    '  any other error: dead
//! ```
//! It is a state machine: [`Committer::step`] does what is due at `now` and says when it wants to be called again, so
//! that a test can drive it without a thread or a clock. [`run`] is the loop of the real thread.

mod ending;
mod expiry;
mod guard;
mod park;
mod plan;
pub(crate) mod pool;
mod removal;
mod roll;
mod thread;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::thread::run;
use crate::batch::RecordBatch;
use crate::clock;
use crate::error::LogError;
use crate::journal::Journal;
use crate::options::SyncMode;
use crate::queue::{Removing, Waiting};
use crate::shared::{Failure, LIMITS_KEPT, LIMITS_NEW, Shared, count};
use crate::sync::atomic::Ordering;
use crate::writer::{self, Writer};

/// Most batches in a frame: a vectored write takes 1024 parts, and a batch is two.
const FRAME_BATCHES_MAX: usize = 500;
/// Commits below this size are small: zeros are written ahead of them.
const SMALL_COMMIT_BYTES: u64 = 128 << 10;

/// When a committer wants its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: there is more to do.
    Now,
    /// At this time, or when something is appended or waited for.
    At(Duration),
    /// When something is appended or waited for.
    Idle,
    /// Never: the log is closed.
    Stop,
}

/// The writing half of a log. [`crate::Log::open`] gives it a thread; [`crate::Log::open_stepped`] hands it out.
pub struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) lock: crate::owner::OwnerLock,
    journal: Journal,
    late: removal::Late,
    /// Time of the step that runs.
    now: Duration,
    /// When the first of the records expires that were written and cannot be read yet.
    first_expiry_ns: Option<i64>,
    /// Numbers that were left out among what was written and cannot be read yet.
    holes: Vec<(u64, u64)>,
    /// When gathered records are to be written.
    gather_until: Option<Duration>,
    /// When written records are to be synced.
    sync_at: Option<Duration>,
    /// When the log looks for room again.
    retry_at: Option<Duration>,
    /// Bytes of the last round that wrote something.
    round_bytes: u64,
    batches: Vec<RecordBatch>,
    measure: bool,
}

/// One round's share of the queue.
struct Round {
    batches: Vec<RecordBatch>,
    removals: Vec<Removing>,
    sync: bool,
    closing: bool,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, writer: Writer, lock: crate::owner::OwnerLock, journal: Journal) -> Self {
        Self {
            shared,
            writer,
            lock,
            journal,
            late: removal::Late::default(),
            now: Duration::ZERO,
            first_expiry_ns: None,
            holes: Vec::new(),
            gather_until: None,
            sync_at: None,
            retry_at: None,
            round_bytes: 0,
            batches: Vec::new(),
            measure: false,
        }
    }

    /// Does what is due at `now`, a time since any fixed moment.
    pub fn step(&mut self, now: Duration) -> Next {
        self.now = now;
        let limits = self.shared.limits_new.swap(LIMITS_KEPT, Ordering::AcqRel);
        if limits != LIMITS_KEPT {
            self.evict(limits == LIMITS_NEW, now);
        }
        let more = self.expire_if_asked(limits != LIMITS_KEPT);
        if let Some(at) = self.retry_at
            && now >= at
        {
            self.try_again(now);
        }
        let mut round = match self.take_round(now) {
            Ok(round) => round,
            Err(next) => return if more && next != Next::Stop { Next::Now } else { next },
        };
        let wrote = !round.batches.is_empty();
        let result = self.write_round(&round).and_then(|()| self.sync_if_due(now, &round));
        self.batches = round.batches;
        self.after_round();
        if let Err(failure) = result {
            self.fail(failure, now);
        }
        self.remove_round(std::mem::take(&mut round.removals), round.closing);
        if round.closing {
            return self.stop();
        }
        if wrote {
            self.zero_ahead();
        }
        Next::Now
    }

    /// Does a round's removals, also when there is no room for records.
    fn remove_round(&mut self, removals: Vec<Removing>, closing: bool) {
        let dead = self.shared.queue.lock().dead.clone();
        if let Some(error) = dead {
            removals.into_iter().for_each(|removing| (removing.call)(Err(error.clone())));
            return;
        }
        let mut removed = self.remove(removals).and_then(|()| self.tend_journal(self.now, closing));
        if closing && removed.is_ok() {
            // What is closed is trusted as it is when it is opened again.
            removed = self.journal.sync().map_err(writer::by_kind);
        }
        match removed {
            // Whoever asked was told; records may still find room.
            Ok(()) | Err(Failure::Full(_)) => {}
            Err(failure) => self.fail(failure, self.now),
        }
    }

    /// Takes what is due from the queue, or says when something will be.
    fn take_round(&mut self, now: Duration) -> Result<Round, Next> {
        let mut queue = self.shared.queue.lock();
        if queue.dead.is_some() || queue.full.is_some() {
            let closing = queue.closing;
            let removals = std::mem::take(&mut queue.removals);
            drop(queue);
            if !removals.is_empty() {
                return Ok(Round { batches: Vec::new(), removals, sync: false, closing: false });
            }
            return Err(if closing { self.stop() } else { self.retry_at.map_or(Next::Idle, Next::At) });
        }
        let unsynced = self.unsynced();
        let mut take = false;
        if !queue.pending.is_empty() {
            let until = *self.gather_until.get_or_insert(now + self.shared.options.gather);
            take = queue.is_urgent() || queue.pending_bytes >= self.shared.options.gather_bytes || now >= until;
        }
        let clock = unsynced && self.sync_at.is_some_and(|at| now >= at);
        let sync = queue.wants_sync(self.shared.options.sync.is_weak()) && (unsynced || take);
        let late = self.late.due().is_some_and(|due| now >= due);
        if !take && !sync && !clock && !late && !queue.closing && queue.removals.is_empty() {
            let next = [self.gather_until, self.sync_at.filter(|_| unsynced), self.late.due()];
            return Err(next.into_iter().flatten().min().map_or(Next::Idle, Next::At));
        }
        let mut round = Round {
            batches: std::mem::take(&mut self.batches),
            removals: std::mem::take(&mut queue.removals),
            sync,
            closing: queue.closing,
        };
        if take {
            self.gather_until = None;
            round.batches.extend(queue.pending.drain(..));
            queue.taken_bytes = std::mem::take(&mut queue.pending_bytes);
        }
        Ok(round)
    }

    /// Whether something was written that no sync covers yet.
    fn unsynced(&self) -> bool {
        self.writer.durable < self.writer.pos
    }

    /// Writes a round's batches as frames.
    fn write_round(&mut self, round: &Round) -> Result<(), Failure> {
        let mut rest = round.batches.as_slice();
        if !rest.is_empty() {
            self.round_bytes = 0;
            self.mark().map_err(writer::by_kind)?;
        }
        while !rest.is_empty() {
            let (n, bytes) = self.frame_of(rest);
            let (batches, others) = rest.split_at(n);
            let records = batches.iter().map(|batch| batch.len() as u64).sum();
            let room = self.writer.has_room(&self.shared.options, writer::frame_bytes(bytes), records);
            let skip = batches.first().map_or(0, |batch| batch.skip);
            if skip > 0 || !room || !self.writer.knows(batches) {
                let next_seq = self.writer.next_seq;
                self.roll(writer::frame_bytes(bytes), next_seq + skip)?;
                if skip > 0 {
                    self.holes.push((next_seq, next_seq + skip - 1));
                }
            }
            if records == 0 {
                // Numbers alone: the header of the new segment, which is on disk, says all there is to say.
                self.publish();
                rest = others;
                continue;
            }
            self.note_holes(batches);
            let busy = self.busy();
            let written = self.writer.write_frame(batches)?;
            drop(busy);
            self.note_expiry(batches);
            self.round_bytes += written;
            let counters = &self.shared.counters;
            count(&counters.frames, 1);
            count(&counters.records, records);
            count(&counters.written_bytes, written);
            rest = others;
        }
        Ok(())
    }

    /// How many of the batches go into one frame, and their bytes. At least one does.
    fn frame_of(&self, batches: &[RecordBatch]) -> (usize, usize) {
        let mut bytes = 0;
        for (i, batch) in batches.iter().enumerate().take(FRAME_BATCHES_MAX) {
            let with = bytes + batch.bytes();
            if i > 0 && (batch.skip > 0 || with > self.shared.options.frame_bytes_max) {
                return (i, bytes);
            }
            bytes = with;
        }
        (batches.len().min(FRAME_BATCHES_MAX), bytes)
    }

    /// Syncs if the mode, a waiter or the time asks for it, and acknowledges and publishes accordingly.
    fn sync_if_due(&mut self, now: Duration, round: &Round) -> Result<(), Failure> {
        if !self.unsynced() {
            return Ok(());
        }
        if self.shared.options.sync.is_weak() || self.acknowledges_too_early() {
            self.publish();
        }
        let every = match self.shared.options.sync {
            SyncMode::Always => Some(self.shared.options.idle_sync),
            SyncMode::Interval(every) => Some(every),
            SyncMode::Os => None,
        };
        let at = self.sync_at.or(every.map(|every| now + every));
        self.sync_at = at;
        if round.sync || round.closing || at.is_some_and(|at| now >= at) {
            self.sync()?;
            self.publish();
        }
        Ok(())
    }

    fn acknowledges_too_early(&self) -> bool {
        #[cfg(feature = "planted-bugs")]
        {
            crate::planted::is(crate::planted::Bug::AckBeforeSync)
        }
        #[cfg(not(feature = "planted-bugs"))]
        {
            false
        }
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let start = self.measure.then(clock::now);
        let busy = self.busy();
        self.writer.sync()?;
        drop(busy);
        if let Some(start) = start {
            count(&self.shared.counters.sync_ns, u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        count(&self.shared.counters.syncs, 1);
        self.sync_at = None;
        Ok(())
    }

    /// Moves the published length to what was written, and releases those who waited for it.
    fn publish(&mut self) {
        self.publish_expiry();
        self.writer.publish();
        let last = self.writer.next_seq.saturating_sub(1);
        let durable = !self.unsynced();
        let before = self.shared.readable.swap(last, Ordering::AcqRel);
        if last > before {
            self.take_holes();
            // Before anybody is told: who looks after an acknowledgement finds the limits kept.
            self.evict(false, self.now);
        }
        let due = {
            // Under the queue's lock, so that nobody who found the number uncommitted can be missed.
            let mut queue = self.shared.queue.lock();
            self.shared.committed.store(last, Ordering::Release);
            if durable {
                self.shared.synced.store(last, Ordering::Release);
            }
            queue.take_waiting(|waiting| waiting.last_seq <= last && (durable || !waiting.durable))
        };
        release(due, None);
        if last > before {
            self.shared.observer.published(last);
        }
    }

    /// Gives the round's memory and its share of the queue back.
    fn after_round(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.taken_bytes = 0;
        queue.recycle(&mut self.batches);
        let space = queue.refused && queue.queued_bytes() * 2 <= self.shared.options.queue_bytes_max;
        if space {
            queue.refused = false;
        }
        drop(queue);
        if space {
            self.shared.observer.space();
        }
    }

    /// Zeros ahead of small commits, after everybody was released.
    fn zero_ahead(&mut self) {
        let step = self.shared.options.zero_ahead_bytes;
        let far_enough = self.writer.zeroed >= self.writer.pos + step / 4;
        if step == 0 || far_enough || self.round_bytes >= SMALL_COMMIT_BYTES || self.shared.queue.lock().dead.is_some()
        {
            return;
        }
        let _busy = self.busy();
        match self.writer.zero_ahead(step) {
            Ok(n) => count(&self.shared.counters.zeroed_bytes, n),
            // Nobody waits for zeros; the next write will meet the same and say so.
            Err(Failure::Full(error) | Failure::Dead(error)) => {
                tracing::debug!(%error, "zeros could not be written ahead");
                self.writer.zeroed = self.writer.capacity;
            }
        }
    }
}

fn release(due: Vec<Waiting>, error: Option<&LogError>) {
    for waiting in due {
        (waiting.call)(error.map_or(Ok(()), |error| Err(error.clone())));
    }
}
