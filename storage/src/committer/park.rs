//! When a committer may sleep: shared by the thread of one log and by the pool.
//!
//! Nobody is forgotten, because both sides look under the queue's lock. A publisher puts its records (or its wish) into
//! the queue and then reads [`Queue::park`]; the committer reads the queue in [`comes_too_late`] and then writes
//! [`Queue::park`]. Whoever takes the lock second sees what the first did: either the committer sees the records
//! and does not sleep, or the publisher sees that it sleeps, writes `Awake`, and wakes it. `Awake` also keeps the next
//! publishers from waking it a second time.

use super::{Committer, Next};
use crate::queue::{Park, Queue};
use crate::shared::LIMITS_KEPT;
use crate::sync::atomic::Ordering;

/// How the queue is told that the committer sleeps after a step that ended like this.
pub(super) fn way(queue: &Queue, next: Next) -> Park {
    match next {
        // With nothing pending, the time is that of a sync: a record that comes meanwhile begins to gather at once.
        Next::At(_) if !queue.pending.is_empty() => Park::Until,
        _ => Park::Idle,
    }
}

/// Whether something came since the last step looked, so that it would be slept over.
pub(super) fn comes_too_late(committer: &Committer, queue: &Queue, how: Park) -> bool {
    came(committer, queue, how) && !misses_what_came()
}

fn came(committer: &Committer, queue: &Queue, how: Park) -> bool {
    let shared = &committer.shared;
    if shared.limits_new.load(Ordering::Acquire) != LIMITS_KEPT || shared.expiry.is_asked() {
        return true;
    }
    if queue.dead.is_some() || queue.full.is_some() {
        return queue.closing || !queue.removals.is_empty();
    }
    let options = &shared.options;
    let pending = !queue.pending.is_empty();
    queue.closing
        || !queue.removals.is_empty()
        || (queue.is_urgent() && pending)
        || (committer.unsynced() && queue.wants_sync(options.sync.is_weak()))
        || queue.pending_bytes >= options.gather_bytes
        || (how == Park::Idle && pending)
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
