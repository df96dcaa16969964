//! Segments rewritten in random runs, with random removals, by both codecs: every way of reading agrees with a plain model.
//!
//! `SUBLOG_REWRITE_LIVES=<n>` tries that many random logs instead of 60.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::{Chance, SimDisk};
use sublog_storage::{
    Codec, Committer, Log, LogOptions, Next, NoObserver, NotRewritten, ReadEnd, Reader, RecordBatch, RewriteStep,
    Rewritten, Visit, verify_on,
};

type Content = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn options(seed: u64) -> LogOptions {
    LogOptions {
        block_bytes: [1000, 9000, 128 << 10][seed as usize % 3],
        segment_bytes_first: 16 << 10,
        segment_bytes_max: 64 << 10,
        zero_ahead_bytes: 0,
        ..LogOptions::default()
    }
}

struct World {
    disk: SimDisk,
    seed: u64,
    log: Log,
    committer: Committer,
    chance: Chance,
    /// What the log must show.
    shown: BTreeMap<u64, Content>,
    removed: Arc<BTreeSet<u64>>,
    last_seq: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let (log, committer, _) = Log::open_stepped(disk.shared(), dir(), options(seed), Arc::new(NoObserver)).unwrap();
        let (chance, shown, removed) = (Chance::new(seed), BTreeMap::new(), Arc::default());
        Self { disk, seed, log, committer, chance, shown, removed, last_seq: 0 }
    }

    fn reopen(mut self) -> Self {
        drop((self.log, self.committer));
        self.disk.kill();
        let (log, committer, report) =
            Log::open_stepped(self.disk.shared(), dir(), options(self.seed), Arc::new(NoObserver)).unwrap();
        assert!(report.damage.is_empty() && report.leftovers.is_empty(), "{report:?}");
        (self.log, self.committer) = (log, committer);
        self
    }

    fn append(&mut self, batches: u64) {
        for _ in 0..batches {
            let mut batch = RecordBatch::new();
            for _ in 0..=self.chance.below(8) {
                let seq = self.last_seq + 1;
                let ts = i64::try_from(seq * 10 + self.chance.below(100)).unwrap();
                let subject = format!("some.subject.{}", self.chance.below(9)).into_bytes();
                let headers = if self.chance.percent(20) { b"NATS/1.0\r\nK: v\r\n\r\n".to_vec() } else { Vec::new() };
                let len = if self.chance.percent(2) { 9000 } else { self.chance.below(300) };
                let random = self.chance.percent(30);
                let bytes = (0..len).map(|i| if random { self.chance.bits() as u8 } else { (i % 13) as u8 + b'a' });
                let payload: Vec<u8> = bytes.collect();
                batch.push(ts, &subject, &headers, &payload).unwrap();
                self.shown.insert(seq, (ts, subject, headers, payload));
                self.last_seq = seq;
            }
            let appended = self.log.append(&mut batch).unwrap();
            assert_eq!(appended.last_seq, self.last_seq);
            self.log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
            while self.committer.step(Duration::ZERO) == Next::Now {}
        }
    }

    /// Removes some of what there is: at random, or whole stretches.
    fn remove(&mut self) {
        let percent = [0, 10, 60, 99][self.chance.below(4) as usize];
        let stretch = self.chance.below(self.last_seq + 1)..=self.chance.below(self.last_seq + 1);
        let mut removed = (*self.removed).clone();
        for seq in 1..=self.last_seq {
            if self.chance.percent(percent) && seq % 3 != 0 || stretch.contains(&seq) {
                removed.insert(seq);
            }
        }
        self.removed = Arc::new(removed);
    }

    fn rewrite(&mut self, from: usize, count: usize, codec: Codec) -> RewriteStep {
        let removed = Arc::clone(&self.removed);
        let segments = self.log.segments();
        let first_seq = segments.get(from).map_or(0, |segment| segment.first_seq);
        let mut rewrite = self.log.rewrite(first_seq, count, codec, Arc::new(move |seq| removed.contains(&seq)));
        let budget = 1 + self.chance.below(20_000);
        loop {
            match rewrite.step(budget).unwrap() {
                RewriteStep::Working { read_bytes, total_bytes } => assert!(read_bytes <= total_bytes),
                end => return end,
            }
        }
    }

    /// Rewrites a random run, and checks what is said of it.
    fn rewrite_some(&mut self) {
        let before = self.log.segments();
        let from = self.chance.below(before.len() as u64) as usize;
        let count = 1 + self.chance.below(4) as usize;
        let codec = if self.chance.percent(50) { Codec::Zstd } else { Codec::None };
        let mut reader = self.log.reader();
        let (half, middle) = (self.last_seq / 2, self.shown.range(self.last_seq / 2..).next().map(|(&seq, _)| seq));
        let mut seen = None;
        reader.seek(half);
        visit_until(&mut reader, |visit| {
            seen = seq_of(&visit);
            true
        });
        assert_eq!(seen, middle);
        let end = self.rewrite(from, count, codec);
        if from + count >= before.len() {
            assert_eq!(end, RewriteStep::NotDone(NotRewritten::NoSuchRun));
            return;
        }
        let RewriteStep::Done(done) = end else { panic!("{end:?}") };
        let run = &before[from..from + count];
        let (first, last) = (run[0].first_seq, run[count - 1].last_seq);
        let messages = self.shown.range(first..=last).count() as u64;
        let removed = Arc::clone(&self.removed);
        self.shown.retain(|seq, _| !(first..=last).contains(seq) || !removed.contains(seq));
        let kept = self.shown.range(first..=last).count() as u64;
        assert_eq!(
            (done.first_seq, done.last_seq, done.segments, done.messages, done.messages_dropped),
            (first, last, count as u64, kept, messages - kept)
        );
        self.check_infos(&done, before.len() - count + 1);
        // A reader that was in one of them goes on where it was, and does not come back to what it has seen.
        let expected = middle.and_then(|middle| self.shown.range(middle + 1..).next()).map(|(&seq, _)| seq);
        let mut next = None;
        visit_until(&mut reader, |visit| {
            next = seq_of(&visit);
            true
        });
        assert_eq!(next, expected);
    }

    fn check_infos(&self, done: &Rewritten, segments: usize) {
        let infos = self.log.segments();
        assert_eq!(infos.len(), segments);
        let info = infos.iter().find(|info| info.first_seq == done.first_seq).unwrap();
        assert!(info.sealed && info.codec.is_some() && info.last_seq == done.last_seq);
        assert_eq!((info.messages, info.file_bytes), (done.messages, done.file_bytes));
        let path = dir().join(format!("{:020}.seg", done.first_seq));
        assert_eq!(self.disk.contents(&path).unwrap().len() as u64, done.file_bytes);
        let state = self.log.state();
        let bytes = |content: &Content| 20 + (content.1.len() + content.2.len() + content.3.len()) as u64;
        assert_eq!(state.messages, self.shown.len() as u64);
        assert_eq!(state.bytes, self.shown.values().map(bytes).sum::<u64>());
        assert_eq!(state.disk_bytes, infos.iter().map(|info| info.file_bytes).sum::<u64>());
    }

    /// All ways of reading.
    fn check(&mut self) {
        assert_eq!(self.forward(1), self.shown);
        assert_eq!(self.log.readable_seq(), self.last_seq);
        for _ in 0..10 {
            let from = 1 + self.chance.below(self.last_seq + 2);
            assert_eq!(self.forward(from), self.shown.range(from..).map(own).collect(), "from {from}");
            let backward = self.backward(from, usize::MAX);
            let expected: Vec<u64> = self.shown.range(..=from).rev().map(|(&seq, _)| seq).collect();
            assert_eq!(backward, expected, "backward from {from}");
            let ts = i64::try_from(self.chance.below(self.last_seq * 10 + 120)).unwrap();
            let expected = self.shown.iter().find(|(_, content)| content.0 >= ts).map(|(&seq, _)| seq);
            assert_eq!(self.log.seek_time(ts).unwrap(), expected.unwrap_or(self.last_seq + 1), "time {ts}");
        }
        let verified = verify_on(&self.disk, dir(), &mut |_| {}).unwrap();
        assert!(verified.is_sound() && verified.strangers.is_empty() && verified.leftovers.is_empty(), "{verified:?}");
        assert!(verified.segments.iter().rev().skip(1).all(|segment| segment.footer_ok), "{verified:?}");
        for (found, info) in verified.segments.iter().zip(self.log.segments()) {
            assert_eq!((found.messages, found.last_seq), (info.messages, info.last_seq));
            assert_eq!((found.packed, found.record_bytes), (info.codec, info.record_bytes));
        }
    }

    fn forward(&self, from: u64) -> BTreeMap<u64, Content> {
        let mut found = BTreeMap::new();
        let mut reader = self.log.reader();
        reader.seek(from);
        let mut last = 0;
        // In pieces, so that positions in the middle of blocks are taken up again.
        while reader
            .visit(700, &mut |visit| {
                let Visit::Record(r) = visit else { panic!("{visit:?}") };
                assert!(r.seq > last);
                last = r.seq;
                let record = r.to_record();
                assert_eq!((&record.payload[..], &record.subject[..]), (r.payload, r.subject));
                found.insert(r.seq, (r.ts_ns, r.subject.to_vec(), r.headers.to_vec(), r.payload.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap()
            .end
            == ReadEnd::Budget
        {}
        found
    }

    fn backward(&self, from: u64, most: usize) -> Vec<u64> {
        let mut found = Vec::new();
        self.log
            .reader()
            .visit_backward(from, &mut |visit| {
                found.push(seq_of(&visit).unwrap());
                if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .unwrap();
        found
    }
}

fn own(entry: (&u64, &Content)) -> (u64, Content) {
    (*entry.0, entry.1.clone())
}

fn seq_of(visit: &Visit<'_>) -> Option<u64> {
    match visit {
        Visit::Record(record) => Some(record.seq),
        Visit::Lost(range) => panic!("{range:?}"),
    }
}

fn visit_until(reader: &mut Reader, mut stop: impl FnMut(Visit<'_>) -> bool) {
    let visit = &mut |visit: Visit<'_>| if stop(visit) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    reader.visit(usize::MAX, visit).unwrap();
}

#[test]
fn every_way_of_reading_agrees_with_the_model() {
    let lives = std::env::var("SUBLOG_REWRITE_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let (mut packed, mut compressed, mut empty) = (0, 0, 0);
    for seed in 1..=lives {
        let mut world = World::new(seed);
        for _ in 0..4 {
            let batches = 20 + world.chance.below(60);
            world.append(batches);
            world.remove();
            world.rewrite_some();
            world.rewrite_some();
            world.check();
            if world.chance.percent(40) {
                world = world.reopen();
                world.check();
            }
        }
        for info in world.log.segments() {
            packed += u64::from(info.codec.is_some());
            compressed += u64::from(info.codec == Some(Codec::Zstd));
            empty += u64::from(info.codec.is_some() && info.messages == 0);
        }
    }
    println!("{packed} packed segments at the end, {compressed} compressed, {empty} empty");
    assert!(packed > compressed && compressed > 0 && (empty > 0 || lives < 60));
}

/// A log with some sealed segments.
fn some_segments(seed: u64) -> World {
    let mut world = World::new(seed);
    world.append(150);
    assert!(world.log.segments().len() >= 4);
    world
}

fn files(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list(dir()).unwrap();
    names.sort();
    names
}

#[test]
fn one_that_does_not_come_to_its_end_changes_nothing() {
    let mut world = some_segments(1);
    let before = files(&world.disk);
    let (first_seq, never) = (world.log.segments()[0].first_seq, Arc::new(|_| false));
    let mut first = world.log.rewrite(first_seq, 2, Codec::Zstd, never.clone());
    assert!(matches!(first.step(100).unwrap(), RewriteStep::Working { read_bytes: 0, .. }));
    assert!(matches!(first.step(100).unwrap(), RewriteStep::Working { read_bytes: 100.., .. }));
    assert_eq!(files(&world.disk).len(), before.len() + 1);
    let mut second = world.log.rewrite(first_seq, 1, Codec::Zstd, never.clone());
    assert_eq!(second.step(100).unwrap(), RewriteStep::NotDone(NotRewritten::Busy));
    assert_eq!(second.step(100).unwrap(), RewriteStep::NotDone(NotRewritten::Over));
    drop(first);
    assert_eq!(files(&world.disk), before);
    // One of its segments goes meanwhile.
    let mut rewrite = world.log.rewrite(first_seq, 2, Codec::Zstd, never.clone());
    rewrite.step(100).unwrap();
    assert_eq!(world.log.remove_oldest().unwrap().segments, 1);
    let end = loop {
        match rewrite.step(u64::MAX).unwrap() {
            RewriteStep::Working { .. } => {}
            end => break end,
        }
    };
    assert_eq!(end, RewriteStep::NotDone(NotRewritten::Changed));
    assert_eq!(files(&world.disk), before[1..]);
    world.shown = world.shown.split_off(&world.log.oldest_seq());
    // The log is closed meanwhile.
    let mut rewrite = world.log.rewrite(world.log.segments()[0].first_seq, 1, Codec::None, never);
    rewrite.step(100).unwrap();
    world.log.ask_to_close();
    while world.committer.step(Duration::ZERO) != Next::Stop {}
    assert!(rewrite.step(100).is_err());
    assert_eq!(files(&world.disk), before[1..]);
    world.reopen().check();
}

#[test]
fn damage_is_not_rewritten() {
    let mut world = some_segments(2);
    let segments = world.log.segments();
    let path = dir().join(format!("{:020}.seg", segments[1].first_seq));
    assert!(world.disk.flip_bit(&path, (segments[1].file_bytes / 2) * 8));
    let before = files(&world.disk);
    let end = world.rewrite(0, 3, Codec::Zstd);
    let RewriteStep::NotDone(NotRewritten::Damaged(Some(lost))) = end else { panic!("{end:?}") };
    assert!((segments[1].first_seq..=segments[1].last_seq).contains(&lost.first_seq));
    assert_eq!((files(&world.disk), world.log.segments()), (before, segments.clone()));
    // Those beside it are.
    assert!(matches!(world.rewrite(0, 1, Codec::Zstd), RewriteStep::Done(_)));
    for copy in [0, 2048] {
        let path = dir().join(format!("{:020}.seg", segments[2].first_seq));
        assert!(world.disk.flip_bit(&path, copy * 8 + 200));
    }
    let mut world = {
        drop((world.log, world.committer));
        world.disk.kill();
        let (log, committer, report) =
            Log::open_stepped(world.disk.shared(), dir(), options(world.seed), Arc::new(NoObserver)).unwrap();
        assert_eq!(report.damage.len(), 1, "{report:?}");
        World { log, committer, ..world }
    };
    assert_eq!(world.rewrite(2, 1, Codec::None), RewriteStep::NotDone(NotRewritten::Damaged(None)));
}

#[test]
fn numbers_that_were_never_written_are_not_packed_away() {
    let mut world = some_segments(3);
    // A full disk leaves numbers out.
    world.disk.set_space(0);
    let mut batch = RecordBatch::new();
    batch.push(0, b"s", b"", &[1; 60_000]).unwrap();
    let lost = world.log.append(&mut batch).unwrap();
    world.log.when_committed(lost.last_seq, Box::new(|result| assert!(result.is_err())));
    while world.committer.step(Duration::ZERO) == Next::Now {}
    world.disk.set_space(u64::MAX);
    while world.committer.step(Duration::from_secs(1)) == Next::Now {}
    world.last_seq = lost.last_seq;
    world.append(100);
    let segments = world.log.segments();
    let gap = segments.windows(2).position(|pair| pair[1].first_seq > pair[0].last_seq + 1).unwrap();
    let end = world.rewrite(gap, 2, Codec::Zstd);
    assert!(matches!(end, RewriteStep::NotDone(NotRewritten::Gap(range)) if range.first_seq == lost.first_seq));
    for segment in [gap, gap + 1] {
        assert!(matches!(world.rewrite(segment, 1, Codec::Zstd), RewriteStep::Done(_)));
    }
    let mut told = Vec::new();
    let mut reader = world.log.reader();
    reader
        .visit(usize::MAX, &mut |visit| {
            if let Visit::Lost(range) = visit {
                told.push(range.first_seq..=range.last_seq);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(told, [lost.first_seq..=lost.last_seq]);
}
