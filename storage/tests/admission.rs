//! Limits per subject that refuse new records, and records that come in place of older ones of a full log: exact against a
//! model that counts also what is queued, through failing disks, removals and power cuts.
//!
//! `SUBLOG_ADMISSION_LIVES=<n>` lives instead of 80.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sublog_storage::disk::sim::{Call, Chance, Fault, SimDisk};
use sublog_storage::{
    AppendError, Committer, Discard, Limits, Log, LogOptions, Next, NoObserver, RecordBatch, SyncMode, Visit,
};

struct Life {
    disk: SimDisk,
    log: Log,
    committer: Committer,
    limits: Limits,
    /// Subjects by number: what can be read, and what is queued.
    held: BTreeMap<u64, u64>,
    chance: Chance,
    now: Duration,
    failing: bool,
}

fn open(disk: &SimDisk, limits: Limits) -> (Log, Committer) {
    let options = LogOptions {
        segment_bytes_first: 8 << 10,
        segment_bytes_max: 8 << 10,
        index_piece_subjects: 4,
        limits,
        sync: SyncMode::Always,
        ..LogOptions::default()
    };
    let opened = Log::open_stepped(disk.shared(), Path::new("/sim/log"), options, Arc::new(NoObserver));
    let (log, committer, report) = opened.unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    (log, committer)
}

impl Life {
    fn of(&self, subject: u64) -> Vec<u64> {
        self.held.iter().filter(|(_, of)| **of == subject).map(|(seq, _)| *seq).collect()
    }

    /// Whether the model lets these in: all at once or none.
    fn lets_in(&self, subjects: &[u64]) -> Result<(), &'static str> {
        let max = self.limits.max_per_subject.unwrap() as usize;
        for &subject in subjects {
            let new = subjects.iter().filter(|other| **other == subject).count();
            if self.limits.discard_per_subject && self.of(subject).len() + new > max {
                return Err("messages per subject");
            }
        }
        let full = self.limits.max_messages.is_some_and(|most| self.held.len() + subjects.len() > most as usize);
        if !full {
            return Ok(());
        }
        let &[subject] = subjects else { return Err("messages") };
        // The one that goes for this one must be there already.
        let of = self.of(subject);
        let goes = of.len().checked_sub(max).map(|before| of[before]);
        let placed = !self.limits.discard_per_subject && goes.is_some_and(|seq| seq <= self.log.readable_seq());
        if placed { Ok(()) } else { Err("messages") }
    }

    fn append(&mut self) {
        let n = if self.chance.percent(70) { 1 } else { 1 + self.chance.below(4) };
        let subjects: Vec<u64> = (0..n).map(|_| self.chance.below(9)).collect();
        let mut batch = RecordBatch::new();
        for subject in &subjects {
            batch.push(0, format!("s.{subject}").as_bytes(), b"", b"0123456789").unwrap();
        }
        match (self.log.append(&mut batch), self.lets_in(&subjects)) {
            (Ok(appended), Ok(())) => {
                self.held.extend((appended.first_seq..).zip(subjects));
                if self.chance.percent(50) {
                    self.log.when_committed(appended.last_seq, Box::new(|_| {}));
                }
            }
            (Err(AppendError::Limit { what, .. }), Err(why)) => assert_eq!(what, why),
            (Err(AppendError::Failed(_)), _) => assert!(!self.log.state().health.is_ok()),
            // A part of the index that cannot be written.
            (Err(AppendError::Uncounted { .. }), _) => assert!(self.failing),
            (got, wanted) => panic!("{:?} {subjects:?}: {got:?}, {wanted:?} of {:?}", self.limits, self.held),
        }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.chance.below(20));
        while self.committer.step(self.now) == Next::Now {}
        self.take_away();
    }

    /// What a commit lets go of.
    fn take_away(&mut self) {
        let readable = self.log.readable_seq();
        for subject in 0..9 {
            let of: Vec<u64> = self.of(subject).into_iter().filter(|seq| *seq <= readable).collect();
            let over = of.len().saturating_sub(self.limits.max_per_subject.unwrap() as usize);
            of[..over].iter().for_each(|seq| assert!(self.held.remove(seq).is_some()));
        }
    }

    fn settle(&mut self) {
        // Gathered first, then written, then synced.
        for _ in 0..3 {
            self.now += Duration::from_millis(50);
            while self.committer.step(self.now) == Next::Now {}
        }
        self.take_away();
    }

    fn remove(&mut self) {
        // What is queued comes before: it may push out what is about to be removed.
        self.settle();
        let first = 1 + self.chance.below(self.log.readable_seq() + 1);
        let last = (first + self.chance.below(4)).min(self.log.readable_seq());
        self.log.remove(vec![(first, last)], Box::new(|_| {}));
        self.settle();
        self.held.retain(|seq, _| *seq < first || *seq > last);
    }

    /// A disk that is full for a while: what was queued is gone, and counts no more.
    fn fill_the_disk(&mut self) {
        self.failing = true;
        self.disk.fail(Call::Write, 1, 2, Fault::NoSpace);
        (0..3).for_each(|_| self.append());
        self.settle();
        self.now += Duration::from_millis(600);
        self.settle();
        self.disk.fail(Call::Write, 1, 0, Fault::NoSpace);
        self.failing = false;
        self.now += Duration::from_millis(600);
        self.settle();
        assert!(self.log.state().health.is_ok());
        let there = self.there();
        self.held.retain(|seq, _| there.contains_key(seq));
    }

    fn there(&self) -> BTreeMap<u64, u64> {
        let mut there = BTreeMap::new();
        self.log
            .reader()
            .visit(usize::MAX, &mut |visit| {
                if let Visit::Record(record) = visit {
                    there.insert(record.seq, u64::from(record.subject[2] - b'0'));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        there
    }

    fn check(&mut self) {
        self.settle();
        assert_eq!(self.there(), self.held);
        if let Some(most) = self.limits.max_messages {
            assert!(self.held.len() as u64 <= most);
        }
    }
}

#[test]
fn what_is_let_in_is_exact() {
    let lives = std::env::var("SUBLOG_ADMISSION_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(80);
    for seed in 1..=lives {
        let mut chance = Chance::new(seed);
        let limits = Limits {
            max_messages: chance.percent(70).then(|| 5 + chance.below(20)),
            max_per_subject: Some(1 + chance.below(4)),
            discard: Discard::New,
            discard_per_subject: chance.percent(50),
            ..Limits::default()
        };
        let disk = SimDisk::new(seed);
        let (log, committer) = open(&disk, limits);
        let mut life =
            Life { disk, log, committer, limits, held: BTreeMap::new(), chance, now: Duration::ZERO, failing: false };
        for _ in 0..150 {
            match life.chance.below(100) {
                0..60 => life.append(),
                60..80 => life.step(),
                80..88 => life.remove(),
                88..92 => life.fill_the_disk(),
                92..97 => life.check(),
                _ => {
                    life.check();
                    life.disk.crash();
                    (life.log, life.committer) = open(&life.disk, limits);
                    // What the limits took a moment before the cut, they take again.
                    life.settle();
                }
            }
        }
        life.check();
    }
}

#[test]
fn a_larger_record_comes_in_its_predecessors_place_only_if_there_is_room() {
    let disk = SimDisk::new(1);
    let limits = Limits { max_bytes: Some(200), max_per_subject: Some(1), discard: Discard::New, ..Limits::default() };
    let (log, mut committer) = open(&disk, limits);
    let mut append = |subject: &str, len: usize| {
        let mut batch = RecordBatch::new();
        batch.push(0, subject.as_bytes(), b"", &vec![7; len]).unwrap();
        let appended = log.append(&mut batch).map(|appended| appended.last_seq);
        if let Ok(seq) = appended {
            log.when_committed(seq, Box::new(|result| result.unwrap()));
        }
        while committer.step(Duration::ZERO) == Next::Now {}
        appended.is_ok()
    };
    // 23 bytes around each.
    assert!(append("s.1", 60) && append("s.2", 60));
    assert_eq!(log.state().bytes, 166);
    assert!(!append("s.3", 60));
    assert!(append("s.1", 94));
    assert_eq!(log.state().bytes, 200);
    assert!(!append("s.1", 95) && !append("s.2", 61) && append("s.2", 60) && append("s.1", 1));
    assert_eq!(log.state().bytes, 107);
}

#[test]
fn a_record_that_replaces_others_is_not_refused() {
    let disk = SimDisk::new(1);
    let limits =
        Limits { max_per_subject: Some(1), discard: Discard::New, discard_per_subject: true, ..Limits::default() };
    let (log, _committer) = open(&disk, limits);
    let batch = || {
        let mut batch = RecordBatch::new();
        batch.push(0, b"s", b"", b"x").unwrap();
        batch
    };
    assert!(log.append(&mut batch()).is_ok());
    assert!(log.append(&mut batch()).is_err());
    assert!(log.append_replacing(&mut batch()).is_ok());
}
