//! One turn of a consumer: what happened goes into the machine, what it wants sent comes out.

use std::sync::Arc;
use std::time::Duration;

use super::reading::Style;
use super::sending::Parcel;
use super::{Consumer, Core, Event, burying, now};
use crate::account::Account;
use crate::client::Client;
use crate::jetstream::consumer::machine::{AckBody, Action, Removal, Stall, Step, World};
use crate::jetstream::stream::Stream;
use crate::limits::DELIVERY_TURN_BYTES;

/// What follows a turn.
pub(super) enum Turn {
    /// The next, when others have had theirs.
    More,
    /// Nothing, until an event or a time.
    Rest {
        until: Option<Duration>,
        /// What is stored from here on is waited for.
        reads: bool,
        /// The client that has to take what it was sent.
        behind: Option<Arc<Client>>,
    },
    /// The end.
    Over,
}

impl Consumer {
    pub(super) fn turn(self: &Arc<Self>, account: &Arc<Account>, stream: &Arc<Stream>) -> Turn {
        let events = self.take_events();
        let mut parcel = Parcel::begin();
        let (turn, changed, dead) = {
            let mut core = self.core.lock();
            core.memory.begin(self.log.log());
            core.look_at_interest(account, self);
            core.machine.new_messages(self.log.log().readable_seq());
            for event in events {
                core.take(account, self, event, &mut parcel);
                core.drain(&mut parcel);
            }
            core.look_at_stream(self, stream);
            let mut turn = match core.closed {
                None => core.work(account, self, &mut parcel),
                Some(closing) => {
                    // Requests that came just before its end are told as well.
                    core.machine.close(closing);
                    Turn::Over
                }
            };
            core.drain(&mut parcel);
            let dead = core.take_dead(&mut turn);
            core.memory.end(self.log.log());
            core.memory.forget_listeners();
            (turn, core.machine.take_changed(), dead)
        };
        parcel.send(account, stream, self, changed);
        if !dead.is_empty() {
            burying::start(account, self, dead);
        }
        // What came since is told in one more turn; who comes later finds nobody.
        if matches!(turn, Turn::Over) && !self.close_inbox() { Turn::More } else { turn }
    }
}

impl Core {
    /// What the stream holds now.
    fn look_at_stream(&mut self, consumer: &Consumer, stream: &Stream) {
        let log = consumer.log.log();
        let first = log.first_seq();
        if first != self.first_seq && !stream.consumers.are_being_told() {
            self.first_seq = first;
            self.machine.stream_starts_at(first, Removal::Limits);
        }
        self.machine.new_messages(log.readable_seq());
    }

    /// Whether somebody listens to the deliver subject.
    fn look_at_interest(&mut self, account: &Account, consumer: &Consumer) {
        let config = consumer.config();
        if config.is_push() {
            let (machine, world) = self.split(account, &consumer.log);
            machine.interest(world.interested(config.deliver_subject.as_bytes()), now());
        }
    }

    fn take(&mut self, account: &Account, consumer: &Consumer, event: Event, parcel: &mut Parcel) {
        if let Event::Ack { numbers, body, .. } = &event
            && let AckBody::Ack | AckBody::Next(_) = AckBody::parse(body)
            && let Some(took) = self.memory.acked(numbers.stream_seq)
        {
            parcel.samples.push((*numbers, took));
        }
        let (machine, world) = self.split(account, &consumer.log);
        match event {
            Event::Pull { reply, body } => machine.pull(reply, &body, &world, now()),
            Event::Ack { numbers, body, reply } => machine.ack(numbers, &body, reply, &world, now()),
            Event::FlowControl { subject, kept_up_to } => {
                machine.flow_control_response(&subject, kept_up_to, now());
            }
            Event::NotDelivered { stream_seq } => machine.not_delivered(stream_seq),
            Event::Buried { stream_seqs, all } => {
                stream_seqs.into_iter().for_each(|seq| machine.buried(seq));
                drop(world);
                self.burying.ended(all);
            }
            Event::Removed { ranges, removal } => {
                machine.all_gone(&ranges, removal);
                drop(world);
                let first = consumer.log.log().first_seq();
                self.first_seq = first;
                self.machine.stream_starts_at(first, Removal::Purge);
            }
        }
    }

    fn drain(&mut self, parcel: &mut Parcel) {
        while let Some(action) = self.machine.pop_action() {
            if let Action::Inactive = action {
                parcel.inactive = true;
            } else {
                parcel.actions(action);
            }
        }
    }

    /// Asks the machine what to do, and does it, until it has to wait or has had its share.
    fn work(&mut self, account: &Account, consumer: &Consumer, parcel: &mut Parcel) -> Turn {
        let config = consumer.config();
        let style = Style { headers_only: config.headers_only, sample_percent: config.sample_percent() };
        loop {
            if parcel.bytes() >= DELIVERY_TURN_BYTES {
                return Turn::More;
            }
            let now = now();
            let (machine, world) = self.split(account, &consumer.log);
            let step = machine.next(&world, now);
            let waits_for_client = config.is_push()
                && !matches!(step, Step::Wait { .. })
                && !world.keeps_up(config.deliver_subject.as_bytes());
            drop(world);
            self.drain(parcel);
            let (until, reads) = match step {
                _ if waits_for_client => (None, false),
                // Some requests are served only when enough has come together.
                Step::Wait { until } => (until, matches!(self.machine.stall(now), Stall::UpToDate | Stall::Priority)),
                Step::Redeliver { stream_seq } | Step::FetchOne { stream_seq } => {
                    self.read_one(account, consumer, stream_seq, style, parcel);
                    continue;
                }
                Step::Fetch { from_seq } => {
                    if self.read_on(account, consumer, from_seq, style, parcel) {
                        continue;
                    }
                    return Turn::More;
                }
            };
            if !reads {
                // Nobody knows for how long: what is removed meanwhile should not stay open for it.
                self.selection = None;
            }
            return Turn::Rest { until, reads, behind: self.memory.behind() };
        }
    }
}
