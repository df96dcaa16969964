//! Threads that many logs share: each runs the committer of whichever log has something to do.
//!
//! A worker steps a committer until it sleeps, or a bounded number of times, so that a busy log does not keep the others
//! waiting. One worker more than those that are inside steps is there to look after what comes (`ready.rs`), so a worker
//! that hangs in a slow `fdatasync` stops its own log only; as many disks calls as the pool may have workers can hang
//! before other logs wait.

pub(crate) mod ready;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use self::ready::{After, Key, Ready, Workers};
use super::{Committer, Next, park, release};
use crate::clock;
use crate::disk::Disk;
use crate::disk::handles::FileCache;
use crate::error::{LogError, OpenError, Operation};
use crate::log::Log;
use crate::options::LogOptions;
use crate::owner::Tenure;
use crate::queue::Park;
use crate::shared::Shared;
use crate::state::{LogObserver, RecoveryReport};
use crate::watch::Watched;

/// Steps of one log before others have their turn.
const STEPS_MAX: usize = 16;

/// Threads that write the logs opened with [`Log::open_pooled`]. Clones are the same pool; its threads end with the last
/// clone and the last such log. That must not be dropped by a [`crate::Waiter`] or a [`LogObserver`], which run on them.
#[derive(Clone)]
pub struct CommitPool {
    inner: Arc<Inner>,
}

struct Inner {
    ready: Arc<Ready<Box<Committer>>>,
    files: FileCache,
}

/// How large a pool may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Threads that are there always; at least one.
    pub threads: usize,
    /// Threads while the disk lets them wait.
    pub threads_max: usize,
    /// Files that are kept open for writing; those with unsynced writes are open beyond it.
    pub files_max: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { threads: 2, threads_max: 32, files_max: 512 }
    }
}

impl CommitPool {
    /// A pool of `threads` (at least one), and up to 32 while the disk lets them wait.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        Self::with_limits(PoolLimits { threads, ..PoolLimits::default() })
    }

    /// Like [`CommitPool::new`], with other limits.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub fn with_limits(limits: PoolLimits) -> io::Result<Self> {
        let least = limits.threads.max(1);
        let ready = Arc::new(Ready::new(Workers { least, most: limits.threads_max.max(least) }));
        for started in 0..least {
            if let Err(e) = start_worker(&ready) {
                for _ in started..least {
                    ready.not_started();
                }
                ready.close();
                return Err(e);
            }
        }
        Ok(Self { inner: Arc::new(Inner { ready, files: FileCache::new(limits.files_max) }) })
    }

    /// Threads it has now.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.inner.ready.workers()
    }

    /// The files that its logs keep open.
    #[must_use]
    pub fn files(&self) -> &FileCache {
        &self.inner.files
    }

    /// Gives the committer to the workers.
    fn run(&self, mut committer: Committer) {
        committer.measure = true;
        let ready = Arc::clone(&self.inner.ready);
        let key = ready.new_key();
        let waker = PoolWaker { ready: Arc::clone(&ready), key };
        // Only opening a log sets it, once.
        let _ = committer.shared.pooled.set(waker);
        ready.add(key, Box::new(committer));
    }
}

impl fmt::Debug for CommitPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitPool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ready.close();
    }
}

/// Wakes the committer of one log.
pub(crate) struct PoolWaker {
    ready: Arc<Ready<Box<Committer>>>,
    key: Key,
}

impl PoolWaker {
    pub(crate) fn wake(&self) {
        self.ready.wake(self.key);
    }
}

impl Log {
    /// Like [`Log::open`], but the log is written by the threads of the pool, and holds no open file while it is idle.
    /// So its lock file is not locked: the caller has the folder above, with [`crate::DataDir`], and opens its logs in one
    /// pool. A log that nothing was ever appended to has no segment.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_pooled(
        pool: &CommitPool,
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        observer: Arc<dyn LogObserver>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let start = clock::now();
        let (mut log, committer, mut report) =
            Self::open_stepped_lean(&pool.inner.files, disk, dir, options, observer)?;
        log.pool = Some(pool.clone());
        pool.run(committer);
        report.took_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok((log, report))
    }

    /// Like [`Log::open_pooled`], but the caller drives the committer, as with [`Log::open_stepped`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_stepped_lean(
        files: &FileCache,
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        observer: Arc<dyn LogObserver>,
    ) -> Result<(Self, Committer, RecoveryReport), OpenError> {
        Self::open_as(Tenure::Lean(files.clone()), files.over(disk), dir, options, observer)
    }
}

fn start_worker(ready: &Arc<Ready<Box<Committer>>>) -> io::Result<()> {
    let ready = Arc::clone(ready);
    // Detached: `Ready::close` waits for the workers without their handles.
    std::thread::Builder::new().name("log pool".to_owned()).spawn(move || work(&ready)).map(drop)
}

fn work(ready: &Arc<Ready<Box<Committer>>>) {
    let watched = Watched::new();
    while let Some(taken) = ready.take() {
        if taken.start_another
            && let Err(error) = start_worker(ready)
        {
            tracing::warn!(%error, "no further thread for the logs could be started");
            ready.not_started();
        }
        watched.works_for(&taken.task.shared);
        turn(ready, taken.key, taken.task);
    }
}

/// One turn of one log.
fn turn(ready: &Ready<Box<Committer>>, key: Key, mut committer: Box<Committer>) {
    let shared = Arc::clone(&committer.shared);
    match catch_unwind(AssertUnwindSafe(|| steps(&mut committer))) {
        Ok(Some(after)) => ready.give_back(key, committer, after),
        ended => {
            // Its files are closed before anybody who waits for the end is told.
            drop(committer);
            ready.remove(key);
            if ended.is_err() {
                give_up(&shared);
            }
            shared.queue.lock().stopped = true;
            shared.wake.notify_all();
        }
    }
}

/// Steps a committer until it sleeps, has had its turn, or ends (`None`).
fn steps(committer: &mut Committer) -> Option<After> {
    // Turns of one log are taken by different threads: they must count from the same moment.
    let epoch = clock::epoch();
    committer.shared.queue.lock().park = Park::Awake;
    for _ in 0..STEPS_MAX {
        let next = committer.step(epoch.elapsed());
        let after = match next {
            Next::Now => continue,
            Next::Stop => return None,
            Next::At(at) => After::At(epoch + at),
            Next::Idle => After::Idle,
        };
        let mut queue = committer.shared.queue.lock();
        let how = park::way(&queue, next);
        if !park::comes_too_late(committer, &queue, how) {
            queue.park = how;
            if after == After::Idle {
                queue.free_memory();
                drop(queue);
                committer.batches = Vec::new();
            }
            return Some(after);
        }
    }
    Some(After::Again)
}

/// After a panic in a step: like a failed write, nobody knows what it left undone.
fn give_up(shared: &Shared) {
    let error = LogError::from_io(Operation::Write, &shared.dir, None, &io::Error::other("the committer panicked"));
    tracing::error!(%error, "the log can no longer write; what is durable stays readable");
    let due = {
        let mut queue = shared.queue.lock();
        queue.dead = Some(error.clone());
        queue.pending.clear();
        queue.pending_bytes = 0;
        queue.take_waiting(|_| true)
    };
    release(due, Some(&error));
}
