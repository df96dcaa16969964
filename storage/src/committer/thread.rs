//! The thread of a committer: steps it, and sleeps when there is nothing to do.

use std::sync::Arc;
use std::time::Instant;

use super::{Committer, Next};
use crate::clock;
use crate::queue::{Park, Queue};
use crate::sync::MutexGuard;

/// The loop of the committer's thread.
pub(crate) fn run(mut committer: Committer) {
    let start = clock::now();
    committer.measure = true;
    let shared = Arc::clone(&committer.shared);
    loop {
        match committer.step(clock::now().saturating_duration_since(start)) {
            Next::Now => {}
            Next::Stop => return,
            Next::At(at) => {
                let queue = shared.queue.lock();
                // With nothing pending, the time is that of a sync: a record that comes meanwhile begins to gather at once.
                let how = if queue.pending.is_empty() { Park::Idle } else { Park::Until };
                park(&committer, queue, how, Some(start + at));
            }
            Next::Idle => {
                let queue = shared.queue.lock();
                park(&committer, queue, Park::Idle, None);
            }
        }
    }
}

/// The planted mistake: what came between the look and the sleep is not seen.
fn misses_what_came() -> bool {
    #[cfg(feature = "planted-bugs")]
    {
        crate::planted::is(crate::planted::Bug::LostWakeUp)
    }
    #[cfg(not(feature = "planted-bugs"))]
    {
        false
    }
}

/// Sleeps unless something came since the step looked.
fn park(committer: &Committer, mut queue: MutexGuard<'_, Queue>, how: Park, until: Option<Instant>) {
    let shared = &committer.shared;
    let came = if queue.dead.is_some() || queue.full.is_some() {
        queue.closing || !queue.removals.is_empty()
    } else {
        let pending = !queue.pending.is_empty();
        queue.closing
            || !queue.removals.is_empty()
            || (queue.is_urgent() && pending)
            || (committer.unsynced() && queue.wants_sync(shared.options.sync.is_weak()))
            || queue.pending_bytes >= shared.options.gather_bytes
            || (how == Park::Idle && pending)
    };
    if came && !misses_what_came() {
        return;
    }
    queue.park = how;
    match until {
        Some(until) => {
            shared.wake.wait_until(&mut queue, until);
        }
        None => shared.wake.wait(&mut queue),
    }
    queue.park = Park::Awake;
}
