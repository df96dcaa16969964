//! What durability costs here: the log beside the raw disk, in the same folder and the same run.
//!
//! `cargo run --release -p sublog-storage --example bench_append [folder] [MiB]`

#![expect(clippy::disallowed_methods, reason = "measures and waits with a deadline")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sublog_storage::{AppendError, Log, LogObserver, LogOptions, NoObserver, RealDisk, RecordBatch};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let root = args.next().unwrap_or_else(|| ".".to_owned());
    let mib: u64 = args.next().map_or(Ok(512), |text| text.parse())?;
    let dir = Path::new(&root).join(format!("bench-append-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let result = run(&dir, mib);
    std::fs::remove_dir_all(&dir)?;
    result
}

fn run(dir: &Path, mib: u64) -> Outcome<()> {
    push_cost()?;
    for round in 1..=3 {
        println!("round {round}");
        let raw_small = raw_commits(dir)?;
        let log_small = one_by_one(dir)?;
        println!(
            "  one record and a flush: p50 {:.0} us, raw pwrite+fdatasync of 200 B {:.0} us, ratio {:.2}",
            us(log_small),
            us(raw_small),
            us(log_small) / us(raw_small)
        );
        let steps = raw_stream(dir, mib, 1 << 20)?;
        let large = raw_stream(dir, mib, usize::MAX)?;
        let log = stream(dir, mib)?;
        println!(
            "  stream of 128 B records, one flush at the end: {log:.0} MiB/s; raw {steps:.0} (each MiB synced), \
             {large:.0} (one sync); ratio to the better {:.2}",
            log / steps.max(large)
        );
        let (flushes, syncs, seconds) = eight(dir)?;
        println!(
            "  8 publishers flushing each: {:.0} flushes/s, {:.2} flushes a sync",
            flushes / seconds,
            flushes / syncs
        );
    }
    Ok(())
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What a publishing thread pays for a record.
fn push_cost() -> Outcome<()> {
    let payload = [7_u8; 128];
    let mut batch = RecordBatch::new();
    let (rounds, each) = (2000, 500);
    let start = Instant::now();
    for _ in 0..rounds {
        for i in 0..each {
            batch.push(i, b"bench.append.subject", b"", &payload)?;
        }
        std::hint::black_box(&batch);
        batch.clear();
    }
    let count = f64::from(rounds) * each as f64;
    println!("push of a 128 B record: {:.1} ns", start.elapsed().as_secs_f64() * 1e9 / count);
    Ok(())
}

fn raw_commits(dir: &Path) -> Outcome<Duration> {
    let path = dir.join("raw");
    let file = File::create(&path)?;
    file.write_all_at(&vec![0; 4 << 20], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for i in 0..1000_u64 {
        let start = Instant::now();
        file.write_all_at(&[5; 200], i * 200)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(median(times))
}

fn raw_stream(dir: &Path, mib: u64, sync_every: usize) -> Outcome<f64> {
    let path = dir.join("raw");
    let file = File::create(&path)?;
    let chunk = vec![5_u8; 1 << 20];
    let start = Instant::now();
    for i in 0..mib {
        file.write_all_at(&chunk, i << 20)?;
        if sync_every <= chunk.len() {
            file.sync_data()?;
        }
    }
    file.sync_data()?;
    let rate = mib as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

fn wait(log: &Log, seq: u64) -> Outcome<()> {
    let (tell, told) = mpsc::sync_channel(1);
    log.when_committed(seq, Box::new(move |result| drop(tell.send(result))));
    told.recv()??;
    Ok(())
}

fn one_by_one(dir: &Path) -> Outcome<Duration> {
    let path = dir.join("log");
    let (log, _) = Log::open(RealDisk::shared(), &path, LogOptions::default(), Arc::new(NoObserver))?;
    let mut batch = RecordBatch::new();
    let mut times = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        batch.push(0, b"bench.append", b"", &[5; 96])?;
        let appended = log.append(&mut batch)?;
        wait(&log, appended.last_seq)?;
        times.push(start.elapsed());
    }
    log.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(median(times))
}

/// Lets a refused publisher sleep until there is room.
struct Room(mpsc::SyncSender<()>);

impl LogObserver for Room {
    fn space(&self) {
        // A full channel holds the news already.
        let _ = self.0.try_send(());
    }
}

fn stream(dir: &Path, mib: u64) -> Outcome<f64> {
    let path = dir.join("log");
    let (tell, told) = mpsc::sync_channel(1);
    let (log, _) = Log::open(RealDisk::shared(), &path, LogOptions::default(), Arc::new(Room(tell)))?;
    let mut batch = RecordBatch::new();
    let (mut bytes, mut last) = (0_u64, 0);
    let start = Instant::now();
    while bytes < mib << 20 {
        while batch.bytes() < 64 << 10 {
            batch.push(0, b"bench.append", b"", &[5; 128])?;
        }
        bytes += batch.bytes() as u64;
        last = loop {
            match log.append(&mut batch) {
                Ok(appended) => break appended.last_seq,
                Err(AppendError::QueueFull { .. }) => told.recv()?,
                Err(e) => return Err(e.into()),
            }
        };
    }
    wait(&log, last)?;
    let rate = (bytes >> 20) as f64 / start.elapsed().as_secs_f64();
    log.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(rate)
}

/// Flushes, syncs and seconds of eight publishers.
fn eight(dir: &Path) -> Outcome<(f64, f64, f64)> {
    let path = dir.join("log");
    let (log, _) = Log::open(RealDisk::shared(), &path, LogOptions::default(), Arc::new(NoObserver))?;
    let each = 500_u32;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut batch = RecordBatch::new();
                for _ in 0..each {
                    let pushed = batch.push(0, b"bench.append", b"", &[5; 96]).is_ok();
                    let Some(appended) = pushed.then(|| log.append(&mut batch).ok()).flatten() else { return };
                    if wait(&log, appended.last_seq).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let counters = log.state().counters;
    log.close()?;
    std::fs::remove_dir_all(path)?;
    Ok((counters.records as f64, counters.syncs as f64, seconds))
}
