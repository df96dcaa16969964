//! A disk that does not answer: whoever waits goes on waiting and gets the truth, reading goes on, other logs go on, and it
//! is said that the disk is slow while it is, and that it is over.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

#[path = "pool/gate.rs"]
mod gate;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sublog_storage::{CommitPool, Health, Log, LogObserver, LogOptions, NoObserver, RecordBatch};

use self::gate::GateDisk;

const SLOW_AFTER: Duration = Duration::from_millis(150);

fn options() -> LogOptions {
    LogOptions { segment_bytes_first: 16 << 10, slow_after: SLOW_AFTER, ..LogOptions::default() }
}

/// What an observer was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Slow(PathBuf),
    Ended,
}

#[derive(Default)]
struct Listener {
    told: Mutex<Vec<Told>>,
}

impl LogObserver for Listener {
    fn slow(&self, path: &Path, lasting: Duration) {
        assert!(lasting >= SLOW_AFTER);
        self.told.lock().push(Told::Slow(path.to_path_buf()));
    }

    fn slow_ended(&self, lasted: Duration) {
        assert!(lasted >= SLOW_AFTER);
        self.told.lock().push(Told::Ended);
    }
}

fn append(log: &Log, content: u8) -> mpsc::Receiver<bool> {
    let mut batch = RecordBatch::new();
    batch.push(0, b"slow", b"", &[content]).unwrap();
    let appended = log.append_then_wait(&mut batch).unwrap();
    let (tell, told) = mpsc::channel();
    log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    told
}

fn is_told(told: &mpsc::Receiver<bool>) -> bool {
    told.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("not answered"))
}

#[track_caller]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn contents(log: &Log) -> Vec<u8> {
    let mut found = Vec::new();
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            let sublog_storage::Visit::Record(record) = visit else { panic!("{visit:?}") };
            found.extend_from_slice(record.payload);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// Hangs a log's sync until it is called slow, twice. `others` go on meanwhile.
fn hangs(disk: &GateDisk, dir: &Path, log: &Log, listener: &Listener, others: &[Log]) {
    let _opens_at_end = disk.opens_at_end();
    let mut expected = vec![0];
    assert!(is_told(&append(log, 0)));
    for episode in 1..=2_u8 {
        assert!(log.state().health.is_ok());
        disk.close(dir);
        let start = Instant::now();
        let waits = append(log, episode);
        wait_until("the sync is not reached", || disk.waiting() == 1);
        wait_until("nobody was told", || listener.told.lock().len() == usize::from(episode) * 2 - 1);
        assert!(start.elapsed() < SLOW_AFTER + Duration::from_secs(2), "noticed after {:?}", start.elapsed());
        let state = log.state();
        assert!(matches!(state.health, Health::Slow { lasting } if lasting >= SLOW_AFTER), "{:?}", state.health);
        assert_eq!(state.counters.slow_episodes, u64::from(episode));
        // Reading goes on, and so do the others; who waits has no answer, for there is none.
        assert_eq!(contents(log), expected);
        for other in others {
            assert!(is_told(&append(other, episode)));
            assert!(other.state().health.is_ok());
        }
        let also_waits = append(log, episode + 100);
        assert!(waits.try_recv().is_err() && also_waits.try_recv().is_err());
        disk.open_all();
        assert!(is_told(&waits) && is_told(&also_waits));
        expected.extend([episode, episode + 100]);
        wait_until("it is not over", || listener.told.lock().len() == usize::from(episode) * 2);
        assert!(log.state().health.is_ok());
        assert_eq!(contents(log), expected);
    }
    let segment = dir.join("00000000000000000001.seg");
    assert_eq!(*listener.told.lock(), [Told::Slow(segment.clone()), Told::Ended, Told::Slow(segment), Told::Ended]);
}

#[test]
fn a_log_with_its_own_thread() {
    let dir = tempfile::tempdir().unwrap();
    let disk = GateDisk::default();
    let listener = Arc::new(Listener::default());
    let (log, _) = Log::open(disk.shared(), dir.path(), options(), listener.clone()).unwrap();
    hangs(&disk, dir.path(), &log, &listener, &[]);
    log.close().unwrap();
}

#[test]
fn logs_of_a_pool() {
    let dir = tempfile::tempdir().unwrap();
    let disk = GateDisk::default();
    let pool = CommitPool::new(1).unwrap();
    let listener = Arc::new(Listener::default());
    let open = |name: &str, observer: Arc<dyn LogObserver>| {
        Log::open_pooled(&pool, disk.shared(), &dir.path().join(name), options(), observer).unwrap().0
    };
    let others: Vec<Log> = ["a", "b", "c"].map(|name| open(name, Arc::new(NoObserver))).into();
    let log = open("slow", listener.clone());
    hangs(&disk, &dir.path().join("slow"), &log, &listener, &others);
}
