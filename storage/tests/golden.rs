//! A log of format version 1, as it was written when the format was fixed, must open for ever.
//!
//! `SUBLOG_WRITE_GOLDEN=1` writes it anew; only ever done for a new version, in a new folder.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use sublog_storage::{Log, LogOptions, NoObserver, RealDisk, RecordBatch, Visit, inspect, verify};

const RECORDS: u64 = 120;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn record(i: u64) -> (i64, String, Vec<u8>, String) {
    let ts = 1_700_000_000_000_000_000 + i64::try_from(i).unwrap();
    let headers = if i.is_multiple_of(3) { b"NATS/1.0\r\nK: v\r\n\r\n".to_vec() } else { Vec::new() };
    (ts, format!("golden.{}", i % 5), headers, format!("payload {i} {}", "-".repeat((i % 60) as usize)))
}

fn open(dir: &Path) -> Log {
    let options = LogOptions { segment_bytes_first: 8 << 10, segment_bytes_max: 8 << 10, ..LogOptions::default() };
    Log::open(RealDisk::shared(), dir, options, Arc::new(NoObserver)).unwrap().0
}

fn write(dir: &Path) {
    let log = open(dir);
    let mut i = 1;
    while i <= RECORDS {
        let mut batch = RecordBatch::new();
        for _ in 0..(1 + i % 4).min(RECORDS + 1 - i) {
            let (ts, subject, headers, payload) = record(i);
            batch.push(ts, subject.as_bytes(), &headers, payload.as_bytes()).unwrap();
            i += 1;
        }
        let appended = log.append(&mut batch).unwrap();
        let (tell, told) = mpsc::channel();
        log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result).unwrap()));
        told.recv().unwrap().unwrap();
    }
    log.close().unwrap();
}

#[test]
fn version_1_still_opens() {
    if std::env::var_os("SUBLOG_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden()).unwrap();
        write(&golden());
    }
    // Opening writes to LOCK: a copy is opened.
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    for report in [inspect(dir.path()).unwrap(), verify(dir.path(), &mut |_| {}).unwrap()] {
        assert!(report.is_sound() && report.clean && report.strangers.is_empty(), "{report:?}");
        assert_eq!(report.segments.iter().map(|segment| segment.messages).sum::<u64>(), RECORDS);
        assert!(report.segments.len() > 1 && report.segments[0].sealed && report.segments[0].footer_ok);
    }
    let log = open(dir.path());
    let mut next = 1;
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            let Visit::Record(found) = visit else { panic!("{visit:?}") };
            let (ts, subject, headers, payload) = record(next);
            assert_eq!(found.seq, next);
            assert_eq!(found.ts_ns, ts);
            assert_eq!((found.subject, found.headers), (subject.as_bytes(), headers.as_slice()));
            assert_eq!(found.payload, payload.as_bytes());
            next += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(next, RECORDS + 1);
    assert_eq!(log.seek_time(record(77).0).unwrap(), 77);
}
