//! What happens by itself as time passes.

use std::time::Duration;

use super::outgoing::{Action, Advisory, Heartbeat};
use super::{Machine, Now, Stall, World};

/// Whether anybody still uses the consumer.
#[derive(Debug)]
pub(super) struct Inactivity {
    pub(super) threshold: Option<Duration>,
    last: Duration,
    /// When to look; `None` when no one can be missing or it has been said.
    check: Option<Duration>,
}

impl Inactivity {
    pub(super) fn new(threshold: Option<Duration>, now: Duration) -> Self {
        Self { threshold, last: now, check: threshold.map(|threshold| now.saturating_add(threshold)) }
    }

    /// Somebody is there.
    pub(super) fn touch(&mut self, now: Duration) {
        self.last = self.last.max(now);
    }

    /// Somebody was there; if nothing more happens, this is where counting starts, however long acks were waited for.
    pub(super) fn restart(&mut self, now: Duration) {
        self.last = now;
        self.check = self.threshold.map(|threshold| now.saturating_add(threshold));
    }

    /// Somebody is there until it is said that nobody is.
    pub(super) fn stop(&mut self) {
        self.check = None;
    }
}

impl Machine {
    pub(super) fn run_timers(&mut self, world: &dyn World, now: Now) {
        if self.paused && self.pause_remaining(now).is_none() {
            self.paused = false;
            self.advise(Advisory::Paused { paused: false, until: self.config.paused_until });
        }
        while let Some((due, stream_seq)) = self.unacked.first_due(now.mono) {
            // Until then its client may have been busy with it.
            self.inactivity.touch(due);
            self.due_again(stream_seq);
        }
        if self.waiting.first_due(now.mono).is_some() && self.stall(now) == Stall::MaxAckPending {
            self.end_one_shots(now);
        }
        self.run_request_timers(world, now);
        if self.pin.as_ref().is_some_and(|pin| pin.until <= now.mono) {
            self.lose_pin("timeout");
        }
        self.beat_push(now);
        self.check_inactive(world, now);
    }

    /// Nobody acked the message in time, or somebody refused it.
    pub(super) fn due_again(&mut self, stream_seq: u64) {
        let Some(entry) = self.unacked.get(stream_seq) else { return };
        if self.config.max_deliver.is_some_and(|max| entry.deliveries >= max) {
            self.unacked.exhaust(stream_seq, self.delivered, None);
            self.advise(Advisory::MaxDeliveries { stream_seq, deliveries: entry.deliveries });
        } else {
            self.unacked.queue(stream_seq, entry.deliveries);
        }
        self.changed = true;
        self.no_eligible = false;
    }

    /// A heartbeat for a subscriber or a request.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        let window = self.push.as_ref().and_then(|push| push.window.as_ref());
        Heartbeat {
            last_consumer_seq: self.delivered.consumer,
            last_stream_seq: self.next_seq.saturating_sub(1),
            stalled: window.and_then(|window| window.request().cloned()),
        }
    }

    fn beat_push(&mut self, now: Now) {
        let heartbeat = self.heartbeat();
        let Some(config) = self.config.push() else { return };
        let Some(push) = &mut self.push else { return };
        if push.heartbeat_at.is_some_and(|at| at <= now.mono) {
            push.heartbeat_at = config.idle_heartbeat.map(|every| now.mono.saturating_add(every));
            if push.active {
                self.actions.push_back(Action::Heartbeat { to: config.deliver_subject.clone(), heartbeat });
                if self.wants_flow_control() && self.unacked.len() > 0 {
                    self.ask_flow_control();
                }
            }
        }
    }

    fn check_inactive(&mut self, world: &dyn World, now: Now) {
        let Some(threshold) = self.inactivity.threshold else { return };
        if self.inactivity.check.is_none_or(|check| check > now.mono) {
            return;
        }
        if self.push.as_ref().is_some_and(|push| push.active) {
            return self.inactivity.stop();
        }
        let mut until = self.inactivity.last.saturating_add(threshold);
        if self.push.is_none() && until <= now.mono {
            self.drop_uninterested(world);
            if self.waiting.is_empty() {
                // A client may be busy with what it has: it is missing only after the last ack is overdue.
                let last_due = self.unacked.last_due().filter(|due| *due < Duration::MAX && *due > now.mono);
                until = until.max(last_due.map_or(Duration::ZERO, |due| due.saturating_add(threshold)));
            } else {
                until = now.mono.saturating_add(threshold);
            }
        }
        if until > now.mono {
            self.inactivity.check = Some(until);
        } else {
            self.inactivity.stop();
            self.act(Action::Inactive);
        }
    }

    /// When [`Self::next`] has to be asked again though nothing else has happened.
    pub(super) fn next_timer(&self, now: Now) -> Option<Duration> {
        let push = self.push.as_ref();
        let open_at = push.and_then(|push| push.bucket.as_ref()).map(|bucket| bucket.open_at());
        [
            self.unacked.next_due(),
            self.waiting.next_timer(),
            self.pin.as_ref().map(|pin| pin.until),
            self.pause_remaining(now).map(|left| now.mono.saturating_add(left)),
            push.and_then(|push| push.heartbeat_at),
            open_at.filter(|at| *at > now.mono),
            self.hold_until.filter(|at| *at > now.mono),
            self.inactivity.check,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
