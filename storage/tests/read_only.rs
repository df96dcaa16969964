//! Logs read beside their owner, or after it: no lock, no change on disk, the same records.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sublog_storage::{
    Codec, Log, LogOptions, LostRange, LostReason, NoObserver, OpenError, ReadError, ReadOnlyLog, RealDisk,
    RecordBatch, RewriteStep, Visit,
};

fn small_segments() -> LogOptions {
    LogOptions { segment_bytes_first: 64 << 10, segment_bytes_max: 128 << 10, ..LogOptions::default() }
}

fn open_with(dir: &Path, options: LogOptions) -> Log {
    Log::open(RealDisk::shared(), dir, options, Arc::new(NoObserver)).unwrap().0
}

fn open(dir: &Path) -> Log {
    open_with(dir, small_segments())
}

fn look(dir: &Path) -> ReadOnlyLog {
    ReadOnlyLog::open(RealDisk::shared(), dir).unwrap()
}

fn payload(i: u64) -> String {
    format!("payload of {i} {}", "x".repeat((i % 397) as usize))
}

fn append(log: &Log, from: u64, n: u64) {
    let mut batch = RecordBatch::new();
    for i in from..from + n {
        batch.push(i64::try_from(i).unwrap() * 1000, b"t", b"", payload(i).as_bytes()).unwrap();
    }
    let appended = log.append(&mut batch).unwrap();
    assert_eq!(appended.first_seq, from);
    let (tell, told) = mpsc::channel();
    log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
}

/// Reads from a number to the end; the records must be what was appended.
fn read(log: &ReadOnlyLog, from: u64) -> Result<(Vec<u64>, Vec<LostRange>), ReadError> {
    let (mut seen, mut lost) = (Vec::new(), Vec::new());
    let mut reader = log.reader();
    reader.seek(from);
    reader.visit(usize::MAX, &mut |visit| {
        match visit {
            Visit::Record(record) => {
                assert_eq!(record.payload, payload(record.seq).as_bytes());
                seen.push(record.seq);
            }
            Visit::Lost(range) => lost.push(range),
        }
        ControlFlow::Continue(())
    })?;
    Ok((seen, lost))
}

/// Every file with its bytes and the time of its last change.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.clone(), (std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap())))
        .collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    snapshot(dir).into_keys().filter(|path| path.extension().is_some_and(|end| end == "seg")).collect()
}

#[test]
fn a_log_is_read_while_its_owner_has_it_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    // The owner writes nothing more once it has acknowledged: zeros ahead of small commits come after that.
    let log = open_with(dir.path(), LogOptions { zero_ahead_bytes: 0, ..small_segments() });
    append(&log, 1, 700);
    append(&log, 701, 300);
    let before = snapshot(dir.path());
    let other = look(dir.path());
    assert_eq!((other.oldest_seq(), other.readable_seq()), (1, 1000));
    assert_eq!(read(&other, 1).unwrap(), ((1..=1000).collect(), Vec::new()));
    assert_eq!(read(&other, 998).unwrap().0, [998, 999, 1000]);
    assert_eq!(other.seek_time(500_000).unwrap(), 500);
    assert!(other.report().damage.is_empty() && other.report().torn_at.is_none(), "{:?}", other.report());
    assert!(snapshot(dir.path()) == before, "reading changed the folder");
    // What comes later is not in it, and is in the next one.
    append(&log, 1001, 500);
    assert_eq!(read(&other, 1).unwrap().0.len(), 1000);
    assert_eq!(read(&look(dir.path()), 1).unwrap().0.len(), 1500);
    log.close().unwrap();
    let closed = look(dir.path());
    assert_eq!(read(&closed, 1).unwrap().0.len(), 1500);
    assert!(closed.report().clean);
}

#[test]
fn a_picture_stays_readable_while_its_last_segment_is_sealed_and_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 1, 20);
    let picture = look(dir.path());
    let reserved = segments(dir.path())[0].metadata().unwrap().len();
    for round in 0..10 {
        append(&log, 21 + round * 100, 100);
    }
    assert!(segments(dir.path()).len() > 2);
    assert!(segments(dir.path())[0].metadata().unwrap().len() < reserved, "it was not cut");
    assert_eq!(read(&picture, 1).unwrap(), ((1..=20).collect(), Vec::new()));
}

#[test]
fn readers_beside_a_busy_owner_see_whole_records_only() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 1, 10);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..400 {
                append(&log, 11 + round * 25, 25);
                if round % 10 == 9 {
                    log.remove_oldest().unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        let (mut next, mut pictures) = (1, 0);
        loop {
            let last_round = done.load(Ordering::Acquire);
            let picture = look(dir.path());
            pictures += 1;
            match read(&picture, next) {
                Ok((seen, lost)) => {
                    assert_eq!(lost, [], "after {pictures} pictures");
                    // Numbers follow on each other, but for what was removed before the first.
                    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1));
                    next = seen.last().map_or(next, |last| last.saturating_sub(50));
                }
                // Removed between the look and the read.
                Err(error) => assert!(error.is_not_found(), "{error}"),
            }
            if last_round {
                break;
            }
        }
        assert!(pictures > 3, "only {pictures} pictures");
        assert_eq!(read(&look(dir.path()), next).unwrap().0.last(), Some(&10_010));
    });
}

/// Packs a run of segments.
fn pack(log: &Log, first_seq: u64, segments: usize) {
    let mut rewrite = log.compact(first_seq, segments, Codec::Zstd);
    while let RewriteStep::Working { .. } = rewrite.step(64 << 10).unwrap() {}
}

#[test]
fn a_segment_that_was_packed_meanwhile_is_gone_and_not_damaged() {
    for run in [1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        for round in 0..30 {
            append(&log, 1 + round * 100, 100);
        }
        assert!(segments(dir.path()).len() > 5);
        log.remove_now(vec![(5, 9)]).unwrap();
        let picture = look(dir.path());
        let expected: Vec<u64> = (1..=4).chain(10..=3000).collect();
        pack(&log, 1, run);
        match read(&picture, 1) {
            Ok(all) => assert_eq!(all, (expected.clone(), Vec::new())),
            Err(error) => assert!(error.is_not_found(), "{error}"),
        }
        let again = look(dir.path());
        assert_eq!(read(&again, 1).unwrap(), (expected, Vec::new()));
        assert!(again.report().damage.is_empty());
    }
}

#[test]
fn readers_beside_an_owner_that_packs_see_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300 {
                append(&log, 1 + round * 100, 100);
                let sealed = log.segments();
                if let Some(next) = sealed.iter().find(|segment| segment.codec.is_none() && segment.sealed) {
                    pack(&log, next.first_seq, 1);
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut whole = 0;
        while !done.load(Ordering::Acquire) || whole == 0 {
            let picture = look(dir.path());
            assert!(picture.report().damage.is_empty(), "{:?}", picture.report().damage);
            match read(&picture, 1) {
                Ok((seen, lost)) => {
                    assert_eq!((lost, seen.len() as u64), (Vec::new(), picture.readable_seq()));
                    whole += 1;
                }
                Err(error) => assert!(error.is_not_found(), "{error}"),
            }
        }
    });
}

#[test]
fn a_removed_segment_is_told_apart_from_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 1, 2000);
    append(&log, 2001, 2000);
    let picture = look(dir.path());
    let removed = log.remove_before(2001).unwrap();
    assert!(removed.messages > 0);
    assert!(read(&picture, 1).unwrap_err().is_not_found());
    let again = look(dir.path());
    assert_eq!(again.oldest_seq(), removed.messages + 1);
    assert_eq!(read(&again, 1).unwrap(), ((again.oldest_seq()..=4000).collect(), Vec::new()));
}

#[test]
fn damage_and_missing_files_are_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for round in 0..20 {
        append(&log, 1 + round * 100, 100);
    }
    drop(log);
    let files = segments(dir.path());
    assert!(files.len() > 3, "{files:?}");
    let first = |path: &Path| path.file_stem().unwrap().to_string_lossy().parse::<u64>().unwrap();
    let (gone_from, gone_to) = (first(&files[1]), first(&files[2]) - 1);
    std::fs::remove_file(&files[1]).unwrap();
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[4096 + 64 + 300] ^= 1;
    std::fs::write(&files[0], &bytes).unwrap();
    let before = snapshot(dir.path());
    let picture = look(dir.path());
    let (seen, lost) = read(&picture, 1).unwrap();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert_eq!((lost[0].last_seq - lost[0].first_seq, lost[0].reason), (0, LostReason::Damage));
    assert_eq!((lost[1].first_seq, lost[1].last_seq, lost[1].reason), (gone_from, gone_to, LostReason::MissingSegment));
    assert_eq!(seen.len() as u64, 2000 - 1 - (gone_to + 1 - gone_from));
    assert!(snapshot(dir.path()) == before);
}

#[test]
fn a_torn_tail_and_an_unfinished_file_are_passed_over_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 1, 50);
    append(&log, 51, 10);
    drop(log);
    let last = segments(dir.path()).pop().unwrap();
    // Half a frame behind the last one, as a kill in the middle of a write leaves it.
    let mut bytes = std::fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    assert!(end + 200 < bytes.len());
    bytes[end + 8..end + 100].fill(0x5a);
    std::fs::write(&last, &bytes).unwrap();
    // A file that was reserved, and no more.
    std::fs::write(dir.path().join("00000000000000000061.seg"), vec![0; 65_536]).unwrap();
    let before = snapshot(dir.path());
    let picture = look(dir.path());
    assert_eq!(read(&picture, 1).unwrap(), ((1..=60).collect(), Vec::new()));
    assert!(picture.report().torn_bytes > 0);
    assert_eq!(picture.report().unfinished.len(), 1);
    assert!(snapshot(dir.path()) == before);
}

#[test]
fn folders_without_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let empty = look(dir.path());
    assert_eq!((empty.oldest_seq(), empty.readable_seq()), (1, 0));
    assert_eq!(read(&empty, 1).unwrap(), (Vec::new(), Vec::new()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let began = Instant::now();
    let nowhere = ReadOnlyLog::open(RealDisk::shared(), &dir.path().join("none"));
    assert!(matches!(nowhere, Err(OpenError::Io(error)) if error.is_not_found()));
    assert!(began.elapsed() < Duration::from_secs(5));
}
