//! What clients say of messages they got.

use bytes::Bytes;

use super::ack::AckBody;
use super::outgoing::{Action, Advisory};
use super::unacked::Entry;
use super::{AckNumbers, AckPolicy, Machine, Now, Position, World};

impl Machine {
    /// An ack has arrived: the numbers of its subject, its body without headers, and where it wants an answer.
    pub fn ack(&mut self, numbers: AckNumbers, body: &[u8], reply: Option<Bytes>, world: &dyn World, now: Now) {
        if self.push.is_none() {
            self.inactivity.restart(now.mono);
        }
        let answer = match AckBody::parse(body) {
            AckBody::Ack => self.settle(numbers, now).then_some(true),
            AckBody::Next(request) => {
                self.settle(numbers, now);
                if let Some(reply) = reply {
                    self.pull(reply, request, world, now);
                }
                return;
            }
            AckBody::Term { reason } => {
                let out = self.unacked.get(numbers.stream_seq);
                let answer = if self.config.dead_letters && out.is_some() {
                    self.terminate(numbers, reason, now)
                } else {
                    self.settle(numbers, now)
                };
                if let (true, Some(entry)) = (answer, out) {
                    let AckNumbers { stream_seq, consumer_seq, .. } = numbers;
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    let deliveries = entry.deliveries;
                    self.advise(Advisory::Terminated { stream_seq, consumer_seq, deliveries, reason });
                }
                answer.then_some(true)
            }
            AckBody::Nak { delay_ns } => {
                self.nak(numbers, delay_ns, now);
                Some(false)
            }
            AckBody::Progress => {
                self.progress(numbers.stream_seq, now);
                Some(false)
            }
            AckBody::Unknown => Some(false),
        };
        if let (Some(to), Some(after_save)) = (reply, answer)
            && numbers.stream_seq > 0
        {
            self.act(Action::AckAnswer { to, after_save });
        }
    }

    /// Takes an ack. Says whether it deserves an answer: also one that came before does.
    pub(super) fn settle(&mut self, numbers: AckNumbers, now: Now) -> bool {
        let AckNumbers { stream_seq, consumer_seq, .. } = numbers;
        // Where flow control settles, acks do not.
        let takes_acks = matches!(self.config.ack, AckPolicy::All | AckPolicy::Explicit);
        if !takes_acks || self.is_ahead(stream_seq) {
            return false;
        }
        if self.config.ack == AckPolicy::Explicit {
            let known = self.unacked.is_exhausted(stream_seq);
            if self.unacked.remove(stream_seq, self.delivered).is_some() || known {
                self.settled(stream_seq);
                self.acked(now);
            }
            return true;
        }
        self.settle_up_to(Position { consumer: consumer_seq, stream: stream_seq }, now);
        true
    }

    /// Settles all that was delivered up to there.
    pub(super) fn settle_up_to(&mut self, position: Position, now: Now) {
        let (floor, stream_seq) = (self.unacked.floor, position.stream);
        if self.is_ahead(stream_seq) || position.consumer <= floor.consumer || stream_seq <= floor.stream {
            return;
        }
        self.settle_to(stream_seq);
        if self.unacked.len() > 0 {
            // What lies between the ack and the next message that is out was not acked, it was not selected.
            self.unacked.floor = Position { stream: stream_seq, ..self.unacked.floor };
        }
        if !self.config.dead_letters {
            self.unacked.forget_exhausted_to(stream_seq);
        }
        self.acked(now);
    }

    fn settle_to(&mut self, up_to: u64) {
        while let Some(stream_seq) = self.unacked.first_to(up_to) {
            self.unacked.remove(stream_seq, self.delivered);
            self.settled(stream_seq);
        }
    }

    pub(super) fn acked(&mut self, now: Now) {
        self.last_ack_ns = Some(now.wall_ns);
        self.changed = true;
        self.no_eligible = false;
    }

    pub(super) fn settled(&mut self, stream_seq: u64) {
        if self.config.report_settled {
            self.act(Action::Settled { stream_seq });
        }
    }

    fn nak(&mut self, numbers: AckNumbers, delay_ns: Option<u64>, now: Now) {
        let AckNumbers { stream_seq, consumer_seq, deliveries, .. } = numbers;
        let (floor, last) = (self.unacked.floor.consumer, self.delivered.consumer);
        let Some(entry) = self.unacked.get(stream_seq) else { return };
        if consumer_seq <= floor || consumer_seq > last {
            return;
        }
        self.advise(Advisory::Nak { stream_seq, consumer_seq, deliveries });
        if let Some(delay_ns) = delay_ns {
            let due = now.mono.saturating_add(std::time::Duration::from_nanos(delay_ns));
            self.unacked.out(stream_seq, entry.deliveries, due);
            self.changed = true;
        } else if !self.unacked.is_queued(stream_seq) {
            self.due_again(stream_seq);
        }
    }

    fn progress(&mut self, stream_seq: u64, now: Now) {
        if let Some(entry) = self.unacked.get(stream_seq) {
            let due = self.due_after(entry.deliveries, now);
            self.unacked.out(stream_seq, entry.deliveries, due);
            self.changed = true;
        }
    }

    /// The stream no longer holds a message: it is not waited for, and if it was out, that is told.
    pub(super) fn removed(&mut self, stream_seq: u64, reason: Option<&str>) {
        self.changed |= self.unacked.is_exhausted(stream_seq);
        let Some(entry) = self.unacked.remove(stream_seq, self.delivered) else { return };
        self.settled(stream_seq);
        self.changed = true;
        self.no_eligible = false;
        if let Some(reason) = reason {
            let Entry { consumer_seq, deliveries, .. } = entry;
            self.advise(Advisory::Terminated { stream_seq, consumer_seq, deliveries, reason: reason.to_owned() });
        }
    }
}
