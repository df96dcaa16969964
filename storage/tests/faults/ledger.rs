//! What was promised about a real log, and whether it holds: every acknowledged or served record by its content, in order,
//! and no number twice with different contents.

use std::collections::BTreeMap;

use sublog_storage::{Log, RecoveryReport, Visit};

use crate::common::{identity, visit_all};

/// What a check found, summed up over a run.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) cycles: u64,
    /// Acknowledged records found again after the fault that followed them.
    pub(crate) acks_checked: u64,
    /// Records looked at, those of earlier cycles again.
    pub(crate) records_read: u64,
    pub(crate) served_checked: u64,
    pub(crate) removals: u64,
    pub(crate) lost: u64,
    pub(crate) corrupt: u64,
    pub(crate) order_breaks: u64,
    pub(crate) seq_reused: u64,
    /// Removed segments that came back although the removal was acknowledged.
    pub(crate) resurrected: u64,
    /// Damage reported by a log that nobody damaged.
    pub(crate) false_damage: u64,
    pub(crate) torn_tails: u64,
    /// Acknowledged while the file system was shut down, when a sync may answer what is not so.
    pub(crate) late_acks: u64,
    pub(crate) late_gone: u64,
}

impl Counts {
    pub(crate) fn failures(&self) -> u64 {
        self.lost + self.corrupt + self.order_breaks + self.seq_reused + self.resurrected + self.false_damage
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "{} cycles, {} acks checked, {} served records checked, {} records read, {} removals, {} torn tails, \
             {} late acks ({} gone); lost {}, corrupt {}, order breaks {}, seq reused {}, removed came back {}, false damage {}",
            self.cycles,
            self.acks_checked,
            self.served_checked,
            self.records_read,
            self.removals,
            self.torn_tails,
            self.late_acks,
            self.late_gone,
            self.lost,
            self.corrupt,
            self.order_breaks,
            self.seq_reused,
            self.resurrected,
            self.false_damage
        )
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    id: u64,
    acked: bool,
    served: bool,
    /// Promised since the last check.
    new: bool,
}

/// The promises of one log.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    records: BTreeMap<u64, Known>,
    /// Numbers below may be gone: their removal was begun.
    may_be_gone: u64,
    /// Numbers below must be gone: their removal was acknowledged.
    must_be_gone: u64,
    /// Number and content of what was said too late to count.
    late: Vec<(u64, u64)>,
    pub(crate) counts: Counts,
}

impl Ledger {
    /// Forgets the log, keeps the counts.
    pub(crate) fn new_log(&mut self) {
        *self = Self { counts: self.counts, ..Self::default() };
    }

    /// Takes one line of a child's output.
    pub(crate) fn said(&mut self, line: &str) {
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        match (verb, numbers.as_slice()) {
            ("acked", &[first, n, id]) => (0..n).for_each(|i| self.promised(first + i, id + i, true)),
            ("served", &[seq, id]) => self.promised(seq, id, false),
            ("wrong", _) => {
                self.counts.corrupt += 1;
                println!("the child read what was never written: {line}");
            }
            ("removing", &[before]) => self.may_be_gone = self.may_be_gone.max(before),
            ("removed", &[oldest]) => {
                self.must_be_gone = self.must_be_gone.max(oldest);
                self.counts.removals += 1;
            }
            _ => {}
        }
    }

    /// Takes one line that was said when a sync could no longer be believed.
    pub(crate) fn said_late(&mut self, line: &str) {
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        match (verb, numbers.as_slice()) {
            ("acked", &[first, n, id]) => self.late.extend((0..n).map(|i| (first + i, id + i))),
            ("removing" | "wrong", _) => self.said(line),
            _ => {}
        }
    }

    fn promised(&mut self, seq: u64, id: u64, acked: bool) {
        let known = self.records.entry(seq).or_insert(Known { id, acked: false, served: false, new: true });
        known.acked |= acked;
        known.served |= !acked;
        if known.id != id {
            self.counts.seq_reused += 1;
            println!("{seq} was {:x}, is {id:x}", known.id);
            known.id = id;
        }
    }

    /// Compares an opened log with the promises; what it serves is promised from now on.
    pub(crate) fn check(&mut self, log: &Log, report: &RecoveryReport) {
        let before = self.counts.failures();
        self.counts.torn_tails += u64::from(report.torn_bytes > 0);
        self.counts.false_damage += report.damage.len() as u64;
        let oldest = log.oldest_seq();
        self.counts.resurrected += u64::from(oldest < self.must_be_gone);
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        let mut expected = oldest;
        visit_all(log, |visit| match visit {
            Visit::Record(record) => {
                self.counts.order_breaks += u64::from(record.seq != expected);
                expected = record.seq + 1;
                self.counts.records_read += 1;
                match identity(&record) {
                    Some(id) => drop(found.insert(record.seq, id)),
                    None => self.counts.corrupt += 1,
                }
            }
            Visit::Lost(range) => {
                self.counts.lost += range.last_seq - range.first_seq + 1;
                println!("{range:?}");
                expected = range.last_seq + 1;
            }
        });
        for (&seq, known) in self.records.range(self.may_be_gone..) {
            match found.get(&seq) {
                None => {
                    self.counts.lost += 1;
                    println!("{seq} is lost, acknowledged: {}", known.acked);
                }
                Some(&id) if id != known.id => self.counts.seq_reused += 1,
                Some(_) => {
                    self.counts.acks_checked += u64::from(known.new && known.acked);
                    self.counts.served_checked += u64::from(known.new && known.served);
                }
            }
        }
        for (seq, id) in self.late.drain(..) {
            self.counts.late_acks += 1;
            self.counts.late_gone += u64::from(seq >= self.may_be_gone && found.get(&seq) != Some(&id));
        }
        // What this log serves has been seen now.
        self.records =
            found.iter().map(|(&seq, &id)| (seq, Known { id, acked: true, served: true, new: false })).collect();
        self.may_be_gone = self.may_be_gone.max(oldest);
        if self.counts.failures() > before {
            println!("check failed: {}; {report:?}", self.counts.line());
        }
    }
}
