//! A log on the simulated disk with the plain list of what it must hold.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::SimDisk;
use sublog_storage::{
    AppendError, Committer, Health, Log, LogOptions, LostReason, Next, NoObserver, OpenError, RecordBatch, Visit,
};

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    ts_ns: i64,
    subject: Vec<u8>,
    payload: Vec<u8>,
}

/// The list: at `i` what number `i + 1` has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    /// Appended; whether it is stored is not known yet.
    Pending(Entry),
    Stored(Entry),
    /// Its publisher was told that it is not stored.
    Never,
}

pub(crate) struct Subject {
    disk: SimDisk,
    open: Option<(Log, Committer)>,
    now: Duration,
    list: Vec<Slot>,
    /// Of each of them, its time.
    times: Vec<i64>,
    /// First number that removing left.
    first: u64,
    /// Largest number that could be read.
    readable: u64,
    /// The disk was full at some time: numbers may be missing.
    was_full: bool,
    made: u64,
}

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes_first: 8 << 10,
        segment_bytes_max: 16 << 10,
        zero_ahead_bytes: 2 << 10,
        ..LogOptions::default()
    }
}

fn part_of(part: u16, n: u64) -> u64 {
    n * u64::from(part) / 65_535
}

impl Subject {
    pub(crate) fn new() -> Self {
        let disk = SimDisk::new(9);
        let mut subject = Self {
            disk,
            open: None,
            now: Duration::ZERO,
            list: Vec::new(),
            times: Vec::new(),
            first: 1,
            readable: 0,
            was_full: false,
            made: 0,
        };
        subject.start().unwrap();
        subject
    }

    pub(crate) fn records(&self) -> u64 {
        self.list.iter().filter(|slot| matches!(slot, Slot::Stored(_))).count() as u64
    }

    fn log(&self) -> &Log {
        &self.open.as_ref().unwrap().0
    }

    /// Opens it, and takes over what it may decide: how much of the pending it kept.
    fn start(&mut self) -> Result<(), OpenError> {
        let (log, committer, found) = Log::open_stepped(self.disk.shared(), dir(), options(), Arc::new(NoObserver))?;
        assert!(found.damage.is_empty() && found.skipped.is_none(), "{found:?}");
        self.open = Some((log, committer));
        let last = self.log().readable_seq();
        assert!(last >= self.readable, "ends at {last}, {} was readable", self.readable);
        self.list.truncate(usize::try_from(last).unwrap());
        self.settle();
        Ok(())
    }

    fn entry(&mut self, length: u16, off: i8) -> Entry {
        self.made += 1;
        let mut payload = self.made.to_le_bytes().to_vec();
        payload.resize(8 + usize::from(length), self.made as u8);
        let ts_ns = i64::try_from(self.made).unwrap() * 20 + i64::from(off);
        Entry { ts_ns, subject: format!("s.{}", self.made % 5).into_bytes(), payload }
    }

    pub(crate) fn append(&mut self, records: &[(u16, i8)]) {
        let mut batch = RecordBatch::new();
        let entries: Vec<Entry> = records.iter().map(|&(length, off)| self.entry(length, off)).collect();
        for entry in &entries {
            batch.push(entry.ts_ns, &entry.subject, b"", &entry.payload).unwrap();
        }
        match self.log().append(&mut batch) {
            Ok(appended) => {
                assert_eq!(appended.first_seq, self.list.len() as u64 + 1, "numbers follow on");
                assert_eq!(appended.last_seq, (self.list.len() + entries.len()) as u64);
                self.times.truncate(self.list.len());
                self.times.extend(entries.iter().map(|entry| entry.ts_ns));
                self.list.extend(entries.into_iter().map(Slot::Pending));
            }
            Err(AppendError::Failed(_)) => {
                assert!(matches!(self.log().state().health, Health::Full(_)));
                assert_eq!(batch.len(), records.len());
            }
            Err(e) => panic!("{e}"),
        }
    }

    fn step(&mut self) {
        let Some((_, committer)) = &mut self.open else { return };
        while committer.step(self.now) == Next::Now {}
        self.settle();
    }

    /// What has become readable, or never will, is so for good.
    fn settle(&mut self) {
        let health = self.log().state().health;
        self.was_full |= matches!(health, Health::Full(_)) || self.log().state().counters.full_episodes > 0;
        assert!(!matches!(health, Health::Failed(_)), "{health:?}");
        let (from, to) = (self.readable.max(self.first - 1) + 1, self.log().readable_seq());
        assert!(to >= self.readable && to <= self.list.len() as u64, "{to} of {} is readable", self.list.len());
        let mut stored = vec![false; self.list.len() + 1];
        let mut reader = self.log().reader();
        reader.seek(from);
        reader
            .visit(usize::MAX, &mut |visit| {
                if let Visit::Record(record) = visit {
                    stored[record.seq as usize] = true;
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        for seq in from..=to {
            let slot = &mut self.list[seq as usize - 1];
            match (std::mem::replace(slot, Slot::Never), stored[seq as usize]) {
                (Slot::Pending(entry) | Slot::Stored(entry), true) => *slot = Slot::Stored(entry),
                (Slot::Pending(_) | Slot::Never, false) if self.was_full => {}
                (was, is) => panic!("{seq}: {was:?}, found: {is}"),
            }
        }
        self.readable = to;
        // A log whose first records all found no room begins behind them.
        let oldest = self.log().oldest_seq();
        if self.was_full && self.readable < oldest {
            let stored = (self.first..oldest).any(|seq| self.stored(seq).is_some());
            assert!(!stored, "begins at {oldest}");
            self.first = self.first.max(oldest);
        }
    }

    pub(crate) fn pass(&mut self, ms: u16) {
        self.now += Duration::from_millis(u64::from(ms));
        self.step();
    }

    pub(crate) fn wait(&mut self) {
        let last = self.list.len() as u64;
        let told = Arc::new(AtomicU8::new(0));
        let tell = Arc::clone(&told);
        let answer = move |result: Result<(), _>| tell.store(1 + u8::from(result.is_err()), Ordering::Relaxed);
        self.log().when_committed(last, Box::new(answer));
        self.step();
        match told.load(Ordering::Relaxed) {
            0 => panic!("{last} was never answered"),
            1 => assert!(self.readable >= last, "{last} was acknowledged, {} is readable", self.readable),
            _ => assert!(self.was_full, "an error without a reason"),
        }
    }

    fn live(&self) -> std::ops::RangeInclusive<u64> {
        self.first..=self.readable
    }

    fn stored(&self, seq: u64) -> Option<&Entry> {
        match self.list.get(usize::try_from(seq).unwrap().checked_sub(1)?)? {
            Slot::Stored(entry) => Some(entry),
            _ => None,
        }
    }

    fn removed(&mut self, messages: u64) {
        let oldest = self.log().oldest_seq();
        let gone = (self.first..oldest).filter(|&seq| self.stored(seq).is_some()).count() as u64;
        assert_eq!(gone, messages, "removed up to {oldest}");
        self.first = oldest;
    }

    pub(crate) fn remove_before(&mut self, part: u16) {
        let before = self.first + part_of(part, (self.readable + 1).saturating_sub(self.first));
        let removed = self.log().remove_before(before).unwrap();
        let oldest = self.log().oldest_seq();
        assert!(oldest <= before.max(self.first), "{oldest} is left of {before}");
        self.removed(removed.messages);
    }

    pub(crate) fn remove_oldest(&mut self) {
        let removed = self.log().remove_oldest().unwrap();
        assert!(removed.segments <= 1);
        self.removed(removed.messages);
    }

    /// What a visitor is shown, against the list; how many numbers that were.
    fn look(&self, visit: &Visit<'_>, backward: bool) -> Vec<u64> {
        match visit {
            Visit::Record(record) => {
                let entry = self.stored(record.seq).unwrap_or_else(|| panic!("{} is shown", record.seq));
                let is =
                    Entry { ts_ns: record.ts_ns, subject: record.subject.to_vec(), payload: record.payload.to_vec() };
                assert_eq!(&is, entry, "{}", record.seq);
                vec![record.seq]
            }
            Visit::Lost(range) => {
                assert_eq!(range.reason, LostReason::NeverWritten, "{range:?}");
                let numbers = range.first_seq..=range.last_seq;
                assert!(numbers.clone().all(|seq| self.stored(seq).is_none()), "{range:?} is stored");
                if backward { numbers.rev().collect() } else { numbers.collect() }
            }
        }
    }

    pub(crate) fn forward(&mut self, part: u16, n: usize) {
        let from = part_of(part, self.readable + 2);
        let mut reader = self.log().reader();
        reader.seek(from);
        let mut seen = Vec::new();
        reader
            .visit(usize::MAX, &mut |visit| {
                seen.extend(self.look(&visit, false));
                if seen.len() >= n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        let due = from.max(*self.live().start())..=self.readable;
        let complete = seen.len() < n;
        let expected: Vec<u64> = due.take(if complete { usize::MAX } else { seen.len() }).collect();
        assert_eq!(seen, expected, "forward from {from}");
    }

    pub(crate) fn backward(&mut self, part: u16, n: usize) {
        let from = part_of(part, self.readable + 2);
        let mut seen = Vec::new();
        self.log()
            .reader()
            .visit_backward(from, &mut |visit| {
                seen.extend(self.look(&visit, true));
                if seen.len() >= n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        let due = (self.first..=from.min(self.readable)).rev();
        let complete = seen.len() < n;
        let expected: Vec<u64> = due.take(if complete { usize::MAX } else { seen.len() }).collect();
        assert_eq!(seen, expected, "backward from {from}");
    }

    pub(crate) fn seek_time(&mut self, part: u16) {
        let ts_ns = i64::try_from(part_of(part, self.made + 2)).unwrap() * 20 - 7;
        let found = self.log().seek_time(ts_ns).unwrap();
        let first = self.live().find(|&seq| self.stored(seq).is_some_and(|entry| entry.ts_ns >= ts_ns));
        assert_eq!(found, first.unwrap_or(self.readable + 1), "time {ts_ns}");
    }

    /// Closed and opened again: everything that was taken is there.
    pub(crate) fn reopen(&mut self) {
        let (log, mut committer) = self.open.take().unwrap();
        log.ask_to_close();
        while committer.step(self.now) != Next::Stop {}
        let whole = log.state().counters.full_episodes == 0;
        let all = self.list.len() as u64;
        drop((log, committer));
        self.disk.kill();
        self.start_somehow();
        assert!(!whole || self.was_full || self.readable == all, "{} of {all} after a close", self.readable);
    }

    /// The process dies, or the power goes: what was readable is there, and of the rest a beginning.
    pub(crate) fn die(&mut self, power: bool) {
        drop(self.open.take());
        if power {
            self.disk.crash();
        } else {
            self.disk.kill();
        }
        self.start_somehow();
    }

    /// A log on a full disk may want room to open.
    fn start_somehow(&mut self) {
        if let Err(error) = self.start() {
            assert!(self.was_full || self.disk.free_space(dir()).unwrap() < 64 << 10, "{error}");
            self.disk.set_space(u64::MAX);
            self.start().unwrap();
        }
    }

    pub(crate) fn fill(&mut self, left: u64) {
        self.disk.set_space(u64::MAX);
        let used = u64::MAX - self.disk.free_space(dir()).unwrap();
        self.disk.set_space(used + left);
    }

    pub(crate) fn free(&mut self) {
        self.disk.set_space(u64::MAX);
        self.now += Duration::from_millis(300);
        self.step();
        assert!(self.log().state().health.is_ok(), "there is room, and it does not go on");
    }

    /// What must hold at any time.
    pub(crate) fn check(&self) {
        let state = self.log().state();
        let stored: Vec<(u64, &Entry)> =
            self.live().filter_map(|seq| self.stored(seq).map(|entry| (seq, entry))).collect();
        assert_eq!(state.damage_found, 0, "{:?}", state.damage);
        assert_eq!(state.messages, stored.len() as u64, "messages");
        assert_eq!(self.log().oldest_seq(), self.first);
        assert!(self.log().durable_seq() >= self.log().committed_seq());
        if let Some(&(seq, entry)) = stored.last() {
            // Of the last there was, which may be removed, and forgotten with its segment.
            let range = usize::try_from(seq).unwrap() - 1..usize::try_from(self.readable.max(seq)).unwrap();
            assert!(self.times[range].contains(&state.last_ts_ns), "time of the last");
            assert!(seq < self.readable || state.last_ts_ns == entry.ts_ns, "time of the last, which is there");
        }
    }
}
