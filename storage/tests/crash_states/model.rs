//! What a log must hold: every number's content, what was acknowledged, what anybody has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use sublog_storage::disk::sim::Chance;
use sublog_storage::{Log, LostReason, RecordBatch, RecordRef, RecoveryReport, Visit};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A record that was acknowledged, or seen, is not there.
    AckedLost(String),
    /// A record has bytes that were never appended under its number.
    Corrupt(String),
    /// Records do not come in order, or one is missing between others.
    Order(String),
    /// A number that somebody has seen was given to another record.
    Reused(String),
    /// A record whose removal was acknowledged is there again.
    Returned(String),
    /// Damage was reported although nothing was damaged, or the log did not open, or it did not write.
    Other(String),
}

/// Counts over a whole exploration.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) states: u64,
    pub(crate) power_cuts: u64,
    pub(crate) torn_cuts: u64,
    pub(crate) middle_cuts: u64,
    pub(crate) recovery_cuts: u64,
    pub(crate) double_cuts: u64,
    pub(crate) kills: u64,
    pub(crate) closes: u64,
    pub(crate) faults: u64,
    pub(crate) torn_tails: u64,
    pub(crate) acks_checked: u64,
    pub(crate) records_read: u64,
    pub(crate) removals_checked: u64,
    pub(crate) dead_segments: u64,
    pub(crate) rewrites: u64,
    pub(crate) rewrite_cuts: u64,
    pub(crate) leftovers: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.states += other.states;
        self.power_cuts += other.power_cuts;
        self.torn_cuts += other.torn_cuts;
        self.middle_cuts += other.middle_cuts;
        self.recovery_cuts += other.recovery_cuts;
        self.double_cuts += other.double_cuts;
        self.kills += other.kills;
        self.closes += other.closes;
        self.faults += other.faults;
        self.torn_tails += other.torn_tails;
        self.acks_checked += other.acks_checked;
        self.records_read += other.records_read;
        self.removals_checked += other.removals_checked;
        self.dead_segments += other.dead_segments;
        self.rewrites += other.rewrites;
        self.rewrite_cuts += other.rewrite_cuts;
        self.leftovers += other.leftovers;
    }
}

/// What is known of one log.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) weak: bool,
    /// Number to content, as appended last under that number.
    pub(crate) records: BTreeMap<u64, u64>,
    /// Acknowledged numbers, as ranges.
    pub(crate) acked: Arc<Mutex<Vec<(u64, u64)>>>,
    /// Largest number that a reader could ever have read: no number up to it may come again.
    pub(crate) seen: u64,
    /// Largest number that a reader can read now.
    pub(crate) readable: u64,
    /// First number that removing left.
    pub(crate) first: u64,
    /// Numbers whose removal was acknowledged: they must never be seen again.
    pub(crate) removed: Arc<Mutex<BTreeSet<u64>>>,
    /// Numbers whose removal was asked for: they may be gone.
    pub(crate) asked: BTreeSet<u64>,
    next_content: u64,
}

impl Model {
    pub(crate) fn new(weak: bool, salt: u64) -> Self {
        Self {
            weak,
            records: BTreeMap::new(),
            acked: Arc::default(),
            seen: 0,
            readable: 0,
            first: 1,
            removed: Arc::default(),
            asked: BTreeSet::new(),
            next_content: salt << 32,
        }
    }

    /// An independent copy: acknowledgements of the one are not the other's.
    pub(crate) fn fork(&self) -> Self {
        let acked = Arc::new(Mutex::new(self.acked.lock().clone()));
        // Contents made from here on differ from those of the original.
        let removed = Arc::new(Mutex::new(self.removed.lock().clone()));
        Self { acked, removed, next_content: self.next_content + (1 << 20), ..self.clone() }
    }

    /// Records with contents that no other has.
    pub(crate) fn fill(&mut self, batch: &mut RecordBatch, n: u64) -> Vec<u64> {
        (0..n)
            .map(|_| {
                self.next_content += 1;
                let (ts, subject, headers, payload) = content(self.next_content);
                batch.push(ts, &subject, &headers, &payload).unwrap();
                self.next_content
            })
            .collect()
    }

    /// A reader of this log could read that far.
    pub(crate) fn can_read(&mut self, seq: u64) {
        self.readable = seq;
        self.seen = self.seen.max(seq);
    }

    /// The log gave these contents numbers.
    pub(crate) fn appended(&mut self, first_seq: u64, contents: &[u64]) -> Result<(), Broken> {
        if first_seq <= self.seen {
            return Err(Broken::Reused(format!("{first_seq} was given out again, {} was seen", self.seen)));
        }
        // Whatever was under later numbers never came about.
        self.records.split_off(&first_seq);
        self.asked.split_off(&first_seq);
        self.records.extend((first_seq..).zip(contents.iter().copied()));
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "one account of one reading")]
    /// Reads the whole log after it was opened again, and takes what it holds as the truth from now on.
    pub(crate) fn check(
        &mut self,
        log: &Log,
        report: &RecoveryReport,
        power_cut: bool,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        counts.states += 1;
        counts.torn_tails += u64::from(report.torn_bytes > 0);
        counts.leftovers += report.leftovers.len() as u64;
        if !report.damage.is_empty() {
            return Err(Broken::Other(format!("damage reported: {:?}", report.damage)));
        }
        let mut expected = self.first;
        let mut broken = None;
        let mut unwritten = Vec::new();
        let mut found_seqs = BTreeSet::new();
        if self.weak && power_cut {
            // The mode's bargain holds for removals as well.
            self.removed.lock().clear();
        }
        let removed = self.removed.lock().clone();
        let asked = &self.asked;
        let acked = if self.weak && power_cut { Vec::new() } else { self.acked.lock().clone() };
        // A log whose first records all failed begins behind them. Nobody was told that they were safe.
        let oldest = log.oldest_seq();
        let gone =
            |range: &(u64, u64)| (range.0.max(self.first)..oldest.min(range.1 + 1)).any(|seq| !asked.contains(&seq));
        if let Some(acked) = acked.iter().find(|acked| gone(acked)) {
            return Err(Broken::AckedLost(format!("begins at {oldest}, {acked:?} was acknowledged")));
        }
        if oldest > self.first {
            self.first = oldest;
            self.records = self.records.split_off(&oldest);
            expected = oldest;
        }
        let records = &self.records;
        let visited = log.reader().visit(usize::MAX, &mut |visit| {
            let found = match visit {
                Visit::Record(record) => {
                    let next = expected;
                    expected = record.seq + 1;
                    found_seqs.insert(record.seq);
                    if removed.contains(&record.seq) {
                        Err(Broken::Returned(format!("{} was removed", record.seq)))
                    } else {
                        check_record(records, asked, next, &record)
                    }
                }
                Visit::Lost(range) if range.reason == LostReason::NeverWritten => {
                    expected = range.last_seq + 1;
                    unwritten.push((range.first_seq, range.last_seq));
                    let mut numbers = (range.first_seq..=range.last_seq).filter(|seq| !asked.contains(seq));
                    match numbers.find(|seq| acked.iter().any(|acked| acked.0 <= *seq && *seq <= acked.1)) {
                        Some(acked) => Err(Broken::AckedLost(format!("{acked:?} was acknowledged, {range:?}"))),
                        None => Ok(()),
                    }
                }
                Visit::Lost(range) => Err(Broken::AckedLost(format!("{range:?}"))),
            };
            counts.records_read += 1;
            match found {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => {
                    broken = Some(e);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(broken) = broken {
            return Err(broken);
        }
        visited.map_err(|e| Broken::Other(e.to_string()))?;
        if let Some((seq, _)) = records
            .range(expected..)
            .take_while(|(seq, _)| **seq <= log.readable_seq())
            .find(|(seq, _)| !asked.contains(seq))
        {
            return Err(Broken::AckedLost(format!("{seq} is readable and was not shown")));
        }
        counts.acks_checked +=
            acked.iter().map(|range| (range.1 + 1).saturating_sub(range.0.max(self.first))).sum::<u64>();
        for (first, last) in unwritten {
            self.records.retain(|&seq, _| seq < first || seq > last);
        }
        // Removed records may be there or not, but their numbers are not free.
        let last = log.readable_seq();
        let seen = if self.weak && power_cut { 0 } else { self.readable };
        let must = acked.last().map_or(0, |range| range.1).max(seen);
        if last < must && must >= self.first {
            return Err(Broken::AckedLost(format!("ends at {last}, acknowledged {acked:?}, {seen} seen")));
        }
        self.records.split_off(&(last + 1));
        // What is gone stays gone, what is there was not removed.
        self.asked.split_off(&(last + 1));
        self.asked.retain(|seq| !found_seqs.contains(seq));
        *self.removed.lock() = self.asked.clone();
        counts.removals_checked += self.asked.len() as u64;
        // In the weak modes `seen` outlives what was lost: those numbers must not come again.
        self.seen = self.seen.max(last);
        // What is readable after opening must stay, whatever it was before.
        self.readable = last;
        *self.acked.lock() = self.ranges();
        self.check_indexed(log)
    }

    /// The numbers that are held, as ranges.
    fn ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &seq in self.records.keys() {
            match ranges.last_mut() {
                Some(last) if last.1 + 1 == seq => last.1 = seq,
                _ => ranges.push((seq, seq)),
            }
        }
        ranges
    }

    /// The same records through the index: by number, by time, backwards.
    fn check_indexed(&self, log: &Log) -> Result<(), Broken> {
        let mut chance = Chance::new(self.next_content);
        let there = |seq: &u64| *seq >= self.first && !self.asked.contains(seq);
        let kept: Vec<u64> = self.records.keys().copied().filter(there).collect();
        let state = log.state();
        if (state.messages, state.first_seq) != (kept.len() as u64, kept.first().copied().unwrap_or(state.last_seq + 1))
        {
            return Err(Broken::Other(format!("{} kept from {:?}, the log says {state:?}", kept.len(), kept.first())));
        }
        if kept.is_empty() {
            return Ok(());
        }
        let seq = kept[chance.below(kept.len() as u64) as usize];
        let mut reader = log.reader();
        reader.seek(seq);
        let mut first = None;
        reader
            .visit(1, &mut |visit| {
                first = Some(match visit {
                    Visit::Record(record) => record.seq,
                    Visit::Lost(range) => range.first_seq,
                });
                ControlFlow::Break(())
            })
            .map_err(|e| Broken::Other(e.to_string()))?;
        if first != Some(seq) {
            return Err(Broken::Order(format!("sought {seq}, found {first:?}")));
        }
        let mut back = kept.iter().rev();
        let mut wrong = None;
        reader
            .visit_backward(u64::MAX, &mut |visit| {
                if let Visit::Record(record) = visit
                    && back.next() != Some(&record.seq)
                {
                    wrong = Some(record.seq);
                }
                ControlFlow::Continue(())
            })
            .map_err(|e| Broken::Other(e.to_string()))?;
        match (wrong, back.next()) {
            (None, None) => Ok(()),
            (wrong, left) => Err(Broken::Order(format!("backwards: {wrong:?} out of place, {left:?} not visited"))),
        }
    }
}

fn check_record(
    records: &BTreeMap<u64, u64>,
    asked: &BTreeSet<u64>,
    expected: u64,
    record: &RecordRef<'_>,
) -> Result<(), Broken> {
    if record.seq < expected || records.range(expected..record.seq).any(|(seq, _)| !asked.contains(seq)) {
        return Err(Broken::Order(format!("{} came, {expected} was due", record.seq)));
    }
    let Some(&id) = records.get(&record.seq) else {
        return Err(Broken::Corrupt(format!("{} was never appended", record.seq)));
    };
    let (ts, subject, headers, payload) = content(id);
    if (record.ts_ns, record.subject, record.headers, record.payload) != (ts, &subject, &headers, &payload) {
        return Err(Broken::Corrupt(format!("{} has other bytes", record.seq)));
    }
    Ok(())
}

/// The record with that identity: the same whenever it is asked for.
pub(crate) fn content(id: u64) -> (i64, Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut chance = Chance::new(id);
    let len = match chance.below(50) {
        0 => 5000,
        1..10 => chance.below(700),
        _ => chance.below(100),
    };
    let mut payload = vec![0_u8; len as usize];
    for chunk in payload.chunks_mut(8) {
        let bytes = chance.bits().to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    let headers = if chance.percent(30) { b"NATS/1.0\r\nA: b\r\n\r\n".to_vec() } else { Vec::new() };
    let ts = i64::try_from(id & 0xffff_ffff).unwrap() + i64::try_from(chance.below(50)).unwrap();
    (ts, format!("s.{}", id % 11).into_bytes(), headers, payload)
}
