//! Where the newest records of some subjects begin: as a plain list says, and without reading what the index knows.
//!
//! `SUBLOG_LATEST_RECORDS=<n>` makes the large log of the last test that large, which prints what was read and how long it took.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and tells how long it took"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sublog_storage::disk::sim::{Chance, SimDisk};
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Log, LogOptions, Next, NoObserver, RealDisk, RecordBatch, SyncMode};

fn filter(text: &str) -> FilterSet {
    FilterSet::from(SubjectFilter::parse(text.as_bytes()).unwrap())
}

fn latest(log: &Log, text: &str, count: u64) -> (u64, u64) {
    let mut latest = log.latest(filter(text), count);
    loop {
        if let Some(from) = latest.step(64 << 10).unwrap() {
            return (from, latest.bytes_looked_at());
        }
    }
}

#[test]
fn the_start_is_where_a_plain_list_has_it() {
    for seed in 0..12 {
        let mut chance = Chance::new(seed);
        let disk = SimDisk::new(seed);
        let options = LogOptions {
            segment_bytes_first: 64 << 10,
            segment_bytes_max: 64 << 10,
            index_piece_subjects: 40,
            ..LogOptions::default()
        };
        let (log, mut committer, _) =
            Log::open_stepped(disk.shared(), Path::new("/sim/log"), options, Arc::new(NoObserver)).unwrap();
        let mut list: Vec<Option<String>> = Vec::new();
        for _ in 0..60 {
            let mut batch = RecordBatch::new();
            // A stretch in which one subject is frequent, and others are rare.
            let frequent = chance.below(3);
            for _ in 0..1 + chance.below(200) {
                let subject = match chance.below(100) {
                    0 => format!("rare.{}.x", chance.below(4)),
                    1..5 => format!("some.{}", chance.below(30)),
                    _ => format!("frequent.{frequent}.{}", chance.below(9)),
                };
                batch.push(0, subject.as_bytes(), b"", b"payload").unwrap();
                list.push(Some(subject));
            }
            log.append(&mut batch).unwrap();
            log.when_committed(list.len() as u64, Box::new(|result| result.unwrap()));
            while committer.step(Duration::ZERO) == Next::Now {}
            if chance.percent(40) {
                let first = 1 + chance.below(list.len() as u64);
                let last = (first + chance.below(150)).min(list.len() as u64);
                log.remove(vec![(first, last)], Box::new(|result| assert!(result.is_ok())));
                while committer.step(Duration::ZERO) == Next::Now {}
                list[usize::try_from(first - 1).unwrap()..usize::try_from(last).unwrap()].fill(None);
            }
            if chance.percent(20) {
                while log.maintain().unwrap().more {
                    while committer.step(Duration::ZERO) == Next::Now {}
                }
            }
        }
        for text in
            ["rare.*.x", "rare.2.*", "some.*", "some.>", "frequent.1.>", "frequent.*.3", ">", "*.1", "nothing.>"]
        {
            let matches = filter(text);
            let numbers: Vec<u64> = (1..)
                .zip(&list)
                .filter_map(|(seq, subject)| {
                    subject.as_ref().is_some_and(|subject| matches.matches(subject.as_bytes())).then_some(seq)
                })
                .collect();
            for count in [0, 1, 2, 7, 50, 1000, u64::MAX] {
                let skip = numbers.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
                let expected = numbers.get(skip).copied().unwrap_or(list.len() as u64 + 1);
                assert_eq!(latest(&log, text, count).0, expected, "seed {seed}: the last {count} of {text}");
            }
        }
    }
}

#[test]
fn a_rare_subject_is_found_without_reading_the_log() {
    let records: u64 = std::env::var("SUBLOG_LATEST_RECORDS").map_or(200_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        sync: SyncMode::Os,
        segment_bytes_first: 1 << 20,
        segment_bytes_max: 4 << 20,
        ..LogOptions::default()
    };
    let (log, _) = Log::open(Arc::new(RealDisk), dir.path(), options, Arc::new(NoObserver)).unwrap();
    let mut batch = RecordBatch::new();
    for i in 1..=records {
        // Four, far from the end.
        let rare = i % (records / 10) == 7 && i < records / 3;
        let subject = if rare { format!("site.{i}.alarm") } else { format!("job.{}.step", i % 5000) };
        batch.push(0, subject.as_bytes(), b"", &[b'p'; 100]).unwrap();
        if i % 1000 == 0 {
            log.append(&mut batch).unwrap();
            log.sync_now().unwrap();
        }
    }
    while log.maintain().unwrap().more {}
    let oldest = 7;
    let ask = |text: &str, count: u64| {
        let start = Instant::now();
        let (from, bytes) = latest(&log, text, count);
        println!("the last {count} of {text}: from {from}, {bytes} bytes read, {:?}", start.elapsed());
        (from, bytes)
    };
    let held = log.state().bytes;
    for (text, count) in [("site.*.alarm", 4), ("site.>", 100), ("*.*.alarm", 4)] {
        let (from, bytes) = ask(text, count);
        assert_eq!(from, oldest);
        // The end of the log is looked at anyway.
        assert!(bytes < held / 20, "{bytes} of {held}");
    }
    assert_eq!(ask("site.*.nothing", 1).0, records + 1);
    // Frequent ones are found where they are, without gathering what matches.
    let (from, bytes) = ask("job.>", 500);
    assert!(from == records - 499 && bytes < held / 20, "{from}, {bytes}");
    let mut reader = log.reader();
    let start = Instant::now();
    let mut looked_at = 0;
    reader
        .visit_backward(u64::MAX, &mut |_| {
            looked_at += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    println!("reading all {looked_at} records backwards: {:?}", start.elapsed());
}
