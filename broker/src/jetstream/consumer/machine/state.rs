//! What of a consumer outlives the process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::unacked::Place;
use super::{AckPolicy, List, Machine, MachineConfig, Now, Position};

/// Where a consumer is, to be written to disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The last delivery, and the highest message delivered.
    pub delivered: Position,
    /// Everything up to here is settled.
    pub ack_floor: Position,
    /// Where to look for the next new message.
    pub next_seq: u64,
    /// The consumer is still busy with a list ([`Start::List`](super::Start::List)) that was made when this was the
    /// stream's last sequence. The list is not saved, it can be as long as the stream: [`Machine::restore`] wants what
    /// is left of it, made again.
    pub listed_to: Option<u64>,
    /// Wall time of saving, in nanoseconds since the epoch.
    pub saved_at_ns: i64,
    /// Messages that are out or due again, by stream sequence.
    pub pending: Vec<PendingState>,
    /// Messages that were delivered as often as allowed, and how often that was.
    pub exhausted: Vec<(u64, u64)>,
}

/// A message that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingState {
    /// The message.
    pub stream_seq: u64,
    /// Its first delivery.
    pub consumer_seq: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// When it is due again, as wall time in nanoseconds since the epoch; the largest number is never.
    pub due_ns: i64,
}

fn nanoseconds(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

impl Machine {
    /// The state to write. Costs a step for every message that is out.
    #[must_use]
    pub fn save(&self, now: Now) -> State {
        let due_ns = |place: Place| match place {
            Place::Queued { .. } => now.wall_ns,
            Place::Out { due: Duration::MAX } => i64::MAX,
            Place::Out { due } => now.wall_ns.saturating_add(nanoseconds(due.saturating_sub(now.mono))),
        };
        let pending = self.unacked.entries().map(|(stream_seq, entry)| PendingState {
            stream_seq,
            consumer_seq: entry.consumer_seq,
            deliveries: entry.deliveries,
            due_ns: due_ns(entry.place),
        });
        State {
            delivered: self.delivered,
            ack_floor: self.unacked.floor,
            next_seq: self.next_seq,
            listed_to: self.list.as_ref().map(|list| list.resume),
            saved_at_ns: now.wall_ns,
            pending: pending.collect(),
            exhausted: self.unacked.exhausted().collect(),
        }
    }

    /// A consumer as it was saved. What the stream, which ends at `last_seq`, does not hold is not counted as delivered;
    /// the clocks may have been changed since. `listed` is what is left of the list if [`State::listed_to`] says that
    /// there was one: the last message of every subject that lies between `next_seq` and there.
    #[must_use]
    pub fn restore(config: MachineConfig, state: &State, listed: Vec<u64>, last_seq: u64, now: Now) -> Self {
        let end = last_seq.saturating_add(1);
        let next_seq = state.next_seq.clamp(1, end);
        let delivered = Position { stream: state.delivered.stream.min(next_seq - 1), ..state.delivered };
        let mut machine = Self::with(config, delivered, next_seq, last_seq, now);
        if machine.config.ack != AckPolicy::None {
            machine.restore_unacked(state, now);
        }
        let Some(resume) = state.listed_to.map(|resume| resume.min(last_seq)) else { return machine };
        let seqs = listed.into_iter().filter(|seq| (next_seq..=resume).contains(seq));
        let list = List { seqs: seqs.collect(), resume };
        if list.seqs.is_empty() {
            machine.next_seq = next_seq.max(resume.saturating_add(1));
        } else {
            machine.list = Some(list);
        }
        machine
    }

    fn restore_unacked(&mut self, state: &State, now: Now) {
        // What was left of a wait when it was saved is the most that may be left of it, whatever the wall clock says.
        let left = |due_ns: i64| {
            let then = due_ns.saturating_sub(state.saved_at_ns).max(0);
            let left = due_ns.saturating_sub(now.wall_ns).clamp(0, then);
            now.mono.saturating_add(Duration::from_nanos(left.unsigned_abs()))
        };
        let known = |stream_seq: u64| (1..self.next_seq).contains(&stream_seq);
        for entry in state.pending.iter().filter(|entry| known(entry.stream_seq)) {
            let due = if entry.due_ns == i64::MAX { Duration::MAX } else { left(entry.due_ns) };
            let consumer_seq = entry.consumer_seq.clamp(1, self.delivered.consumer.max(1));
            self.unacked.insert(entry.stream_seq, consumer_seq, entry.deliveries, Some(due));
        }
        for &(stream_seq, deliveries) in state.exhausted.iter().filter(|(stream_seq, _)| known(*stream_seq)) {
            self.unacked.insert_exhausted(stream_seq, deliveries);
        }
        let first = self.unacked.entries().next();
        if let Some((first_seq, first)) = first {
            let stream = state.ack_floor.stream.min(first_seq - 1);
            self.unacked.floor = Position { consumer: first.consumer_seq - 1, stream };
        }
    }
}
