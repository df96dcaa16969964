//! Logs in temporary folders of the real file system: order, group commit, replay, retention, reopening.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sublog_storage::{
    AppendError, Log, LogObserver, LogOptions, NoObserver, OpenError, ReadEnd, RealDisk, Record, RecordBatch,
    RecoveryReport, SyncMode, Visit,
};

fn small() -> LogOptions {
    LogOptions { segment_bytes_first: 64 << 10, segment_bytes_max: 256 << 10, ..LogOptions::default() }
}

fn open(dir: &Path, options: LogOptions) -> (Log, RecoveryReport) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match Log::open(RealDisk::shared(), dir, options.clone(), Arc::new(NoObserver)) {
            // A process that another test is starting holds a copy of every file for a moment, the lock with it.
            Err(OpenError::Locked { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

fn batch(from: u64, n: u64) -> RecordBatch {
    let mut batch = RecordBatch::new();
    for i in from..from + n {
        batch.push(time(i), format!("t.{}", i % 7).as_bytes(), b"", payload(i).as_bytes()).unwrap();
    }
    batch
}

fn time(i: u64) -> i64 {
    i64::try_from(i).unwrap() * 1000
}

fn payload(i: u64) -> String {
    format!("payload of {i} {}", "x".repeat((i % 97) as usize))
}

/// Waits until everything up to `seq` is acknowledged.
fn wait(log: &Log, seq: u64) {
    let (tell, told) = mpsc::channel();
    log.when_committed(seq, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
}

fn read_all(log: &Log) -> Vec<Record> {
    let mut records = Vec::new();
    let mut reader = log.reader();
    let outcome = reader
        .visit(usize::MAX, &mut |visit| {
            match visit {
                Visit::Record(record) => records.push(record.to_record()),
                Visit::Lost(range) => panic!("lost {range:?}"),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(outcome.end, ReadEnd::CaughtUp);
    records
}

fn assert_is(record: &Record, i: u64) {
    assert_eq!(record.seq, i);
    assert_eq!(record.ts_ns, time(i));
    assert_eq!(record.subject, format!("t.{}", i % 7));
    assert_eq!(record.payload, payload(i));
}

#[test]
fn what_is_appended_is_read_in_order_and_again_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut next = 1;
    for round in 0..4_u64 {
        let (log, report) = open(&path, small());
        assert_eq!(report.created, round == 0);
        assert_eq!(report.torn_bytes, 0);
        assert!(report.damage.is_empty(), "{:?}", report.damage);
        for size in [1, 3, 500, 1, 2000] {
            let appended = log.append(&mut batch(next, size)).unwrap();
            assert_eq!((appended.first_seq, appended.last_seq), (next, next + size - 1));
            next += size;
        }
        wait(&log, next - 1);
        let records = read_all(&log);
        assert_eq!(records.len() as u64, next - 1);
        for (record, i) in records.iter().zip(1..) {
            assert_is(record, i);
        }
        let state = log.state();
        assert_eq!((state.first_seq, state.last_seq, state.messages), (1, next - 1, next - 1));
        assert_eq!((state.first_ts_ns, state.last_ts_ns), (time(1), time(next - 1)));
        assert_eq!(state.bytes, records.iter().map(|r| 20 + r.subject.len() as u64 + r.payload.len() as u64).sum());
        log.close().unwrap();
    }
    let files = std::fs::read_dir(&path).unwrap().count();
    assert!(files > 4, "only {files} files");
}

#[test]
fn a_reader_finds_any_number_and_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    let last = 5000;
    let mut next = 1;
    while next <= last {
        let n = (1 + next % 40).min(last + 1 - next);
        log.append(&mut batch(next, n)).unwrap();
        next += n;
        if next % 3 == 0 {
            wait(&log, next - 1);
        }
    }
    wait(&log, last);
    let mut reader = log.reader();
    for seq in (1..=last).step_by(13).chain([last, last + 1]) {
        reader.seek(seq);
        let mut seen = None;
        let outcome = reader
            .visit(1, &mut |visit| {
                if let Visit::Record(record) = visit {
                    seen = Some(record.to_record());
                }
                ControlFlow::Break(())
            })
            .unwrap();
        match seen {
            Some(record) => {
                assert_is(&record, seq);
                assert_eq!(outcome.next_seq, seq + 1);
            }
            None => assert_eq!((seq, outcome.end), (last + 1, ReadEnd::CaughtUp)),
        }
        assert_eq!(log.seek_time(time(seq)).unwrap(), seq);
        assert_eq!(log.seek_time(time(seq) - 1).unwrap(), seq);
    }
    assert_eq!(log.seek_time(i64::MIN).unwrap(), 1);
    assert_eq!(log.seek_time(i64::MAX).unwrap(), last + 1);
    // Backwards from any number.
    for from in [1, 2, 777, last - 1, last, u64::MAX] {
        let mut expected = from.min(last);
        let outcome = reader
            .visit_backward(from, &mut |visit| {
                let Visit::Record(record) = visit else { panic!("lost") };
                assert_is(&record.to_record(), expected);
                expected -= 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!((expected, outcome.end, outcome.next_seq), (0, ReadEnd::CaughtUp, 0));
    }
    let mut n = 0;
    let outcome = reader
        .visit_backward(u64::MAX, &mut |_| {
            n += 1;
            if n == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((outcome.end, outcome.next_seq), (ReadEnd::Stopped, last - 10));
}

#[test]
fn many_publishers_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), LogOptions::default());
    let (publishers, each) = (8_u64, 150_u64);
    std::thread::scope(|scope| {
        for publisher in 0..publishers {
            let log = &log;
            scope.spawn(move || {
                for i in 0..each {
                    let mut batch = RecordBatch::new();
                    batch.push(0, format!("p.{publisher}").as_bytes(), b"", &i.to_le_bytes()).unwrap();
                    let appended = log.append(&mut batch).unwrap();
                    wait(log, appended.last_seq);
                    assert!(log.committed_seq() >= appended.last_seq);
                }
            });
        }
    });
    let counters = log.state().counters;
    assert_eq!(counters.records, publishers * each);
    assert!(counters.syncs * 2 < counters.records, "{} syncs for {} records", counters.syncs, counters.records);
    // Each publisher's own order is kept.
    let mut next = vec![0_u64; publishers as usize];
    for record in read_all(&log) {
        let publisher: usize = std::str::from_utf8(&record.subject).unwrap()[2..].parse().unwrap();
        let i = u64::from_le_bytes(record.payload[..].try_into().unwrap());
        assert_eq!(i, next[publisher]);
        next[publisher] += 1;
    }
    assert_eq!(next, vec![each; publishers as usize]);
}

#[derive(Default)]
struct Seen {
    published: AtomicU64,
}

impl LogObserver for Seen {
    fn published(&self, last_seq: u64) {
        self.published.store(last_seq, Ordering::SeqCst);
    }
}

#[test]
fn without_anybody_waiting_records_become_durable_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Seen::default());
    let (log, _) = Log::open(RealDisk::shared(), dir.path(), LogOptions::default(), seen.clone()).unwrap();
    log.append(&mut batch(1, 10)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while seen.published.load(Ordering::SeqCst) < 10 {
        assert!(Instant::now() < deadline, "never published");
        std::thread::yield_now();
    }
    assert_eq!((log.durable_seq(), log.readable_seq()), (10, 10));
}

#[test]
fn weak_modes_acknowledge_after_the_write_and_sync_on_request() {
    for mode in [SyncMode::Os, SyncMode::Interval(Duration::from_secs(3600))] {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path(), LogOptions { sync: mode, ..LogOptions::default() });
        let appended = log.append(&mut batch(1, 5)).unwrap();
        wait(&log, appended.last_seq);
        assert_eq!((log.committed_seq(), log.readable_seq(), log.durable_seq()), (5, 5, 0), "{mode:?}");
        log.sync_now().unwrap();
        assert_eq!(log.durable_seq(), 5, "{mode:?}");
        log.close().unwrap();
        let (log, report) = open(dir.path(), LogOptions { sync: mode, ..LogOptions::default() });
        assert!(report.clean && report.skipped.is_none());
        assert_eq!(read_all(&log).len(), 5);
    }
}

#[test]
fn removing_takes_whole_segments_and_readers_finish_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    for first in (1..4000).step_by(100) {
        log.append(&mut batch(first, 100)).unwrap();
        wait(&log, first + 99);
    }
    let mut reader = log.reader();
    let mut kept = Vec::new();
    reader
        .visit(usize::MAX, &mut |visit| {
            if let Visit::Record(record) = visit {
                kept.push(record.to_record());
            }
            if kept.len() == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    let removed = log.remove_before(3000).unwrap();
    let state = log.state();
    assert!(removed.segments > 0 && state.first_seq > 1 && state.first_seq <= 3000);
    assert_eq!(removed.messages + state.messages, 4000);
    // What was handed out stays valid, the segment that is being read is finished, then the reader goes on at the first.
    for (record, i) in kept.iter().zip(1..) {
        assert_is(record, i);
    }
    let mut seqs = Vec::new();
    reader
        .visit(usize::MAX, &mut |visit| {
            let Visit::Record(record) = visit else { panic!("removed records are not lost ones: {visit:?}") };
            seqs.push(record.seq);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((seqs[0], *seqs.last().unwrap()), (11, 4000));
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1 || pair[1] == state.first_seq));
    drop(log);
    let (log, report) = open(dir.path(), small());
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!(log.state().first_seq, state.first_seq);
}

#[test]
fn a_full_queue_refuses_and_says_when_there_is_space() {
    struct Space(mpsc::Sender<()>);
    impl LogObserver for Space {
        fn space(&self) {
            self.0.send(()).ok();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = mpsc::channel();
    let options = LogOptions { queue_bytes_max: 1 << 20, ..LogOptions::default() };
    let (log, _) = Log::open(RealDisk::shared(), dir.path(), options, Arc::new(Space(tell))).unwrap();
    let mut refused = 0;
    let mut next = 1;
    while refused < 3 {
        let mut big = RecordBatch::new();
        big.push(0, b"s", b"", &vec![7; 400 << 10]).unwrap();
        match log.append(&mut big) {
            Ok(appended) => {
                assert_eq!(appended.first_seq, next);
                next += 1;
            }
            Err(AppendError::QueueFull { .. }) => {
                assert_eq!(big.len(), 1);
                refused += 1;
                told.recv_timeout(Duration::from_secs(20)).unwrap();
            }
            Err(e) => panic!("{e}"),
        }
    }
    wait(&log, next - 1);
    assert_eq!(read_all(&log).len() as u64, next - 1);
}

#[test]
fn a_batch_larger_than_any_segment_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (log, _) = open(dir.path(), small());
        let before = log.readable_seq();
        let mut huge = RecordBatch::new();
        huge.push(5, b"huge", b"", &vec![1; 3 << 20]).unwrap();
        huge.push(6, b"huge", b"", &vec![2; 3 << 20]).unwrap();
        let appended = log.append(&mut huge).unwrap();
        assert_eq!(appended.first_seq, before + 1);
        log.append(&mut batch(before + 3, 1)).unwrap();
        wait(&log, before + 3);
        let records = read_all(&log);
        assert_eq!(records.len() as u64, before + 3);
        assert!(records[before as usize + 1].payload.iter().all(|&b| b == 2));
        log.close().unwrap();
    }
}

#[test]
fn a_log_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), small());
    let second = Log::open(RealDisk::shared(), dir.path(), small(), Arc::new(NoObserver));
    match second {
        Err(sublog_storage::OpenError::Locked { owner_pid, .. }) => assert_eq!(owner_pid, Some(std::process::id())),
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("two owners"),
    }
    log.close().unwrap();
    open(dir.path(), small());
}

/// What the child of the next test does: publishes and says on its output what was acknowledged.
fn publish_until_killed(dir: &Path) -> ! {
    use std::io::Write as _;
    let (log, _) = open(dir, small());
    let mut out = std::io::stdout();
    loop {
        let first = log.readable_seq() + 1;
        let appended = log.append(&mut batch(first, 1 + first % 20)).unwrap();
        wait(&log, appended.last_seq);
        writeln!(out, "acked {}", appended.last_seq).unwrap();
    }
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    use std::io::{BufRead as _, BufReader};
    if let Some(dir) = std::env::var_os("SUBLOG_TEST_KILLED_DIR") {
        publish_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acked = 0;
    for round in 1..=8_u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_a_killed_process_acknowledged_is_there", "--nocapture"])
            .env("SUBLOG_TEST_KILLED_DIR", dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(seq) = line.strip_prefix("acked ").and_then(|seq| seq.parse().ok()) {
                acked = seq;
                said += 1;
            }
            if said == 20 * round {
                // SIGKILL; what it says after this line is still read, and counts.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(said >= 20 * round, "the child ended by itself");
        let (log, report) = open(dir.path(), small());
        assert!(!report.clean, "round {round}: {report:?}");
        assert!(report.damage.is_empty(), "{report:?}");
        let records = read_all(&log);
        assert!(records.len() as u64 >= acked, "{} of {acked}", records.len());
        for (record, i) in records.iter().zip(1..) {
            assert_is(record, i);
        }
    }
}
