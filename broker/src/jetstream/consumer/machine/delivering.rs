//! What to send next, and what sending it changes.

use super::outgoing::{Action, Delivery, Status};
use super::{AckNumbers, AckPolicy, Machine, Now, Record, Stall, Step, World};
use std::time::Duration;

/// Spacing finer than this is not kept in a replay.
const REPLAY_GRAIN_NS: i64 = 1_000_000;

/// Where an offered message comes from.
enum Source {
    /// It was delivered so often.
    Queue {
        deliveries: u64,
    },
    List,
    Stream,
}

impl Machine {
    /// What to do now. Nothing has changed until it is answered, so asking again is safe.
    pub fn next(&mut self, world: &dyn World, now: Now) -> Step {
        self.run_timers(world, now);
        match self.ready(now) {
            Ok(step) => step,
            Err(stall) => {
                // At the limit the end of the stream is not in sight: messages may be there once acks have come. But they
                // are not waited for longer than to the next timer of any request.
                if stall != Stall::MaxAckPending {
                    self.end_one_shots(now);
                }
                if stall == Stall::UpToDate && self.replay_to.is_some_and(|to| self.next_seq > to) {
                    (self.replay_to, self.hold_until) = (None, None);
                }
                Step::Wait { until: self.next_timer(now) }
            }
        }
    }

    /// Why nothing is sent now.
    #[must_use]
    pub fn stall(&self, now: Now) -> Stall {
        self.ready(now).err().unwrap_or(Stall::None)
    }

    fn ready(&self, now: Now) -> Result<Step, Stall> {
        if self.pause_remaining(now).is_some() {
            return Err(Stall::Paused);
        }
        match &self.push {
            Some(push) if !push.active => return Err(Stall::NoInterest),
            Some(push) if push.window.as_ref().is_some_and(|window| window.is_full()) => {
                return Err(Stall::FlowControl);
            }
            Some(push) if push.bucket.as_ref().is_some_and(|bucket| bucket.open_at() > now.mono) => {
                return Err(Stall::RateLimit);
            }
            Some(_) => {}
            None if self.waiting.is_empty() => return Err(Stall::NoRequests),
            None if self.no_eligible => return Err(Stall::Priority),
            None => {}
        }
        if let Some(stream_seq) = self.unacked.first_queued() {
            return Ok(Step::Redeliver { stream_seq });
        }
        let listed = self.list.as_ref().and_then(|list| list.seqs.front());
        if listed.is_none() && self.next_seq > self.last_seq {
            return Err(if self.has_room() { Stall::UpToDate } else { Stall::MaxAckPending });
        }
        if !self.has_room() {
            return Err(Stall::MaxAckPending);
        }
        if self.hold_until.is_some_and(|until| until > now.mono) {
            return Err(Stall::Replay);
        }
        Ok(listed.map_or(Step::Fetch { from_seq: self.next_seq }, |&stream_seq| Step::FetchOne { stream_seq }))
    }

    /// Where a message that is offered belongs; `None` if it was not asked for.
    fn source_of(&self, stream_seq: u64) -> Option<Source> {
        if let Some(entry) = self.unacked.get(stream_seq) {
            let deliveries = entry.deliveries;
            return self.unacked.is_queued(stream_seq).then_some(Source::Queue { deliveries });
        }
        if !self.has_room() {
            return None;
        }
        match &self.list {
            Some(list) => (list.seqs.front() == Some(&stream_seq)).then_some(Source::List),
            None => self.is_ahead(stream_seq).then_some(Source::Stream),
        }
    }

    /// Offers the message that was asked for. `None` means that it does not go out now: ask [`Self::next`] again.
    pub fn deliver(&mut self, record: &Record, world: &dyn World, now: Now) -> Option<Delivery> {
        self.ready(now).ok()?;
        let source = self.source_of(record.stream_seq)?;
        let (deliveries, new) = match source {
            Source::Queue { deliveries } => (deliveries + 1, 0),
            Source::List | Source::Stream => (1, 1),
        };
        if new == 1 && self.is_early(record, now) {
            return None;
        }
        let listed = self.listed() - u64::from(matches!(source, Source::List));
        let pending = record.num_pending.saturating_add(listed);
        let ack = AckNumbers {
            deliveries,
            stream_seq: record.stream_seq,
            consumer_seq: self.delivered.consumer + 1,
            time_ns: record.time_ns,
            pending,
        };
        let size = record.size.saturating_add(ack.len(&self.ack_prefix) as u64);
        let (to, pin, left_over) = match self.config.push() {
            Some(push) => (push.deliver_subject.clone(), None, None),
            None => {
                let Some(chosen) = self.choose(size, pending.saturating_add(new), world, now) else {
                    self.no_eligible = !self.waiting.is_empty();
                    return None;
                };
                // A batch that is full while bytes would still fit: the client counts both and wants to know.
                let left_over = (chosen.left == 0 && chosen.bytes_left > 0).then_some(chosen.bytes_left);
                let pin = self.pin.as_ref().map(|pin| pin.id.clone());
                (chosen.reply, pin, left_over)
            }
        };
        self.sent(&source, &ack, now);
        if let Some(bytes) = left_over {
            let status = Status { code: 409, text: "Batch Completed".into(), pending: Some((0, bytes)) };
            self.act(Action::Status { to: to.clone(), status });
        }
        self.after_push(size, now);
        Some(Delivery { to, ack, pin })
    }

    /// In a replay: whether the message's time has not come. If so, it is remembered when that is.
    fn is_early(&mut self, record: &Record, now: Now) -> bool {
        if self.replay_to.is_none() {
            return false;
        }
        if let Some((last_ns, sent)) = self.replayed {
            let gap = record.time_ns.saturating_sub(last_ns);
            if gap > REPLAY_GRAIN_NS {
                let due = sent.saturating_add(Duration::from_nanos(gap.unsigned_abs()));
                if due > now.mono {
                    self.hold_until = Some(due);
                    return true;
                }
            }
        }
        self.replayed = Some((record.time_ns, now.mono));
        self.hold_until = None;
        false
    }

    /// A message is on its way.
    fn sent(&mut self, source: &Source, ack: &AckNumbers, now: Now) {
        let stream_seq = ack.stream_seq;
        match source {
            Source::Queue { .. } => {}
            Source::List => self.pop_listed(),
            Source::Stream => {
                self.next_seq = stream_seq.saturating_add(1);
                self.last_seq = self.last_seq.max(stream_seq);
            }
        }
        self.delivered.consumer = ack.consumer_seq;
        self.delivered.stream = self.delivered.stream.max(stream_seq);
        if self.config.ack == AckPolicy::None {
            self.unacked.floor = self.delivered;
            self.settled(stream_seq);
        } else {
            let due = self.due_after(ack.deliveries, now);
            match source {
                Source::Queue { .. } => self.unacked.out(stream_seq, ack.deliveries, due),
                Source::List | Source::Stream => self.unacked.insert(stream_seq, ack.consumer_seq, 1, Some(due)),
            }
        }
        self.last_delivery_ns = Some(now.wall_ns);
        self.changed = true;
        if self.push.is_none() {
            self.inactivity.touch(now.mono);
        }
    }

    fn pop_listed(&mut self) {
        let Some(list) = &mut self.list else { return };
        self.next_seq = list.seqs.pop_front().unwrap_or(self.next_seq).saturating_add(1);
        if list.seqs.is_empty() {
            self.next_seq = self.next_seq.max(list.resume.saturating_add(1));
            self.list = None;
        }
    }

    /// When a message that was delivered so often, just now, is due again.
    pub(super) fn due_after(&self, deliveries: u64, now: Now) -> Duration {
        self.config.wait_after(deliveries).map_or(Duration::MAX, |wait| now.mono.saturating_add(wait))
    }

    /// The bookkeeping of a push consumer for a message of so many bytes.
    fn after_push(&mut self, size: u64, now: Now) {
        let Some(config) = self.config.push() else { return };
        let Some(push) = &mut self.push else { return };
        push.heartbeat_at = config.idle_heartbeat.map(|every| now.mono.saturating_add(every));
        if let Some(bucket) = &mut push.bucket {
            bucket.sent(size, now.mono);
        }
        let fills = push.window.as_mut().is_some_and(|window| window.sent(size));
        if fills || self.wants_flow_control() && !self.has_room() {
            self.ask_flow_control();
        }
    }

    /// The message does not exist (any more): nothing waits for it from here on.
    pub fn gone(&mut self, stream_seq: u64) {
        self.removed(stream_seq, Some("Unacknowledged message was deleted"));
        match &mut self.list {
            Some(list) if list.seqs.front() == Some(&stream_seq) => self.pop_listed(),
            Some(list) => {
                if let Ok(at) = list.seqs.binary_search(&stream_seq) {
                    list.seqs.remove(at);
                }
            }
            None if stream_seq == self.next_seq => self.next_seq = stream_seq.saturating_add(1),
            None => {}
        }
        self.no_eligible = false;
    }

    /// No selected message lies between the place asked for and `up_to`, and the stream, as far as the driver has told,
    /// can be read to there.
    pub fn at_end(&mut self, up_to: u64) {
        if self.list.is_none() {
            if up_to < self.next_seq {
                self.last_seq = up_to;
            } else {
                self.next_seq = up_to.saturating_add(1);
            }
        }
    }

    /// The stream holds messages up to here.
    pub fn new_messages(&mut self, last_seq: u64) {
        if last_seq > self.last_seq {
            self.last_seq = last_seq;
            self.no_eligible = false;
        }
    }

    /// A delivery that [`Self::deliver`] returned reached nobody: it does not count as one, and the message is due.
    pub fn not_delivered(&mut self, stream_seq: u64) {
        if let Some(push) = &mut self.push {
            push.active = false;
        }
        if let Some(entry) = self.unacked.get(stream_seq) {
            self.unacked.queue(stream_seq, entry.deliveries.saturating_sub(1));
            self.changed = true;
        }
        self.no_eligible = false;
    }
}
