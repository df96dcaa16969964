//! The subject index of a log: right after every step of random lives, whatever happens to its files; and limits per
//! subject.
//!
//! `SUBLOG_INDEX_LIVES=<n>` lives instead of 60, `SUBLOG_INDEX_MUTATIONS=<n>` damaged index files instead of 400.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::{Chance, SimDisk};
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{
    Codec, Committer, IndexError, Limits, Log, LogOptions, Maintained, Next, NoObserver, RecordBatch,
};

const DIR: &str = "/sim/log";

struct Life {
    disk: SimDisk,
    log: Log,
    committer: Committer,
    model: BTreeMap<u64, Vec<u8>>,
    chance: Chance,
    now: Duration,
    limits: Limits,
}

fn open(disk: &SimDisk, limits: Limits) -> (Log, Committer) {
    let options = LogOptions {
        segment_bytes_first: 16 << 10,
        segment_bytes_max: 16 << 10,
        limits,
        // Many pieces in a segment, now and then merged.
        index_piece_subjects: 3,
        ..LogOptions::default()
    };
    let (log, mut committer, report) =
        Log::open_stepped(disk.shared(), Path::new(DIR), options, Arc::new(NoObserver)).unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    while committer.step(Duration::ZERO) == Next::Now {}
    (log, committer)
}

impl Life {
    fn new(seed: u64, limits: Limits) -> Self {
        let disk = SimDisk::new(seed);
        let (log, committer) = open(&disk, limits);
        Self { disk, log, committer, model: BTreeMap::new(), chance: Chance::new(seed), now: Duration::ZERO, limits }
    }

    fn settle(&mut self) {
        while self.committer.step(self.now) == Next::Now {}
    }

    fn append(&mut self, n: u64) {
        let mut batch = RecordBatch::new();
        for _ in 0..n {
            let subject = match self.chance.below(4) {
                0 => format!("site.{}.errors", self.chance.below(9)),
                1 => format!("job.{}", self.chance.below(400)),
                2 => format!("job.{}.step.{}", self.chance.below(7), self.chance.below(7)),
                _ => "busy.subject".to_owned(),
            };
            batch.push(0, subject.as_bytes(), b"", b"payload").unwrap();
            let seq = self.log.readable_seq() + batch.len() as u64;
            self.model.insert(seq, subject.into_bytes());
        }
        let appended = self.log.append(&mut batch).unwrap();
        self.log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        self.settle();
        assert_eq!(self.log.readable_seq(), appended.last_seq);
        if let Some(max) = self.limits.max_per_subject {
            self.keep_newest(max);
        }
    }

    fn keep_newest(&mut self, max: u64) {
        let mut seen: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let numbers: Vec<u64> = self.model.keys().rev().copied().collect();
        for seq in numbers {
            let count = seen.entry(self.model[&seq].clone()).or_default();
            *count += 1;
            if *count > max {
                self.model.remove(&seq);
            }
        }
    }

    fn remove(&mut self) {
        let last = self.log.readable_seq();
        if last == 0 {
            return;
        }
        let first = if self.chance.percent(20) { 1 } else { 1 + self.chance.below(last) };
        let end = (first + self.chance.below(300)).min(last);
        self.log.remove(vec![(first, end)], Box::new(|result| assert!(result.is_ok())));
        self.settle();
        self.model.retain(|&seq, _| seq < first || seq > end);
    }

    fn maintain(&mut self) {
        for _ in 0..30 {
            let more = self.log.maintain().unwrap().more;
            self.settle();
            if !more && self.chance.percent(50) {
                return;
            }
        }
    }

    fn reopen(self) -> Self {
        let Self { disk, log, committer, model, chance, now, limits } = self;
        drop((log, committer));
        disk.kill();
        let (log, committer) = open(&disk, limits);
        Self { disk, log, committer, model, chance, now, limits }
    }

    #[track_caller]
    fn check(&mut self) {
        while let Err(IndexError::Building { .. }) = self.log.last_of(b"any", 1) {
            self.maintain();
        }
        let (log, model) = (&self.log, &self.model);
        let state = log.state();
        assert_eq!(state.messages, model.len() as u64);
        let mut subjects: BTreeMap<&[u8], Vec<u64>> = BTreeMap::new();
        for (&seq, subject) in model {
            subjects.entry(subject).or_default().push(seq);
        }
        assert_eq!(log.subject_count().unwrap(), subjects.len() as u64);
        // Once more, from memory.
        assert_eq!(log.subject_count().unwrap(), subjects.len() as u64);
        let last_seq = state.last_seq;
        for text in ["busy.subject", "job.3", "site.4.errors", "job.3.step.1", "nothing.here"] {
            let held = subjects.get(text.as_bytes());
            let found = log.subject_state(text.as_bytes()).unwrap().map(|s| (s.count, s.first, s.last));
            assert_eq!(found, held.map(|held| (held.len() as u64, held[0], held[held.len() - 1])), "{text}");
            let at = self.chance.below(last_seq + 1);
            let last = held.and_then(|held| held.iter().rfind(|seq| **seq <= at)).copied();
            assert_eq!(log.last_of(text.as_bytes(), at).unwrap(), last, "{text} up to {at}");
            let n = 1 + self.chance.below(5);
            let nth = held.map(|held| held[held.len().saturating_sub(n as usize)]);
            assert_eq!(log.nth_newest(text.as_bytes(), n).unwrap(), nth, "{text}, {n} from the end");
        }
        for text in ["job.*", "job.>", "site.*.errors", "*.subject", "*.*.step.3", "no.>"] {
            let filter = SubjectFilter::parse(text.as_bytes()).unwrap();
            let filters = FilterSet::new(vec![filter.clone()]);
            let from = self.chance.below(last_seq + 2);
            let selected = model.range(from..).filter(|(_, subject)| filter.matches(subject)).count() as u64;
            assert_eq!(log.count(&filters, from, u64::MAX).unwrap(), selected, "{text} from {from}");
            let (mut pages, mut after) = (Vec::new(), None::<Vec<u8>>);
            loop {
                let page = log.subjects(&filters, after.as_deref(), 7).unwrap();
                let Some((subject, _)) = page.last() else { break };
                after = Some(subject.clone());
                pages.extend(page.into_iter().map(|(subject, state)| (subject, state.count)));
            }
            let expected = subjects.iter().filter(|(subject, _)| filter.matches(subject));
            assert_eq!(pages, expected.map(|(s, held)| (s.to_vec(), held.len() as u64)).collect::<Vec<_>>(), "{text}");
            let (mut read, mut reader) = (Vec::new(), log.select(filters, from));
            reader
                .visit(usize::MAX, &mut |visit| {
                    if let sublog_storage::Visit::Record(record) = visit {
                        read.push(record.seq);
                    }
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
            let expected = model.range(from..).filter(|(_, subject)| filter.matches(subject)).map(|(seq, _)| *seq);
            assert_eq!(read, expected.collect::<Vec<_>>(), "{text} read from {from}");
        }
    }

    fn live(mut self, steps: u64) -> Self {
        for _ in 0..steps {
            match self.chance.below(10) {
                0..6 => {
                    let n = 1 + self.chance.below(150);
                    self.append(n);
                }
                6 => self.remove(),
                7 | 8 => self.maintain(),
                _ => self = self.reopen(),
            }
            if self.chance.percent(30) {
                self.check();
            }
        }
        self.check();
        self
    }
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn it_answers_as_the_log_does() {
    for seed in 1..=env("SUBLOG_INDEX_LIVES", 60) {
        Life::new(seed, Limits::default()).live(40);
    }
}

#[test]
fn the_newest_of_each_subject_are_kept() {
    for seed in 1..=env("SUBLOG_INDEX_LIVES", 60) / 2 {
        let max = 1 + seed % 3;
        Life::new(seed, Limits { max_per_subject: Some(max), ..Limits::default() }).live(40);
    }
}

#[test]
fn damage_to_its_files_changes_no_answer() {
    let mut life = Life::new(77, Limits::default());
    for _ in 0..60 {
        life.append(100);
        life.maintain();
    }
    life.remove();
    life.check();
    let Life { disk, log, committer, model, mut chance, now, limits } = life;
    drop((log, committer));
    disk.kill();
    let parts: Vec<PathBuf> = disk
        .list(Path::new(DIR))
        .unwrap()
        .iter()
        .filter(|n| n.ends_with(".idx"))
        .map(|n| Path::new(DIR).join(n))
        .collect();
    assert!(parts.iter().any(|path| path.to_string_lossy().contains(".1.idx")), "merged: {parts:?}");
    let mut hits = 0;
    for seed in 0..env("SUBLOG_INDEX_MUTATIONS", 400) {
        let disk = disk.fork(seed);
        let path = &parts[chance.below(parts.len() as u64) as usize];
        let file = disk.shared().open(path, sublog_storage::disk::OpenMode::Write).unwrap();
        let len = file.len().unwrap();
        match chance.below(4) {
            0 => disk.remove(path).unwrap(),
            1 => file.set_len(chance.below(len)).unwrap(),
            // Another part under this name: stale, or from elsewhere.
            2 => disk.rename(&parts[chance.below(parts.len() as u64) as usize], path).unwrap(),
            _ => {
                let (at, mut byte) = (chance.below(len), [0]);
                file.read_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << chance.below(8);
                file.write_vectored_at(&[std::io::IoSlice::new(&byte)], at).unwrap();
            }
        }
        hits += 1;
        let (log, committer) = open(&disk, limits);
        let mut life = Life { disk, log, committer, model: model.clone(), chance: Chance::new(seed), now, limits };
        life.maintain();
        life.check();
    }
    println!("{hits} damaged index files, 0 answers changed");
}

#[test]
fn a_damaged_segment_is_not_tried_for_ever_and_holds_up_nothing() {
    let disk = SimDisk::new(3);
    let options = LogOptions {
        segment_bytes_first: 16 << 10,
        segment_bytes_max: 16 << 10,
        pack: Some(Codec::Zstd),
        ..LogOptions::default()
    };
    let open = || Log::open_stepped(disk.shared(), Path::new(DIR), options.clone(), Arc::new(NoObserver)).unwrap();
    let (log, mut committer, _) = open();
    for _ in 0..40 {
        let mut batch = RecordBatch::new();
        (0..20).for_each(|i| batch.push(i, b"a.b", b"", &[7; 60]).unwrap());
        let appended = log.append(&mut batch).unwrap();
        log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        while committer.step(Duration::ZERO) == Next::Now {}
    }
    let segments = log.segments();
    assert!(segments.len() > 5);
    let damaged = segments[2].first_seq;
    drop((log, committer));
    disk.kill();
    assert!(disk.flip_bit(&Path::new(DIR).join(format!("{damaged:020}.seg")), 6500 * 8));
    let (log, mut committer, _) = open();
    let mut rounds = 0;
    while log.maintain().unwrap().more {
        while committer.step(Duration::ZERO) == Next::Now {}
        rounds += 1;
        assert!(rounds < 200, "it does not come to an end");
    }
    let (packed, plain): (Vec<_>, Vec<_>) = log.segments().into_iter().partition(|segment| segment.codec.is_some());
    let sealed: Vec<u64> = plain.iter().filter(|segment| segment.sealed).map(|segment| segment.first_seq).collect();
    assert_eq!(sealed, [damaged], "{packed:?}");
    // Nor does it begin anew.
    assert_eq!(log.maintain().unwrap(), Maintained::default());
}
