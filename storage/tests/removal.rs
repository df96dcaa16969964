//! Removing records: what is gone stays gone, counts are right, limits hold, space comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sublog_storage::disk::sim::SimDisk;
use sublog_storage::{
    AppendError, Committer, Discard, Limits, Log, LogOptions, LogState, Next, NoObserver, RecordBatch, Removed, Visit,
};

const DIR: &str = "/sim/log";

struct Life {
    disk: SimDisk,
    log: Log,
    committer: Committer,
    now: Duration,
}

fn options() -> LogOptions {
    LogOptions { segment_bytes_first: 16 << 10, segment_bytes_max: 16 << 10, ..LogOptions::default() }
}

impl Life {
    fn on(disk: SimDisk) -> Self {
        let (log, committer, report) =
            Log::open_stepped(disk.shared(), Path::new(DIR), options(), Arc::new(NoObserver)).unwrap();
        assert!(report.damage.is_empty(), "{:?}", report.damage);
        Self { disk, log, committer, now: Duration::ZERO }
    }

    fn new() -> Self {
        Self::on(SimDisk::new(5))
    }

    fn settle(&mut self) {
        while self.committer.step(self.now) == Next::Now {}
    }

    fn append(&mut self, n: u64) {
        for i in 0..n {
            let mut batch = RecordBatch::new();
            batch.push(0, b"s.x", b"", &[7; 80]).unwrap();
            let appended = self.log.append(&mut batch).unwrap();
            self.log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
            if i % 10 == 9 {
                self.settle();
            }
        }
        self.settle();
    }

    fn remove(&mut self, ranges: &[(u64, u64)]) -> Removed {
        let told = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&told);
        self.log.remove(ranges.to_vec(), Box::new(move |result| *tell.lock() = Some(result.unwrap())));
        self.settle();
        told.lock().take().expect("the waiter is told in the round that removes")
    }

    fn reclaim(&mut self) -> u64 {
        let mut segments = 0;
        for _ in 0..3 {
            segments += self.log.reclaim().unwrap().segments;
            self.settle();
        }
        segments
    }

    /// A process that dies, and what a new one finds.
    fn killed(self) -> Self {
        let Self { disk, log, committer, .. } = self;
        drop((committer, log));
        disk.kill();
        Self::on(disk)
    }

    fn closed(mut self) -> Self {
        self.log.ask_to_close();
        self.settle();
        self.killed()
    }

    #[track_caller]
    fn assert_holds(&self, expected: &BTreeSet<u64>) -> LogState {
        let (mut forward, mut backward, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut reader = self.log.reader();
        reader
            .visit(usize::MAX, &mut |visit| {
                let Visit::Record(record) = visit else { panic!("{visit:?}") };
                forward.push(record.seq);
                bytes += record.bytes() as u64;
                ControlFlow::Continue(())
            })
            .unwrap();
        reader
            .visit_backward(u64::MAX, &mut |visit| {
                let Visit::Record(record) = visit else { panic!("{visit:?}") };
                backward.push(record.seq);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(forward.iter().eq(expected.iter()), "{forward:?}");
        assert!(backward.iter().eq(expected.iter().rev()), "{backward:?}");
        let state = self.log.state();
        assert_eq!(state.messages, expected.len() as u64);
        assert_eq!(state.bytes, bytes, "bytes of what is there");
        assert_eq!(state.first_seq, expected.first().copied().unwrap_or(state.last_seq + 1));
        assert_eq!(self.log.first_seq(), state.first_seq);
        for (first, last) in [(1, u64::MAX), (2, 1), (9, 205), (300, 300), (4, 480), (state.first_seq, state.last_seq)]
        {
            let within = if first > last { 0 } else { expected.range(first..=last).count() as u64 };
            assert_eq!(self.log.live_count(first, last), within, "{first} to {last}");
        }
        state
    }
}

fn numbers(ranges: &[(u64, u64)]) -> BTreeSet<u64> {
    ranges.iter().flat_map(|&(a, b)| a..=b).collect()
}

#[test]
fn removed_records_stay_removed() {
    let mut life = Life::new();
    life.append(500);
    assert_eq!(life.remove(&[(3, 5), (200, 200)]).messages, 4);
    assert_eq!(life.remove(&[(4, 8), (4, 6), (900, 950)]).messages, 3, "only what is there, and once");
    assert_eq!(life.remove(&[(4, 8)]).messages, 0);
    assert_eq!((life.log.removed_count(1, u64::MAX), life.log.removed_count(5, 200)), (7, 5));
    let expected = numbers(&[(1, 2), (9, 199), (201, 500)]);
    life.assert_holds(&expected);
    let mut life = life.killed();
    life.assert_holds(&expected);
    life.append(10);
    let expected = numbers(&[(1, 2), (9, 199), (201, 510)]);
    let mut life = life.closed();
    life.assert_holds(&expected);
    assert_eq!(life.remove(&[(1, 505)]).messages, 498);
    life.assert_holds(&numbers(&[(506, 510)]));
    let life = life.closed();
    let state = life.assert_holds(&numbers(&[(506, 510)]));
    assert_eq!((state.first_seq, state.last_seq), (506, 510));
}

#[test]
fn everything_can_go_and_numbers_go_on() {
    let mut life = Life::new();
    life.append(300);
    life.remove(&[(1, u64::MAX)]);
    life.assert_holds(&BTreeSet::new());
    assert!(life.reclaim() > 1);
    let mut life = life.killed();
    let state = life.assert_holds(&BTreeSet::new());
    assert_eq!((state.first_seq, state.last_seq, state.segments), (301, 300, 1));
    life.append(1);
    life.assert_holds(&numbers(&[(301, 301)]));
}

#[test]
fn dead_segments_go_also_in_the_middle() {
    let mut life = Life::new();
    life.append(1000);
    let before = life.log.state();
    assert_eq!(life.reclaim(), 0, "nothing is dead");
    life.remove(&[(300, 700)]);
    assert!(life.reclaim() >= 2);
    let after = life.log.state();
    assert!(after.disk_bytes < before.disk_bytes - 20_000, "{} then {}", before.disk_bytes, after.disk_bytes);
    let expected = numbers(&[(1, 299), (701, 1000)]);
    life.assert_holds(&expected);
    let life = life.killed();
    life.assert_holds(&expected);
    let life = life.closed();
    life.assert_holds(&expected);
}

#[test]
fn limits_let_the_oldest_go_before_the_newest_is_acknowledged() {
    let mut life = Life::new();
    life.log.set_limits(Limits { max_messages: Some(100), ..Limits::default() });
    life.append(350);
    let expected = numbers(&[(251, 350)]);
    life.assert_holds(&expected);
    // Not yet in the journal, so a new life finds them and lets them go again.
    let mut life = life.killed();
    life.log.set_limits(Limits { max_messages: Some(100), ..Limits::default() });
    life.settle();
    life.assert_holds(&expected);
    // In the journal in the end, with nothing else happening.
    life.now += Duration::from_secs(5);
    life.settle();
    let mut life = life.killed();
    life.assert_holds(&expected);
    let record = life.log.state().bytes / 100;
    life.log.set_limits(Limits { max_bytes: Some(record * 10 + 1), ..Limits::default() });
    life.settle();
    life.assert_holds(&numbers(&[(341, 350)]));
    life.append(5);
    life.assert_holds(&numbers(&[(346, 355)]));
}

#[test]
fn limits_may_refuse_instead() {
    let mut life = Life::new();
    life.log.set_limits(Limits { max_messages: Some(10), discard: Discard::New, ..Limits::default() });
    life.append(10);
    let mut batch = RecordBatch::new();
    batch.push(0, b"s", b"", b"").unwrap();
    let refused = life.log.append(&mut batch).unwrap_err();
    assert!(matches!(refused, AppendError::Limit { what: "messages", limit: 10 }), "{refused}");
    assert_eq!(batch.len(), 1, "the batch is untouched");
    life.remove(&[(5, 5)]);
    assert_eq!(life.log.append(&mut batch).unwrap().first_seq, 11);
    // Nobody waits for it, so it is gathered first and synced later.
    for _ in 0..3 {
        life.now += Duration::from_secs(1);
        life.settle();
    }
    life.assert_holds(&numbers(&[(1, 4), (6, 11)]));
}

#[test]
fn the_journal_stays_small_however_much_goes() {
    let mut life = Life::new();
    life.append(50);
    for round in 0..400_u64 {
        life.append(50);
        let last = 50 * (round + 2);
        // All but two of the fifty before.
        life.remove(&(last - 99..last - 50).filter(|seq| seq % 25 != 0).map(|seq| (seq, seq)).collect::<Vec<_>>());
    }
    let size = life.disk.shared().open(&Path::new(DIR).join("removed"), sublog_storage::disk::OpenMode::Read).unwrap();
    let bytes = size.len().unwrap();
    assert!(bytes < 600 << 10, "{bytes} bytes of journal");
    let expected: BTreeSet<u64> = (1..=20_050).filter(|seq| seq % 25 == 0 || *seq > 20_000).collect();
    life.assert_holds(&expected);
    life.killed().assert_holds(&expected);
}

#[test]
fn a_flipped_bit_of_the_journal_changes_nothing() {
    let mut life = Life::new();
    life.append(60);
    life.remove(&[(3, 5), (9, 9)]);
    life.remove(&[(20, 30)]);
    let expected = numbers(&[(1, 2), (6, 8), (10, 19), (31, 60)]);
    let Life { disk, log, committer, .. } = life;
    drop((committer, log));
    disk.kill();
    let path = Path::new(DIR).join("removed");
    for bit in 0..1200 * 8 {
        let other = disk.fork(bit);
        other.flip_bit(&path, bit);
        Life::on(other).assert_holds(&expected);
    }
}

#[test]
fn what_limits_removed_stays_removed_after_a_close_and_a_power_cut() {
    let mut life = Life::new();
    life.append(10);
    life.remove(&[(1, 1)]);
    life.log.set_limits(Limits { max_messages: Some(5), ..Limits::default() });
    life.append(3);
    life.log.ask_to_close();
    life.settle();
    let Life { disk, log, committer, .. } = life;
    drop((committer, log));
    for seed in 0..30 {
        let other = disk.fork(seed);
        other.crash();
        // Opened without limits: nothing takes them again.
        Life::on(other).assert_holds(&numbers(&[(9, 13)]));
    }
}

/// Numbers of the records that are still in the files.
fn written(log: &Log, from_ns: i64) -> BTreeSet<u64> {
    let mut written = BTreeSet::new();
    let visited = log.visit_written(from_ns, &mut |record| {
        written.insert(record.seq);
        ControlFlow::Continue(())
    });
    visited.unwrap();
    written
}

#[test]
fn what_is_held_can_be_read_by_its_owner_after_a_restart_and_by_nobody_else() {
    let mut life = Life::new();
    life.append(1000);
    life.log.hold_from(600);
    life.remove(&[(1, u64::MAX)]);
    assert!(life.reclaim() >= 2, "what is not held goes");
    let first = life.log.oldest_seq();
    assert!(first > 1 && first <= 600, "{first}");
    life.assert_holds(&BTreeSet::new());
    assert_eq!(written(&life.log, 0), numbers(&[(first, 1000)]));
    let mut life = life.killed();
    // The new owner holds them before anything else is done.
    life.log.hold_from(0);
    assert_eq!(life.reclaim(), 0);
    life.assert_holds(&BTreeSet::new());
    assert_eq!(written(&life.log, 0), numbers(&[(first, 1000)]));
    life.append(5);
    life.remove(&[(1003, 1003)]);
    life.assert_holds(&numbers(&[(1001, 1002), (1004, 1005)]));
    assert_eq!(written(&life.log, 1), BTreeSet::new(), "all were written at 0");
    let mut life = life.closed();
    assert_eq!(written(&life.log, 0), numbers(&[(first, 1005)]));
    life.log.hold_from(u64::MAX);
    assert!(life.reclaim() >= 2);
    life.assert_holds(&numbers(&[(1001, 1002), (1004, 1005)]));
    assert!(written(&life.log, 0).first() > Some(&600));
}

#[test]
fn a_segment_that_is_held_is_not_rewritten() {
    let mut life = Life::new();
    life.append(1000);
    life.log.hold_from(1);
    // Nine of ten go: it would pay.
    let gone: Vec<_> = (0..100).map(|i| (i * 10 + 1, i * 10 + 9)).collect();
    life.remove(&gone);
    let maintain = |life: &mut Life| {
        let mut rewritten = 0;
        for _ in 0..50 {
            rewritten += life.log.maintain().unwrap().segments_rewritten;
            life.settle();
        }
        rewritten
    };
    assert_eq!(maintain(&mut life), 0);
    assert_eq!(written(&life.log, 0).len(), 1000);
    life.log.hold_from(u64::MAX);
    assert!(maintain(&mut life) > 0);
    let kept = written(&life.log, 0).len();
    assert!(kept < 500, "{kept}");
    assert_eq!(life.log.state().messages, 100);
}

#[test]
fn a_segment_that_goes_before_the_index_has_read_it_stops_nothing() {
    let mut life = Life::new();
    let matching = |life: &Life| life.log.subject_state(b"s.x").unwrap().map_or(0, |state| state.count);
    life.append(10);
    assert_eq!(matching(&life), 10, "the index has begun with the first segment");
    // By the time somebody asks again that one is sealed, and gone.
    life.append(1000);
    assert!(life.log.remove_before(500).unwrap().segments > 0);
    let first = life.log.first_seq();
    assert!(first > 10);
    assert_eq!(matching(&life), 1011 - first);
    life.log.maintain().unwrap();
    // The same with one that is rewritten.
    life.append(300);
    life.remove(&[(first, 1250), (1252, 1300)]);
    for _ in 0..100 {
        life.log.maintain().unwrap();
        life.settle();
    }
    assert_eq!(matching(&life), 11);
    life.append(10);
    assert_eq!(matching(&life), 21);
    let life = life.killed();
    assert_eq!(matching(&life), 21);
}
