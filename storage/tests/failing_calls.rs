//! Each call to the disk made to fail in turn: nobody is told that something is safe that is not, nothing durable is
//! lost, a full disk passes, and anything else ends the writing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::{Call, Fault, SimDisk};
use sublog_storage::{
    AppendError, Codec, Committer, Discard, FailureKind, Health, Limits, Log, LogObserver, LogOptions, Next,
    NoObserver, RecordBatch, RewriteStep, Visit,
};

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn options() -> LogOptions {
    LogOptions { segment_bytes_first: 8 << 10, segment_bytes_max: 16 << 10, ..LogOptions::default() }
}

fn open(disk: &SimDisk, observer: Arc<dyn LogObserver>) -> Result<(Log, Committer), sublog_storage::OpenError> {
    Log::open_stepped(disk.shared(), dir(), options(), observer).map(|(log, committer, _)| (log, committer))
}

/// Appends one record and lets the committer work; `Some(seq)` if it was acknowledged.
fn publish(log: &Log, committer: &mut Committer, now: Duration) -> Result<Option<u64>, AppendError> {
    let mut batch = RecordBatch::new();
    batch.push(0, b"s", b"", &[7; 300]).unwrap();
    let appended = log.append(&mut batch)?;
    let acked = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&acked);
    let call = move |result: Result<(), _>| told.store(if result.is_ok() { 1 } else { 2 }, Ordering::SeqCst);
    log.when_committed(appended.last_seq, Box::new(call));
    while committer.step(now) == Next::Now {}
    match acked.load(Ordering::SeqCst) {
        0 => panic!("{} was never answered", appended.last_seq),
        1 => Ok(Some(appended.last_seq)),
        _ => Ok(None),
    }
}

fn numbers(log: &Log) -> Vec<u64> {
    let mut seqs = Vec::new();
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            if let Visit::Record(record) = visit {
                assert_eq!(record.payload, [7; 300]);
                seqs.push(record.seq);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    seqs
}

#[derive(Default)]
struct Told {
    failed: AtomicU64,
    recovered: AtomicU64,
}

impl LogObserver for Told {
    fn failed(&self, _: &sublog_storage::LogError) {
        self.failed.fetch_add(1, Ordering::SeqCst);
    }

    fn recovered(&self) {
        self.recovered.fetch_add(1, Ordering::SeqCst);
    }
}

/// One life of 60 records with one call failing. Says whether the fault was met.
fn life(call: Call, k: u64, fault: Fault) -> bool {
    let disk = SimDisk::new(k);
    let told = Arc::new(Told::default());
    let (log, mut committer) = open(&disk, told.clone()).unwrap();
    disk.fail(call, k, 1, fault);
    let mut acked = Vec::new();
    let mut now = Duration::ZERO;
    let mut refused = 0;
    for _ in 0..60 {
        now += Duration::from_millis(100);
        match publish(&log, &mut committer, now) {
            Ok(Some(seq)) => acked.push(seq),
            Ok(None) | Err(AppendError::Failed(_)) => refused += 1,
            Err(e) => panic!("{call:?} {k} {fault:?}: {e}"),
        }
        while committer.step(now) == Next::Now {}
    }
    now += Duration::from_millis(300);
    while committer.step(now) == Next::Now {}
    let met = told.failed.load(Ordering::SeqCst) > 0;
    match log.state().health {
        Health::Failed(error) => {
            assert_eq!(error.kind(), FailureKind::Io, "{call:?} {k} {fault:?}");
            let after = publish(&log, &mut committer, now);
            assert!(matches!(after, Err(AppendError::Failed(_))), "{call:?} {k} {fault:?}: written after the end");
        }
        health => {
            assert!(health.is_ok(), "{call:?} {k} {fault:?}: {health:?}");
            assert_eq!(met, told.recovered.load(Ordering::SeqCst) > 0);
            assert!(refused <= 4, "{call:?} {k} {fault:?}: {refused} refused");
            assert_eq!(acked.len() + refused, 60);
        }
    }
    let readable = numbers(&log);
    assert!(acked.iter().all(|seq| readable.contains(seq)), "{call:?} {k} {fault:?}: before the cut");
    drop((log, committer));
    disk.crash();
    let (log, _committer) = open(&disk, Arc::new(NoObserver)).unwrap();
    let readable = numbers(&log);
    assert!(acked.iter().all(|seq| readable.contains(seq)), "{call:?} {k} {fault:?}: after the cut");
    met
}

#[test]
fn every_call_may_fail() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Short] {
        for call in [Call::Write, Call::Sync, Call::Allocate, Call::SyncDir] {
            let met = (1..=80).filter(|&k| life(call, k, fault)).count();
            let fails = fault != Fault::Short;
            assert_eq!(met > 0, fails, "{call:?} {fault:?} was met {met} times");
        }
    }
}

#[test]
fn opening_meets_failures_without_harm() {
    let disk = SimDisk::new(3);
    let (log, mut committer) = open(&disk, Arc::new(NoObserver)).unwrap();
    for _ in 0..40 {
        publish(&log, &mut committer, Duration::ZERO).unwrap().unwrap();
    }
    drop((log, committer));
    disk.kill();
    for call in Call::ALL {
        for k in 1..30 {
            let other = disk.fork(k);
            other.fail(call, k, 1, Fault::Io);
            if let Ok((log, _committer)) = open(&other, Arc::new(NoObserver)) {
                other.kill();
                drop(log);
            }
            other.crash();
            let (log, _committer) = open(&other, Arc::new(NoObserver)).unwrap();
            assert_eq!(numbers(&log).len(), 40, "{call:?} {k}");
        }
    }
}

#[test]
fn a_full_disk_refuses_and_passes() {
    let disk = SimDisk::new(5);
    let told = Arc::new(Told::default());
    let (log, mut committer) = open(&disk, told.clone()).unwrap();
    disk.set_space(30 << 10);
    let mut now = Duration::ZERO;
    let mut acked = 0;
    while told.failed.load(Ordering::SeqCst) == 0 {
        acked += u64::from(publish(&log, &mut committer, now).unwrap().is_some());
        assert!(acked < 200, "the disk was never full");
    }
    assert!(matches!(log.state().health, Health::Full(_)));
    assert_eq!(numbers(&log).len() as u64, acked);
    for _ in 0..5 {
        now += Duration::from_millis(250);
        while committer.step(now) == Next::Now {}
        assert!(matches!(publish(&log, &mut committer, now), Err(AppendError::Failed(_))));
    }
    disk.set_space(1 << 20);
    now += Duration::from_millis(250);
    while committer.step(now) == Next::Now {}
    assert!(log.state().health.is_ok());
    assert_eq!(told.recovered.load(Ordering::SeqCst), 1);
    publish(&log, &mut committer, now).unwrap().unwrap();
    assert_eq!(numbers(&log).len() as u64, acked + 1);
}

/// Mirrors of other streams have numbers that somebody else gave out.
#[test]
fn numbers_that_a_full_disk_refused_are_given_out_again_if_that_is_wanted() {
    let disk = SimDisk::new(5);
    let told = Arc::new(Told::default());
    let (log, mut committer) = open(&disk, told.clone()).unwrap();
    let limits =
        Limits { discard: Discard::New, max_per_subject: Some(1000), discard_per_subject: true, ..Limits::default() };
    log.set_limits(limits);
    log.reuse_failed(true);
    let mut now = Duration::ZERO;
    let mut acked = 0;
    for round in 1..=3 {
        disk.set_space(30 << 10);
        while told.failed.load(Ordering::SeqCst) < round {
            acked += u64::from(publish(&log, &mut committer, now).unwrap().is_some());
            assert!(acked < 1000, "the disk was never full");
        }
        assert_eq!(numbers(&log).len() as u64, acked);
        disk.set_space(2 << 20);
        now += Duration::from_millis(250);
        while committer.step(now) == Next::Now {}
        assert!(log.state().health.is_ok());
        assert_eq!(log.next_seq(), acked + 1);
        // Nobody is told of the failure that this number had.
        assert_eq!(publish(&log, &mut committer, now).unwrap(), Some(acked + 1));
        acked += 1;
        assert_eq!(numbers(&log), (1..=acked).collect::<Vec<_>>());
        disk.set_space(0);
    }
    drop((log, committer));
    disk.set_space(2 << 20);
    disk.crash();
    let (log, _committer) = open(&disk, Arc::new(NoObserver)).unwrap();
    assert_eq!(numbers(&log), (1..=acked).collect::<Vec<_>>());
    assert!(log.state().damage.is_empty());
}

/// Rewrites the first three segments without every fourth record; whether that came to its end.
fn rewrite(log: &Log, codec: Codec) -> bool {
    let mut rewrite = log.rewrite(1, 3, codec, Arc::new(|seq| seq.is_multiple_of(4)));
    loop {
        match rewrite.step(2000) {
            Ok(RewriteStep::Working { .. }) => {}
            Ok(RewriteStep::Done(_)) => return true,
            Ok(RewriteStep::NotDone(why)) => panic!("{why:?}"),
            Err(_) => return false,
        }
    }
}

#[test]
fn a_rewriting_meets_failures_without_harm() {
    let disk = SimDisk::new(4);
    let (log, mut committer) = open(&disk, Arc::new(NoObserver)).unwrap();
    for _ in 0..100 {
        publish(&log, &mut committer, Duration::ZERO).unwrap().unwrap();
    }
    assert!(log.segments().len() > 4);
    let covered = log.segments()[2].last_seq;
    drop((log, committer));
    disk.kill();
    let all: Vec<u64> = (1..=100).collect();
    let kept: Vec<u64> = all.iter().copied().filter(|&seq| seq > covered || !seq.is_multiple_of(4)).collect();
    for codec in [Codec::None, Codec::Zstd] {
        for call in Call::ALL {
            let mut failed = 0;
            for (k, fault) in (1..20).flat_map(|k| [(k, Fault::Io), (k, Fault::NoSpace), (k, Fault::Short)]) {
                let other = disk.fork(k);
                let (log, mut committer) = open(&other, Arc::new(NoObserver)).unwrap();
                other.fail(call, k, 1, fault);
                let done = rewrite(&log, codec);
                failed += u32::from(!done);
                // One that it did not come to fails nobody else.
                other.fail(call, u64::MAX - 1, 1, fault);
                // What it was, or what it is to be; and the log goes on, whatever became of the rewriting.
                let now = numbers(&log);
                assert!(now == kept || !done && now == all, "{call:?} {k} {fault:?}: {now:?}");
                assert_eq!(publish(&log, &mut committer, Duration::ZERO).unwrap(), Some(101));
                drop((log, committer));
                other.crash();
                let (log, _committer) = open(&other, Arc::new(NoObserver)).unwrap();
                let after = numbers(&log);
                let (last, before) = after.split_last().unwrap();
                assert!(
                    *last == 101 && (before == kept || !done && before == all),
                    "{call:?} {k} {fault:?}: {after:?}"
                );
                let names = other.list(dir()).unwrap();
                assert!(names.iter().all(|name| name == "LOCK" || name.ends_with(".seg")), "{names:?}");
                assert_eq!(names.len() as u64, log.state().segments + 1, "{names:?}");
                assert!(log.state().damage.is_empty());
            }
            let can_fail = !matches!(call, Call::Read | Call::Allocate);
            assert_eq!(failed > 0, can_fail, "{call:?}");
        }
    }
}

/// Everything but an empty segment was removed, a record comes that does not fit in it, the disk is full, and the
/// process dies: the numbers before were seen, and are not given out again.
#[test]
fn numbers_outlive_the_last_empty_segment() {
    for power in [false, true] {
        let disk = SimDisk::new(6);
        let (log, mut committer) = open(&disk, Arc::new(NoObserver)).unwrap();
        let used = |disk: &SimDisk| u64::MAX - disk.free_space(dir()).unwrap();
        let mut now = Duration::ZERO;
        let mut last = 0;
        for _ in 0..60 {
            last = publish(&log, &mut committer, now).unwrap().unwrap();
        }
        disk.set_space(used(&disk));
        while let Ok(Some(seq)) = publish(&log, &mut committer, now) {
            last = seq;
        }
        disk.set_space(u64::MAX);
        now += Duration::from_millis(250);
        while committer.step(now) == Next::Now {}
        assert!(log.state().health.is_ok());
        log.remove(vec![(1, last)], Box::new(|result| assert!(result.is_ok())));
        for _ in 0..2 {
            while committer.step(now) == Next::Now {}
            log.reclaim().unwrap();
        }
        assert_eq!((log.state().segments, log.state().messages), (1, 0));
        let oldest = log.oldest_seq();
        assert!(oldest > last);
        disk.set_space(used(&disk) + 100);
        let mut batch = RecordBatch::new();
        batch.push(0, b"s", b"", &[7; 60_000]).unwrap();
        let appended = log.append(&mut batch).unwrap();
        log.when_committed(appended.last_seq, Box::new(|result| assert!(result.is_err())));
        while committer.step(now) == Next::Now {}
        assert!(matches!(log.state().health, Health::Full(_)));
        assert!(log.oldest_seq() >= oldest, "begins at {} again", log.oldest_seq());
        drop((log, committer));
        if power {
            disk.crash();
        } else {
            disk.kill();
        }
        disk.set_space(u64::MAX);
        let (log, mut committer) = open(&disk, Arc::new(NoObserver)).unwrap();
        assert_eq!(log.state().damage_found, 0, "{:?}", log.state().damage);
        let next = publish(&log, &mut committer, now).unwrap().unwrap();
        assert!(next > last, "{next} is given out again, {last} was acknowledged");
    }
}
