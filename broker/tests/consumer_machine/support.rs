//! A stream of nothing but numbers, and a driver that does at once what the machine says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use sublog_broker::jetstream::consumer::machine::{
    AckNumbers, AckPolicy, Action, Advisory, Delivery, Machine, MachineConfig, Mode, Now, PriorityPolicy, PullConfig,
    PushConfig, Record, Start, Step, World,
};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Bytes of every message, its ack subject not counted.
pub(crate) const SIZE: u64 = 100;

/// The messages a consumer's filters select, with their times, and who does not listen.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) messages: BTreeMap<u64, i64>,
    pub(crate) last: u64,
    pub(crate) deaf: BTreeSet<Bytes>,
    /// Who does not keep up.
    pub(crate) slow: BTreeSet<Bytes>,
}

impl World for Stream {
    fn interested(&self, subject: &[u8]) -> bool {
        !self.deaf.contains(subject)
    }

    fn keeps_up(&self, subject: &[u8]) -> bool {
        !self.slow.contains(subject)
    }

    fn pending(&self, from_seq: u64) -> u64 {
        self.messages.range(from_seq..).count() as u64
    }
}

/// One thing the machine sent or told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Out {
    Delivery(Delivery),
    Action(Action),
}

pub(crate) struct Sim {
    pub(crate) machine: Machine,
    pub(crate) stream: Stream,
    pub(crate) now: Now,
    pub(crate) size: u64,
    pub(crate) wait: Option<Duration>,
}

pub(crate) fn pull_config() -> MachineConfig {
    MachineConfig {
        stream: "S".into(),
        consumer: "C".into(),
        mode: Mode::Pull(PullConfig {
            max_waiting: 512,
            max_batch: None,
            max_expires: None,
            max_bytes: None,
            priority: PriorityPolicy::None,
            groups: Vec::new(),
            pin_timeout: 120 * SECOND,
        }),
        ack: AckPolicy::Explicit,
        ack_wait: 30 * SECOND,
        backoff: Vec::new(),
        max_deliver: None,
        max_ack_pending: Some(1000),
        replay_original: false,
        inactive_threshold: None,
        paused_until: None,
        report_settled: false,
        dead_letters: false,
        seed: 7,
    }
}

pub(crate) fn push_config() -> MachineConfig {
    let push =
        PushConfig { deliver_subject: "deliver".into(), idle_heartbeat: None, flow_control: false, rate_limit: None };
    MachineConfig { mode: Mode::Push(push), ..pull_config() }
}

pub(crate) fn with_pull(change: impl FnOnce(&mut PullConfig)) -> MachineConfig {
    let mut config = pull_config();
    if let Mode::Pull(pull) = &mut config.mode {
        change(pull);
    }
    config
}

pub(crate) fn with_push(change: impl FnOnce(&mut PushConfig)) -> MachineConfig {
    let mut config = push_config();
    if let Mode::Push(push) = &mut config.mode {
        change(push);
    }
    config
}

pub(crate) const START: Now = Now { mono: Duration::from_secs(1000), wall_ns: 1_700_000_000_000_000_000 };

impl Sim {
    /// A consumer from the start of a stream with so many messages.
    pub(crate) fn new(config: MachineConfig, messages: u64) -> Self {
        Self::starting(config, Start::At(1), 1..=messages)
    }

    pub(crate) fn starting(config: MachineConfig, start: Start, messages: impl IntoIterator<Item = u64>) -> Self {
        let messages: BTreeMap<u64, i64> = messages.into_iter().map(|seq| (seq, START.wall_ns)).collect();
        let last = messages.keys().last().copied().unwrap_or(0);
        let stream = Stream { messages, last, deaf: BTreeSet::new(), slow: BTreeSet::new() };
        let machine = Machine::new(config, start, last, START);
        Self { machine, stream, now: START, size: SIZE, wait: None }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.wall_ns += by.as_nanos() as i64;
    }

    /// Time passes; what happens then.
    pub(crate) fn after(&mut self, by: Duration) -> Vec<Out> {
        self.advance(by);
        self.run()
    }

    /// New messages, one after the other.
    pub(crate) fn publish(&mut self, count: u64) -> Vec<Out> {
        for _ in 0..count {
            self.stream.last += 1;
            self.stream.messages.insert(self.stream.last, self.now.wall_ns);
        }
        self.machine.new_messages(self.stream.last);
        self.run()
    }

    pub(crate) fn pull(&mut self, reply: &'static str, body: &str) -> Vec<Out> {
        self.machine.pull(Bytes::from(reply), body.as_bytes(), &self.stream, self.now);
        self.run()
    }

    pub(crate) fn ack(&mut self, ack: AckNumbers, body: &str) -> Vec<Out> {
        self.machine.ack(ack, body.as_bytes(), None, &self.stream, self.now);
        self.run()
    }

    /// An ack that wants an answer at `answer`.
    pub(crate) fn double_ack(&mut self, ack: AckNumbers, body: &str) -> Vec<Out> {
        self.machine.ack(ack, body.as_bytes(), Some("answer".into()), &self.stream, self.now);
        self.run()
    }

    /// Does what the machine says until it says to wait.
    pub(crate) fn run(&mut self) -> Vec<Out> {
        let mut out = Vec::new();
        for _ in 0..10_000 {
            let step = self.machine.next(&self.stream, self.now);
            self.drain(&mut out);
            match step {
                Step::Wait { until } => {
                    assert!(until.is_none_or(|until| until > self.now.mono), "to wait until {until:?}, which is over");
                    self.wait = until;
                    return out;
                }
                Step::Redeliver { stream_seq } | Step::FetchOne { stream_seq } => self.offer(stream_seq, &mut out),
                Step::Fetch { from_seq } => match self.stream.messages.range(from_seq..).next() {
                    Some((&seq, _)) => self.offer(seq, &mut out),
                    None => self.machine.at_end(self.stream.last),
                },
            }
            self.drain(&mut out);
        }
        panic!("it goes in circles");
    }

    fn offer(&mut self, stream_seq: u64, out: &mut Vec<Out>) {
        let Some(&time_ns) = self.stream.messages.get(&stream_seq) else { return self.machine.gone(stream_seq) };
        let from = self.machine.next_seq();
        let num_pending = self.stream.messages.range(from..).filter(|(seq, _)| **seq != stream_seq).count() as u64;
        let record = Record { stream_seq, size: self.size, time_ns, num_pending };
        out.extend(self.machine.deliver(&record, &self.stream, self.now).map(Out::Delivery));
    }

    fn drain(&mut self, out: &mut Vec<Out>) {
        out.extend(std::iter::from_fn(|| self.machine.pop_action()).map(Out::Action));
    }

    /// The ack floor: consumer sequence, stream sequence.
    pub(crate) fn floor(&self) -> (u64, u64) {
        (self.machine.ack_floor().consumer, self.machine.ack_floor().stream)
    }

    pub(crate) fn delivered(&self) -> (u64, u64) {
        (self.machine.delivered().consumer, self.machine.delivered().stream)
    }
}

/// The acks of all deliveries.
pub(crate) fn acks(out: &[Out]) -> Vec<AckNumbers> {
    let ack = |out: &Out| match out {
        Out::Delivery(delivery) => Some(delivery.ack),
        Out::Action(_) => None,
    };
    out.iter().filter_map(ack).collect()
}

/// The messages of all deliveries.
pub(crate) fn seqs(out: &[Out]) -> Vec<u64> {
    acks(out).iter().map(|ack| ack.stream_seq).collect()
}

/// Receiver and message of all deliveries.
pub(crate) fn receivers(out: &[Out]) -> Vec<(String, u64)> {
    let receiver = |out: &Out| match out {
        Out::Delivery(delivery) => Some((text(&delivery.to), delivery.ack.stream_seq)),
        Out::Action(_) => None,
    };
    out.iter().filter_map(receiver).collect()
}

/// Receiver and first line of all statuses and heartbeats, `;` and the headers after it.
pub(crate) fn statuses(out: &[Out]) -> Vec<String> {
    let line = |out: &Out| match out {
        Out::Action(Action::Status { to, status }) => Some((to.clone(), status.header_block())),
        Out::Action(Action::Heartbeat { to, heartbeat }) => Some((to.clone(), heartbeat.header_block())),
        _ => None,
    };
    let one_line = |(to, block): (Bytes, Vec<u8>)| {
        let block = text(&block);
        let block = block.strip_prefix("NATS/1.0 ").unwrap().strip_suffix("\r\n\r\n").unwrap();
        format!("{} {}", text(&to), block.replace("\r\n", ";"))
    };
    out.iter().filter_map(line).map(one_line).collect()
}

pub(crate) fn advisories(out: &[Out]) -> Vec<Advisory> {
    let advisory = |out: &Out| match out {
        Out::Action(Action::Advisory(advisory)) => Some(advisory.clone()),
        _ => None,
    };
    out.iter().filter_map(advisory).collect()
}

/// Answers to acks, and whether they wait for the disk.
pub(crate) fn answers(out: &[Out]) -> Vec<bool> {
    let answer = |out: &Out| match out {
        Out::Action(Action::AckAnswer { to, after_save }) => {
            assert_eq!(text(to), "answer");
            Some(*after_save)
        }
        _ => None,
    };
    out.iter().filter_map(answer).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
