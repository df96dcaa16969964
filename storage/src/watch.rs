//! A disk that takes long: noticed while it does, by a thread that does nothing else.
//!
//! The committer notes when it enters a call that waits for the disk. A watcher looks at all threads that commit, ten times
//! a second, and says of a log whose call has taken longer than the options allow that its disk is slow. Nothing else
//! follows from it: the call is not given up, for nobody can know whether it will succeed, and whoever waits for
//! it goes on waiting and gets its result. An answer before that would be a guess, and a false error makes a
//! publisher send again what is stored already.
//!
//! Each episode is told once, and its end once, in this order: whoever tells has the lock `told`, and the watcher tells only
//! if under that lock the call is still the one it saw. A call that took long between two looks of the watcher is told
//! when it ends.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock;
use crate::shared::{Shared, count};

/// How often the watcher looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What one log's committer is waiting for.
#[derive(Debug, Default)]
pub(crate) struct DiskWatch {
    /// When the call began, in nanoseconds of [`clock`]'s epoch, never 0; 0 while there is none.
    since: AtomicU64,
    /// Whether the observer was told of this call.
    told: Mutex<bool>,
}

/// A call to the disk that goes on.
pub(crate) struct Busy {
    shared: Arc<Shared>,
}

fn now_ns() -> u64 {
    u64::try_from(clock::epoch().elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}

impl Busy {
    /// The committer enters a call. One at a time.
    pub(crate) fn enter(shared: &Arc<Shared>) -> Self {
        shared.watch.since.store(now_ns(), Ordering::SeqCst);
        Self { shared: Arc::clone(shared) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let watch = &self.shared.watch;
        let since = watch.since.swap(0, Ordering::SeqCst);
        let took = Duration::from_nanos(now_ns().saturating_sub(since));
        // If the watcher has told, then it saw at least that long.
        if took < self.shared.options.slow_after {
            return;
        }
        let mut told = watch.told.lock();
        if !std::mem::take(&mut *told) {
            tell(&self.shared, took);
        }
        tracing::warn!(path = %path(&self.shared).display(), ?took, "the disk has answered");
        self.shared.observer.slow_ended(took);
    }
}

/// For how long the disk has been slow, if it is.
pub(crate) fn slow_for(shared: &Shared) -> Option<Duration> {
    match shared.watch.since.load(Ordering::SeqCst) {
        0 => None,
        since => {
            let lasting = Duration::from_nanos(now_ns().saturating_sub(since));
            (lasting >= shared.options.slow_after).then_some(lasting)
        }
    }
}

fn look(shared: &Shared) {
    let since = shared.watch.since.load(Ordering::SeqCst);
    let Some(lasting) = slow_for(shared) else { return };
    let mut told = shared.watch.told.lock();
    if !*told && shared.watch.since.load(Ordering::SeqCst) == since {
        *told = true;
        tell(shared, lasting);
    }
}

fn tell(shared: &Shared, lasting: Duration) {
    count(&shared.counters.slow_episodes, 1);
    let path = path(shared);
    tracing::warn!(path = %path.display(), ?lasting, "the disk is slow; whoever waits for it goes on waiting");
    shared.observer.slow(&path, lasting);
}

/// The file that is written, as nearly as others than the committer know.
fn path(shared: &Shared) -> PathBuf {
    shared.segments().last().map_or_else(|| shared.dir.clone(), |segment| segment.path.clone())
}

/// The log that a thread commits for.
type Slot = Mutex<Weak<Shared>>;

/// A thread that commits. Looked at as long as this lives.
#[derive(Debug)]
pub(crate) struct Watched {
    slot: Arc<Slot>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Threads {
    slots: Vec<Weak<Slot>>,
    is_watched: bool,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads { slots: Vec::new(), is_watched: false });

impl Watched {
    /// This thread commits from now on.
    pub(crate) fn new() -> Self {
        let slot: Arc<Slot> = Arc::new(Mutex::new(Weak::new()));
        let mut threads = THREADS.lock();
        threads.slots.push(Arc::downgrade(&slot));
        // Where a test chooses the interleavings, no thread of another kind may take part.
        if !threads.is_watched && !cfg!(feature = "shuttle") {
            match std::thread::Builder::new().name("log watch".to_owned()).spawn(watch) {
                Ok(_) => threads.is_watched = true,
                Err(error) => tracing::warn!(%error, "a slow disk will be noticed late: no thread to watch it"),
            }
        }
        Self { slot }
    }

    /// What it does next is for this log.
    pub(crate) fn works_for(&self, shared: &Arc<Shared>) {
        *self.slot.lock() = Arc::downgrade(shared);
    }
}

/// Looks until no thread commits any more.
fn watch() {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let slots = {
            let mut threads = THREADS.lock();
            threads.slots.retain(|slot| slot.strong_count() > 0);
            if threads.slots.is_empty() {
                threads.is_watched = false;
                return;
            }
            threads.slots.clone()
        };
        for slot in slots {
            let shared = slot.upgrade().and_then(|slot| slot.lock().upgrade());
            if let Some(shared) = shared {
                look(&shared);
            }
        }
    }
}
