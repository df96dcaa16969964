//! G3: processes that are killed while they publish, remove and read. `SUBLOG_KILLS=<n>` kills that many.

use std::time::Instant;

use sublog_storage::disk::sim::Chance;

use crate::child;
use crate::common::{env, open_real, report};
use crate::cuts::{End, run_until};
use crate::ledger::Ledger;

/// Kills before the log is made anew, so that reading all of it stays quick.
const KILLS_A_LOG: u64 = 50;

#[test]
fn killed_processes_lose_nothing_and_reuse_no_number() {
    let kills = env("SUBLOG_KILLS", 40);
    let start = Instant::now();
    let seed = env("SUBLOG_FAULTS_SEED", u64::from(std::process::id()));
    let mut chance = Chance::new(seed);
    let mut ledger = Ledger::default();
    let mut folder = tempfile::tempdir().unwrap();
    let mut clean = 0;
    for life in 1..=kills {
        if life % KILLS_A_LOG == 0 {
            folder = tempfile::tempdir().unwrap();
            ledger.new_log();
        }
        let dir = folder.path().join("log");
        let mut process = child::start(&dir, life, None);
        // Whatever it said was said by a process that had it from a sync: all of it counts.
        let said = run_until(&mut process, End::choose(&mut chance), || ());
        said.lines.iter().for_each(|line| ledger.said(line));
        ledger.counts.cycles += 1;
        if chance.percent(15) {
            // The next process finds what this one left, and is killed before anybody looks.
            continue;
        }
        let (log, found) = open_real(&dir).unwrap();
        clean += u64::from(found.clean);
        ledger.check(&log, &found);
    }
    let counts = ledger.counts;
    let seconds = start.elapsed().as_secs_f64();
    report("G3", "kill -9 with a reader", &format!("{} in {seconds:.0} s", counts.line()), counts.failures() + clean);
    assert_eq!(counts.failures() + clean, 0, "seed {seed}: {counts:?}, {clean} logs called clean");
    assert!(counts.acks_checked > kills && counts.served_checked > kills, "{counts:?}");
}
