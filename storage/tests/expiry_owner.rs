//! Records that expire, and who has a say in it: an owner who looks at them before they are removed, and a limit that has
//! removed others because of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sublog_storage::disk::sim::SimDisk;
use sublog_storage::{Committer, Limits, Log, LogOptions, Next, NoObserver, RecordBatch, Visit, WallClock};

const SECOND: i64 = 1_000_000_000;

struct Setting {
    disk: SimDisk,
    clock: Arc<AtomicI64>,
    limits: Limits,
}

impl Setting {
    fn new(limits: Limits) -> Self {
        Self { disk: SimDisk::new(3), clock: Arc::new(AtomicI64::new(1000 * SECOND)), limits }
    }

    fn open(&self) -> (Log, Committer) {
        let clock = WallClock::Given(Arc::clone(&self.clock));
        let options = LogOptions { clock, limits: self.limits, ..LogOptions::default() };
        let opened = Log::open_stepped(self.disk.shared(), Path::new("/log"), options, Arc::new(NoObserver));
        let (log, mut committer, report) = opened.unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
        settle(&mut committer);
        (log, committer)
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::Acquire)
    }

    fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds * SECOND, Ordering::AcqRel);
    }

    /// Appends a record that expires after so many seconds, or does not.
    fn append(&self, log: &Log, committer: &mut Committer, subject: &str, stays: Option<i64>) {
        let (mut batch, now) = (RecordBatch::new(), self.now());
        match stays {
            Some(seconds) => batch.push_expiring(now, subject.as_bytes(), b"", b"x", now + seconds * SECOND).unwrap(),
            None => batch.push(now, subject.as_bytes(), b"", b"x").unwrap(),
        }
        let appended = log.append(&mut batch).unwrap();
        log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        settle(committer);
    }
}

fn settle(committer: &mut Committer) {
    while committer.step(Duration::ZERO) == Next::Now {}
}

fn shown(log: &Log) -> Vec<u64> {
    let mut found = Vec::new();
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            let Visit::Record(record) = visit else { panic!("{visit:?}") };
            found.push(record.seq);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn expired(log: &Log, now_ns: i64, limit: usize) -> Vec<u64> {
    let mut found = Vec::new();
    log.visit_expired(now_ns, limit, &mut |record| {
        found.push(record.seq);
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

#[test]
fn an_owner_sees_what_has_expired_before_it_goes() {
    let setting = Setting::new(Limits::default());
    let (log, mut committer) = setting.open();
    log.hold_expired(i64::MIN);
    for stays in [Some(1), None, Some(2), Some(5), Some(2)] {
        setting.append(&log, &mut committer, "s", stays);
    }
    assert_eq!(expired(&log, setting.now(), 10), []);
    assert!(!log.is_expiry_due());
    setting.pass(3);
    assert!(log.is_expiry_due());
    for _ in 0..3 {
        log.maintain().unwrap();
        log.expire();
        settle(&mut committer);
        assert_eq!((shown(&log), log.state().messages), (vec![2, 4], 5), "not shown, and not removed");
        assert_eq!(expired(&log, setting.now(), 10), [1, 3, 5]);
        assert_eq!(expired(&log, setting.now(), 2).len(), 2);
    }
    // What was looked at goes, what expired since does not.
    let looked_at = setting.now();
    setting.pass(3);
    log.hold_expired(looked_at);
    log.expire();
    settle(&mut committer);
    assert_eq!((shown(&log), log.state().messages), (vec![2], 2));
    assert!(log.is_expiry_due());
    assert_eq!(expired(&log, setting.now(), 10), [4]);
    log.hold_expired(i64::MAX);
    log.expire();
    settle(&mut committer);
    assert_eq!((shown(&log), log.state().messages), (vec![2], 1));
    assert!(!log.is_expiry_due());
}

#[test]
fn what_was_replaced_does_not_come_back_when_its_successor_goes() {
    for kill in [false, true] {
        let setting = Setting::new(Limits { max_per_subject: Some(1), ..Limits::default() });
        let (log, mut committer) = setting.open();
        setting.append(&log, &mut committer, "s", None);
        setting.append(&log, &mut committer, "s", Some(1));
        assert_eq!(shown(&log), [2]);
        // The limit's removal is not in the journal yet.
        drop((log, committer));
        if kill {
            setting.disk.kill();
        } else {
            setting.disk.crash();
        }
        setting.pass(2);
        let (log, mut committer) = setting.open();
        assert_eq!(shown(&log), []);
        log.maintain().unwrap();
        log.expire();
        settle(&mut committer);
        assert_eq!(log.state().messages, 0);
    }
}
