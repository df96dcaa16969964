//! Random events against the machine and against a plain model, which says of every delivery whether it may be, and
//! when all is quiet whether something is missing.
//!
//! `SUBLOG_MODEL_CASES` is the number of runs.

mod plain;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sublog_broker::jetstream::consumer::machine::{
    AckNumbers, AckPolicy, Action, Machine, MachineConfig, Removal, Start, State,
};

use crate::support::{Out, SECOND, Sim, push_config, with_pull};
use plain::{Plain, Request};

#[derive(Debug, Clone)]
struct Setup {
    push: bool,
    ack: AckPolicy,
    max_ack_pending: Option<usize>,
    max_deliver: Option<u64>,
    backoff: bool,
    max_waiting: usize,
    messages: u64,
    listed: Vec<bool>,
    start: Option<u64>,
}

#[derive(Debug, Clone)]
enum Event {
    Publish {
        gap: u64,
        count: u64,
    },
    Pull {
        batch: u64,
        expires: Option<u64>,
        no_wait: bool,
    },
    Ack {
        which: usize,
    },
    Nak {
        which: usize,
        delay: Option<u64>,
    },
    Progress {
        which: usize,
    },
    Term {
        which: usize,
    },
    Advance {
        ms: u64,
    },
    Delete {
        which: usize,
        told: bool,
    },
    Purge {
        which: usize,
    },
    Reset {
        seq: u64,
    },
    Interest {
        active: bool,
    },
    NotDelivered,
    Save,
    /// Back to what was saved last, or is now; the stream's last messages may be lost.
    Restart {
        saved: bool,
        lost: u64,
    },
}

fn setups() -> impl Strategy<Value = Setup> {
    let ack = prop_oneof![Just(AckPolicy::None), Just(AckPolicy::All), Just(AckPolicy::Explicit)];
    let start = prop::option::of(1..12_u64);
    let limits = (prop::option::of(1..5_usize), prop::option::of(1..4_u64), any::<bool>(), 1..5_usize);
    let listed = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(any::<bool>(), 8)];
    (any::<bool>(), ack, limits, 0..10_u64, listed, start).prop_map(
        |(push, ack, (max_ack_pending, max_deliver, backoff, max_waiting), messages, listed, start)| Setup {
            push,
            ack,
            max_ack_pending,
            max_deliver,
            backoff,
            max_waiting,
            messages,
            listed,
            start,
        },
    )
}

fn events() -> impl Strategy<Value = Event> {
    let which = || any::<prop::sample::Index>().prop_map(|index| index.index(40));
    prop_oneof![
        4 => (0..3_u64, 1..4_u64).prop_map(|(gap, count)| Event::Publish { gap, count }),
        6 => (1..5_u64, prop::option::of(1..60_u64), prop::bool::weighted(0.3))
            .prop_map(|(batch, expires, no_wait)| Event::Pull { batch, expires, no_wait }),
        8 => which().prop_map(|which| Event::Ack { which }),
        3 => (which(), prop::option::of(1..50_u64)).prop_map(|(which, delay)| Event::Nak { which, delay }),
        1 => which().prop_map(|which| Event::Progress { which }),
        1 => which().prop_map(|which| Event::Term { which }),
        5 => (0..40_000_u64).prop_map(|ms| Event::Advance { ms }),
        1 => (which(), any::<bool>()).prop_map(|(which, told)| Event::Delete { which, told }),
        1 => which().prop_map(|which| Event::Purge { which }),
        1 => (0..15_u64).prop_map(|seq| Event::Reset { seq }),
        2 => prop::bool::weighted(0.8).prop_map(|active| Event::Interest { active }),
        1 => Just(Event::NotDelivered),
        2 => Just(Event::Save),
        1 => (any::<bool>(), 0..3_u64).prop_map(|(saved, lost)| Event::Restart { saved, lost }),
    ]
}

impl Setup {
    fn config(&self) -> MachineConfig {
        let base = if self.push { push_config() } else { with_pull(|pull| pull.max_waiting = self.max_waiting) };
        MachineConfig {
            ack: self.ack,
            max_ack_pending: self.max_ack_pending,
            max_deliver: self.max_deliver,
            backoff: if self.backoff { vec![5 * SECOND, 20 * SECOND] } else { Vec::new() },
            ..base
        }
    }

    fn start(&self) -> Start {
        let listed = |seq: &u64| self.listed.get(*seq as usize).copied().unwrap_or(false);
        if self.listed.is_empty() {
            return Start::At(self.start.unwrap_or(1).min(self.messages + 1));
        }
        Start::List { seqs: (1..=self.messages).filter(listed).collect(), resume: self.messages }
    }
}

/// Both, and what was seen of them.
struct Run {
    sim: Sim,
    plain: Plain,
    acks: Vec<AckNumbers>,
    saved: Option<(State, Plain)>,
    requests: u64,
    last: Option<u64>,
}

impl Run {
    fn new(setup: &Setup) -> Self {
        let sim = Sim::starting(setup.config(), setup.start(), 1..=setup.messages);
        let plain = Plain::new(setup.config(), &setup.start());
        Self { sim, plain, acks: Vec::new(), saved: None, requests: 0, last: None }
    }

    fn apply(&mut self, event: &Event) {
        let Self { sim, plain, .. } = self;
        let now = sim.now;
        match event {
            Event::Publish { gap, count } => {
                sim.stream.last += gap;
                let out = sim.publish(*count);
                return self.check(&out);
            }
            Event::Pull { batch, expires, no_wait } => self.pull(*batch, *expires, *no_wait),
            Event::Ack { which } => self.ack(*which, "+ACK", Plain::ack),
            Event::Term { which } => self.ack(*which, "+TERM", Plain::ack),
            Event::Nak { which, delay } => {
                let delay = delay.map(|seconds| seconds * 1_000_000_000);
                let body = delay.map_or("-NAK".to_owned(), |delay| format!("-NAK {{\"delay\": {delay}}}"));
                let due = now.mono + Duration::from_nanos(delay.unwrap_or(0));
                self.ack(*which, &body, |plain, ack, floor, _| plain.nak(ack, floor, due));
            }
            Event::Progress { which } => self.ack(*which, "+WPI", |plain, ack, _, _| plain.progress(ack, now)),
            Event::Advance { ms } => sim.advance(Duration::from_millis(*ms)),
            Event::Delete { which, told } => {
                let Some(seq) = nth(sim.stream.messages.keys(), *which) else { return };
                sim.stream.messages.remove(&seq);
                if *told || plain.list.contains(&seq) {
                    sim.machine.gone(seq);
                    plain.gone(seq);
                }
            }
            Event::Purge { which } => {
                let Some(first) = nth(sim.stream.messages.keys(), *which) else { return };
                sim.stream.messages = sim.stream.messages.split_off(&first);
                sim.machine.stream_starts_at(first, Removal::Purge);
                plain.purge(first);
            }
            Event::Reset { seq } => {
                let seq = (*seq).min(sim.stream.last + 1);
                let expected = if seq == 0 { sim.machine.ack_floor().stream + 1 } else { seq };
                assert_eq!(sim.machine.reset(seq), expected);
                plain.reset(expected);
            }
            Event::Interest { active } => {
                sim.machine.interest(*active, now);
                plain.active = *active;
            }
            Event::NotDelivered => {
                let Some(seq) = self.last else { return };
                sim.machine.not_delivered(seq);
                plain.not_delivered(seq, now);
            }
            Event::Save => self.saved = Some((sim.machine.save(now), plain.clone())),
            Event::Restart { saved, lost } => self.restart(*saved, *lost),
        }
        let out = self.sim.run();
        self.check(&out);
    }

    fn pull(&mut self, batch: u64, expires: Option<u64>, no_wait: bool) {
        let reply = format!("r{}", self.requests);
        self.requests += 1;
        let ns = expires.unwrap_or(0) * 1_000_000_000;
        let body = format!("{{\"batch\": {batch}, \"expires\": {ns}, \"no_wait\": {no_wait}}}");
        self.sim.machine.pull(Bytes::from(reply.clone()), body.as_bytes(), &self.sim.stream, self.sim.now);
        let expires = expires.map(|seconds| self.sim.now.mono + Duration::from_secs(seconds));
        let request = Request { reply, left: batch, expires, no_wait, served: false };
        self.plain.pull(request, &self.sim.stream, self.sim.now);
    }

    fn ack(&mut self, which: usize, body: &str, tell: impl Fn(&mut Plain, &AckNumbers, (u64, u64), u64)) {
        if self.acks.is_empty() {
            return;
        }
        // The newest first, so that what is out is often hit.
        let ack = self.acks[self.acks.len() - 1 - which % self.acks.len()];
        let (floor, next_seq) = (self.sim.floor(), self.sim.machine.save(self.sim.now).next_seq);
        self.sim.machine.ack(ack, body.as_bytes(), None, &self.sim.stream, self.sim.now);
        tell(&mut self.plain, &ack, floor, next_seq);
    }

    fn restart(&mut self, saved: bool, lost: u64) {
        let sim = &mut self.sim;
        let fresh = (sim.machine.save(sim.now), self.plain.clone());
        let active = self.plain.active;
        let (state, plain) = self.saved.take().filter(|_| saved).unwrap_or(fresh);
        sim.stream.last = sim.stream.last.saturating_sub(lost);
        drop(sim.stream.messages.split_off(&(sim.stream.last + 1)));
        self.plain = plain;
        self.plain.restart(&sim.stream, state.next_seq);
        let listed = self.plain.list.iter().copied().collect();
        sim.machine = Machine::restore(sim.machine.config().clone(), &state, listed, sim.stream.last, sim.now);
        sim.machine.interest(active, sim.now);
        self.plain.active = active;
        self.last = None;
    }

    fn check(&mut self, out: &[Out]) {
        let Self { sim, plain, .. } = self;
        for out in out {
            match out {
                Out::Delivery(delivery) => {
                    plain.delivery(&delivery.ack, &delivery.to, &sim.stream, sim.now);
                    self.acks.push(delivery.ack);
                    self.last = Some(delivery.ack.stream_seq);
                }
                Out::Action(Action::Advisory(advisory)) => plain.advisory(advisory, &sim.stream, sim.now),
                Out::Action(Action::Status { to, status }) => plain.status(to, status, &sim.stream, sim.now),
                Out::Action(_) => {}
            }
        }
        plain.quiet(sim);
    }
}

fn nth<'a>(seqs: impl ExactSizeIterator<Item = &'a u64>, which: usize) -> Option<u64> {
    let count = seqs.len().max(1);
    seqs.copied().nth(which % count)
}

#[test]
fn the_machine_does_what_the_plain_model_allows() {
    let cases = std::env::var("SUBLOG_MODEL_CASES").map_or(700, |cases| cases.parse().unwrap());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let input = (setups(), prop::collection::vec(events(), 1..60));
    let result = TestRunner::new(config).run(&input, |(setup, events)| {
        let mut run = Run::new(&setup);
        let first = run.sim.run();
        run.check(&first);
        for event in &events {
            run.apply(event);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
