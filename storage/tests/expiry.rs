//! Records that expire, and an age limit: what is past its time is not shown by any way of reading, whatever happens to the
//! log, and its removal is durable like any other.
//!
//! `SUBLOG_EXPIRY_LIVES=<n>` lives instead of 120.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sublog_storage::disk::sim::{Chance, SimDisk};
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{
    Codec, Committer, IndexError, Limits, Log, LogOptions, Next, NoObserver, RecordBatch, RewriteStep, Visit, WallClock,
};

const DIR: &str = "/sim/log";
const SECOND: i64 = 1_000_000_000;
const SUBJECTS: [&str; 4] = ["a.1", "a.2", "b.1", "b.2"];

#[derive(Debug, Clone)]
struct Held {
    subject: &'static str,
    ts_ns: i64,
    expires_at_ns: Option<i64>,
}

struct Life {
    disk: SimDisk,
    open: Option<(Log, Committer)>,
    held: BTreeMap<u64, Held>,
    clock: Arc<AtomicI64>,
    chance: Chance,
    now: Duration,
    max_age: Option<i64>,
}

#[derive(Clone, Copy)]
enum Stop {
    Close,
    Kill,
    Cut,
}

impl Life {
    fn new(seed: u64, max_age: Option<i64>) -> Self {
        let clock = Arc::new(AtomicI64::new(1000 * SECOND));
        let (disk, chance) = (SimDisk::new(seed), Chance::new(seed));
        let mut life = Self { disk, open: None, held: BTreeMap::new(), clock, chance, now: Duration::ZERO, max_age };
        life.start();
        life
    }

    fn start(&mut self) {
        let max_age = self.max_age.map(|age| Duration::from_nanos(age.cast_unsigned()));
        let options = LogOptions {
            segment_bytes_first: 8 << 10,
            segment_bytes_max: 8 << 10,
            limits: Limits { max_age, ..Limits::default() },
            index_piece_subjects: 3,
            clock: WallClock::Given(Arc::clone(&self.clock)),
            ..LogOptions::default()
        };
        let opened = Log::open_stepped(self.disk.shared(), Path::new(DIR), options, Arc::new(NoObserver));
        let (log, committer, report) = opened.unwrap();
        assert!(report.damage.is_empty(), "{:?}", report.damage);
        self.open = Some((log, committer));
        // Before the first step.
        self.check();
    }

    fn stop(&mut self, how: Stop) {
        let (log, mut committer) = self.open.take().unwrap();
        if let Stop::Close = how {
            log.ask_to_close();
            while committer.step(self.now) != Next::Stop {}
        }
        drop((log, committer));
        match how {
            Stop::Cut => drop(self.disk.crash()),
            _ => self.disk.kill(),
        }
        if self.chance.percent(50) {
            self.pass(self.chance.clone().below(9) as i64);
        }
        self.start();
    }

    fn log(&self) -> &Log {
        &self.open.as_ref().unwrap().0
    }

    fn settle(&mut self) {
        let (_, committer) = self.open.as_mut().unwrap();
        while committer.step(self.now) == Next::Now {}
    }

    fn wall(&self) -> i64 {
        self.clock.load(Ordering::Acquire)
    }

    /// So many seconds go by.
    fn pass(&mut self, seconds: i64) {
        self.clock.fetch_add(seconds * SECOND, Ordering::AcqRel);
        let wall = self.wall();
        self.held.retain(|_, held| held.expires_at_ns.is_none_or(|at| at > wall));
        if let Some(age) = self.max_age {
            self.held.retain(|_, held| held.ts_ns + age > wall);
        }
    }

    fn append(&mut self) {
        let mut batch = RecordBatch::new();
        let wall = self.wall();
        let first = self.log().readable_seq() + 1;
        for seq in first..=first + self.chance.below(20) {
            let subject = SUBJECTS[self.chance.below(4) as usize];
            let stays = self.chance.below(40) as i64;
            let expires_at_ns = self.chance.percent(60).then_some(wall + stays * SECOND);
            match expires_at_ns {
                Some(at) => batch.push_expiring(wall, subject.as_bytes(), b"h", b"expires", at).unwrap(),
                None => batch.push(wall, subject.as_bytes(), b"h", b"stays, for all we know").unwrap(),
            }
            // One may be past its time already.
            if stays > 0 || expires_at_ns.is_none() {
                self.held.insert(seq, Held { subject, ts_ns: wall, expires_at_ns });
            }
        }
        let appended = self.log().append(&mut batch).unwrap();
        self.log().when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        self.settle();
        assert_eq!(self.log().readable_seq(), appended.last_seq);
    }

    fn remove(&mut self) {
        let last = self.log().readable_seq();
        let first = 1 + self.chance.below(last + 1);
        let end = first + self.chance.below(30);
        self.log().remove(vec![(first, end)], Box::new(|result| assert!(result.is_ok())));
        self.settle();
        self.held.retain(|&seq, _| seq < first || seq > end);
    }

    /// Removes what has expired; then the log counts as the model does.
    fn expire(&mut self) {
        for _ in 0..3 {
            self.maintain();
            self.log().expire();
            self.settle();
        }
        assert!(!self.log().is_expiry_due(), "at {}: {:?}", self.wall(), self.log().expire());
        let state = self.log().state();
        assert_eq!(state.messages, self.held.len() as u64);
        let own = self.held.values().filter_map(|held| held.expires_at_ns);
        let old = self.held.values().next().and_then(|held| Some(held.ts_ns + self.max_age?));
        // Never too late. It may be that of a record that was removed since.
        let next = self.log().maintain().unwrap().next_expiry_ns;
        assert!(next.is_none_or(|next| next > self.wall()));
        assert!(own.chain(old).all(|at| next.is_some_and(|next| next <= at)), "{next:?}");
    }

    fn maintain(&mut self) {
        while self.log().maintain().unwrap().more {
            self.settle();
        }
        self.settle();
    }

    fn rewrite(&mut self) {
        let segments = self.log().segments();
        let (count, codec) =
            (1 + self.chance.below(3) as usize, [Codec::None, Codec::Zstd][self.chance.below(2) as usize]);
        let at = self.chance.below(segments.len() as u64) as usize;
        if at + count < segments.len() {
            let mut rewrite = self.log().compact(segments[at].first_seq, count, codec);
            while let RewriteStep::Working { .. } = rewrite.step(2000).unwrap() {}
        }
    }

    /// Does something that the model says nothing of, with a power cut in the middle of it.
    fn cut_within(&mut self, act: impl FnOnce(&mut Self)) {
        let seed = self.chance.bits();
        self.disk.snapshot_before(1 + self.chance.below(6));
        let before = (self.held.clone(), self.wall());
        act(self);
        let Some(disk) = self.disk.take_snapshot(seed) else { return };
        let clock = Arc::new(AtomicI64::new(before.1));
        let chance = Chance::new(seed);
        let mut other = Self { disk, open: None, held: before.0, clock, chance, now: self.now, max_age: self.max_age };
        other.disk.crash();
        other.pass(self.chance.below(5) as i64);
        other.start();
        other.expire();
        other.check();
    }

    fn check(&mut self) {
        let held = self.held.clone();
        if self.max_age.is_some() && self.log().is_expiry_due() {
            self.log().expire();
            self.settle();
        }
        let log = self.log();
        let wanted: Vec<u64> = held.keys().copied().collect();
        let found = std::cell::RefCell::new(Vec::new());
        let mut see = |visit: Visit<'_>| {
            let Visit::Record(record) = visit else { panic!("{visit:?}") };
            if let Some(held) = held.get(&record.seq) {
                assert_eq!((record.ts_ns, record.expires_at_ns), (held.ts_ns, held.expires_at_ns));
                assert_eq!((record.subject, record.headers), (held.subject.as_bytes(), &b"h"[..]));
                assert_eq!(record.payload == b"expires", held.expires_at_ns.is_some());
            }
            found.borrow_mut().push(record.seq);
            ControlFlow::Continue(())
        };
        log.reader().visit(usize::MAX, &mut see).unwrap();
        let forward = found.borrow().len();
        log.reader().visit_backward(u64::MAX, &mut see).unwrap();
        let found = found.into_inner();
        assert_eq!(found[..forward], wanted, "at {}", self.wall());
        assert!(found[forward..].iter().rev().eq(&wanted), "{found:?} {wanted:?}");
        while let Err(IndexError::Building { .. }) = self.log().last_of(b"any", 1) {
            self.maintain();
        }
        let log = self.log();
        if log.readable_seq() == 0 {
            return;
        }
        for subject in SUBJECTS {
            let of: Vec<u64> = held.iter().filter(|(_, held)| held.subject == subject).map(|(seq, _)| *seq).collect();
            let state = log.subject_state(subject.as_bytes()).unwrap();
            assert_eq!(
                state.map(|state| (state.count, state.first, state.last)),
                of.last().map(|last| (of.len() as u64, of[0], *last)),
                "{subject} at {}",
                self.wall()
            );
            let filter = FilterSet::from(SubjectFilter::parse(subject.as_bytes()).unwrap());
            let mut selected = Vec::new();
            log.select(filter, 1)
                .visit(usize::MAX, &mut |visit| {
                    let Visit::Record(record) = visit else { panic!("{visit:?}") };
                    selected.push(record.seq);
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(selected, of);
        }
    }
}

fn live(seed: u64) {
    let max_age = seed.is_multiple_of(3).then_some(25 * SECOND);
    let mut life = Life::new(seed, max_age);
    for _ in 0..60 {
        match life.chance.below(100) {
            0..45 => life.append(),
            45..55 => {
                let seconds = 1 + life.chance.below(6) as i64;
                life.pass(seconds);
            }
            55..60 => life.remove(),
            60..70 => life.cut_within(Life::expire),
            70..75 => life.cut_within(Life::rewrite),
            75..80 => life.cut_within(Life::maintain),
            80..88 => {
                // What is late comes into the journal.
                life.now += Duration::from_secs(2);
                life.cut_within(Life::settle);
            }
            88..92 => life.stop(Stop::Close),
            92..96 => life.stop(Stop::Kill),
            _ => life.stop(Stop::Cut),
        }
        life.check();
    }
    life.pass(100);
    life.check();
    life.expire();
}

#[test]
fn what_is_past_its_time_is_never_shown() {
    let lives = std::env::var("SUBLOG_EXPIRY_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
    // And one in which a range is removed over numbers that a rewriting left out a moment before.
    for seed in (1..=lives).chain([297]) {
        if std::panic::catch_unwind(|| live(seed)).is_err() {
            panic!("seed {seed}");
        }
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn showing_what_has_expired_is_caught() {
    use sublog_storage::planted::{Bug, plant};
    plant(Some(Bug::ServeExpired));
    let caught = (1..=20).any(|seed| std::panic::catch_unwind(|| live(seed)).is_err());
    plant(None);
    assert!(caught);
}

#[test]
fn many_go_a_few_at_a_time_and_the_log_goes_on() {
    let mut life = Life::new(7, None);
    let wall = life.wall();
    for _ in 0..10 {
        let mut batch = RecordBatch::new();
        (0..2000).for_each(|_| batch.push_expiring(wall, b"a.1", b"h", b"expires", wall + SECOND).unwrap());
        let appended = life.log().append(&mut batch).unwrap();
        life.log().when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        life.settle();
    }
    assert_eq!(life.log().readable_seq(), 20_000);
    life.pass(1);
    life.check();
    life.maintain();
    life.log().expire();
    let (log, committer) = life.open.as_mut().unwrap();
    let mut left = vec![log.state().messages];
    while committer.step(life.now) == Next::Now {
        left.push(log.state().messages);
    }
    assert!(left.windows(2).all(|pair| pair[0] - pair[1] <= 5000), "{left:?}");
    assert_eq!(left.last(), Some(&0));
    life.append();
    life.expire();
}

#[test]
fn a_rewritten_segment_says_that_some_of_it_expires() {
    for codec in [Codec::None, Codec::Zstd] {
        let mut life = Life::new(8, None);
        let wall = life.wall();
        for seq in 1..=900 {
            let mut batch = RecordBatch::new();
            let expires_at_ns = (seq % 5 == 0 && seq < 300).then_some(wall + 50 * SECOND);
            match expires_at_ns {
                Some(at) => batch.push_expiring(wall, b"a.1", b"h", b"expires", at).unwrap(),
                None => batch.push(wall, b"a.1", b"h", b"stays, for all we know").unwrap(),
            }
            life.held.insert(seq, Held { subject: "a.1", ts_ns: wall, expires_at_ns });
            life.log().append(&mut batch).unwrap();
            life.log().when_committed(seq, Box::new(|result| result.unwrap()));
            life.settle();
        }
        let sealed = life.log().segments().len() - 1;
        let mut rewrite = life.log().compact(1, sealed, codec);
        while let RewriteStep::Working { .. } = rewrite.step(10_000).unwrap() {}
        assert_eq!(life.log().segments().len(), 2);
        life.maintain();
        life.stop(Stop::Close);
        life.pass(60);
        life.check();
        assert!(life.log().is_expiry_due());
        life.expire();
        assert_eq!(life.held.len(), 900 - 59);
    }
}
