//! What is done to a consumer: another configuration, a pause, a reset, messages taken away below it, its end.

use std::time::Duration;

use super::outgoing::{Action, Advisory, Status};
use super::push::{Bucket, Window};
use super::timers::Inactivity;
use super::unacked::Unacked;
use super::{AckPolicy, Machine, MachineConfig, Now, Position};

/// Why messages are missing at the start of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The stream's limits.
    Limits,
    /// Somebody removed them.
    Purge,
}

/// Why a consumer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// It is deleted, or its stream is.
    Deleted,
    /// The server stops.
    Shutdown,
}

impl Machine {
    /// Somebody listens to the deliver subject, or nobody does.
    pub fn interest(&mut self, active: bool, now: Now) {
        let Some(push) = &mut self.push else { return };
        if push.active == active {
            return;
        }
        push.active = active;
        if active {
            self.inactivity.stop();
        } else {
            self.inactivity.restart(now.mono);
        }
    }

    /// A message has arrived on a subject of [`Action::FlowControlRequest`], and may say how far its subscriber is. Says
    /// whether it was the open request's.
    pub fn flow_control_response(&mut self, subject: &[u8], kept_up_to: Position, now: Now) -> bool {
        let window = self.push.as_mut().and_then(|push| push.window.as_mut());
        let answered = window.is_some_and(|window| window.answered(subject));
        if answered && self.config.ack == AckPolicy::FlowControl && kept_up_to.stream > 0 {
            self.settle_up_to(kept_up_to, now);
        }
        answered
    }

    /// Asks the subscriber whether it has kept up.
    pub(super) fn ask_flow_control(&mut self) {
        let (Some(config), Some(push)) = (self.config.push(), &mut self.push) else { return };
        let Some(window) = &mut push.window else { return };
        let (stream, consumer) = (&self.config.stream, &self.config.consumer);
        let reply = bytes::Bytes::from(format!("$JS.FC.{stream}.{consumer}.{}", self.ids.short()));
        window.ask(reply.clone());
        self.actions.push_back(Action::FlowControlRequest { to: config.deliver_subject.clone(), reply });
    }

    /// Whether nobody but the subscriber's answer can say what is settled, and it was not asked.
    pub(super) fn wants_flow_control(&self) -> bool {
        let window = self.push.as_ref().and_then(|push| push.window.as_ref());
        self.config.ack == AckPolicy::FlowControl && window.is_some_and(|window| window.request().is_none())
    }

    /// From where on the log is read by whoever copies it for this consumer; `None`: not all that is left is behind a number.
    #[must_use]
    pub fn copies_from(&self) -> Option<u64> {
        self.list.is_none().then(|| self.unacked.floor.stream.saturating_add(1))
    }

    /// Somebody copied these messages from the log, in this order: they are delivered and settled. Without any he says that he
    /// is there.
    pub fn copied(&mut self, stream_seqs: &[u64], now: Now) {
        self.inactivity.restart(now.mono);
        for &stream_seq in stream_seqs {
            if self.is_ahead(stream_seq) {
                self.next_seq = stream_seq.saturating_add(1);
                self.delivered.consumer += 1;
                self.delivered.stream = self.delivered.stream.max(stream_seq);
                self.settled(stream_seq);
            } else if self.unacked.remove(stream_seq, self.delivered).is_some() {
                self.settled(stream_seq);
            }
        }
        if stream_seqs.is_empty() {
            return;
        }
        if self.unacked.len() == 0 {
            self.unacked.floor = self.delivered;
        }
        self.last_delivery_ns = Some(now.wall_ns);
        self.acked(now);
    }

    /// Nothing is delivered until then, in nanoseconds since the epoch; `None` ends a pause.
    pub fn pause(&mut self, until: Option<i64>, now: Now) {
        if self.config.paused_until == until {
            return;
        }
        self.config.paused_until = until;
        self.paused = self.pause_remaining(now).is_some();
        self.advise(Advisory::Paused { paused: self.paused, until });
    }

    /// Starts over: at a stream sequence, or with 0 right above the ack floor. Everything that is out is forgotten, and
    /// consumer sequences begin anew. Returns where it starts; whether the start is allowed is the caller's to know.
    pub fn reset(&mut self, seq: u64) -> u64 {
        let seq = if seq == 0 { self.unacked.floor.stream.saturating_add(1) } else { seq };
        self.next_seq = seq;
        self.list = None;
        self.delivered = Position { consumer: 0, stream: seq - 1 };
        self.unacked = Unacked::at(self.delivered);
        (self.last_delivery_ns, self.last_ack_ns) = (None, None);
        (self.replayed, self.hold_until) = (None, None);
        self.no_eligible = false;
        self.changed = true;
        seq
    }

    /// The stream's first message is this one now: nothing below is waited for.
    pub fn stream_starts_at(&mut self, first_seq: u64, removal: Removal) {
        let Some(below) = first_seq.checked_sub(1) else { return };
        let reason = (removal == Removal::Limits).then_some("Message deleted by stream limits");
        if let Some(list) = &mut self.list {
            let keep = list.seqs.partition_point(|seq| *seq < first_seq);
            list.seqs.drain(..keep);
            if list.seqs.is_empty() {
                self.next_seq = list.resume.saturating_add(1);
                self.list = None;
            }
        }
        if self.next_seq < first_seq {
            self.next_seq = first_seq;
            self.changed = true;
        }
        if removal == Removal::Purge && self.delivered.stream < below {
            self.delivered.stream = below;
            self.changed = true;
        }
        while let Some(stream_seq) = self.unacked.first_to(below) {
            self.removed(stream_seq, reason);
        }
        self.unacked.forget_exhausted_to(below);
        let floor = &mut self.unacked.floor;
        floor.stream = floor.stream.max(below.min(self.delivered.stream));
        self.no_eligible = false;
    }

    /// Messages of these ranges (ascending, both ends included) were removed: nothing waits for them from here on. If they
    /// were removed one by one, whoever has them is told.
    pub fn all_gone(&mut self, ranges: &[(u64, u64)], removal: Removal) {
        let is_gone = |seq: u64| {
            let at = ranges.partition_point(|(_, last)| *last < seq);
            ranges.get(at).is_some_and(|(first, _)| *first <= seq)
        };
        let reason = (removal == Removal::Limits).then_some("Unacknowledged message was deleted");
        let out = self.unacked.entries().map(|(seq, _)| seq);
        let all = out.chain(self.unacked.exhausted().map(|(seq, _)| seq));
        let gone: Vec<u64> = all.filter(|seq| is_gone(*seq)).collect();
        gone.into_iter().for_each(|seq| self.removed(seq, reason));
        if let Some(list) = &mut self.list {
            list.seqs.retain(|seq| !is_gone(*seq));
            if list.seqs.is_empty() {
                self.next_seq = list.resume.saturating_add(1);
                self.list = None;
            }
            self.changed = true;
        }
        self.no_eligible = false;
    }

    /// The configuration has changed. Whether a consumer is pull or push, and its names, do not change.
    pub fn update(&mut self, config: MachineConfig, now: Now) {
        let old = std::mem::replace(&mut self.config, config);
        self.no_eligible = false;
        if (old.ack_wait, &old.backoff) != (self.config.ack_wait, &self.config.backoff) {
            self.reschedule(&old, now);
        }
        if old.inactive_threshold != self.config.inactive_threshold {
            self.inactivity = Inactivity::new(self.config.inactive_threshold, now.mono);
            if self.is_push_bound() {
                self.inactivity.stop();
            }
        }
        if old.paused_until != self.config.paused_until {
            let until = self.config.paused_until;
            self.config.paused_until = old.paused_until;
            self.pause(until, now);
        }
        if old.priority() != self.config.priority() {
            self.pin = None;
            for number in self.waiting.numbers() {
                if let Some(request) = self.waiting.remove(number) {
                    let priority = self.priority_of(request.group.as_ref());
                    self.waiting.add(request, priority);
                }
            }
        }
        self.update_push(&old, now);
    }

    /// Messages that are out are due when they would be if their waits had begun under the new configuration.
    fn reschedule(&mut self, old: &MachineConfig, now: Now) {
        let config = &self.config;
        self.unacked.reschedule(|deliveries, due| match (old.wait_after(deliveries), config.wait_after(deliveries)) {
            (_, None) => Duration::MAX,
            (None, Some(wait)) => now.mono.saturating_add(wait),
            // A wait is at most what was added to some earlier `now`, so the order keeps this from going below zero.
            (Some(before), Some(wait)) => due.saturating_add(wait).saturating_sub(before),
        });
        self.changed = true;
    }

    fn update_push(&mut self, old: &MachineConfig, now: Now) {
        let (Some(config), Some(before)) = (self.config.push(), old.push()) else { return };
        let Some(push) = &mut self.push else { return };
        if config.flow_control != before.flow_control {
            push.window = config.flow_control.then(Window::new);
        }
        if config.rate_limit != before.rate_limit {
            push.bucket = config.rate_limit.map(|limit| Bucket::new(limit, now.mono));
        }
        if config.idle_heartbeat != before.idle_heartbeat {
            push.heartbeat_at = config.idle_heartbeat.map(|every| now.mono.saturating_add(every));
        }
        if config.deliver_subject == before.deliver_subject {
            return;
        }
        // The new subscriber knows neither of what the old one has nor of what it was asked.
        push.window = config.flow_control.then(Window::new);
        let out: Vec<u64> = self.unacked.entries().map(|(seq, _)| seq).collect();
        for stream_seq in out {
            if !self.unacked.is_queued(stream_seq) {
                self.due_again(stream_seq);
            }
        }
    }

    /// The consumer ends: requests that wait are told.
    pub fn close(&mut self, closing: Closing) {
        let text = match closing {
            Closing::Deleted => "Consumer Deleted",
            Closing::Shutdown => "Server Shutdown",
        };
        for number in self.waiting.numbers() {
            if let Some(request) = self.waiting.remove(number) {
                let status = Status { code: 409, text: text.into(), pending: None };
                self.act(Action::Status { to: request.reply, status });
            }
        }
    }
}
