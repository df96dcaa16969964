//! What a log promised, each promise with the position on the tape from which on it holds, and whether a crash state keeps it.
//!
//! ```text
//! <position> appended <first> <n> <id>   records first.. have contents id..
//! <position> acked <first> <n>           and are acknowledged
//! <position> served <seq>                a reader got this record
//! <position> removing <first> <last>     these may go from now on
//! <position> removed <first> <last>      and are gone
//! <position> wrong <what>                a reader got what was never written
//! ```

use std::collections::{BTreeMap, BTreeSet};

use sublog_storage::{IndexError, Log, RecoveryReport, Visit};

use crate::common::{identity, visit_all};

/// What checks found, summed up.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// States looked at; of those, second crashes after a first one, and of those, ones inside recovery.
    pub(crate) states: u64,
    pub(crate) double: u64,
    pub(crate) inside_recovery: u64,
    /// States whose file system the system refuses to mount: nothing can be said of what is in it.
    pub(crate) unmountable: u64,
    /// States with lost writes, with torn ones.
    pub(crate) lossy: u64,
    pub(crate) torn: u64,
    pub(crate) torn_tails: u64,
    pub(crate) acks_checked: u64,
    pub(crate) removals_checked: u64,
    pub(crate) index_answers: u64,
    pub(crate) rewritten: u64,
    /// Failures from here on.
    pub(crate) lost: u64,
    pub(crate) corrupt: u64,
    pub(crate) order_breaks: u64,
    pub(crate) resurrected: u64,
    pub(crate) seq_reused: u64,
    pub(crate) false_damage: u64,
    pub(crate) wrong_index: u64,
    pub(crate) unusable: u64,
}

impl Counts {
    pub(crate) fn failures(&self) -> u64 {
        self.lost
            + self.corrupt
            + self.order_breaks
            + self.resurrected
            + self.seq_reused
            + self.false_damage
            + self.wrong_index
            + self.unusable
    }

    pub(crate) fn line(&self) -> String {
        let Self { states, double, inside_recovery, lossy, torn, torn_tails, acks_checked, removals_checked, .. } =
            self;
        let Self { index_answers, rewritten, lost, corrupt, order_breaks, resurrected, seq_reused, .. } = self;
        let Self { false_damage, wrong_index, unusable, unmountable, .. } = self;
        format!(
            "{states} states ({lossy} with lost writes, {torn} with torn ones, {double} double, {inside_recovery} inside \
             recovery, {unmountable} whose file system gave up), {torn_tails} torn tails, {rewritten} states with rewritten segments, {acks_checked} acks, \
             {removals_checked} removals and {index_answers} answers of the index checked; lost {lost}, corrupt {corrupt}, \
             order breaks {order_breaks}, removed came back {resurrected}, seq reused {seq_reused}, false damage \
             {false_damage}, wrong index {wrong_index}, unusable {unusable}"
        )
    }
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Acked { first: u64, n: u64 },
    Served(u64),
    Removing { first: u64, last: u64 },
    Removed { first: u64, last: u64 },
}

/// What must hold of a state.
#[derive(Default)]
struct Expected {
    there: BTreeSet<u64>,
    gone: BTreeSet<u64>,
    /// Before this number everything is gone.
    floor: u64,
    /// The largest number that anybody was told of.
    last: u64,
}

/// The promises of one log.
#[derive(Default, Clone)]
pub(crate) struct Story {
    events: Vec<(usize, Event)>,
    /// What each number was ever given to. More than one only if a crash took the earlier ones, and nobody was told.
    contents: BTreeMap<u64, Vec<u64>>,
    wrong: u64,
}

impl Story {
    /// Takes what was told, in the words above.
    pub(crate) fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let Some(position) = words.next().and_then(|word| word.parse().ok()) else { return };
        let verb = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let event = match (verb, numbers.as_slice()) {
            ("appended", &[first, n, id]) => {
                (0..n).for_each(|i| self.contents.entry(first + i).or_default().push(id + i));
                return;
            }
            ("acked", &[first, n]) => Event::Acked { first, n },
            ("served", &[seq]) => Event::Served(seq),
            ("removing", &[first, last]) => Event::Removing { first, last },
            ("removed", &[first, last]) => Event::Removed { first, last },
            _ => {
                self.wrong += 1;
                println!("{line}");
                return;
            }
        };
        self.events.push((position, event));
    }

    /// How many promises there are, and the position of one.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn position_of(&self, i: usize) -> usize {
        self.events[i].0
    }

    /// What goes for a log that begins with a state at `at`: what was promised until then, from its beginning on.
    pub(crate) fn up_to(&self, at: usize) -> Self {
        let events = self.events.iter().filter(|&&(position, _)| position <= at);
        Self { events: events.map(|&(_, event)| (0, event)).collect(), contents: self.contents.clone(), wrong: 0 }
    }

    fn expected(&self, at: usize) -> Expected {
        let mut expected = Expected::default();
        let mut may_be_gone = BTreeSet::new();
        for &(_, event) in self.events.iter().filter(|&&(position, _)| position <= at) {
            match event {
                Event::Acked { first, n } => {
                    expected.there.extend(first..first + n);
                    expected.last = expected.last.max(first + n - 1);
                }
                Event::Served(seq) => {
                    expected.there.insert(seq);
                    expected.last = expected.last.max(seq);
                }
                Event::Removing { first, last } => may_be_gone.extend(first..=last),
                Event::Removed { first: 0, last } => expected.floor = expected.floor.max(last + 1),
                Event::Removed { first, last } => expected.gone.extend(first..=last),
            }
        }
        expected.there = expected.there.difference(&may_be_gone).copied().collect();
        expected
    }

    /// Compares what a log serves with what was promised at `at`. Returns the readable numbers.
    pub(crate) fn check(&self, at: usize, log: &Log, report: &RecoveryReport, counts: &mut Counts) -> Vec<u64> {
        let before = counts.failures();
        counts.corrupt += self.wrong;
        counts.torn_tails += u64::from(report.torn_bytes > 0);
        counts.false_damage += report.damage.len() as u64 + u64::from(report.skipped.is_some());
        counts.rewritten += u64::from(log.segments().iter().any(|segment| segment.codec.is_some()));
        let mut found: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut last = 0;
        visit_all(log, |visit| match visit {
            Visit::Record(record) => {
                counts.order_breaks += u64::from(record.seq <= last);
                last = record.seq;
                match identity(&record) {
                    None => counts.corrupt += 1,
                    Some(id) => {
                        let known = self.contents.get(&record.seq).is_some_and(|ids| ids.contains(&id));
                        counts.seq_reused += u64::from(!known);
                    }
                }
                found.insert(record.seq, record.subject.to_vec());
            }
            Visit::Lost(range) => {
                println!("{range:?}");
                counts.lost += 1;
            }
        });
        let expected = self.expected(at);
        counts.acks_checked += expected.there.len() as u64;
        counts.removals_checked += expected.gone.len() as u64;
        counts.lost += expected.there.iter().filter(|seq| !found.contains_key(seq)).count() as u64;
        counts.resurrected += expected.gone.iter().filter(|seq| found.contains_key(seq)).count() as u64;
        counts.resurrected += found.range(..expected.floor).count() as u64;
        // The next number is one that nobody was ever told of.
        counts.seq_reused += u64::from(log.readable_seq() < expected.last);
        check_index(log, &found, counts);
        if counts.failures() > before {
            println!("broken at {at}: {report:?}");
        }
        found.into_keys().collect()
    }
}

/// The index is a cache: whatever a crash left of it, it answers as the log does.
fn check_index(log: &Log, found: &BTreeMap<u64, Vec<u8>>, counts: &mut Counts) {
    let mut subjects: BTreeMap<&[u8], (u64, u64, u64)> = BTreeMap::new();
    for (&seq, subject) in found {
        let known = subjects.entry(subject).or_insert((0, seq, seq));
        (known.0, known.2) = (known.0 + 1, seq);
    }
    for (subject, known) in subjects {
        let state = loop {
            match log.subject_state(subject) {
                // Many segments without a part are left to maintenance.
                Err(IndexError::Building { .. }) => drop(log.maintain().unwrap()),
                state => break state.unwrap(),
            }
        };
        counts.index_answers += 1;
        counts.wrong_index += u64::from(state.map(|state| (state.count, state.first, state.last)) != Some(known));
    }
}
