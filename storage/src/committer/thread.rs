//! The thread of a committer that has one to itself: steps it, and sleeps when there is nothing to do.

use std::sync::Arc;

use super::{Committer, Next, park};
use crate::clock;
use crate::queue::Park;
use crate::watch::Watched;

/// The loop of the committer's thread.
pub(crate) fn run(mut committer: Committer) {
    let start = clock::now();
    committer.measure = true;
    let shared = Arc::clone(&committer.shared);
    let watched = Watched::new();
    watched.works_for(&shared);
    loop {
        let next = committer.step(clock::now().saturating_duration_since(start));
        let until = match next {
            Next::Now => continue,
            Next::Stop => return,
            Next::At(at) => Some(start + at),
            Next::Idle => None,
        };
        let mut queue = shared.queue.lock();
        let how = park::way(&queue, next);
        if park::comes_too_late(&committer, &queue, how) {
            continue;
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
}
