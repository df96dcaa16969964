//! G1: power cuts on real file systems. `SUBLOG_POWER_CUTS=<n>` makes that many cuts, half of them on each file system.
//!
//! What counts is what was said before the cut began. A `fdatasync` that is under way while the file system is shut down may
//! answer 0 and have written nothing (seen on Linux 6.18 with nothing but `pwrite` and `fdatasync`: of 95 such answers that
//! came while ext4 or XFS went down 34 were untrue, of 21,552 that came before none), which a machine without power cannot.
//! Such late acknowledgements are counted apart.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sublog_storage::disk::sim::Chance;

use crate::child;
use crate::common::{env, open_real, report, skipped};
use crate::ledger::Ledger;
use crate::machine::{Fs, Volume, in_namespace, is_inside, missing};

const CYCLES: &str = "SUBLOG_FAULTS_CYCLES";
/// Cycles on one image before it is made anew.
const CYCLES_AN_IMAGE: u64 = 25;

#[test]
fn power_cuts_on_ext4() {
    power_cuts(Fs::Ext4, "cuts::power_cuts_on_ext4");
}

#[test]
fn power_cuts_on_xfs() {
    power_cuts(Fs::Xfs, "cuts::power_cuts_on_xfs");
}

fn power_cuts(fs: Fs, test: &str) {
    let what = format!("power cuts on {}", fs.name());
    if !is_inside(test)
        && let Some(why) = missing(fs, true)
    {
        return skipped("G1", &what, &why);
    }
    let cycles = env("SUBLOG_POWER_CUTS", 100).div_ceil(2);
    in_namespace(test, &[(CYCLES, cycles.to_string())], || {
        let start = Instant::now();
        let ledger = drive(fs, env(CYCLES, 1), None);
        let counts = ledger.counts;
        report("G1", &what, &format!("{} in {:.0} s", counts.line(), start.elapsed().as_secs_f64()), counts.failures());
        assert_eq!(counts.failures(), 0, "{counts:?}");
        assert!(counts.acks_checked > counts.cycles && counts.removals > 0, "{counts:?}");
    });
}

/// Cuts until `cycles` are through, or, with a planted mistake, until it shows.
fn drive(fs: Fs, cycles: u64, bug: Option<&str>) -> Ledger {
    let seed = env("SUBLOG_FAULTS_SEED", u64::from(std::process::id()));
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let mut ledger = Ledger::default();
    let mut volume = Volume::make(fs, 256);
    let mut life = 0;
    while ledger.counts.cycles < cycles && (bug.is_none() || ledger.counts.failures() == 0) {
        if life % CYCLES_AN_IMAGE == 0 && life > 0 {
            volume.fresh();
            ledger.new_log();
        }
        life += 1;
        let dir = volume.root().join("log");
        let mut process = child::start(&dir, life, bug);
        volume.arm();
        let end = if bug.is_some() { End::at_once(&mut chance) } else { End::choose(&mut chance) };
        let said = run_until(&mut process, end, || volume.cut_power());
        let (before, after) = said.lines.split_at(said.before_the_end);
        before.iter().for_each(|line| ledger.said(line));
        after.iter().for_each(|line| ledger.said_late(line));
        volume.unmount();
        volume.mount();
        ledger.counts.cycles += 1;
        if chance.percent(15) {
            // The next life opens what this one left, and what that finds is looked at after its own end.
            continue;
        }
        let (log, found) = open_real(&dir).unwrap();
        ledger.check(&log, &found);
        if chance.percent(30) {
            // What recovery served must be there after a cut that nobody wrote before.
            volume.cut_power();
            drop(log);
            volume.unmount();
            volume.mount();
            ledger.counts.cycles += 1;
            let (log, found) = open_real(&dir).unwrap();
            ledger.check(&log, &found);
        }
    }
    volume.unmount();
    ledger
}

/// What a life ends at: a number of lines said, and a little later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    acks: u64,
    removals: u64,
    pub(crate) later: Duration,
}

impl End {
    /// At a removal, or at an acknowledgement, and not later.
    fn at_once(chance: &mut Chance) -> Self {
        let removals = if chance.percent(50) { 1 } else { u64::MAX };
        let acks = if removals == 1 { u64::MAX } else { 1 + chance.below(60) };
        Self { acks, removals, later: Duration::ZERO }
    }

    pub(crate) fn choose(chance: &mut Chance) -> Self {
        let acks_max = if chance.percent(20) { 600 } else { 120 };
        Self {
            acks: 1 + chance.below(acks_max),
            removals: if chance.percent(25) { 1 + chance.below(2) } else { u64::MAX },
            later: Duration::from_micros(chance.below(8000)),
        }
    }
}

/// What a child said in its life.
pub(crate) struct Said {
    pub(crate) lines: Vec<String>,
    /// How many of the lines had come when the end began.
    pub(crate) before_the_end: usize,
}

/// Reads what the child says until its end has come, then strikes, kills it, and returns everything it said.
pub(crate) fn run_until(process: &mut Child, end: End, strike: impl FnOnce()) -> Said {
    let output = process.stdout.take().unwrap();
    let (acks, removals, count) = (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(0));
    let deadline = Instant::now() + Duration::from_secs(30);
    std::thread::scope(|scope| {
        let said = scope.spawn(|| {
            let mut lines = Vec::new();
            let mut reader = BufReader::new(output);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
                // A line cut short by the kill says nothing.
                if let Some(whole) = line.strip_suffix('\n') {
                    acks.fetch_add(u64::from(whole.starts_with("acked")), Ordering::Relaxed);
                    removals.fetch_add(u64::from(whole.starts_with("removed")), Ordering::Relaxed);
                    lines.push(whole.to_owned());
                    count.store(lines.len(), Ordering::SeqCst);
                }
                line.clear();
            }
            lines
        });
        while acks.load(Ordering::Relaxed) < end.acks && removals.load(Ordering::Relaxed) < end.removals {
            assert!(Instant::now() < deadline && !said.is_finished(), "the child does not publish");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(end.later);
        let before_the_end = count.load(Ordering::SeqCst);
        strike();
        process.kill().unwrap();
        process.wait().unwrap();
        Said { lines: said.join().unwrap(), before_the_end }
    })
}

#[cfg(feature = "planted-bugs")]
#[test]
fn mistakes_are_caught_by_power_cuts() {
    let test = "cuts::mistakes_are_caught_by_power_cuts";
    if !is_inside(test)
        && let Some(why) = missing(Fs::Ext4, true)
    {
        return skipped("G1", "planted mistakes", &why);
    }
    in_namespace(test, &[], || {
        for bug in ["ack before sync", "no sync of a removal"] {
            let counts = drive(Fs::Ext4, 300, Some(bug)).counts;
            let caught = if bug == "ack before sync" { counts.lost } else { counts.resurrected };
            assert!(caught > 0, "{bug} was not caught: {counts:?}");
            report("G1", &format!("planted: {bug}"), &format!("caught after {} cuts", counts.cycles), 0);
        }
    });
}
