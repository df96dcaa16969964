//! Removing: single records, ranges, whole segments; and giving their space back.

use std::sync::Arc;

use super::Log;
use crate::error::{LogError, Operation};
use crate::limits::Limits;
use crate::queue::Removing;
use crate::segment::Segment;
use crate::shared::{LIMITS_NEW, count};
use crate::state::Removed;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::mpsc;

/// Runs once with what a removal took, or why it could not be done.
pub type RemovalWaiter = Box<dyn FnOnce(Result<Removed, LogError>) + Send>;

/// Dead segments that wait for the journal.
#[derive(Debug)]
pub(super) struct Settling {
    /// First numbers, and nonces: what was rewritten meanwhile is another segment, of which the journal may say nothing.
    dead: Vec<(u64, u64)>,
    outcome: Arc<AtomicU8>,
}

const WAITS: u8 = 0;
const SETTLED: u8 = 1;
const REFUSED: u8 = 2;

impl Log {
    /// Number at which the oldest segment begins: everything before was removed.
    #[must_use]
    pub fn oldest_seq(&self) -> u64 {
        self.shared.segments().first().map_or(self.shared.options.first_seq, |segment| segment.first_seq)
    }

    /// Sets new limits; those it is opened with are in its options. What is over them goes with the next step of the
    /// committer, which looks at all subjects if there is a limit per subject.
    pub fn set_limits(&self, limits: Limits) {
        *self.shared.limits.lock() = limits;
        self.shared.expiry.look_at_ages();
        self.shared.limits_new.store(LIMITS_NEW, Ordering::Release);
        self.wake_for_limits();
    }

    /// Removes records for good: those of these numbers (both ends included) that are readable and still there. `f` runs
    /// with what went, once the removal is as durable as the mode makes acknowledgements; it may run on the committer's
    /// thread and must be quick. An empty list waits until all removals so far are on disk, whatever the mode.
    pub fn remove(&self, ranges: Vec<(u64, u64)>, f: RemovalWaiter) {
        let barrier = ranges.is_empty();
        self.ask(Removing { ranges, barrier, call: f });
    }

    fn ask(&self, removing: Removing) {
        let mut queue = self.shared.queue.lock();
        if let Some(error) = queue.dead.clone() {
            drop(queue);
            (removing.call)(Err(error));
            return;
        }
        queue.removals.push(removing);
        self.wake_if(queue, |_| true);
    }

    /// Like [`Log::remove`], and waits for it.
    ///
    /// # Errors
    /// The journal of removals cannot be written; nothing is removed then.
    pub fn remove_now(&self, ranges: Vec<(u64, u64)>) -> Result<Removed, LogError> {
        let (tell, told) = mpsc::sync_channel(1);
        let call = move |result| {
            // The receiver waits until it is told; there is nobody else to tell.
            let _ = tell.send(result);
        };
        self.remove(ranges, Box::new(call));
        told.recv().unwrap_or_else(|_| Err(LogError::closed(&self.shared.dir)))
    }

    /// Whether this number was removed; not whether it was ever there.
    #[must_use]
    pub fn is_removed(&self, seq: u64) -> bool {
        self.shared.removed.read().contains(seq)
    }

    /// How many numbers of a range, both ends included, were removed. Over all numbers it only ever grows, so that it tells
    /// whether anything was removed since.
    #[must_use]
    pub fn removed_count(&self, first: u64, last: u64) -> u64 {
        self.shared.removed.read().count(first, last)
    }

    /// How many records with numbers of a range, both ends included, are readable, without asking the index. Those that the
    /// disk lost are among them.
    #[must_use]
    pub fn live_count(&self, first: u64, last: u64) -> u64 {
        let last = last.min(self.readable_seq());
        let segments = self.shared.segments();
        let removed = self.shared.removed.read();
        let from = segments.partition_point(|segment| segment.next_seq() <= first);
        let within = segments.iter().skip(from).take_while(|segment| segment.first_seq <= last);
        let live = within.map(|segment| {
            let (a, b) = (segment.first_seq.max(first), last.min(segment.next_seq().saturating_sub(1)));
            if a > b { 0 } else { (b - a + 1).saturating_sub(removed.count(a, b)) }
        });
        live.sum()
    }

    /// The first number that may be there: everything before it was removed. At most one more than the last readable one.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        let floor = self.shared.removed.read().next_live(self.oldest_seq());
        floor.min(self.readable_seq().saturating_add(1)).max(1)
    }

    /// Removes whole sealed segments, oldest first, all of whose records are before `seq`. The open segment stays.
    /// Whoever is reading a removed segment may finish it.
    ///
    /// # Errors
    /// What the system says; segments removed before that stay removed.
    pub fn remove_before(&self, seq: u64) -> Result<Removed, LogError> {
        self.remove_segments(usize::MAX, seq)
    }

    /// Removes the oldest segment, unless it is the open one; as [`Log::remove_before`].
    ///
    /// # Errors
    /// What the system says; nothing is removed then.
    pub fn remove_oldest(&self) -> Result<Removed, LogError> {
        self.remove_segments(1, u64::MAX)
    }

    /// Gives the space of segments back of which every record was removed, wherever in the log they are. To be called now
    /// and then: what is found dead is unlinked by a later call, when the journal of removals says so on disk, since
    /// otherwise a crash would leave a hole that nothing explains.
    ///
    /// # Errors
    /// What the system says; segments removed before that stay removed.
    pub fn reclaim(&self) -> Result<Removed, LogError> {
        let _one_at_a_time = self.shared.changing_files.lock();
        let mut settling = self.settling.lock();
        let mut removed = Removed::default();
        let settled = settling.as_ref().map(|settling| settling.outcome.load(Ordering::Acquire));
        if let (Some(SETTLED | REFUSED), Some(Settling { dead, .. })) =
            (settled, settling.take_if(|_| settled != Some(WAITS)))
        {
            for segment in self.dead_segments() {
                if settled == Some(SETTLED) && dead.contains(&(segment.first_seq, segment.nonce)) {
                    self.unlink(&segment)?;
                    removed.segments += 1;
                }
            }
        }
        let dead = self.dead_segments();
        if settling.is_none() && !dead.is_empty() {
            let outcome = Arc::new(AtomicU8::new(WAITS));
            let tell = Arc::clone(&outcome);
            *settling = Some(Settling {
                dead: dead.iter().map(|segment| (segment.first_seq, segment.nonce)).collect(),
                outcome,
            });
            let call = move |result: Result<_, _>| {
                tell.store(if result.is_ok() { SETTLED } else { REFUSED }, Ordering::Release);
            };
            // With the numbers before each that were never written: nothing will be there that says so.
            let segments = self.shared.segments();
            let hole = |segment: &Arc<Segment>| {
                let i = segments.partition_point(|before| before.first_seq < segment.first_seq);
                let from = i.checked_sub(1).and_then(|i| segments.get(i)).map_or(1, |before| before.next_seq());
                (from, segment.next_seq() - 1)
            };
            self.ask(Removing { ranges: dead.iter().map(hole).collect(), barrier: true, call: Box::new(call) });
            #[cfg(feature = "planted-bugs")]
            if crate::planted::is(crate::planted::Bug::UnlinkBeforeJournal) {
                dead.iter().try_for_each(|segment| self.unlink(segment))?;
            }
        }
        Ok(removed)
    }

    /// Sealed segments of which every record was removed.
    fn dead_segments(&self) -> Vec<Arc<Segment>> {
        let segments = self.shared.segments();
        let sealed = segments.len().saturating_sub(1);
        let dead = segments
            .iter()
            .take(sealed)
            .filter(|segment| segment.live().0 == 0 && (segment.has_removed() || segment.packed));
        let mut dead: Vec<_> = dead.cloned().collect();
        self.spare_held(&mut dead);
        dead
    }

    /// Takes a segment's file away, for good when it returns.
    fn unlink(&self, segment: &Arc<Segment>) -> Result<(), LogError> {
        let failed = |operation, e: &std::io::Error| LogError::from_io(operation, &segment.path, None, e);
        match self.shared.disk.remove(&segment.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(Operation::Remove, &e)),
            _ => {}
        }
        // After each one: if the folder's changes were lost out of order, a gap in the middle would appear.
        self.sync_unlinked().map_err(|e| failed(Operation::SyncDir, &e))?;
        self.shared.drop_segment(segment);
        count(&self.shared.counters.segments_removed, 1);
        Ok(())
    }

    fn sync_unlinked(&self) -> std::io::Result<()> {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::NoRemovalSync) {
            return Ok(());
        }
        self.shared.disk.sync_dir(&self.shared.dir)
    }

    fn remove_segments(&self, at_most: usize, before_seq: u64) -> Result<Removed, LogError> {
        let _one_at_a_time = self.shared.changing_files.lock();
        let mut removed = Removed::default();
        for _ in 0..at_most {
            let segments = self.shared.segments();
            let (Some(oldest), Some(next)) = (segments.first(), segments.get(1)) else { break };
            if next.first_seq > before_seq || next.first_seq > self.durable_seq() + 1 {
                break;
            }
            self.unlink(oldest)?;
            let (messages, bytes) = oldest.live();
            Arc::make_mut(&mut self.shared.removed.write()).raise(next.first_seq);
            self.shared.queue.lock().let_go(messages, bytes);
            removed.segments += 1;
            removed.messages += messages;
            removed.bytes += bytes;
        }
        Ok(removed)
    }
}
