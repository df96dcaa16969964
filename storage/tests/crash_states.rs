//! Crash states on the simulated disk: power cuts at every point of many seeded lives, with torn, reordered and lost
//! writes, failing calls, dying processes, and second cuts during or soon after recovery.
//!
//! `SUBLOG_CRASH_STATES=<n>` explores that many states instead of 120,000; `SUBLOG_CRASH_SEED=<n>` starts at another seed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

#[path = "crash_states/explore.rs"]
mod explore;
#[path = "crash_states/lean.rs"]
mod lean;
#[path = "crash_states/model.rs"]
mod model;
#[cfg(feature = "planted-bugs")]
#[path = "crash_states/planted.rs"]
mod planted;
#[path = "crash_states/rewriting.rs"]
mod rewriting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sublog_storage::SyncMode;

use self::explore::{Kind, explore};
use self::model::Counts;

const PLAIN: Kind = Kind { sync: SyncMode::Always, faults: false, removals: false, rewrites: false, lean: false };
const WEAK: Kind = Kind { sync: SyncMode::Interval(Duration::from_millis(100)), ..PLAIN };
const REMOVING: Kind = Kind { removals: true, ..PLAIN };
const KINDS: [Kind; 15] = [
    PLAIN,
    Kind { faults: true, ..PLAIN },
    WEAK,
    Kind { sync: SyncMode::Os, faults: true, ..PLAIN },
    REMOVING,
    Kind { faults: true, ..REMOVING },
    Kind { removals: true, ..WEAK },
    Kind { rewrites: true, ..REMOVING },
    Kind { removals: true, rewrites: true, faults: true, ..WEAK },
    Kind { lean: true, ..PLAIN },
    Kind { lean: true, faults: true, ..PLAIN },
    Kind { lean: true, ..WEAK },
    Kind { lean: true, sync: SyncMode::Os, faults: true, ..PLAIN },
    Kind { lean: true, rewrites: true, ..REMOVING },
    Kind { lean: true, removals: true, rewrites: true, faults: true, ..WEAK },
];

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_acknowledged_is_lost_in_any_explored_state() {
    let wanted = env("SUBLOG_CRASH_STATES", 120_000);
    let next_seed = AtomicU64::new(env("SUBLOG_CRASH_SEED", 1));
    let total = Mutex::new((Counts::default(), Vec::new()));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next_seed.fetch_add(1, Ordering::Relaxed);
                    let kind = KINDS[seed as usize % KINDS.len()];
                    let mut counts = Counts::default();
                    let result = explore(seed, kind, 6, &mut counts);
                    let mut total = total.lock();
                    total.0.add(&counts);
                    if let Err(broken) = result {
                        total.1.push(format!("seed {seed} {kind:?}: {broken:?}"));
                    }
                    if total.0.states >= wanted || total.1.len() > 5 {
                        return;
                    }
                }
            });
        }
    });
    let (counts, broken) = total.into_inner();
    println!(
        "{} states in {:.1} s: {} power cuts ({} torn, {} in the middle of a commit, {} in recovery, {} double), {} kills, {} clean stops, {} with failing calls, {} torn tails cut; \
         {} rewritings done, {} power cuts in the middle of one, {} files of theirs cleared away; {} records read, {} acknowledgements checked, \
         {} removals checked, {} dead segments unlinked, {} promises broken",
        counts.states,
        start.elapsed().as_secs_f64(),
        counts.power_cuts,
        counts.torn_cuts,
        counts.middle_cuts,
        counts.recovery_cuts,
        counts.double_cuts,
        counts.kills,
        counts.closes,
        counts.faults,
        counts.torn_tails,
        counts.rewrites,
        counts.rewrite_cuts,
        counts.leftovers,
        counts.records_read,
        counts.acks_checked,
        counts.removals_checked,
        counts.dead_segments,
        broken.len()
    );
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(
        counts.states >= wanted
            && counts.torn_cuts > 0
            && counts.closes > 0
            && counts.double_cuts > 0
            && counts.torn_tails > 0
            && counts.recovery_cuts > 0
            && counts.rewrites > 0
            && counts.rewrite_cuts > 0
            && counts.leftovers > 0
    );
}
