//! Many logs on few threads: everything is answered, a log that hangs keeps nobody waiting, closing waits for one log only.
//!
//! `SUBLOG_POOL_ROUNDS=<n>` makes the publishers of the busy test publish that many batches each instead of 150.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

#[path = "pool/gate.rs"]
mod gate;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sublog_storage::disk::sim::Chance;
use sublog_storage::{CommitPool, Log, LogOptions, NoObserver, PoolLimits, RealDisk, RecordBatch, SyncMode, Visit};

use self::gate::GateDisk;

fn options(sync: SyncMode) -> LogOptions {
    LogOptions { sync, segment_bytes_first: 16 << 10, segment_bytes_max: 64 << 10, ..LogOptions::default() }
}

fn open(pool: &CommitPool, disk: &GateDisk, dir: &Path) -> Log {
    Log::open_pooled(pool, disk.shared(), dir, options(SyncMode::Always), Arc::new(NoObserver)).unwrap().0
}

fn limited(threads: usize, threads_max: usize) -> CommitPool {
    CommitPool::with_limits(PoolLimits { threads, threads_max, ..PoolLimits::default() }).unwrap()
}

fn batch(contents: &[u64]) -> RecordBatch {
    let mut batch = RecordBatch::new();
    for content in contents {
        batch.push(0, b"pool", b"", &content.to_le_bytes()).unwrap();
    }
    batch
}

fn append(log: &Log, content: u64) -> mpsc::Receiver<bool> {
    let appended = log.append_then_wait(&mut batch(&[content])).unwrap();
    let (tell, told) = mpsc::channel();
    log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    told
}

fn is_told(told: &mpsc::Receiver<bool>) -> bool {
    told.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("not answered"))
}

#[track_caller]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn contents(log: &Log) -> Vec<u64> {
    let mut found = Vec::new();
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            let Visit::Record(record) = visit else { panic!("{visit:?}") };
            found.push(u64::from_le_bytes(record.payload.try_into().unwrap()));
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// One publisher: batches to random logs, some waited for at once, some later, some by nobody.
fn publish(publisher: u64, rounds: u64, logs: &[Log]) -> Vec<Vec<u64>> {
    let mut chance = Chance::new(publisher);
    let mut published = vec![Vec::new(); logs.len()];
    let mut later = Vec::new();
    for round in 0..rounds {
        let which = chance.below(logs.len() as u64) as usize;
        let log = &logs[which];
        let content = publisher << 32 | round;
        published[which].push(content);
        match chance.below(5) {
            0 => {
                log.append(&mut batch(&[content])).unwrap();
            }
            1 => {
                log.append(&mut batch(&[content])).unwrap();
                log.sync_now().unwrap();
            }
            2 => later.push(append(log, content)),
            3 => {
                later.push(append(log, content));
                std::thread::sleep(Duration::from_micros(chance.below(3000)));
            }
            _ => assert!(is_told(&append(log, content))),
        }
    }
    assert!(later.iter().all(is_told));
    published
}

#[test]
fn many_logs_and_publishers_with_random_waits() {
    let rounds = std::env::var("SUBLOG_POOL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let dir = tempfile::tempdir().unwrap();
    let pool = limited(2, 6);
    let modes = [SyncMode::Always, SyncMode::Interval(Duration::from_millis(3)), SyncMode::Os];
    let logs: Vec<Log> = (0..60)
        .map(|i| {
            let path = dir.path().join(format!("log{i}"));
            let options = options(modes[i % modes.len()]);
            Log::open_pooled(&pool, RealDisk::shared(), &path, options, Arc::new(NoObserver)).unwrap().0
        })
        .collect();
    let published: Vec<Vec<Vec<u64>>> = std::thread::scope(|scope| {
        let logs = &logs;
        let publishers: Vec<_> = (0..8).map(|p| scope.spawn(move || publish(p, rounds, logs))).collect();
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    assert!(pool.threads() <= 6);
    for (i, log) in logs.iter().enumerate() {
        // Nobody waits for the last ones: they are gathered, and become readable by themselves.
        let total = published.iter().map(|logs| logs[i].len() as u64).sum();
        wait_until("records that nobody waits for are not written", || log.readable_seq() == total);
        let mut left: Vec<_> = published.iter().map(|logs| logs[i].iter()).collect();
        for content in contents(log) {
            assert_eq!(left[(content >> 32) as usize].next(), Some(&content), "log {i}: a publisher's order");
        }
        log.close().unwrap();
    }
    drop(logs);
    wait_until("threads stay that nobody needs", || pool.threads() == 2);
}

#[test]
fn a_log_that_hangs_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let disk = GateDisk::default();
    let pool = limited(1, 8);
    let path = |i: u64| dir.path().join(format!("log{i}"));
    let logs: Vec<Log> = (0..20).map(|i| open(&pool, &disk, &path(i))).collect();
    for log in &logs {
        assert!(is_told(&append(log, 1)));
    }
    let _opens_at_end = disk.opens_at_end();
    // As many hang as leave one worker.
    for i in 0..7 {
        disk.close(&path(i));
    }
    let hanging: Vec<_> = logs[..7].iter().map(|log| append(log, 2)).collect();
    wait_until("the syncs are not reached", || disk.waiting() == 7);
    for round in 2..6 {
        for log in &logs[7..] {
            assert!(is_told(&append(log, round)));
        }
    }
    // Also what only the time brings about.
    logs[19].append(&mut batch(&[6])).unwrap();
    wait_until("gathered records are not written", || logs[19].readable_seq() == 6);
    // Closing one waits for that one only, and reading waits for nothing.
    logs[18].close().unwrap();
    assert_eq!(contents(&logs[0]), [1]);
    assert!(hanging.iter().all(|told| told.try_recv().is_err()), "answered before the sync");
    disk.open_all();
    assert!(hanging.iter().all(is_told));
    assert_eq!(contents(&logs[0]), [1, 2]);
    for log in &logs {
        log.close().unwrap();
    }
    drop(logs);
    wait_until("threads stay that nobody needs", || pool.threads() == 1);
}

#[test]
fn when_all_threads_hang_the_others_wait_and_then_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = GateDisk::default();
    let pool = limited(1, 3);
    let path = |i: u64| dir.path().join(format!("log{i}"));
    let logs: Vec<Log> = (0..6).map(|i| open(&pool, &disk, &path(i))).collect();
    let _opens_at_end = disk.opens_at_end();
    disk.close(dir.path());
    let told: Vec<_> = logs.iter().map(|log| append(log, 1)).collect();
    wait_until("the syncs are not reached", || disk.waiting() == 3);
    assert_eq!(pool.threads(), 3);
    assert!(told.iter().all(|told| told.try_recv().is_err()), "answered before the sync");
    disk.open_all();
    assert!(told.iter().all(is_told));
}

#[test]
fn a_panic_in_one_log_ends_that_one() {
    struct Panics;
    impl sublog_storage::LogObserver for Panics {
        fn published(&self, last_seq: u64) {
            assert!(last_seq < 2, "the planted panic");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let pool = CommitPool::new(1).unwrap();
    let disk = GateDisk::default();
    let other = open(&pool, &disk, &dir.path().join("other"));
    let options = options(SyncMode::Always);
    let observer = Arc::new(Panics);
    let (log, _) = Log::open_pooled(&pool, disk.shared(), &dir.path().join("log"), options, observer).unwrap();
    assert!(is_told(&append(&log, 1)));
    assert!(is_told(&append(&log, 2)), "released before the observer was told");
    wait_until("it goes on", || log.append(&mut batch(&[3])).is_err());
    assert!(log.close().is_err());
    assert!(is_told(&append(&other, 1)));
}

#[test]
fn a_segment_ends_after_so_many_records() {
    let dir = tempfile::tempdir().unwrap();
    let pool = CommitPool::new(1).unwrap();
    let options = LogOptions { segment_records_max: 10, ..options(SyncMode::Always) };
    let (log, _) = Log::open_pooled(&pool, RealDisk::shared(), dir.path(), options, Arc::new(NoObserver)).unwrap();
    // Four go in, four go in, four would be too many; what is larger than the limit gets a segment of its own.
    for (n, segments) in [(4, 1), (4, 1), (4, 2), (6, 2), (1, 3), (25, 4), (1, 5)] {
        log.append_then_wait(&mut batch(&vec![7; n])).unwrap();
        log.sync_now().unwrap();
        assert_eq!(log.state().segments, segments, "after {n} more");
    }
    assert_eq!(contents(&log).len(), 45);
}
