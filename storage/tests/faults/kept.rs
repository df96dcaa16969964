//! Metadata that was said to be kept, after power cuts on real file systems. `SUBLOG_META_CUTS=<n>` makes that many on each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};
use sublog_storage::disk::sim::Chance;
use sublog_storage::{ConsumerBatch, Definition, Meta};

use crate::common::{env, report, skipped};
use crate::machine::{Fs, Volume, in_namespace, is_inside, missing};

const DIR: &str = "SUBLOG_FAULTS_META_DIR";
const BUG: &str = "SUBLOG_FAULTS_META_BUG";
/// Longer than the store's log takes: it has a file of its own.
const LARGE_BYTES: usize = 600 << 10;

fn definition(n: u64) -> Definition {
    let len = if n % 40 == 7 { LARGE_BYTES } else { 100 + usize::try_from(n % 7).unwrap() * 300 };
    Definition { name: format!("D{n:06}"), created_ns: i64::try_from(n).unwrap(), body: vec![n.to_le_bytes()[0]; len] }
}

/// Not a test: keeps definitions one after the other, and a position that changes with each, and says what is kept.
#[test]
fn main_of_the_keeper() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    #[cfg(feature = "planted-bugs")]
    if std::env::var_os(BUG).is_some() {
        sublog_storage::planted::plant_everywhere(sublog_storage::planted::Bug::BelieveStoreFlush);
    }
    println!();
    let meta = Meta::open(&dir).unwrap();
    let kept = u64::try_from(meta.definitions().len()).unwrap();
    for n in kept.. {
        if meta.put_definition(&definition(n)).is_err() {
            return;
        }
        say(&format!("kept {n}\n"));
        let mut batch = ConsumerBatch::default();
        batch.put_position("S", "C", &n).unwrap();
        if meta.write_consumers(batch).is_err() {
            return;
        }
        say(&format!("at {n}\n"));
    }
}

fn say(line: &str) {
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

#[derive(Debug, Default)]
struct Counts {
    cuts: u64,
    kept: u64,
    lost: u64,
    corrupt: u64,
}

fn cut(fs: Fs, cuts: u64, bug: Option<&str>) -> Counts {
    let mut volume = Volume::make(fs, 256);
    let mut chance = Chance::new(env("SUBLOG_FAULTS_SEED", u64::from(std::process::id())));
    let mut counts = Counts::default();
    while counts.cuts < cuts && (bug.is_none() || counts.lost == 0) {
        let dir = volume.root().join("meta");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kept::main_of_the_keeper", "--nocapture", "--test-threads=1"]);
        command.env(DIR, &dir).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(bug) = bug {
            command.env(BUG, bug);
        }
        let mut keeper = command.spawn().unwrap();
        let mut lines = BufReader::new(keeper.stdout.take().unwrap()).lines();
        volume.arm();
        let (mut kept, mut at) = (None, None);
        let wanted = 1 + chance.below(60);
        let mut said = 0;
        // Read to the last word before the power goes; what is said while it goes is not believed (see `cuts.rs`).
        while said < wanted {
            let line = lines.next().expect("the keeper goes on").unwrap();
            let n = line.split_once(' ').and_then(|(_, n)| n.parse::<u64>().ok());
            match line.split_once(' ').map(|(what, _)| what) {
                Some("kept") => kept = n,
                Some("at") => at = n,
                _ => continue,
            }
            said += 1;
        }
        volume.cut_power();
        keeper.kill().unwrap();
        keeper.wait().unwrap();
        volume.unmount();
        volume.mount();
        counts.cuts += 1;
        let meta = Meta::open(&dir).unwrap();
        let found = meta.definitions();
        for n in 0..kept.map_or(0, |kept| kept + 1) {
            counts.kept += 1;
            match found.get(usize::try_from(n).unwrap()) {
                None => counts.lost += 1,
                Some(Ok(held)) if *held == definition(n) => {}
                Some(_) => counts.corrupt += 1,
            }
        }
        let position: Option<u64> = meta.position("S", "C").unwrap();
        counts.lost += u64::from(position < at);
    }
    volume.unmount();
    counts
}

fn power_cuts(fs: Fs, test: &str) {
    let what = format!("metadata, power cuts on {}", fs.name());
    if !is_inside(test)
        && let Some(why) = missing(fs, true)
    {
        return skipped("G1", &what, &why);
    }
    in_namespace(test, &[], || {
        let counts = cut(fs, env("SUBLOG_META_CUTS", 8), None);
        let failures = counts.lost + counts.corrupt;
        let Counts { cuts, kept, lost, corrupt } = counts;
        report("G1", &what, &format!("{cuts} cuts, {kept} values checked; lost {lost}, corrupt {corrupt}"), failures);
        assert_eq!(failures, 0, "{counts:?}");
        assert!(kept > 0, "{counts:?}");
    });
}

#[test]
fn metadata_outlives_power_cuts_on_ext4() {
    power_cuts(Fs::Ext4, "kept::metadata_outlives_power_cuts_on_ext4");
}

#[test]
fn metadata_outlives_power_cuts_on_xfs() {
    power_cuts(Fs::Xfs, "kept::metadata_outlives_power_cuts_on_xfs");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_store_that_is_believed_is_caught() {
    let test = "kept::a_store_that_is_believed_is_caught";
    if !is_inside(test)
        && let Some(why) = missing(Fs::Ext4, true)
    {
        return skipped("G1", "planted: the metadata store is believed", &why);
    }
    in_namespace(test, &[], || {
        let counts = cut(Fs::Ext4, 40, Some("believed"));
        assert!(counts.lost > 0, "{counts:?}");
        let caught = format!("caught after {} cuts", counts.cuts);
        report("G1", "planted: the metadata store is believed", &caught, 0);
    });
}
