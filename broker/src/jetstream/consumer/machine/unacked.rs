//! The messages that are out: delivered, not acked. When each is due again, and how far everything before is settled.
//!
//! A message is in one of three places: *out* with a client until a time, *queued* for redelivery, or *exhausted*, that
//! is delivered as often as it may be and no longer waited for. Every step costs a few look-ups in ordered maps,
//! however many messages are out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Position;

/// A message that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its first delivery.
    pub consumer_seq: u64,
    pub deliveries: u64,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// With a client; `Duration::MAX` is never.
    Out { due: Duration },
    /// To be delivered again, in the order of tickets.
    Queued { ticket: u64 },
}

/// A message that is not delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exhausted {
    pub deliveries: u64,
    /// What a client said who ended it before that; not kept over a restart.
    pub reason: Option<Box<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    entries: BTreeMap<u64, Entry>,
    due: BTreeSet<(Duration, u64)>,
    queue: BTreeMap<u64, u64>,
    next_ticket: u64,
    /// Delivered as often as allowed or, where dead letters are kept, terminated; by stream sequence.
    exhausted: BTreeMap<u64, Exhausted>,
    /// How many entries have more than one delivery.
    redelivered: usize,
    /// Everything up to here is settled. `floor.consumer + 1` is the first entry's.
    pub(super) floor: Position,
}

impl Unacked {
    pub(super) fn at(floor: Position) -> Self {
        Self { floor, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, stream_seq: u64) -> Option<Entry> {
        self.entries.get(&stream_seq).copied()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, Entry)> {
        self.entries.iter().map(|(seq, entry)| (*seq, *entry))
    }

    pub(super) fn exhausted(&self) -> impl Iterator<Item = (u64, u64)> {
        self.exhausted.iter().map(|(seq, exhausted)| (*seq, exhausted.deliveries))
    }

    pub(super) fn exhausted_reason(&self, stream_seq: u64) -> Option<&str> {
        self.exhausted.get(&stream_seq)?.reason.as_deref()
    }

    /// Forgets an exhausted message. Whether it was one.
    pub(super) fn forget_exhausted(&mut self, stream_seq: u64) -> bool {
        self.exhausted.remove(&stream_seq).is_some()
    }

    pub(super) fn is_queued(&self, stream_seq: u64) -> bool {
        self.get(stream_seq).is_some_and(|entry| matches!(entry.place, Place::Queued { .. }))
    }

    pub(super) fn is_exhausted(&self, stream_seq: u64) -> bool {
        self.exhausted.contains_key(&stream_seq)
    }

    /// Messages that were delivered more than once, or as often as allowed.
    pub(super) fn redelivered(&self) -> usize {
        self.redelivered + self.exhausted.len()
    }

    /// Adds a message; with `due` `None` it is queued.
    pub(super) fn insert(&mut self, stream_seq: u64, consumer_seq: u64, deliveries: u64, due: Option<Duration>) {
        self.unplace(stream_seq);
        let place = self.place(stream_seq, due);
        self.entries.insert(stream_seq, Entry { consumer_seq, deliveries, place });
        self.redelivered += usize::from(deliveries > 1);
    }

    pub(super) fn insert_exhausted(&mut self, stream_seq: u64, deliveries: u64) {
        self.exhausted.insert(stream_seq, Exhausted { deliveries, reason: None });
    }

    /// Forgets what the indexes say of a message.
    fn unplace(&mut self, stream_seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(&stream_seq)?;
        match entry.place {
            Place::Out { due } => drop(self.due.remove(&(due, stream_seq))),
            Place::Queued { ticket } => drop(self.queue.remove(&ticket)),
        }
        self.redelivered -= usize::from(entry.deliveries > 1);
        Some(entry)
    }

    fn place(&mut self, stream_seq: u64, due: Option<Duration>) -> Place {
        if let Some(due) = due {
            self.due.insert((due, stream_seq));
            return Place::Out { due };
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queue.insert(ticket, stream_seq);
        Place::Queued { ticket }
    }

    /// The message is out until `due`, having been delivered so often.
    pub(super) fn out(&mut self, stream_seq: u64, deliveries: u64, due: Duration) {
        if let Some(entry) = self.unplace(stream_seq) {
            self.insert(stream_seq, entry.consumer_seq, deliveries, Some(due));
        }
    }

    /// The message is due now, after those that are already.
    pub(super) fn queue(&mut self, stream_seq: u64, deliveries: u64) {
        if let Some(entry) = self.unplace(stream_seq) {
            self.insert(stream_seq, entry.consumer_seq, deliveries, None);
        }
    }

    /// A message whose time has come, and when that was; it must be moved on.
    pub(super) fn first_due(&self, now: Duration) -> Option<(Duration, u64)> {
        self.due.first().copied().filter(|(due, _)| *due <= now)
    }

    /// When [`Self::first_due`] will have something.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due).filter(|due| *due < Duration::MAX)
    }

    /// When the last of those that are out is due.
    pub(super) fn last_due(&self) -> Option<Duration> {
        self.due.last().map(|(due, _)| *due)
    }

    /// The message to deliver again first.
    pub(super) fn first_queued(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(_, seq)| *seq)
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes a message away, exhausted ones too. `delivered` is where the floor goes when nothing is left.
    pub(super) fn remove(&mut self, stream_seq: u64, delivered: Position) -> Option<Entry> {
        self.exhausted.remove(&stream_seq);
        let entry = self.unplace(stream_seq)?;
        self.raise_floor(entry.consumer_seq, delivered);
        Some(entry)
    }

    /// The message was delivered as often as it may be, or somebody says that it is not to be delivered again.
    pub(super) fn exhaust(&mut self, stream_seq: u64, delivered: Position, reason: Option<Box<str>>) {
        if let Some(entry) = self.remove(stream_seq, delivered) {
            self.exhausted.insert(stream_seq, Exhausted { deliveries: entry.deliveries, reason });
        }
    }

    /// The first message out, if it is not above `up_to`.
    pub(super) fn first_to(&self, up_to: u64) -> Option<u64> {
        self.entries.first_key_value().map(|(seq, _)| *seq).filter(|seq| *seq <= up_to)
    }

    /// Exhausted messages up to here need no longer be remembered.
    pub(super) fn forget_exhausted_to(&mut self, up_to: u64) {
        self.exhausted = up_to.checked_add(1).map(|from| self.exhausted.split_off(&from)).unwrap_or_default();
    }

    /// The floor rises only when the message right above it went: others leave a gap below them.
    fn raise_floor(&mut self, removed: u64, delivered: Position) {
        match self.entries.first_key_value() {
            None => self.floor = delivered,
            Some((seq, first)) if removed == self.floor.consumer + 1 => {
                self.floor = Position { consumer: first.consumer_seq.saturating_sub(1), stream: seq.saturating_sub(1) };
            }
            Some(_) => {}
        }
    }

    /// Gives every message that is out another time: `shift` is told how often it was delivered and when it is due.
    pub(super) fn reschedule(&mut self, shift: impl Fn(u64, Duration) -> Duration) {
        self.due.clear();
        for (seq, entry) in &mut self.entries {
            if let Place::Out { due } = &mut entry.place {
                *due = shift(entry.deliveries, *due);
                self.due.insert((*due, *seq));
            }
        }
    }
}
