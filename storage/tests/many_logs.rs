//! Hundreds of logs in one process: few threads, open files and maps, little memory, small folders; and a process that is
//! killed leaves nothing to do for the logs that it only opened. `SUBLOG_MANY_LOGS=<n>` takes that many instead of 500.
//!
//! One test, because it looks at what the whole process has.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use sublog_storage::{
    CommitPool, DataDir, Log, LogOptions, NoObserver, OpenError, PoolLimits, RealDisk, RecordBatch, RecoveryReport,
    Visit, limit_maps,
};

const LIMITS: PoolLimits = PoolLimits { threads: 2, threads_max: 6, files_max: 20 };
const MAPS_MAX: usize = 30;
const ROUNDS: u64 = 3;

fn options() -> LogOptions {
    LogOptions { segment_bytes_first: 16 << 10, ..LogOptions::default() }
}

fn open(pool: &CommitPool, dir: &Path) -> (Log, RecoveryReport) {
    Log::open_pooled(pool, RealDisk::shared(), dir, options(), Arc::new(NoObserver)).unwrap()
}

fn open_all(pool: &CommitPool, data: &DataDir, n: usize) -> Vec<(Log, RecoveryReport)> {
    (0..n).map(|i| open(pool, &data.stream(&format!("log{i}")))).collect()
}

/// A message to each, and waits until all are committed.
fn append_to_all(logs: &[(Log, RecoveryReport)], round: u64) {
    let (tell, told) = mpsc::channel();
    for (log, _) in logs {
        let mut batch = RecordBatch::new();
        batch.push(0, b"many", b"", &round.to_le_bytes()).unwrap();
        let appended = log.append_then_wait(&mut batch).unwrap();
        let tell = tell.clone();
        log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    }
    for _ in logs {
        assert!(told.recv_timeout(Duration::from_secs(60)).unwrap());
    }
}

fn rounds_of(log: &Log) -> Vec<u64> {
    let mut rounds = Vec::new();
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            let Visit::Record(record) = visit else { panic!("{visit:?}") };
            rounds.push(u64::from_le_bytes(record.payload.try_into().unwrap()));
            ControlFlow::Continue(())
        })
        .unwrap();
    rounds
}

/// Threads, open files and maps of segments of this process.
fn usage() -> [usize; 3] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    [
        threads.trim().parse().unwrap(),
        std::fs::read_dir("/proc/self/fd").unwrap().count(),
        maps.lines().filter(|line| line.ends_with(".seg")).count(),
    ]
}

#[track_caller]
fn assert_few(before: [usize; 3]) {
    let [threads, files, maps] = usage();
    // A thread more for the watcher; a file more for each thread that reads, and for the look itself.
    assert!(threads <= before[0] + LIMITS.threads_max + 1, "{threads} threads");
    assert!(files <= before[1] + LIMITS.files_max + LIMITS.threads_max + 2, "{files} open files");
    assert!(maps <= MAPS_MAX, "{maps} maps");
}

fn modified(dir: &Path) -> Vec<(String, i64, i64)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            (entry.file_name().into_string().unwrap(), meta.mtime(), meta.mtime_nsec())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn many_logs_are_cheap() {
    let n = std::env::var("SUBLOG_MANY_LOGS").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    let root = tempfile::tempdir().unwrap();
    let data = DataDir::open(root.path()).unwrap();
    limit_maps(MAPS_MAX);
    let before = usage();
    let pool = CommitPool::with_limits(LIMITS).unwrap();
    let logs = open_all(&pool, &data, n);
    assert!(logs.iter().all(|(_, report)| report.created));
    assert_few(before);
    assert_eq!(std::fs::read_dir(data.stream("log7")).unwrap().count(), 0, "files of a log that has nothing in it");
    let again = Log::open_pooled(&pool, RealDisk::shared(), &data.stream("log7"), options(), Arc::new(NoObserver));
    assert!(matches!(again.map(drop), Err(OpenError::Locked { .. })));
    for round in 0..ROUNDS {
        append_to_all(&logs, round);
        assert_few(before);
        assert!(logs.iter().all(|(log, _)| rounds_of(log).len() as u64 == round + 1));
        assert_few(before);
        // The index of what is written to needs the file as well.
        assert!(logs.iter().all(|(log, _)| log.subject_state(b"many").unwrap().unwrap().count == round + 1));
        assert_few(before);
    }
    let segment = data.stream("log7").join("00000000000000000001.seg");
    assert_eq!(std::fs::metadata(&segment).unwrap().len(), 16 << 10);
    for (log, _) in &logs {
        log.ask_to_close();
    }
    for (log, _) in &logs {
        log.close().unwrap();
    }
    assert_eq!(pool.files().state().open, 0);
    drop(logs);
    // A worker that ended a log may be about to let go of it.
    let deadline = Instant::now() + Duration::from_secs(20);
    while usage()[2] > 0 {
        assert!(Instant::now() < deadline, "maps of closed logs are left");
        std::thread::sleep(Duration::from_millis(1));
    }

    // Opened, read and closed again: nothing is written.
    let written = modified(&data.stream("log7"));
    for _ in 0..2 {
        let logs = open_all(&pool, &data, n);
        assert_few(before);
        for (log, report) in &logs {
            assert!(report.clean && !report.created && report.damage.is_empty(), "{report:?}");
            assert_eq!(rounds_of(log), (0..ROUNDS).collect::<Vec<_>>());
        }
        assert_few(before);
    }
    assert_eq!(modified(&data.stream("log7")), written);
    drop(pool);
    // They have ended, but the system may still be counting them.
    let deadline = Instant::now() + Duration::from_secs(20);
    while usage()[0] > before[0] {
        assert!(Instant::now() < deadline, "threads are left");
        std::thread::sleep(Duration::from_millis(10));
    }
}
