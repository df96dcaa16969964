//! Each planted mistake must be caught by the exploration that finds nothing in the honest code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::SimDisk;
use sublog_storage::planted::{Bug, plant};
use sublog_storage::{Log, LogOptions, Next, NoObserver, RecordBatch, SyncMode};

use super::explore::{Kind, explore};
use super::lean::states_lost_after_a_change_of_mode;
use super::model::{Broken, Counts};

const ALWAYS: Kind = Kind { sync: SyncMode::Always, faults: false, removals: false, rewrites: false, lean: false };
const FAULTY: Kind = Kind { faults: true, ..ALWAYS };
const WEAK: Kind = Kind { sync: SyncMode::Interval(Duration::from_millis(100)), ..ALWAYS };
const REMOVING: Kind = Kind { removals: true, ..ALWAYS };
const REMOVING_WEAK: Kind = Kind { removals: true, ..WEAK };
const REWRITING: Kind = Kind { removals: true, rewrites: true, ..ALWAYS };
const LEAN: Kind = Kind { lean: true, ..ALWAYS };
const LEAN_WEAK: Kind = Kind { lean: true, ..WEAK };

/// The first broken promise within a number of lives, and how many states it took.
fn first_broken(bug: Option<Bug>, kind: Kind, lives: u64) -> Option<(Broken, u64)> {
    plant(bug);
    let mut counts = Counts::default();
    let found = (1..=lives).find_map(|seed| explore(seed, kind, 6, &mut counts).err());
    plant(None);
    found.map(|broken| (broken, counts.states))
}

#[track_caller]
fn assert_caught(bug: Bug, kind: Kind) {
    // The same seeds without the mistake: what is caught is the mistake.
    assert_eq!(first_broken(None, kind, 40), None);
    match first_broken(Some(bug), kind, 2000) {
        Some((broken, states)) => println!("{bug:?} caught after {states} states: {broken:?}"),
        None => panic!("{bug:?} was not caught"),
    }
}

#[test]
fn acknowledging_before_the_sync_is_caught() {
    assert_caught(Bug::AckBeforeSync, ALWAYS);
}

#[test]
fn forgetting_the_folder_is_caught() {
    assert_caught(Bug::NoDirSync, ALWAYS);
}

#[test]
fn retrying_a_failed_sync_is_caught() {
    assert_caught(Bug::RetryFailedSync, FAULTY);
}

#[test]
fn serving_an_unsynced_tail_is_caught() {
    assert_caught(Bug::NoTailSync, ALWAYS);
}

#[test]
fn giving_numbers_out_again_is_caught() {
    assert_caught(Bug::ReuseNumbers, WEAK);
}

#[test]
fn acknowledging_a_removal_before_the_sync_is_caught() {
    assert_caught(Bug::RemovalNotSynced, REMOVING);
}

#[test]
fn unlinking_a_dead_segment_too_early_is_caught() {
    assert_caught(Bug::UnlinkBeforeJournal, REMOVING_WEAK);
}

#[test]
fn trusting_a_stale_index_is_caught() {
    assert_caught(Bug::TrustStaleIndex, ALWAYS);
}

#[test]
fn naming_a_packed_segment_before_its_sync_is_caught() {
    assert_caught(Bug::RenameBeforeSync, REWRITING);
}

#[test]
fn removing_originals_before_the_rename_is_caught() {
    assert_caught(Bug::UnlinkBeforeRename, REWRITING);
}

#[test]
fn writing_under_a_clean_mark_is_caught() {
    assert_caught(Bug::WriteUnderCleanMark, LEAN_WEAK);
}

#[test]
fn closing_a_file_before_its_sync_is_caught() {
    assert_caught(Bug::CloseUnsynced, LEAN);
}

#[test]
fn believing_any_clean_mark_is_caught() {
    assert_eq!(states_lost_after_a_change_of_mode().1, 0);
    plant(Some(Bug::BelieveAnyCleanMark));
    let (states, lost) = states_lost_after_a_change_of_mode();
    plant(None);
    assert!(lost > 0, "BelieveAnyCleanMark was not caught");
    println!("BelieveAnyCleanMark caught: {lost} of {states} states");
}

/// Damage below the watermark of the open segment, every byte of it in turn: how many other records it took.
fn records_lost_to_one_byte(bug: Option<Bug>) -> u64 {
    let dir = Path::new("/sim/log");
    let options = LogOptions { segment_bytes_first: 16 << 10, zero_ahead_bytes: 0, ..LogOptions::default() };
    let disk = SimDisk::new(7);
    let (log, mut committer, _) = Log::open_stepped(disk.shared(), dir, options.clone(), Arc::new(NoObserver)).unwrap();
    for i in 0..12_u8 {
        let mut batch = RecordBatch::new();
        batch.push(0, b"s", b"", &[i; 40]).unwrap();
        let appended = log.append(&mut batch).unwrap();
        log.when_committed(appended.last_seq, Box::new(|_| {}));
        while committer.step(Duration::ZERO) == Next::Now {}
    }
    drop((log, committer));
    disk.kill();
    let names = disk.list(dir).unwrap();
    let segment: PathBuf = dir.join(names.iter().find(|name| name.ends_with(".seg")).unwrap());
    plant(bug);
    let mut worst = 0;
    // The frames of records 3 to 5: 64 bytes of header, 61 of record, 8 of directory each.
    for byte in 4096 + 2 * 133..4096 + 5 * 133_u64 {
        let other = disk.fork(byte);
        other.flip_bit(&segment, byte * 8);
        other.flip_bit(&segment, byte * 8 + 1);
        let (log, _committer, _) =
            Log::open_stepped(other.shared(), dir, options.clone(), Arc::new(NoObserver)).unwrap();
        worst = worst.max(12 - log.state().messages.min(12));
    }
    plant(None);
    worst
}

#[test]
fn truncating_in_the_middle_is_caught() {
    assert_eq!(records_lost_to_one_byte(None), 1);
    let worst = records_lost_to_one_byte(Some(Bug::TruncateInMiddle));
    assert!(worst > 1, "truncation lost only {worst}");
    println!("TruncateInMiddle caught: {worst} of 12 records lost to one byte");
}
