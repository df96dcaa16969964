//! Measures a log that is used as a key-value bucket: so many keys, one value each, updated over and over while maintenance
//! runs beside it as in the server. Prints what is live, and what that costs on disk and in memory, as it goes and at the end.
//!
//! `cargo run --release -p sublog-storage --example key_value -- [keys] [updates] [value bytes] [folder]`; 100,000 keys,
//! ten million updates and 100 bytes by default.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement reports by panicking, and looks at the clock"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sublog_storage::{AppendError, Limits, Log, LogOptions, NoObserver, RealDisk, RecordBatch, SyncMode};

const BATCH: u64 = 64;

fn main() {
    // As the server does.
    sublog_storage::give_back_large_buffers();
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().map_or(default, |arg| arg.parse().unwrap());
    let (keys, updates, value_bytes) = (number(100_000), number(10_000_000), number(100));
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("sublog-kv-").tempdir_in(parent).unwrap();
    let options = LogOptions {
        sync: SyncMode::Interval(Duration::from_millis(100)),
        limits: Limits { max_per_subject: Some(1), ..Limits::default() },
        ..LogOptions::default()
    };
    let (log, _) = Log::open(Arc::new(RealDisk), dir.path(), options, Arc::new(NoObserver)).unwrap();
    let log = Arc::new(log);
    let stop = Arc::new(AtomicBool::new(false));
    let maintenance = {
        let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
        std::thread::spawn(move || maintain(&log, &stop))
    };
    let start = Instant::now();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let value = vec![b'v'; usize::try_from(value_bytes).unwrap()];
    let (mut done, mut most_disk) = (0, 0);
    let mut batch = RecordBatch::new();
    while done < updates {
        for _ in 0..BATCH.min(updates - done) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Each key has a value before any is updated.
            let key = if done < keys { done } else { random % keys };
            let ts = i64::try_from(done).unwrap();
            batch.push(ts, format!("kv.bucket.{key:08}").as_bytes(), b"", &value).unwrap();
            done += 1;
        }
        append(&log, &mut batch);
        if done.is_multiple_of(updates.div_ceil(10).next_multiple_of(BATCH)) {
            log.sync_now().unwrap();
            most_disk = most_disk.max(show(&log, done, start));
        }
    }
    log.sync_now().unwrap();
    let appended = start.elapsed();
    show(&log, done, start);
    // What is due is done within a while after the last update.
    let deadline = Instant::now() + Duration::from_secs(120);
    while log.maintain().unwrap().more && Instant::now() < deadline {}
    stop.store(true, Ordering::Release);
    maintenance.join().unwrap();
    show(&log, done, start);
    let files: u64 = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let state = log.state();
    assert_eq!(state.messages, keys.min(updates));
    println!(
        "{:.0} updates/s; live {:.1} MB in {} records; disk {:.1} MB ({:.2} times; all files {:.1} MB), at most {:.1} MB while it ran",
        done as f64 / appended.as_secs_f64(),
        state.bytes as f64 / 1e6,
        state.messages,
        state.disk_bytes as f64 / 1e6,
        state.disk_bytes as f64 / state.bytes as f64,
        files as f64 / 1e6,
        most_disk as f64 / 1e6,
    );
}

fn append(log: &Log, batch: &mut RecordBatch) {
    loop {
        match log.append(batch) {
            Ok(_) => return,
            Err(AppendError::QueueFull { .. }) => std::thread::sleep(Duration::from_micros(200)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// As the server does: rests as long as it works.
fn maintain(log: &Log, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let start = Instant::now();
        let more = log.maintain().unwrap().more;
        let rest = if more { start.elapsed() } else { Duration::from_millis(100) };
        std::thread::sleep(rest);
    }
}

fn show(log: &Log, done: u64, start: Instant) -> u64 {
    let state = log.state();
    println!(
        "{:>6.1} s  {done:>9} updates  {:>8} records {:>7.1} MB live  {:>7.1} MB on disk in {:>3} segments  {:>6.1} MB anonymous memory",
        start.elapsed().as_secs_f64(),
        state.messages,
        state.bytes as f64 / 1e6,
        state.disk_bytes as f64 / 1e6,
        state.segments,
        anonymous_kib() as f64 / 1e3,
    );
    state.disk_bytes
}

fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
