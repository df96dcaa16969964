//! A log that begins at a number of its owner's choice: whenever it is opened before there is a record, and never after.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use sublog_storage::disk::sim::SimDisk;
use sublog_storage::{
    CommitPool, Log, LogOptions, NoObserver, OpenError, Purge, RealDisk, RecordBatch, SyncMode, Visit,
};

const FIRST: u64 = 1000;

fn options(first_seq: u64) -> LogOptions {
    LogOptions { first_seq, segment_bytes_first: 16 << 10, segment_bytes_max: 16 << 10, ..LogOptions::default() }
}

fn append(log: &Log, count: usize) -> u64 {
    let mut batch = RecordBatch::new();
    for _ in 0..count {
        batch.push(1, b"s", b"", &[7; 100]).unwrap();
    }
    let appended = log.append(&mut batch).unwrap();
    log.sync_now().unwrap();
    appended.first_seq
}

fn numbers(log: &Log) -> Vec<u64> {
    let mut found = Vec::new();
    let mut see = |visit: Visit<'_>| {
        let Visit::Record(record) = visit else { panic!("{visit:?}") };
        found.push(record.seq);
        ControlFlow::Continue(())
    };
    log.reader().visit(usize::MAX, &mut see).unwrap();
    let mut backward = Vec::new();
    let mut see = |visit: Visit<'_>| {
        let Visit::Record(record) = visit else { panic!("{visit:?}") };
        backward.push(record.seq);
        ControlFlow::Continue(())
    };
    log.reader().visit_backward(u64::MAX, &mut see).unwrap();
    backward.reverse();
    assert_eq!(found, backward);
    found
}

#[test]
fn it_begins_there_after_any_number_of_openings() {
    let dir = tempfile::tempdir().unwrap();
    let pool = CommitPool::new(1).unwrap();
    for pooled in [true, false] {
        let dir = dir.path().join(if pooled { "pooled" } else { "alone" });
        let open = |first_seq| {
            let (disk, observer) = (Arc::new(RealDisk), Arc::new(NoObserver));
            let opened = match pooled {
                true => Log::open_pooled(&pool, disk, &dir, options(first_seq), observer),
                false => Log::open(disk, &dir, options(first_seq), observer),
            };
            let (log, report) = opened.unwrap();
            assert!(report.damage.is_empty() && report.skipped.is_none(), "{report:?}");
            log
        };
        for _ in 0..3 {
            let log = open(FIRST);
            let state = log.state();
            assert_eq!((state.first_seq, state.last_seq, state.messages), (FIRST, FIRST - 1, 0));
            assert_eq!((log.first_seq(), log.oldest_seq()), (FIRST, FIRST));
            assert_eq!(numbers(&log), []);
            log.close().unwrap();
        }
        let log = open(FIRST);
        assert_eq!(append(&log, 300), FIRST);
        assert_eq!(numbers(&log), (FIRST..FIRST + 300).collect::<Vec<_>>());
        assert_eq!(log.seek_time(0).unwrap(), FIRST);
        log.close().unwrap();
        // It is what it is, whatever is said now.
        for first_seq in [FIRST, 1, 5000] {
            let log = open(first_seq);
            assert_eq!(numbers(&log), (FIRST..FIRST + 300).collect::<Vec<_>>());
            log.close().unwrap();
        }
        let log = open(FIRST);
        assert_eq!(log.purge_now(Purge::default()).unwrap().messages, 300);
        log.close().unwrap();
        let log = open(FIRST);
        assert_eq!(append(&log, 1), FIRST + 300, "what was removed does not make its numbers free");
        assert_eq!(numbers(&log), [FIRST + 300]);
        log.close().unwrap();
        assert!(sublog_storage::verify(&dir, &mut |_| {}).unwrap().damage.is_empty());
    }
}

#[test]
fn a_crash_before_the_first_record_changes_nothing() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let dir = Path::new("/sim/log");
        for _ in 0..3 {
            let opened = Log::open_stepped(disk.shared(), dir, options(FIRST), Arc::new(NoObserver));
            let (log, mut committer, report) = opened.unwrap();
            assert!(report.damage.is_empty(), "{report:?}");
            committer.step(std::time::Duration::ZERO);
            let mut batch = RecordBatch::new();
            batch.push(1, b"s", b"", b"lost").unwrap();
            assert_eq!(log.append(&mut batch).unwrap().first_seq, FIRST, "seed {seed}");
            drop((log, committer));
            disk.crash();
        }
    }
}

#[test]
fn there_is_room_behind_it() {
    let disk = SimDisk::new(1);
    for (first_seq, taken) in [(0, false), (1, true), (1 << 62, true), ((1 << 62) + 1, false)] {
        let options = LogOptions { sync: SyncMode::Os, ..options(first_seq) };
        let opened =
            Log::open_stepped(disk.shared(), Path::new(&format!("/{first_seq}")), options, Arc::new(NoObserver));
        match opened {
            Ok(_) => assert!(taken, "{first_seq}"),
            Err(error) => assert!(!taken && matches!(error, OpenError::BadOptions(_)), "{first_seq}: {error}"),
        }
    }
}
