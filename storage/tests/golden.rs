//! A log of each format version, as it was written when that was fixed, must open for ever.
//!
//! `SUBLOG_WRITE_GOLDEN=1` writes the newest anew; only ever done for a new version, in a new folder.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, mpsc};

use sublog_storage::{
    Codec, Log, LogOptions, NoObserver, RealDisk, RecordBatch, RewriteStep, Visit, WallClock, inspect, verify,
};

const RECORDS: u64 = 120;
/// In versions 2 and 3.
const RECORDS_2: u64 = 165;

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

/// Left out of the packed segments of versions 2 and 3.
fn is_removed(seq: u64) -> bool {
    seq.is_multiple_of(4) || (50..56).contains(&seq)
}

fn record(i: u64) -> (i64, String, Vec<u8>, String) {
    let ts = 1_700_000_000_000_000_000 + i64::try_from(i).unwrap();
    let headers = if i.is_multiple_of(3) { b"NATS/1.0\r\nK: v\r\n\r\n".to_vec() } else { Vec::new() };
    (ts, format!("golden.{}", i % 5), headers, format!("payload {i} {}", "-".repeat((i % 60) as usize)))
}

/// In version 3: when a record expires, in the year 2182.
fn expires_at_ns(i: u64) -> Option<i64> {
    i.is_multiple_of(7).then(|| record(i).0 + 5_000_000_000_000_000_000)
}

fn open(dir: &Path) -> Log {
    open_at(dir, WallClock::System)
}

fn open_at(dir: &Path, clock: WallClock) -> Log {
    let options = LogOptions {
        segment_bytes_first: 8 << 10,
        segment_bytes_max: 8 << 10,
        block_bytes: 900,
        clock,
        ..LogOptions::default()
    };
    Log::open(RealDisk::shared(), dir, options, Arc::new(NoObserver)).unwrap().0
}

fn write(dir: &Path) {
    let log = open(dir);
    let mut i = 1;
    while i <= RECORDS_2 {
        let mut batch = RecordBatch::new();
        for _ in 0..(1 + i % 4).min(RECORDS_2 + 1 - i) {
            let (ts, subject, headers, payload) = record(i);
            match expires_at_ns(i) {
                Some(at) => batch.push_expiring(ts, subject.as_bytes(), &headers, payload.as_bytes(), at).unwrap(),
                None => batch.push(ts, subject.as_bytes(), &headers, payload.as_bytes()).unwrap(),
            }
            i += 1;
        }
        let appended = log.append(&mut batch).unwrap();
        let (tell, told) = mpsc::channel();
        log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result).unwrap()));
        told.recv().unwrap().unwrap();
    }
    // The first as it is, the second and third into one, the open one and the one before it as they are.
    let segments = log.segments();
    assert!(segments.len() >= 5, "{segments:?}");
    for (first_seq, count, codec) in [(segments[1].first_seq, 1, Codec::None), (segments[2].first_seq, 2, Codec::Zstd)]
    {
        let mut rewrite = log.rewrite(first_seq, count, codec, Arc::new(is_removed));
        while matches!(rewrite.step(1 << 20).unwrap(), RewriteStep::Working { .. }) {}
    }
    log.close().unwrap();
}

/// Opening writes to LOCK: a copy is opened.
fn copy_of(version: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(version)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

/// All records, each as it was written.
fn read(log: &Log) -> Vec<u64> {
    let mut seqs = Vec::new();
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            let Visit::Record(found) = visit else { panic!("{visit:?}") };
            let (ts, subject, headers, payload) = record(found.seq);
            assert_eq!(found.ts_ns, ts);
            assert_eq!((found.subject, found.headers), (subject.as_bytes(), headers.as_slice()));
            assert_eq!(found.payload, payload.as_bytes());
            seqs.push(found.seq);
            ControlFlow::Continue(())
        })
        .unwrap();
    seqs
}

#[test]
fn version_1_still_opens() {
    let dir = copy_of("v1");
    for report in [inspect(dir.path()).unwrap(), verify(dir.path(), &mut |_| {}).unwrap()] {
        assert!(report.is_sound() && report.clean && report.strangers.is_empty(), "{report:?}");
        assert_eq!(report.segments.iter().map(|segment| segment.messages).sum::<u64>(), RECORDS);
        assert!(report.segments.len() > 1 && report.segments[0].sealed && report.segments[0].footer_ok);
    }
    let log = open(dir.path());
    assert_eq!(read(&log), (1..=RECORDS).collect::<Vec<_>>());
    assert_eq!(log.seek_time(record(77).0).unwrap(), 77);
}

#[test]
fn a_log_of_version_1_is_continued_and_rewritten() {
    let dir = copy_of("v1");
    let log = open(dir.path());
    let segments = log.segments();
    let mut rewrite = log.rewrite(1, segments.len() - 1, Codec::Zstd, Arc::new(is_removed));
    while matches!(rewrite.step(1 << 20).unwrap(), RewriteStep::Working { .. }) {}
    let last = segments.last().unwrap().first_seq;
    let expected: Vec<u64> = (1..=RECORDS).filter(|&seq| seq >= last || !is_removed(seq)).collect();
    assert_eq!(read(&log), expected);
    log.close().unwrap();
    assert_eq!(read(&open(dir.path())), expected);
}

/// A log as [`write`] wrote it.
fn opens(version: &str) -> (tempfile::TempDir, Vec<u64>) {
    let dir = copy_of(version);
    let mut expected = Vec::new();
    for report in [inspect(dir.path()).unwrap(), verify(dir.path(), &mut |_| {}).unwrap()] {
        assert!(report.is_sound() && report.clean && report.strangers.is_empty(), "{report:?}");
        let codecs: Vec<Option<Codec>> = report.segments.iter().map(|segment| segment.packed).collect();
        assert_eq!(codecs, [None, Some(Codec::None), Some(Codec::Zstd), None]);
        assert!(report.segments.iter().take(3).all(|segment| segment.sealed && segment.footer_ok));
        let packed = report.segments[1].first_seq..=report.segments[2].last_seq;
        expected = (1..=RECORDS_2).filter(|seq| !packed.contains(seq) || !is_removed(*seq)).collect();
        assert_eq!(report.segments.iter().map(|segment| segment.messages).sum::<u64>(), expected.len() as u64);
    }
    let log = open(dir.path());
    assert_eq!(read(&log), expected);
    let found = log.seek_time(record(52).0).unwrap();
    assert_eq!(Some(&found), expected.iter().find(|&&seq| seq >= 52));
    log.close().unwrap();
    (dir, expected)
}

#[test]
fn version_2_still_opens() {
    opens("v2");
}

#[test]
fn version_2_goes_on_with_records_that_expire() {
    let (dir, mut expected) = opens("v2");
    let log = open(dir.path());
    let segments = log.segments().len();
    for expires_at_ns in [i64::MAX, 1] {
        let mut batch = RecordBatch::new();
        let (ts, subject, headers, payload) = record(log.readable_seq() + 1);
        batch.push_expiring(ts, subject.as_bytes(), &headers, payload.as_bytes(), expires_at_ns).unwrap();
        log.append(&mut batch).unwrap();
        log.sync_now().unwrap();
    }
    // Not in a segment of a version that does not know of them.
    assert_eq!(log.segments().len(), segments + 1);
    expected.push(RECORDS_2 + 1);
    assert_eq!(read(&log), expected);
    log.close().unwrap();
    assert_eq!(read(&open(dir.path())), expected);
}

#[test]
fn version_3_still_opens() {
    if std::env::var_os("SUBLOG_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden("v3")).unwrap();
        write(&golden("v3"));
    }
    let (dir, expected) = opens("v3");
    let log = open(dir.path());
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            let Visit::Record(found) = visit else { panic!("{visit:?}") };
            assert_eq!(found.expires_at_ns, expires_at_ns(found.seq));
            ControlFlow::Continue(())
        })
        .unwrap();
    log.close().unwrap();
    // When all of those are past their time, the others are there.
    let log = open_at(dir.path(), WallClock::Given(Arc::new(AtomicI64::new(i64::MAX))));
    let stay: Vec<u64> = expected.into_iter().filter(|&seq| expires_at_ns(seq).is_none()).collect();
    assert_eq!(read(&log), stay);
}
