//! What the handles of a log, its readers and its committer share.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::committer::pool::PoolWaker;
use crate::disk::Disk;
use crate::error::LogError;
use crate::expiry::Expiry;
use crate::limits::Limits;
use crate::log::Flights;
use crate::options::LogOptions;
use crate::queue::Queue;
use crate::record::{LostRange, LostReason};
use crate::removed::Removed;
use crate::segment::Segment;
use crate::state::{Counters, DAMAGE_KEPT_MAX, Damage, LogObserver, ScrubState};
use crate::subjects::Subjects;
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, RwLock};
use crate::watch::DiskWatch;

/// The limits are enforced.
pub(crate) const LIMITS_KEPT: u8 = 0;
/// They were enforced until the log was closed, but for the last records before a crash.
pub(crate) const LIMITS_REOPENED: u8 = 1;
/// They are new.
pub(crate) const LIMITS_NEW: u8 = 2;

/// Locks, in the order in which they may nest: `changing_files`, `flights`, `queue`, then `limits`, the index's `memory` and `noted`, `removed`, `segments`, `damage`; inside a
/// segment `index`, then `totals`, then `view`. No lock is held while the disk is waited for, except `changing_files`, `flights` (the index may have to be read), and a
/// segment's `view` while it is mapped. `scrub` is taken alone. The index's `counted` comes before all of them, and is held while subjects are counted.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) observer: Arc<dyn LogObserver>,
    pub(crate) queue: Mutex<Queue>,
    /// Where the committer's own thread sleeps. In a pool: where [`crate::Log::close`] waits for the end.
    pub(crate) wake: Condvar,
    /// Wakes a committer that is run by a pool.
    pub(crate) pooled: OnceLock<PoolWaker>,
    /// What this process wrote begins with this number.
    pub(crate) own_from: u64,
    /// Last acknowledged number.
    pub(crate) committed: AtomicU64,
    /// Last readable number.
    pub(crate) readable: AtomicU64,
    /// Last number that a sync covers.
    pub(crate) synced: AtomicU64,
    /// All segments, oldest first. Replaced as a whole, so that a reader holds the lock for one clone of an `Arc`.
    pub(crate) segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    pub(crate) counters: AtomicCounters,
    pub(crate) watch: DiskWatch,
    pub(crate) damage: Mutex<DamageList>,
    /// Which numbers are gone although a segment may still hold them. Who looks for long takes a copy along.
    pub(crate) removed: RwLock<Arc<Removed>>,
    pub(crate) limits: Mutex<Limits>,
    pub(crate) expiry: Expiry,
    /// Only of logs whose limit per subject refuses new records.
    pub(crate) flights: Mutex<Flights>,
    pub(crate) subjects: Subjects,
    /// What of the limits was not enforced yet: one of the `LIMITS_` values.
    pub(crate) limits_new: AtomicU8,
    /// Records from this number on keep their bytes in their file, removed or not; `u64::MAX`: none.
    pub(crate) held_from: AtomicU64,
    /// Held while sealed segments are removed or exchanged: one such change at a time, the oldest segment is removed first, and
    /// the log's end waits for it.
    pub(crate) changing_files: Mutex<()>,
    pub(crate) scrub: Mutex<ScrubState>,
}

impl Shared {
    /// Lets the committer step. The caller has set [`Queue::park`] to awake.
    pub(crate) fn wake_committer(&self) {
        match self.pooled.get() {
            Some(waker) => waker.wake(),
            None => {
                self.wake.notify_one();
            }
        }
    }

    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read())
    }

    /// Records that are held, and their bytes.
    pub(crate) fn live(&self) -> (u64, u64) {
        live(&self.segments())
    }

    /// Whether the record of this number, which the segment's file has, was removed.
    pub(crate) fn is_gone(&self, segment: &Segment, seq: u64) -> bool {
        segment.has_removed() && (self.removed.read().contains(seq) || segment.was_dropped(seq))
    }

    /// Whether all numbers of a range were removed, so that nobody misses them.
    pub(crate) fn is_all_removed(&self, first: u64, last: u64) -> bool {
        self.removed.read().count(first, last) == (last + 1).saturating_sub(first)
    }

    /// Adds a segment at the end.
    pub(crate) fn add_segment(&self, segment: Arc<Segment>) {
        let mut guard = self.segments.write();
        let mut list = Vec::with_capacity(guard.len() + 1);
        list.extend(guard.iter().cloned());
        list.push(segment);
        *guard = Arc::new(list);
    }

    /// Puts a segment in the place of the last one.
    pub(crate) fn replace_last_segment(&self, segment: Arc<Segment>) {
        let mut guard = self.segments.write();
        let kept = guard.len().saturating_sub(1);
        *guard = Arc::new(guard.iter().take(kept).cloned().chain([segment]).collect());
    }

    /// Takes a segment out.
    pub(crate) fn drop_segment(&self, gone: &Arc<Segment>) {
        let mut guard = self.segments.write();
        *guard = Arc::new(guard.iter().filter(|segment| !Arc::ptr_eq(segment, gone)).cloned().collect());
    }

    /// Whether these segments follow on each other in the list.
    pub(crate) fn has_run(&self, run: &[Arc<Segment>]) -> bool {
        let segments = self.segments();
        let at = run.first().and_then(|first| segments.iter().position(|segment| Arc::ptr_eq(segment, first)));
        let there = at.and_then(|at| segments.get(at..at + run.len()));
        there.is_some_and(|there| there.iter().zip(run).all(|(a, b)| Arc::ptr_eq(a, b)))
    }

    /// Puts one segment in the place of a run of others, and sends their readers to look for it.
    pub(crate) fn replace_run(&self, run: &[Arc<Segment>], new: &Arc<Segment>) {
        let mut guard = self.segments.write();
        let mut list = Vec::with_capacity(guard.len());
        for segment in guard.iter() {
            match run.iter().position(|old| Arc::ptr_eq(old, segment)) {
                Some(0) => list.push(Arc::clone(new)),
                Some(_) => {}
                None => list.push(Arc::clone(segment)),
            }
        }
        *guard = Arc::new(list);
        drop(guard);
        for old in run {
            old.supersede();
        }
    }

    /// Records damage that a reader met.
    pub(crate) fn report_damage(&self, damage: Damage) {
        let mut list = self.damage.lock();
        if list.add(damage.clone()) {
            drop(list);
            tracing::error!(
                path = %damage.path.display(), offset = damage.offset, bytes = damage.bytes, lost = ?damage.lost,
                "damage in the log; the rest stays readable"
            );
        }
    }
}

/// Records that are held in these segments, and their bytes.
pub(crate) fn live(segments: &[Arc<Segment>]) -> (u64, u64) {
    segments.iter().map(|segment| segment.live()).fold((0, 0), |sum, live| (sum.0 + live.0, sum.1 + live.1))
}

/// Damage known so far: kept up to a limit, counted beyond.
#[derive(Debug, Default)]
pub(crate) struct DamageList {
    pub(crate) kept: Vec<Damage>,
    pub(crate) found: u64,
}

impl DamageList {
    /// Adds an entry unless it is known; says whether it was new.
    pub(crate) fn add(&mut self, damage: Damage) -> bool {
        let covers = |known: &Damage| match (&known.lost, &damage.lost) {
            (Some(a), Some(b)) => a.first_seq <= b.first_seq && b.last_seq <= a.last_seq,
            _ => *known == damage,
        };
        if self.kept.iter().any(covers) {
            return false;
        }
        self.found += 1;
        if self.kept.len() < DAMAGE_KEPT_MAX {
            self.kept.push(damage);
        }
        true
    }
}

/// A lost range of one reason.
pub(crate) fn lost(first_seq: u64, last_seq: u64, reason: LostReason) -> LostRange {
    LostRange { first_seq, last_seq, reason }
}

/// The counters, written by the committer and read by anybody.
#[derive(Debug, Default)]
pub(crate) struct AtomicCounters {
    pub(crate) syncs: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) zeroed_bytes: AtomicU64,
    pub(crate) segments_created: AtomicU64,
    pub(crate) segments_removed: AtomicU64,
    pub(crate) records_failed: AtomicU64,
    pub(crate) full_episodes: AtomicU64,
    pub(crate) sync_ns: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) slow_episodes: AtomicU64,
}

impl AtomicCounters {
    pub(crate) fn snapshot(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            syncs: get(&self.syncs),
            frames: get(&self.frames),
            records: get(&self.records),
            written_bytes: get(&self.written_bytes),
            zeroed_bytes: get(&self.zeroed_bytes),
            segments_created: get(&self.segments_created),
            segments_removed: get(&self.segments_removed),
            records_failed: get(&self.records_failed),
            full_episodes: get(&self.full_episodes),
            sync_ns: get(&self.sync_ns),
            records_removed: get(&self.removed),
            read_faults: crate::disk::read_faults(),
            slow_episodes: get(&self.slow_episodes),
        }
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// A failure of the committer, by what follows from it.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// No room: this round fails, writing resumes when there is room.
    Full(LogError),
    /// The end of writing.
    Dead(LogError),
}
