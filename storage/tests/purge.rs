//! Purges against a plain list: by filter, up to a number, keeping the newest; in pieces, and with power cuts between and
//! in them.
//!
//! `SUBLOG_PURGE_LIVES=<n>` lives instead of 60.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sublog_storage::disk::sim::{Chance, SimDisk};
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Committer, Log, LogOptions, Next, NoObserver, Purge, RecordBatch, Visit};

const FILTERS: [&[&str]; 7] = [&[], &[">"], &["a.1"], &["a.*"], &["*.2", "b.>"], &["a.1", "b.3"], &["nothing"]];

struct Life {
    disk: SimDisk,
    log: Log,
    committer: Committer,
    held: BTreeMap<u64, String>,
    chance: Chance,
}

fn open(disk: &SimDisk) -> (Log, Committer) {
    let options = LogOptions {
        segment_bytes_first: 16 << 10,
        segment_bytes_max: 16 << 10,
        index_piece_subjects: 5,
        ..LogOptions::default()
    };
    let opened = Log::open_stepped(disk.shared(), Path::new("/sim/log"), options, Arc::new(NoObserver));
    let (log, committer, report) = opened.unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    (log, committer)
}

fn filters(texts: &[&str]) -> Option<FilterSet> {
    let parsed = texts.iter().map(|text| SubjectFilter::parse(text.as_bytes()).unwrap());
    (!texts.is_empty()).then(|| FilterSet::new(parsed.collect()))
}

fn seqs(log: &Log) -> Vec<u64> {
    let mut seqs = Vec::new();
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            let Visit::Record(record) = visit else { panic!("{visit:?}") };
            seqs.push(record.seq);
            ControlFlow::Continue(())
        })
        .unwrap();
    seqs
}

impl Life {
    fn settle(&mut self) {
        while self.committer.step(Duration::ZERO) == Next::Now {}
    }

    fn append(&mut self) {
        let mut batch = RecordBatch::new();
        for seq in self.log.readable_seq() + 1..self.log.readable_seq() + 2 + self.chance.below(400) {
            let subject = format!("{}.{}", ["a", "b", "c"][self.chance.below(3) as usize], self.chance.below(6));
            batch.push(0, subject.as_bytes(), b"", b"payload").unwrap();
            self.held.insert(seq, subject);
        }
        let appended = self.log.append(&mut batch).unwrap();
        self.log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        self.settle();
    }

    fn maintain(&mut self) {
        while self.log.maintain().unwrap().more {
            self.settle();
        }
        self.settle();
    }

    fn purge(&mut self) {
        let texts = FILTERS[self.chance.below(FILTERS.len() as u64) as usize];
        let before_seq = self.chance.percent(40).then(|| self.chance.below(self.log.readable_seq() + 9));
        let keep = if self.chance.percent(50) { self.chance.below(200) } else { 0 };
        let filter = filters(texts);
        let selected = |subject: &String| filter.as_ref().is_none_or(|set| set.matches(subject.as_bytes()));
        let all: Vec<u64> = self.held.iter().filter(|(_, subject)| selected(subject)).map(|(seq, _)| *seq).collect();
        let kept = all.len().saturating_sub(keep as usize);
        let gone: BTreeSet<u64> =
            all[..kept].iter().copied().filter(|&seq| before_seq.is_none_or(|before| seq < before)).collect();
        let mut purging = self.log.purge(Purge { filters: filter, before_seq, keep }).unwrap();
        let messages = Arc::new(AtomicU64::new(0));
        let before = self.held.clone();
        let (cut_at, mut pieces) = (self.chance.below(12), 0);
        let seed = self.chance.bits();
        self.disk.snapshot_before(cut_at + 1);
        while let Some(ranges) = purging.piece().unwrap() {
            pieces += 1;
            if ranges.is_empty() {
                continue;
            }
            let counted = Arc::clone(&messages);
            let call = move |removed: Result<sublog_storage::Removed, _>| {
                counted.fetch_add(removed.unwrap().messages, Ordering::SeqCst);
            };
            self.log.remove(ranges, Box::new(call));
            self.settle();
        }
        assert!(pieces <= 1 + self.held.len() / 1000);
        self.held.retain(|seq, _| !gone.contains(seq));
        assert_eq!(messages.load(Ordering::SeqCst), gone.len() as u64, "{texts:?} {before_seq:?} {keep}");
        if let Some(disk) = self.disk.take_snapshot(seed) {
            // In the middle of it nothing else is gone.
            disk.crash();
            let (log, _committer) = open(&disk);
            let found: BTreeSet<u64> = seqs(&log).into_iter().collect();
            assert!(before.keys().all(|seq| found.contains(seq) || gone.contains(seq)), "{texts:?}");
        }
        if self.chance.percent(50) {
            // And afterwards it is.
            self.disk.crash();
            (self.log, self.committer) = open(&self.disk);
        }
        assert!(seqs(&self.log).iter().eq(self.held.keys()), "{texts:?} {before_seq:?} {keep}");
    }
}

#[test]
fn a_purge_takes_what_it_says_and_nothing_else() {
    let lives = std::env::var("SUBLOG_PURGE_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    // And one in which a part of several segments is of no use any more, because one of them was rewritten.
    for seed in (1..=lives).chain([377]) {
        let disk = SimDisk::new(seed);
        let (log, committer) = open(&disk);
        let mut life = Life { disk, log, committer, held: BTreeMap::new(), chance: Chance::new(seed) };
        for _ in 0..25 {
            match life.chance.below(10) {
                0..5 => life.append(),
                5..7 => life.maintain(),
                _ => life.purge(),
            }
        }
    }
}

#[test]
fn a_large_one_goes_in_pieces_beside_publishers() {
    let disk = SimDisk::new(3);
    let options = LogOptions { segment_bytes_first: 1 << 20, ..LogOptions::default() };
    let (log, _) = Log::open(disk.shared(), Path::new("/sim/log"), options, Arc::new(NoObserver)).unwrap();
    for i in 0..100 {
        let mut batch = RecordBatch::new();
        for k in 0..1000 {
            let subject = if k % 2 == 0 { format!("even.{i}") } else { format!("odd.{i}") };
            batch.push(0, subject.as_bytes(), b"", b"payload").unwrap();
        }
        log.append(&mut batch).unwrap();
    }
    log.sync_now().unwrap();
    let purge = Purge { filters: filters(&["even.*"]), before_seq: None, keep: 10 };
    let mut pieces = log.purge(purge.clone()).unwrap();
    let mut sizes = Vec::new();
    while let Some(ranges) = pieces.piece().unwrap() {
        sizes.push(ranges.len());
    }
    assert!(sizes.len() > 2 && sizes.iter().all(|&size| size <= 16 << 10), "{sizes:?}");
    std::thread::scope(|scope| {
        let purging = scope.spawn(|| log.purge_now(purge).unwrap().messages);
        for _ in 0..100 {
            let mut batch = RecordBatch::new();
            batch.push(0, b"even.0", b"", b"new").unwrap();
            log.append(&mut batch).unwrap();
            log.sync_now().unwrap();
        }
        // Those that came meanwhile are not among what it keeps, or takes, unless they were there when it began.
        assert!((49_990..=50_090).contains(&purging.join().unwrap()));
    });
    let removed = log.purge_now(Purge { keep: 7, ..Purge::default() }).unwrap();
    assert!(removed.messages > 50_000);
    assert_eq!(log.state().messages, 7);
    assert_eq!(log.purge_now(Purge::default()).unwrap().messages, 7);
    assert_eq!(log.purge_now(Purge { filters: filters(&["even.*"]), ..Purge::default() }).unwrap().messages, 0);
    log.close().unwrap();
}
