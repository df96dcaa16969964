//! Measures what the index of the open segment costs those who publish and those who ask: the longest acknowledgement with
//! a limit per subject, also where a segment ends, the first question with a wildcard, and memory.
//!
//! `cargo run --release -p sublog-storage --example bench_open -- [subjects] [folder]`; 2,000,000 by default. Run it alone
//! on the machine. The folder must be on a disk with about 250 bytes a subject to spare.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement reports by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Limits, Log, LogOptions, NoObserver, RealDisk, RecordBatch, SyncMode};

const BATCH: u64 = 1000;

fn main() {
    let mut args = std::env::args().skip(1);
    let subjects: u64 = args.next().map_or(2_000_000, |arg| arg.parse().unwrap());
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    for max_per_subject in [None, Some(1)] {
        let dir = tempfile::Builder::new().prefix("sublog-open-").tempdir_in(&parent).unwrap();
        run(dir.path(), subjects, max_per_subject);
    }
}

fn open(dir: &Path, subjects: u64, max_per_subject: Option<u64>) -> Log {
    let options = LogOptions {
        sync: SyncMode::Os,
        limits: Limits { max_per_subject, ..Limits::default() },
        // All subjects come into one segment.
        segment_bytes_first: 512 << 20,
        segment_bytes_max: 512 << 20,
        segment_records_max: subjects,
        ..LogOptions::default()
    };
    Log::open(RealDisk::shared(), dir, options, Arc::new(NoObserver)).unwrap().0
}

fn run(dir: &Path, subjects: u64, max_per_subject: Option<u64>) {
    println!("\n{subjects} distinct subjects in the open segment, limit per subject {max_per_subject:?}");
    let log = open(dir, subjects, max_per_subject);
    let before = anonymous_kib();
    let begun = now();
    publish(&log, "filling", 0..subjects);
    println!(
        "  {:.0} records/s; {} KiB anonymous",
        subjects as f64 / begun.elapsed().as_secs_f64(),
        anonymous_kib() - before
    );
    ask(&log, "first wildcard question", "site.007.>");
    ask(&log, "second", "site.008.>");
    // A long question, while somebody publishes the same subjects again and the segment ends.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let (mut asked, mut longest) = (0, Duration::ZERO);
            while !stop.load(Ordering::Acquire) {
                let begun = now();
                log.count(&filter("*.*.dev.*.temp"), 0, u64::MAX).unwrap();
                longest = longest.max(begun.elapsed());
                asked += 1;
            }
            println!("  {asked} long questions meanwhile, longest {longest:?}");
        });
        let maintaining = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let begun = now();
                let more = log.maintain().unwrap().more;
                std::thread::sleep(if more { begun.elapsed() } else { Duration::from_millis(100) });
            }
        });
        std::thread::sleep(Duration::from_secs(1));
        publish(&log, "over a segment's end, beside long questions", 0..subjects / 4);
        stop.store(true, Ordering::Release);
        asker.join().unwrap();
        maintaining.join().unwrap();
    });
    ask(&log, "afterwards", "site.009.>");
    log.close().unwrap();
    drop(log);
    let log = open(dir, subjects, max_per_subject);
    ask(&log, "first after opening", "site.009.>");
}

/// Publishes batch by batch, each acknowledged before the next.
fn publish(log: &Log, what: &str, range: std::ops::Range<u64>) {
    let (tell, told) = mpsc::channel();
    let mut times = Vec::new();
    let mut batch = RecordBatch::new();
    let mut from = range.start;
    while from < range.end {
        let to = (from + BATCH).min(range.end);
        for i in from..to {
            let device = i.wrapping_mul(2_654_435_761) % 100_000_000;
            batch.push(0, format!("site.{:03}.dev.{device:08}.temp", i % 1000).as_bytes(), b"", b"21.5").unwrap();
        }
        from = to;
        let begun = now();
        let appended = log.append(&mut batch).unwrap();
        let tell = tell.clone();
        log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result).unwrap()));
        told.recv().unwrap().unwrap();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("  {what}: {BATCH} records acknowledged p50 {:?}, p99 {:?}, longest {:?}", at(0.5), at(0.99), at(1.0));
}

fn ask(log: &Log, what: &str, text: &str) {
    let begun = now();
    let listed = log.subjects(&filter(text), None, 10).unwrap().len();
    println!("  {what}: {listed} of {text} in {:?}", begun.elapsed());
}

fn filter(text: &str) -> FilterSet {
    SubjectFilter::parse(text.as_bytes()).unwrap().into()
}

fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn now() -> Instant {
    Instant::now()
}
