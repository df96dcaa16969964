//! What many logs in one process cost: `cargo run --release -p sublog-storage --example many_logs [logs] [folder]`
//!
//! Opens that many logs (10,000) below a temporary folder, appends a few messages to each and waits until they are
//! committed, closes all, opens them again, and reads everything. After each phase it prints the seconds it took, and the
//! process's threads, open files, maps and anonymous memory. What is not as it was appended is an error.

#![expect(clippy::disallowed_methods, reason = "measures")]

use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use sublog_storage::{CommitPool, Log, LogOptions, NoObserver, PoolLimits, RealDisk, RecordBatch, Visit};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ROUNDS: u64 = 3;
/// Threads that open and close logs.
const OPENERS: usize = 4;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|arg| arg == "--again").is_some() {
        let (Some(dir), Some(count)) = (args.next(), args.next()) else { return Err("--again folder logs".into()) };
        return again(Path::new(&dir), count.parse()?);
    }
    let logs: usize = args.next().map_or(Ok(10_000), |text| text.parse())?;
    let root = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = root.join(format!("many-logs-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let result = run(&dir, logs);
    std::fs::remove_dir_all(&dir)?;
    result
}

fn run(dir: &Path, count: usize) -> Outcome<()> {
    println!("{count} logs");
    let before = Usage::now("at the start", 0.0)?;
    let pool = CommitPool::with_limits(PoolLimits::default())?;
    let (logs, seconds) = timed(|| open_all(&pool, dir, count))?;
    let opened = Usage::now("opened, all new", seconds)?;
    opened.each(&before, count);
    for round in 0..ROUNDS {
        let ((), seconds) = timed(|| append_to_all(&logs, round))?;
        Usage::now(&format!("message {} to each, committed", round + 1), seconds)?;
        println!(
            "    {} files open in the cache, {} with unsynced writes",
            pool.files().state().open,
            pool.files().state().unsynced
        );
    }
    println!(
        "    {:.1} MiB on the disk, {:.1} KiB a log",
        mib(disk_usage(dir)?),
        mib(disk_usage(dir)?) * 1024.0 / count as f64
    );
    let ((), seconds) = timed(|| verify_all(&logs))?;
    Usage::now("read", seconds)?;
    let ((), seconds) = timed(|| close_all(logs))?;
    Usage::now("closed", seconds)?;
    drop(pool);
    // In a new process, whose memory is that of the opened logs.
    let status =
        std::process::Command::new(std::env::current_exe()?).arg("--again").arg(dir).arg(count.to_string()).status()?;
    if status.success() { Ok(()) } else { Err(format!("the second process failed: {status}").into()) }
}

/// What another process finds.
fn again(dir: &Path, count: usize) -> Outcome<()> {
    let before = Usage::now("in a new process", 0.0)?;
    let pool = CommitPool::with_limits(PoolLimits::default())?;
    let (logs, seconds) = timed(|| open_all(&pool, dir, count))?;
    Usage::now("opened again", seconds)?.each(&before, count);
    let ((), seconds) = timed(|| verify_all(&logs))?;
    Usage::now("read", seconds)?;
    let ((), seconds) = timed(|| close_all(logs))?;
    Usage::now("closed, nothing written", seconds)?;
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, f64)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64()))
}

fn options() -> LogOptions {
    LogOptions { segment_bytes_first: 16 << 10, ..LogOptions::default() }
}

fn open_all(pool: &CommitPool, dir: &Path, count: usize) -> Outcome<Vec<Log>> {
    let share = count.div_ceil(OPENERS);
    std::thread::scope(|scope| {
        let open = |first: usize| {
            (first..(first + share).min(count))
                .map(|i| {
                    let path = dir.join(format!("log{i}"));
                    let (log, report) =
                        Log::open_pooled(pool, RealDisk::shared(), &path, options(), Arc::new(NoObserver))?;
                    if !report.damage.is_empty() || report.torn_bytes > 0 {
                        return Err(format!("{}: {report:?}", path.display()).into());
                    }
                    Ok(log)
                })
                .collect::<Outcome<Vec<Log>>>()
        };
        let openers: Vec<_> = (0..OPENERS).map(|n| scope.spawn(move || open(n * share))).collect();
        let mut logs = Vec::with_capacity(count);
        for opener in openers {
            logs.extend(opener.join().map_err(|_| "an opening thread panicked")??);
        }
        Ok(logs)
    })
}

fn payload(log: usize, round: u64) -> String {
    format!("{{\"log\":{log},\"round\":{round},\"state\":\"done\"}}")
}

fn append_to_all(logs: &[Log], round: u64) -> Outcome<()> {
    let (tell, told) = mpsc::channel();
    for (i, log) in logs.iter().enumerate() {
        let mut batch = RecordBatch::new();
        batch.push(0, format!("many.{i}").as_bytes(), b"", payload(i, round).as_bytes())?;
        let appended = log.append_then_wait(&mut batch)?;
        let tell = tell.clone();
        log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result).unwrap_or_default()));
    }
    for _ in logs {
        told.recv()??;
    }
    Ok(())
}

fn verify_all(logs: &[Log]) -> Outcome<()> {
    for (i, log) in logs.iter().enumerate() {
        let mut round = 0;
        let mut wrong = None;
        log.reader().visit(usize::MAX, &mut |visit| match visit {
            Visit::Record(record) if record.payload == payload(i, round).as_bytes() => {
                round += 1;
                ControlFlow::Continue(())
            }
            other => {
                wrong = Some(format!("log {i}: {other:?}"));
                ControlFlow::Break(())
            }
        })?;
        if wrong.is_some() || round != ROUNDS {
            return Err(wrong.unwrap_or_else(|| format!("log {i} has {round} messages")).into());
        }
    }
    Ok(())
}

/// All are asked first, so that the pool closes them side by side.
fn close_all(logs: Vec<Log>) -> Outcome<()> {
    for log in &logs {
        log.ask_to_close();
    }
    for log in &logs {
        log.close()?;
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes of the blocks that everything below takes.
fn disk_usage(dir: &Path) -> Outcome<u64> {
    let mut bytes = std::fs::metadata(dir)?.blocks() * 512;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes +=
            if entry.file_type()?.is_dir() { disk_usage(&entry.path())? } else { entry.metadata()?.blocks() * 512 };
    }
    Ok(bytes)
}

/// What the process has.
struct Usage {
    anonymous_bytes: u64,
}

impl Usage {
    fn now(what: &str, seconds: f64) -> Outcome<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().nth(0).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
        };
        let files = std::fs::read_dir("/proc/self/fd")?.count();
        let maps = std::fs::read_to_string("/proc/self/maps")?.lines().filter(|line| line.ends_with(".seg")).count();
        let anonymous_bytes = field("RssAnon:") << 10;
        println!(
            "{what}: {seconds:.2} s; {} threads, {files} open files, {maps} maps of segments, {:.1} MiB of memory",
            field("Threads:"),
            mib(anonymous_bytes)
        );
        Ok(Self { anonymous_bytes })
    }

    fn each(&self, before: &Self, count: usize) {
        let bytes = self.anonymous_bytes.saturating_sub(before.anonymous_bytes) / count.max(1) as u64;
        println!("    {bytes} bytes of memory a log");
    }
}
