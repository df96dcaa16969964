//! G12: the queue between publishers and the committer, in schedules that `shuttle` chooses: several publishers, readers
//! and somebody who closes, on the simulated disk. An acknowledgement means a sync that covers the record, everybody who
//! waits is answered, once, and nothing is acknowledged behind a failure.
//!
//! `SUBLOG_SCHEDULES=<n>` explores that many schedules instead of 12,000.
//! `cargo test -p sublog-storage --features shuttle,planted-bugs --test interleavings`

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::mpsc;
use shuttle::{Config, Runner, thread};
use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::{Call, Chance, Fault, SimDisk};
use sublog_storage::{Log, LogOptions, NoObserver, RecordBatch, SyncMode, Visit};

const PUBLISHERS: u64 = 2;
const BATCHES: u64 = 2;

/// What is done to the log of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Nothing; it is closed when everybody has been answered.
    Calm,
    /// A reader follows.
    Read,
    /// It is closed while they publish.
    Close,
    /// The k-th call of this kind fails.
    Fail(Call, u64, Fault),
}

/// Everybody's answers, with the disk as it was when each was given.
#[derive(Default)]
struct Answers {
    acked: Vec<(u64, u64, SimDisk)>,
    failed: Vec<(u64, u64)>,
}

/// A seed whose first choice lets a crash lose everything unsynced.
fn harshest() -> u64 {
    (0..1000).find(|&seed| Chance::new(seed).below(5) == 0).unwrap()
}

fn payload(publisher: u64, batch: u64) -> Vec<u8> {
    format!("<payload of publisher {publisher} batch {batch}>").into_bytes()
}

/// Whether the payload is in a segment after a power cut that keeps nothing but what was synced.
fn survives(disk: &SimDisk, payload: &[u8]) -> bool {
    let cut = disk.fork(harshest());
    cut.crash();
    let dir = Path::new("/sim/log");
    let files = cut.list(dir).unwrap();
    let holds = |bytes: Vec<u8>| bytes.windows(payload.len()).any(|window| window == payload);
    files.iter().any(|name| cut.contents(&dir.join(name)).is_some_and(holds))
}

fn options(patient: bool) -> LogOptions {
    // Where deadlines never come, nothing but being woken helps.
    let never = Duration::from_secs(36_000);
    LogOptions {
        sync: SyncMode::Always,
        segment_bytes_first: 8 << 10,
        segment_bytes_max: 8 << 10,
        zero_ahead_bytes: 0,
        gather: if patient { never } else { Duration::from_millis(2) },
        idle_sync: if patient { never } else { Duration::from_millis(10) },
        ..LogOptions::default()
    }
}

fn publish(log: &Log, publisher: u64, answers: &Arc<Mutex<Answers>>, disk: &SimDisk) {
    let (tell, told) = mpsc::channel();
    let mut waits = 0;
    let mut last_seen = 0;
    for n in 0..BATCHES {
        let mut batch = RecordBatch::new();
        batch.push(0, b"s", b"", &payload(publisher, n)).unwrap();
        // Both ways to append; the second leaves the waking to the wait.
        let appended = if n % 2 == 0 { log.append(&mut batch) } else { log.append_then_wait(&mut batch) };
        let Ok(appended) = appended else { break };
        assert!(appended.first_seq > last_seen, "numbers of one publisher fall");
        last_seen = appended.last_seq;
        let (answers, disk, tell) = (Arc::clone(answers), disk.clone(), tell.clone());
        let id = publisher * BATCHES + n;
        let answer = move |result: Result<(), _>| {
            let mut answers = answers.lock().unwrap();
            match result {
                Ok(()) => answers.acked.push((appended.first_seq, id, disk.fork(1))),
                Err(_) => answers.failed.push((appended.first_seq, id)),
            }
            drop(answers);
            tell.send(id).unwrap();
        };
        log.when_all_committed(appended.first_seq, appended.last_seq, Box::new(answer));
        waits += 1;
        if n % 2 == 1 {
            // Flushed each time by one, at the end by the other.
            told.recv().unwrap();
            waits -= 1;
        }
    }
    for _ in 0..waits {
        told.recv().unwrap();
    }
    drop(tell);
    assert!(told.recv().is_err(), "somebody was answered twice");
}

fn follow(log: &Log, disk: &SimDisk) {
    let mut reader = log.reader();
    for _ in 0..3 {
        let mut expected = reader.next_seq();
        reader
            .visit(usize::MAX, &mut |visit| {
                let Visit::Record(record) = visit else { panic!("{visit:?}") };
                assert_eq!(record.seq, expected);
                expected += 1;
                assert!(survives(disk, record.payload), "read before it was durable");
                ControlFlow::Continue(())
            })
            .unwrap();
        thread::yield_now();
    }
}

fn schedule(plan: Plan, patient: bool) {
    let disk = SimDisk::new(7);
    let (log, _) = Log::open(disk.shared(), Path::new("/sim/log"), options(patient), Arc::new(NoObserver)).unwrap();
    if let Plan::Fail(call, k, fault) = plan {
        disk.fail(call, k, 1, fault);
    }
    let log = Arc::new(log);
    let answers = Arc::new(Mutex::new(Answers::default()));
    let mut threads = Vec::new();
    for publisher in 0..PUBLISHERS {
        let (log, answers, disk) = (Arc::clone(&log), Arc::clone(&answers), disk.clone());
        threads.push(thread::spawn(move || publish(&log, publisher, &answers, &disk)));
    }
    match plan {
        Plan::Read => follow(&log, &disk),
        Plan::Close => log.close().unwrap(),
        Plan::Calm | Plan::Fail(..) => {}
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let closed = log.close();
    let mut late = RecordBatch::new();
    late.push(0, b"s", b"", b"late").unwrap();
    assert!(log.append(&mut late).is_err(), "taken after the end");
    let (tell, told) = mpsc::channel();
    log.when_committed(u64::MAX, Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    told.recv().unwrap();
    let answers = answers.lock().unwrap();
    if matches!(plan, Plan::Calm | Plan::Read) {
        assert!(closed.is_ok() && answers.failed.is_empty());
        assert_eq!(answers.acked.len() as u64, PUBLISHERS * BATCHES);
    }
    for (seq, id, then) in &answers.acked {
        assert!(survives(then, &payload(id / BATCHES, id % BATCHES)), "{seq} was acknowledged and is not durable");
    }
    if let Plan::Fail(_, _, Fault::Io) = plan
        && let Some((failed, _)) = answers.failed.iter().min()
    {
        let behind = answers.acked.iter().find(|(seq, ..)| seq > failed);
        assert!(behind.is_none(), "acknowledged behind a failure at {failed}");
    }
    let mut numbers: Vec<u64> =
        answers.acked.iter().map(|ack| ack.0).chain(answers.failed.iter().map(|fail| fail.0)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), answers.acked.len() + answers.failed.len(), "a number twice");
}

fn explore(plan: Plan, schedules: usize) {
    let mut config = Config::default();
    config.stack_size = 512 << 10;
    config.failure_persistence = shuttle::FailurePersistence::None;
    let run = |scheduler: Box<dyn Scheduler + Send>, patient| {
        Runner::new(scheduler, config.clone()).run(move || schedule(plan, patient));
    };
    let seed = std::env::var("SUBLOG_FAULTS_SEED").map_or(11, |seed| seed.parse().unwrap());
    let each = schedules.div_ceil(4);
    for patient in [false, true] {
        run(Box::new(RandomScheduler::new_from_seed(seed, each)), patient);
        run(Box::new(PctScheduler::new_from_seed(seed, 4, each)), patient);
    }
}

const PLANS: [Plan; 9] = [
    Plan::Calm,
    Plan::Read,
    Plan::Close,
    Plan::Fail(Call::Sync, 1, Fault::Io),
    Plan::Fail(Call::Sync, 2, Fault::Io),
    Plan::Fail(Call::Write, 1, Fault::Io),
    Plan::Fail(Call::Write, 2, Fault::Io),
    Plan::Fail(Call::Write, 1, Fault::NoSpace),
    Plan::Fail(Call::Write, 2, Fault::NoSpace),
];

#[test]
fn every_schedule_keeps_the_promises() {
    let schedules = std::env::var("SUBLOG_SCHEDULES").map_or(12_000, |n| n.parse().unwrap());
    std::thread::scope(|scope| {
        for half in [&PLANS[..4], &PLANS[4..]] {
            scope.spawn(move || half.iter().for_each(|&plan| explore(plan, schedules / PLANS.len())));
        }
    });
    println!("FAULTS | G12 | interleavings of the commit queue | {schedules} schedules, 9 plans, 2 schedulers | 0");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn mistakes_are_caught() {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use sublog_storage::planted::{Bug, plant};
    for (bug, says) in [(Bug::AckBeforeSync, "not durable"), (Bug::LostWakeUp, "deadlock")] {
        plant(Some(bug));
        let caught = catch_unwind(AssertUnwindSafe(|| explore(Plan::Calm, 4000)));
        plant(None);
        let panic = caught.expect_err("the mistake was not caught");
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(text.contains(says), "{bug:?} ended with: {text}");
        println!("FAULTS | G12 | planted: {bug:?} | caught | 0");
    }
}
