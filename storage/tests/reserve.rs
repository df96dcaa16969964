//! The space kept aside for removals: they work on a full disk, with it given up; then there is room, the log goes on, and
//! the space is taken again. And what is acknowledged on a full disk outlives a power cut at any call.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::SimDisk;
use sublog_storage::{
    Committer, Health, Log, LogError, LogOptions, Next, NoObserver, RecordBatch, Removed, Reserve, Visit,
};

const BYTES: u64 = 64 << 10;

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn open(disk: &SimDisk, reserve: Option<&Arc<Reserve>>) -> (Log, Committer) {
    let options = LogOptions {
        segment_bytes_first: 8 << 10,
        segment_bytes_max: 16 << 10,
        reserve: reserve.cloned(),
        ..LogOptions::default()
    };
    let (log, committer, report) = Log::open_stepped(disk.shared(), dir(), options, Arc::new(NoObserver)).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    (log, committer)
}

fn reserve(disk: &SimDisk) -> Arc<Reserve> {
    Arc::new(Reserve::new(disk.shared(), Path::new("/sim"), BYTES))
}

fn used(disk: &SimDisk) -> u64 {
    disk.set_space(u64::MAX);
    u64::MAX - disk.free_space(dir()).unwrap()
}

fn settle(committer: &mut Committer, now: &mut Duration) {
    for _ in 0..3 {
        *now += Duration::from_millis(300);
        while committer.step(*now) == Next::Now {}
    }
}

fn publish(log: &Log, committer: &mut Committer, now: &mut Duration) -> Result<u64, ()> {
    let mut batch = RecordBatch::new();
    batch.push(0, b"s", b"", &[7; 60]).unwrap();
    let seq = log.append(&mut batch).map_err(|_| ())?.last_seq;
    let failed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&failed);
    log.when_committed(seq, Box::new(move |result| told.store(result.is_err(), Ordering::SeqCst)));
    settle(committer, now);
    if failed.load(Ordering::SeqCst) { Err(()) } else { Ok(seq) }
}

fn remove(
    log: &Log,
    committer: &mut Committer,
    now: &mut Duration,
    ranges: Vec<(u64, u64)>,
) -> Result<Removed, LogError> {
    let (tell, told) = std::sync::mpsc::channel();
    log.remove(ranges, Box::new(move |result| tell.send(result).unwrap()));
    settle(committer, now);
    told.try_recv().unwrap()
}

fn numbers(log: &Log) -> Vec<u64> {
    let mut seqs = Vec::new();
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            if let Visit::Record(record) = visit {
                seqs.push(record.seq);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    seqs
}

/// A log on a disk without a byte to spare, and its last number.
fn full(disk: &SimDisk, reserve: Option<&Arc<Reserve>>, records: u64, now: &mut Duration) -> (Log, Committer, u64) {
    let (log, mut committer) = open(disk, reserve);
    let mut last = 0;
    for _ in 0..records {
        last = publish(&log, &mut committer, now).unwrap();
    }
    let full = used(disk);
    disk.set_space(full);
    while let Ok(seq) = publish(&log, &mut committer, now) {
        last = seq;
    }
    assert!(matches!(log.state().health, Health::Full(_)));
    // What a segment that was begun and given up left.
    let full = used(disk);
    disk.set_space(full);
    (log, committer, last)
}

#[test]
fn removing_works_on_a_full_disk_and_makes_room() {
    for first in [true, false] {
        let disk = SimDisk::new(1);
        let kept = reserve(&disk);
        assert!(kept.is_held());
        let mut now = Duration::ZERO;
        if !first {
            // There is a journal already, without room in it for what comes.
            let (log, mut committer) = open(&disk, Some(&kept));
            for _ in 0..10 {
                publish(&log, &mut committer, &mut now).unwrap();
            }
            remove(&log, &mut committer, &mut now, vec![(1, 3)]).unwrap();
        }
        let (log, mut committer, last) = full(&disk, Some(&kept), if first { 100 } else { 2000 }, &mut now);
        // One by one, until what is reserved in the journal is used up.
        let mut removed = 0;
        let mut seq = 4;
        while kept.is_held() {
            assert!(seq < last);
            removed += remove(&log, &mut committer, &mut now, vec![(seq, seq)]).unwrap().messages;
            seq += 2;
        }
        assert_eq!(removed == 1, first);
        let held = numbers(&log);
        drop((log, committer));
        disk.crash();
        let (log, mut committer) = open(&disk, Some(&kept));
        assert_eq!(numbers(&log), held);
        // Whole segments go, and the log goes on by itself.
        remove(&log, &mut committer, &mut now, vec![(1, last / 2)]).unwrap();
        for _ in 0..6 {
            log.maintain().unwrap();
            settle(&mut committer, &mut now);
        }
        assert!(log.state().health.is_ok(), "{:?}", log.state().health);
        publish(&log, &mut committer, &mut now).unwrap();
        // And with room enough the reserve is there again.
        disk.set_space(u64::MAX);
        log.maintain().unwrap();
        assert!(kept.is_held());
        assert!(disk.list(Path::new("/sim")).unwrap().contains(&"reserve".to_owned()));
        assert!(Reserve::new(disk.shared(), Path::new("/sim"), BYTES).is_held());
    }
}

#[test]
fn without_it_the_first_removal_finds_no_room() {
    let disk = SimDisk::new(2);
    let mut now = Duration::ZERO;
    let (log, mut committer, _) = full(&disk, None, 100, &mut now);
    remove(&log, &mut committer, &mut now, vec![(4, 4)]).unwrap_err();
    assert!(numbers(&log).contains(&4));
}

#[test]
fn a_disk_that_is_full_already_keeps_nothing_aside() {
    let disk = SimDisk::new(3);
    disk.set_space(BYTES);
    let kept = reserve(&disk);
    assert!(!kept.is_held() && !kept.give_up());
    assert!(disk.list(Path::new("/sim")).unwrap().is_empty());
    disk.set_space(3 * BYTES);
    kept.make_room(1);
    kept.remake();
    assert!(kept.is_held());
    kept.make_room(2 * BYTES + 1);
    assert!(!kept.is_held());
}

#[test]
fn a_removal_on_a_full_disk_is_as_durable_as_any() {
    for k in 1..30 {
        let disk = SimDisk::new(k);
        let kept = reserve(&disk);
        let mut now = Duration::ZERO;
        let (log, mut committer, last) = full(&disk, Some(&kept), 100, &mut now);
        disk.snapshot_before(k);
        remove(&log, &mut committer, &mut now, vec![(5, 9)]).unwrap();
        let snapshot = disk.take_snapshot(k);
        drop((log, committer));
        disk.crash();
        let all: Vec<u64> = (1..=last).collect();
        let left: Vec<u64> = all.iter().copied().filter(|seq| !(5..=9).contains(seq)).collect();
        assert_eq!(numbers(&open(&disk, None).0), left, "{k}");
        if let Some(other) = snapshot {
            other.crash();
            other.set_space(u64::MAX);
            let found = numbers(&open(&other, None).0);
            assert!(found == all || found == left, "{k}: {found:?}");
        }
    }
}

/// The journal that a dead process left is made durable where it is, if there is no room for another.
#[test]
fn a_full_disk_does_not_keep_a_log_with_removals_from_opening() {
    let mut cuts = 0;
    for k in 1..40 {
        let disk = SimDisk::new(k);
        let mut now = Duration::ZERO;
        let (log, mut committer) = open(&disk, None);
        for _ in 0..10 {
            publish(&log, &mut committer, &mut now).unwrap();
        }
        remove(&log, &mut committer, &mut now, vec![(1, 3)]).unwrap();
        drop((log, committer));
        disk.kill();
        let (log, mut committer, _) = full(&disk, None, 700, &mut now);
        remove(&log, &mut committer, &mut now, vec![(7, 9)]).unwrap();
        let held = numbers(&log);
        // One that may be torn: it takes several sectors.
        let odd = |seq: &u64| *seq >= 11 && *seq < 600 && seq % 2 == 1;
        log.remove((11..600).filter(odd).map(|seq| (seq, seq)).collect(), Box::new(|_| {}));
        disk.snapshot_before(1 + k % 4);
        settle(&mut committer, &mut now);
        let torn = disk.take_snapshot(k);
        drop((log, committer));
        for disk in [Some(disk), torn].into_iter().flatten() {
            disk.crash();
            let bytes = used(&disk);
            disk.set_space(bytes);
            disk.snapshot_before(1 + k % 8);
            let found = numbers(&open(&disk, None).0);
            assert!(found.iter().eq(held.iter().filter(|seq| !odd(seq))) || found == held, "{k}: {found:?}");
            let Some(other) = disk.take_snapshot(k) else { continue };
            other.crash();
            assert_eq!(numbers(&open(&other, None).0), found, "{k}");
            cuts += 1;
        }
    }
    assert!(cuts > 10);
}
