//! What checking costs: reading a log with its checksums, the checksums alone, and a scrub from the disk.
//!
//! `cargo run --release -p sublog-storage --example bench_read [folder] [MiB] [payload bytes]`

#![expect(clippy::disallowed_methods, reason = "measures")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sublog_storage::{
    AppendError, Log, LogOptions, NoObserver, RealDisk, RecordBatch, Scrub, ScrubNext, ScrubOptions, Visit,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let root = args.next().unwrap_or_else(|| ".".to_owned());
    let mib: u64 = args.next().map_or(Ok(512), |text| text.parse())?;
    let payload_bytes: usize = args.next().map_or(Ok(200), |text| text.parse())?;
    let dir = Path::new(&root).join(format!("bench-read-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let result = run(&dir, mib << 20, payload_bytes);
    std::fs::remove_dir_all(&dir)?;
    result
}

fn run(dir: &Path, bytes: u64, payload_bytes: usize) -> Outcome<()> {
    let (log, _) = Log::open(RealDisk::shared(), dir, LogOptions::default(), Arc::new(NoObserver))?;
    let records = fill(&log, bytes, payload_bytes)?;
    let size = log.state().bytes;
    println!("{records} records of {payload_bytes} B payload, {} MiB, page cache warm", size >> 20);
    // The first one brings the log into memory and is not shown.
    replay(&log, false)?;
    for round in 1..=3 {
        println!("round {round}");
        let plain = replay(&log, false)?;
        let sent = replay(&log, true)?;
        let checks = checksums(records, usize::try_from(size / records)?);
        let per_record = |time: Duration| time.as_secs_f64() * 1e9 / records as f64;
        let rate = |time: Duration| size as f64 / time.as_secs_f64() / f64::from(1 << 20);
        println!("  read and checked: {:.1} ns a record, {:.0} MiB/s", per_record(plain), rate(plain));
        println!("  and every payload copied: {:.1} ns a record, {:.0} MiB/s", per_record(sent), rate(sent));
        println!(
            "  checksums alone, as many bytes in cache: {:.1} ns a record, {:.0} % of reading, {:.0} % of reading and copying",
            per_record(checks),
            100.0 * checks.as_secs_f64() / plain.as_secs_f64(),
            100.0 * checks.as_secs_f64() / sent.as_secs_f64()
        );
        scrub(&log, "  scrub at full speed", 1 << 40)?;
    }
    scrub(&log, "scrub at its usual rate", ScrubOptions::default().bytes_per_s)?;
    log.close()?;
    Ok(())
}

fn fill(log: &Log, bytes: u64, payload_bytes: usize) -> Outcome<u64> {
    let payload: Vec<u8> = (0..payload_bytes).map(|i| (i * 31 % 251) as u8).collect();
    let (mut batch, mut records, mut written) = (RecordBatch::new(), 0_u64, 0);
    while written < bytes {
        while batch.bytes() < 64 << 10 {
            batch.push(1, b"bench.read.subject", b"", &payload)?;
            records += 1;
        }
        written += batch.bytes() as u64;
        while let Err(error) = log.append(&mut batch) {
            let AppendError::QueueFull { .. } = error else { return Err(error.into()) };
            std::thread::sleep(Duration::from_millis(1));
        }
        batch.clear();
    }
    log.sync_now()?;
    Ok(records)
}

/// Time to visit everything; with `copy` each payload is copied out, as for a small message that is sent.
fn replay(log: &Log, copy: bool) -> Outcome<Duration> {
    let mut out = Vec::with_capacity(1 << 20);
    let (mut reader, mut seen) = (log.reader(), 0_u64);
    let start = Instant::now();
    reader.visit(usize::MAX, &mut |visit| {
        if let Visit::Record(record) = visit {
            seen += 1;
            if copy {
                if out.len() + record.payload.len() > out.capacity() {
                    std::hint::black_box(&out);
                    out.clear();
                }
                out.extend_from_slice(record.payload);
                std::hint::black_box(record.is_intact());
            }
        }
        ControlFlow::Continue(())
    })?;
    let took = start.elapsed();
    if seen != log.readable_seq() {
        return Err(format!("{seen} of {} records", log.readable_seq()).into());
    }
    Ok(took)
}

/// Time for the checksums of as many records of that size.
fn checksums(records: u64, record_bytes: usize) -> Duration {
    let memory: Vec<u8> = (0..256 << 10).map(|i: usize| (i * 7 % 253) as u8).collect();
    let start = Instant::now();
    let (mut at, mut sum) = (0, 0);
    for _ in 0..records {
        at = if at + 2 * record_bytes > memory.len() { 0 } else { at + record_bytes };
        sum ^= crc32fast::hash(memory.get(at..at + record_bytes).unwrap_or(&memory));
    }
    std::hint::black_box(sum);
    start.elapsed()
}

/// Processor time of this thread, in user and system mode.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// One pass over the sealed segments, and what it took.
fn scrub(log: &Log, what: &str, bytes_per_s: u64) -> Outcome<()> {
    let mut scrub: Scrub = log.scrub(ScrubOptions { bytes_per_s, interval: Duration::ZERO });
    let (start, from) = (Instant::now(), cpu());
    let pass = loop {
        let step = scrub.step(start.elapsed(), 1 << 20);
        if let Some(pass) = step.pass {
            break pass;
        }
        let ScrubNext::At(at) = step.next else { return Err("the log is closed".into()) };
        std::thread::sleep(at.saturating_sub(start.elapsed()));
    };
    let (took, spent) = (start.elapsed(), cpu() - from);
    let mib = pass.bytes as f64 / f64::from(1 << 20);
    println!(
        "{what}: {mib:.0} MiB in {took:.2?}, {:.0} MiB/s, {:.1} % of a core, {:.2} ms of it a MiB; {} findings",
        mib / took.as_secs_f64(),
        100.0 * spent.as_secs_f64() / took.as_secs_f64(),
        spent.as_secs_f64() * 1000.0 / mib,
        pass.findings
    );
    Ok(())
}
