//! G5 and G6: a log with its own thread and several publishers, on a disk whose k-th call fails. Everybody is answered
//! within a second, nobody is told behind a failure that something is safe, and what was told is there after a power cut.
//!
//! `SUBLOG_FAILING_CALLS=<n>` tries every k up to n instead of a sample up to 200.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sublog_storage::disk::sim::{Call, Fault, SimDisk};
use sublog_storage::{FailureKind, Health, Log, LogOptions, NoObserver, RecordBatch, Visit};

use crate::common::{content, env, identity, report, visit_all};

const PUBLISHERS: u64 = 3;
/// Everybody must have been answered by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes_first: 8 << 10,
        segment_bytes_max: 8 << 10,
        zero_ahead_bytes: 4 << 10,
        // Shorter than in production, and much longer than a round here.
        retry_space: Duration::from_millis(20),
        ..LogOptions::default()
    }
}

#[derive(Debug, Default)]
struct Totals {
    lives: u64,
    met: u64,
    acks: u64,
    errors: u64,
    slowest: Duration,
}

#[derive(Debug, Default)]
struct Life {
    acked: Vec<(u64, u64)>,
    failed: Vec<u64>,
    slowest: Duration,
}

/// Publishes until told to stop, or until the log is at its end.
fn publish(log: &Log, publisher: u64, batches: u64, life: &Mutex<Life>, resumes: bool) {
    for n in 0..batches {
        let id = publisher << 32 | n;
        let (ts, subject, headers, payload) = content(id);
        let mut batch = RecordBatch::new();
        batch.push(ts, &subject, &headers, &payload).unwrap();
        let Ok(appended) = log.append(&mut batch) else {
            if !resumes || !matches!(log.state().health, Health::Full(_) | Health::Ok) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let start = Instant::now();
        let (tell, told) = mpsc::channel();
        log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result).unwrap()));
        let answer = told.recv_timeout(ANSWER_WITHIN).expect("an answer within a second");
        let mut life = life.lock().unwrap();
        life.slowest = life.slowest.max(start.elapsed());
        match answer {
            Ok(()) => life.acked.push((appended.last_seq, id)),
            Err(_) => life.failed.push(appended.last_seq),
        }
    }
}

fn one_life(call: Call, k: u64, fault: Fault, totals: &mut Totals) {
    let name = format!("{call:?} {k} {fault:?}");
    let disk = SimDisk::new(k);
    let (log, _) = Log::open(disk.shared(), dir(), options(), Arc::new(NoObserver)).unwrap();
    disk.fail(call, k, 1, fault);
    let life = Mutex::new(Life::default());
    let over = AtomicBool::new(false);
    // Calls that a batch causes once each: enough batches that the k-th is among them; of the others what there is.
    let batches = k + 40;
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let (log, life) = (&log, &life);
                scope.spawn(move || publish(log, publisher, batches, life, fault == Fault::NoSpace))
            })
            .collect();
        // Removes and reads meanwhile: these calls fail as well, and must only fail themselves.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if log.state().segments > 6 {
                    let _ = log.remove_oldest();
                }
                let mut reader = log.reader();
                reader.seek(log.readable_seq().saturating_sub(20));
                let _ = reader.visit(4096, &mut |_| std::ops::ControlFlow::Continue(()));
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        over.store(true, Ordering::Relaxed);
    });
    let life = life.into_inner().unwrap();
    let health = log.state().health;
    if let Health::Failed(error) = &health {
        assert_eq!(error.kind(), FailureKind::Io, "{name}");
        let first = life.failed.iter().min().copied().unwrap_or(u64::MAX);
        assert!(life.acked.iter().all(|&(seq, _)| seq < first), "{name}: acknowledged behind a failure");
    }
    let oldest = log.oldest_seq();
    totals.lives += 1;
    totals.met += u64::from(!life.failed.is_empty() || !health.is_ok());
    totals.acks += life.acked.len() as u64;
    totals.errors += life.failed.len() as u64;
    totals.slowest = totals.slowest.max(life.slowest);
    // The power goes while it runs; what the thread still does after that meets a dead disk.
    disk.crash();
    drop(log);
    check_after(&disk, &life, oldest, &name);
}

fn check_after(disk: &SimDisk, life: &Life, oldest: u64, name: &str) {
    let (log, _committer, found) =
        Log::open_stepped(disk.shared(), dir(), options(), Arc::new(NoObserver)).expect("it opens again");
    assert!(found.damage.is_empty(), "{name}: {:?}", found.damage);
    let mut held = std::collections::BTreeMap::new();
    visit_all(&log, |visit| {
        if let Visit::Record(record) = visit {
            held.insert(record.seq, identity(&record));
        }
    });
    for (seq, id) in life.acked.iter().filter(|(seq, _)| *seq >= oldest) {
        // A removal that was not finished may be finished by the power cut; then all before is gone with it.
        let removed = *seq < log.oldest_seq() && log.oldest_seq() <= first_behind(life, oldest);
        assert!(removed || held.get(seq) == Some(&Some(*id)), "{name}: {seq} was acknowledged");
    }
}

/// Where the oldest segment may end at most: a segment of 8 KiB holds fewer records than this.
fn first_behind(life: &Life, oldest: u64) -> u64 {
    let last = life.acked.iter().map(|ack| ack.0).max().unwrap_or(0);
    (oldest + 120).min(last)
}

#[test]
fn a_failing_call_is_answered_at_once_and_survived() {
    let start = Instant::now();
    let all = std::env::var_os("SUBLOG_FAILING_CALLS").is_some();
    let most = env("SUBLOG_FAILING_CALLS", 200);
    let ks: Vec<u64> = (1..=most).filter(|k| all || *k <= 4 || k % 25 == 0).collect();
    let mut line = Vec::new();
    let mut sum = Totals::default();
    for call in Call::ALL {
        for fault in [Fault::Io, Fault::NoSpace] {
            let mut totals = Totals::default();
            ks.iter().for_each(|&k| one_life(call, k, fault, &mut totals));
            let must = matches!(call, Call::Write | Call::Sync | Call::Allocate | Call::SyncDir);
            assert!(totals.met > 0 || !must, "{call:?} {fault:?} never failed anything");
            line.push(format!("{call:?}/{fault:?} {} of {}", totals.met, totals.lives));
            sum.lives += totals.lives;
            sum.acks += totals.acks;
            sum.errors += totals.errors;
            sum.slowest = sum.slowest.max(totals.slowest);
        }
    }
    let counts = format!(
        "{} lives, k up to {most}, {} acks checked, {} error answers, slowest answer {} ms, in {:.0} s; writing failed in {}",
        sum.lives,
        sum.acks,
        sum.errors,
        sum.slowest.as_millis(),
        start.elapsed().as_secs_f64(),
        line.join(", ")
    );
    report("G5 G6", "errno at the k-th call", &counts, 0);
}
