//! What the handles of a log, its readers and its committer share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::committer::pool::PoolWaker;
use crate::disk::Disk;
use crate::error::LogError;
use crate::options::LogOptions;
use crate::queue::Queue;
use crate::record::{LostRange, LostReason};
use crate::segment::Segment;
use crate::state::{Counters, DAMAGE_KEPT_MAX, Damage, LogObserver};
use crate::watch::DiskWatch;

/// Locks, in the order in which they may nest: `queue`, then `segments`, then `damage`; inside a segment `index`, then
/// `totals`, then `view`. No lock is held while the disk is waited for, except a segment's `view` while it is mapped.
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

    /// Bytes of all readable records: what the size of the next segment follows.
    pub(crate) fn live_bytes(&self) -> u64 {
        live_bytes(&self.segments())
    }

    /// Adds a segment at the end.
    pub(crate) fn add_segment(&self, segment: Arc<Segment>) {
        let mut guard = self.segments.write();
        let mut list = Vec::with_capacity(guard.len() + 1);
        list.extend(guard.iter().cloned());
        list.push(segment);
        *guard = Arc::new(list);
    }

    /// Takes a segment out.
    pub(crate) fn drop_segment(&self, gone: &Arc<Segment>) {
        let mut guard = self.segments.write();
        *guard = Arc::new(guard.iter().filter(|segment| !Arc::ptr_eq(segment, gone)).cloned().collect());
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

/// Bytes of all readable records of these segments.
pub(crate) fn live_bytes(segments: &[Arc<Segment>]) -> u64 {
    segments.iter().map(|segment| segment.totals().record_bytes).sum()
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
