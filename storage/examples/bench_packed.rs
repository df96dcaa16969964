//! What packing JSON documents gains, and what reading them costs then: by block size and level, and through a whole log.
//!
//! `cargo run --release -p sublog-storage --example bench_packed <folder with .json files> [folder for the log] [MiB]`
//!
//! The files are templates: each document made from one has other digits in its numbers and identifiers, so that blocks do not
//! hold the same document twice.

#![expect(clippy::disallowed_methods, reason = "measures")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sublog_storage::disk::sim::Chance;
use sublog_storage::{Codec, Log, LogOptions, NoObserver, RealDisk, RecordBatch, RewriteStep, Visit};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Bytes of documents behind each line of the table.
const SAMPLE_BYTES: usize = 64 << 20;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let templates = templates(Path::new(&args.next().ok_or("a folder with .json files, please")?))?;
    let root = args.next().unwrap_or_else(|| ".".to_owned());
    let mib: usize = args.next().map_or(Ok(256), |text| text.parse())?;
    let mut documents = Documents { templates, chance: Chance::new(1) };
    table(&mut documents)?;
    let dir = Path::new(&root).join(format!("bench-packed-{}", std::process::id()));
    let result = log(&mut documents, &dir, mib << 20);
    std::fs::remove_dir_all(&dir)?;
    result
}

/// The documents, without the white space between their parts.
fn templates(folder: &Path) -> Outcome<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let (mut in_string, mut escaped) = (false, false);
            let mut text = std::fs::read(path)?;
            text.retain(|&byte| {
                let kept = in_string || !byte.is_ascii_whitespace();
                in_string ^= byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                kept
            });
            all.push(text);
        }
    }
    if all.is_empty() { Err("there are no .json files in it".into()) } else { Ok(all) }
}

struct Documents {
    templates: Vec<Vec<u8>>,
    chance: Chance,
}

impl Documents {
    fn next(&mut self) -> Vec<u8> {
        let which = self.chance.below(self.templates.len() as u64) as usize;
        let template = self.templates.get(which).cloned().unwrap_or_default();
        let mut document = Vec::with_capacity(template.len());
        for word in template.chunk_by(|a, b| a.is_ascii_alphanumeric() == b.is_ascii_alphanumeric()) {
            let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
            let hex = word.len() >= 4 && digits > 0 && word.iter().all(u8::is_ascii_hexdigit);
            document.extend(word.iter().map(|&byte| match byte {
                b'0'..=b'9' if digits >= 4 || hex => b'0' + self.chance.below(10) as u8,
                b'a'..=b'f' if hex => b'a' + self.chance.below(6) as u8,
                b'A'..=b'F' if hex => b'A' + self.chance.below(6) as u8,
                other => other,
            }));
        }
        document
    }
}

/// Ratio, and time to compress and decompress a block, for sizes and levels.
fn table(documents: &mut Documents) -> Outcome<()> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    while bytes < SAMPLE_BYTES {
        let mut record = vec![0; 20];
        record.extend_from_slice(b"jobs.reports.site");
        record.extend(documents.next());
        bytes += record.len();
        records.push(record);
    }
    println!("{} documents of {} B on average", records.len(), bytes / records.len());
    println!("| block | level | ratio | compress MiB/s | decompress a block, us |\n|---:|---:|---:|---:|---:|");
    for kib in [32, 64, 128, 256, 512] {
        for level in [1, 3, 6] {
            line(&records, kib, level)?;
        }
    }
    Ok(())
}

fn line(records: &[Vec<u8>], kib: usize, level: i32) -> Outcome<()> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    let mut decompressor = zstd::bulk::Decompressor::new()?;
    let (mut raw, mut stored, mut compressing) = (0, 0, Duration::ZERO);
    let mut times = Vec::new();
    let mut block: Vec<u8> = Vec::new();
    for record in records {
        if block.len() + record.len() > kib << 10 && !block.is_empty() {
            let start = Instant::now();
            let packed = compressor.compress(&block)?;
            compressing += start.elapsed();
            let start = Instant::now();
            let again = decompressor.decompress(&packed, block.len())?;
            times.push(start.elapsed());
            assert_eq!(again, block, "what was compressed comes back");
            raw += block.len();
            stored += packed.len() + 64;
            block.clear();
        }
        block.extend_from_slice(record);
        block.extend_from_slice(&[0; 12]);
    }
    times.sort_unstable();
    println!(
        "| {kib} KiB | {level} | {:.2} | {:.0} | {:.0} |",
        raw as f64 / stored as f64,
        raw as f64 / f64::from(1 << 20) / compressing.as_secs_f64(),
        us(&times, 50)
    );
    Ok(())
}

fn us(sorted: &[Duration], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1e6
}

/// A log of documents: scanned and read from at random, as appended, packed, and compressed.
fn log(documents: &mut Documents, dir: &Path, bytes: usize) -> Outcome<()> {
    let options = LogOptions { segment_bytes_first: 64 << 20, ..LogOptions::default() };
    let (log, _) = Log::open(RealDisk::shared(), dir, options, Arc::new(NoObserver))?;
    let mut done = 0;
    while done < bytes {
        let mut batch = RecordBatch::new();
        while batch.bytes() < 1 << 20 {
            batch.push(0, b"jobs.reports.site", b"", &documents.next())?;
        }
        done += batch.bytes();
        let last = log.append(&mut batch)?.last_seq;
        let (tell, told) = mpsc::sync_channel(1);
        log.when_committed(last, Box::new(move |result| drop(tell.send(result))));
        told.recv()??;
    }
    reads(&log, "as appended")?;
    for codec in [Codec::None, Codec::Zstd] {
        let start = Instant::now();
        let (mut before, mut after) = (0, 0);
        for segment in log.segments().iter().filter(|segment| segment.sealed) {
            before += segment.file_bytes;
            let mut rewrite = log.rewrite(segment.first_seq, 1, codec, Arc::new(|_| false));
            after += loop {
                match rewrite.step(4 << 20)? {
                    RewriteStep::Working { .. } => {}
                    RewriteStep::Done(done) => break done.file_bytes,
                    RewriteStep::NotDone(why) => return Err(format!("not rewritten: {why:?}").into()),
                }
            };
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("rewritten as {codec:?}: {before} to {after} bytes, {:.0} MiB/s", mib_per_s(before, seconds));
        reads(&log, &format!("packed as {codec:?}"))?;
    }
    log.close()?;
    Ok(())
}

fn mib_per_s(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / f64::from(1 << 20) / seconds
}

/// All of it in order, then single records anywhere in the sealed segments.
fn reads(log: &Log, what: &str) -> Outcome<()> {
    let sealed = log.segments().iter().filter(|segment| segment.sealed).map(|segment| segment.last_seq).max();
    let last = sealed.ok_or("no segment was sealed: more MiB, please")?;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let mut bytes = 0;
        log.reader().visit(usize::MAX, &mut |visit| {
            if let Visit::Record(record) = visit {
                bytes += record.bytes() as u64;
                if record.seq >= last {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        best = best.min(start.elapsed().as_secs_f64() / bytes as f64);
    }
    let mut chance = Chance::new(7);
    let mut times = Vec::new();
    for _ in 0..5000 {
        let start = Instant::now();
        let mut reader = log.reader();
        reader.seek(1 + chance.below(last));
        let mut found = 0;
        reader.visit(1, &mut |visit| {
            if let Visit::Record(record) = visit {
                found = record.payload.len();
            }
            ControlFlow::Break(())
        })?;
        std::hint::black_box(found);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!(
        "{what}: scan {:.0} MiB/s; one record anywhere: p50 {:.0} us, p99 {:.0} us",
        1.0 / best / f64::from(1 << 20),
        us(&times, 50),
        us(&times, 99)
    );
    Ok(())
}
