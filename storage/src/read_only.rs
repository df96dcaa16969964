//! A log opened for reading only, by somebody who does not own it.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::disk::Disk;
use crate::error::{OpenError, ReadError};
use crate::expiry::Expiry;
use crate::open;
use crate::options::LogOptions;
use crate::queue::Queue;
use crate::reader::{self, Reader};
use crate::shared::{AtomicCounters, DamageList, LIMITS_KEPT, Shared};
use crate::state::{NoObserver, RecoveryReport};
use crate::subjects::Subjects;
use crate::sync::atomic::{AtomicU8, AtomicU64};
use crate::sync::{Condvar, Mutex, RwLock};
use crate::watch::DiskWatch;

/// A log as it lay on disk at one moment. Takes no lock, changes nothing, and may be used while the owner writes; what the
/// owner writes afterwards is not in it. If the owner removes segments meanwhile, a reader that comes to one of them gets
/// an error that says [`ReadError::is_not_found`]: open the log again and go on from the same number.
pub struct ReadOnlyLog {
    shared: Arc<Shared>,
    report: RecoveryReport,
}

impl ReadOnlyLog {
    /// Looks at the log in `dir`. The last segment is walked whole, of the others headers and footers are read.
    ///
    /// Records behind the last sync may be among what is read: whole, and about to be acknowledged.
    ///
    /// # Errors
    /// If the folder or a file in it cannot be read, or is of an unknown version. Damage is not an error.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, OpenError> {
        let looked = open::look(&disk, dir)?;
        let mut damage = DamageList::default();
        for entry in &looked.report.damage {
            damage.add(entry.clone());
        }
        let last = || AtomicU64::new(looked.next_seq - 1);
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            options: LogOptions::default(),
            disk,
            observer: Arc::new(NoObserver),
            queue: Mutex::new(Queue::new(looked.next_seq)),
            wake: Condvar::new(),
            pooled: OnceLock::new(),
            own_from: u64::MAX,
            committed: last(),
            readable: last(),
            synced: last(),
            segments: RwLock::new(Arc::new(looked.segments)),
            counters: AtomicCounters::default(),
            watch: DiskWatch::default(),
            damage: Mutex::new(damage),
            removed: RwLock::new(Arc::new(looked.removed)),
            limits: Mutex::default(),
            expiry: Expiry::default(),
            flights: Mutex::default(),
            subjects: Subjects::default(),
            limits_new: AtomicU8::new(LIMITS_KEPT),
            held_from: AtomicU64::new(u64::MAX),
            changing_files: Mutex::new(()),
            scrub: Mutex::default(),
        });
        Ok(Self { shared, report: looked.report })
    }

    /// A reader, at the first record.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// First number whose record's time is at or after `ts_ns`; one more than the last readable if there is none.
    ///
    /// # Errors
    /// If a segment cannot be opened or mapped.
    pub fn seek_time(&self, ts_ns: i64) -> Result<u64, ReadError> {
        reader::seek_time(&self.shared, ts_ns)
    }

    /// Number at which the oldest segment begins: everything before was removed.
    #[must_use]
    pub fn oldest_seq(&self) -> u64 {
        self.shared.segments().first().map_or(1, |segment| segment.first_seq)
    }

    /// Last readable number.
    #[must_use]
    pub fn readable_seq(&self) -> u64 {
        self.shared.readable.load(crate::sync::atomic::Ordering::Acquire)
    }

    /// What looking at it found. `torn_bytes` of a log whose owner is at work are those it is writing.
    #[must_use]
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }
}
