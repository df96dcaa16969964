//! Micro-benchmarks of the server's innermost steps: `cargo bench -p sublog-benches`. Give the machine nothing else to do;
//! for changes of a few percent on a shared machine, see `.ci/instructions`.

#![expect(clippy::unwrap_used, reason = "a step that fails must end the measurement, not be its figure")]

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sublog_benches::micro::{Appending, Decoding, Encoding, Indexed, Matching, Outcome, Reading, Recovery};

fn main() -> Outcome<()> {
    let mut criterion = Criterion::default().configure_from_args();
    wire(&mut criterion);
    log(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn wire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Elements(1000));
    let decoding = Decoding::of(1000);
    group.bench_function("decode 1,000 PUB and HPUB", |bencher| bencher.iter(|| black_box(&decoding).step().unwrap()));
    let mut matching = Matching::among(100_000);
    group.bench_function("match 1,000 subjects, 100,000 subscriptions", |bencher| {
        bencher.iter(|| black_box(&mut matching).step());
    });
    let mut encoding = Encoding::default();
    group.bench_function("encode 1,000 MSG and HMSG lines", |bencher| {
        bencher.iter(|| black_box(&mut encoding).step(1000));
    });
}

fn log(criterion: &mut Criterion) -> Outcome<()> {
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("append 1,000 records, not synced", |bencher| {
        // A fresh log a sample: it does not grow for ever.
        bencher.iter_custom(|rounds| appended(rounds).unwrap());
    });
    let reading = Reading::of(100_000)?;
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("read 100,000 records", |bencher| bencher.iter(|| black_box(&reading).step().unwrap()));
    let indexed = Indexed::of(100_000, 1000)?;
    group.throughput(Throughput::Elements(100));
    let mut number = 0;
    group.bench_function("index: 100 records of one subject of 1,000", |bencher| {
        bencher.iter(|| {
            number += 1;
            black_box(&indexed).step(number).unwrap()
        });
    });
    let recovery = Recovery::of(100_000)?;
    group.throughput(Throughput::Elements(100_000));
    group.sample_size(20);
    group.bench_function("recovery: open a log of 100,000 records", |bencher| {
        bencher.iter(|| black_box(&recovery).step().unwrap());
    });
    group.finish();
    Ok(())
}

/// The time of so many batches.
#[expect(clippy::disallowed_methods, reason = "measures")]
fn appended(rounds: u64) -> Outcome<std::time::Duration> {
    let mut appending = Appending::new()?;
    let begun = std::time::Instant::now();
    for _ in 0..rounds {
        black_box(&mut appending).step()?;
    }
    Ok(begun.elapsed())
}
