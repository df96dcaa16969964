//! The model: sets and lists, and every rule in its plainest form.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sublog_broker::jetstream::consumer::machine::{
    AckNumbers, AckPolicy, Advisory, MachineConfig, Mode, Now, Stall, Start, Status, World,
};

use crate::support::{Sim, Stream, text};

/// A request that waits.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) reply: String,
    pub(crate) left: u64,
    pub(crate) expires: Option<Duration>,
    pub(crate) no_wait: bool,
    pub(crate) served: bool,
}

/// A message that is out.
#[derive(Debug, Clone)]
struct Unacked {
    consumer_seq: u64,
    deliveries: u64,
    due: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Plain {
    config: MachineConfig,
    pub(crate) active: bool,
    pub(crate) list: BTreeSet<u64>,
    /// From here on messages are new.
    next: u64,
    out: BTreeMap<u64, Unacked>,
    exhausted: BTreeSet<u64>,
    delivered: (u64, u64),
    requests: VecDeque<Request>,
    /// Statuses that must come for requests that were not taken.
    refused: Vec<(String, &'static str)>,
}

impl Plain {
    pub(crate) fn new(config: MachineConfig, start: &Start) -> Self {
        let (next, list) = match start {
            Start::At(seq) => (*seq, BTreeSet::new()),
            Start::List { seqs, resume } => (resume + 1, seqs.iter().copied().collect()),
        };
        let begin = list.first().copied().unwrap_or(next);
        let (out, exhausted) = (BTreeMap::new(), BTreeSet::new());
        let (requests, refused) = (VecDeque::new(), Vec::new());
        let delivered = (0, begin - 1);
        Self { config, active: false, list, next, out, exhausted, delivered, requests, refused }
    }

    /// What is to be delivered for the first time.
    fn ahead(&self, stream: &Stream) -> Vec<u64> {
        self.list.iter().copied().chain(stream.messages.range(self.next..).map(|(seq, _)| *seq)).collect()
    }

    fn ready(&self, now: Now) -> Vec<u64> {
        self.out.iter().filter(|(_, out)| out.due <= now.mono).map(|(seq, _)| *seq).collect()
    }

    fn has_room(&self) -> bool {
        self.config.ack == AckPolicy::None || self.config.max_ack_pending.is_none_or(|max| self.out.len() < max)
    }

    fn due(&self, deliveries: u64, now: Now) -> Duration {
        let wait = match self.config.backoff.len() {
            0 => self.config.ack_wait,
            count => self.config.backoff[(deliveries.max(1) as usize).min(count) - 1],
        };
        now.mono + wait
    }

    pub(crate) fn delivery(&mut self, ack: &AckNumbers, to: &[u8], stream: &Stream, now: Now) {
        let seq = ack.stream_seq;
        assert!(stream.messages.contains_key(&seq), "{seq} does not exist");
        assert_eq!(ack.consumer_seq, self.delivered.0 + 1, "consumer sequences have no gap");
        let ready = self.ready(now);
        if let Some(out) = self.out.get(&seq) {
            assert!(ready.contains(&seq), "{seq} is not due");
            assert_eq!(ack.deliveries, out.deliveries + 1);
        } else {
            assert_eq!(ack.deliveries, 1);
            assert_eq!(self.ahead(stream).first(), Some(&seq), "not the next new message");
            assert!(ready.is_empty(), "{ready:?} come first");
            assert!(self.has_room(), "more than max_ack_pending out");
            if !self.list.remove(&seq) {
                self.next = seq + 1;
            }
        }
        assert!(self.config.max_deliver.is_none_or(|max| ack.deliveries <= max || self.config.ack == AckPolicy::None));
        assert_eq!(ack.pending, self.ahead(stream).len() as u64);
        self.delivered = (ack.consumer_seq, self.delivered.1.max(seq));
        if self.config.ack != AckPolicy::None {
            let due = self.due(ack.deliveries, now);
            let consumer_seq = self.out.get(&seq).map_or(ack.consumer_seq, |out| out.consumer_seq);
            self.out.insert(seq, Unacked { consumer_seq, deliveries: ack.deliveries, due });
        }
        self.receiver(to, now);
    }

    fn receiver(&mut self, to: &[u8], now: Now) {
        if matches!(self.config.mode, Mode::Push(_)) {
            assert!(self.active, "nobody is there");
            return assert_eq!(to, b"deliver");
        }
        let mut request = self.requests.pop_front().expect("nobody asked");
        assert_eq!(request.reply, text(to), "not in turn");
        assert!(request.expires.is_none_or(|at| at > now.mono), "it has expired");
        (request.left, request.served) = (request.left - 1, true);
        if request.left > 0 {
            self.requests.push_back(request);
        }
    }

    pub(crate) fn advisory(&mut self, advisory: &Advisory, stream: &Stream, now: Now) {
        match advisory {
            Advisory::MaxDeliveries { stream_seq, deliveries } => {
                let out = self.out.remove(stream_seq).expect("it is not out");
                assert_eq!((*deliveries, Some(out.deliveries)), (out.deliveries, self.config.max_deliver));
                assert!(out.due <= now.mono, "{stream_seq} may still be acked");
                self.exhausted.insert(*stream_seq);
            }
            Advisory::Terminated { stream_seq, reason, .. } if !reason.is_empty() => {
                assert!(!stream.messages.contains_key(stream_seq));
                self.out.remove(stream_seq);
            }
            _ => {}
        }
    }

    pub(crate) fn status(&mut self, to: &[u8], status: &Status, stream: &Stream, now: Now) {
        let to = text(to);
        if let Some(at) = self.refused.iter().position(|(reply, what)| *reply == to && *what == status.text) {
            return drop(self.refused.remove(at));
        }
        let at = self.requests.iter().position(|request| request.reply == to).expect("nobody asked there");
        let request = self.requests.remove(at).unwrap();
        match (status.code, &*status.text) {
            (408, "Request Timeout") => {
                assert!(request.expires.is_some_and(|expires| expires <= now.mono));
                assert_eq!(status.pending, Some((request.left, 0)));
            }
            (404, "No Messages") => {
                assert!(request.no_wait && (request.expires.is_none() || request.served));
                let none = self.ahead(stream).is_empty() || !self.has_room();
                assert!(self.ready(now).is_empty() && none, "there are messages");
            }
            other => panic!("{other:?} to {to}"),
        }
    }

    pub(crate) fn pull(&mut self, request: Request, stream: &Stream, now: Now) {
        let there = (self.ahead(stream).len() + self.ready(now).len()) as u64;
        let waited_for: u64 = self.requests.iter().map(|request| request.left).sum();
        let refusal = match &self.config.mode {
            Mode::Push(_) => Some("Consumer is push based"),
            _ if request.no_wait && there == 0 && request.expires.is_none() => Some("No Messages"),
            _ if request.no_wait && there > 0 && there < waited_for => Some("Requests Pending"),
            Mode::Pull(pull) if self.requests.len() >= pull.max_waiting => Some("Exceeded MaxWaiting"),
            Mode::Pull(_) => None,
        };
        match refusal {
            Some(refusal) => self.refused.push((request.reply, refusal)),
            None => self.requests.push_back(request),
        }
    }

    /// An ack that settles; `floor` and `next_seq` are the machine's, from before.
    pub(crate) fn ack(&mut self, ack: &AckNumbers, floor: (u64, u64), next_seq: u64) {
        let seq = ack.stream_seq;
        if seq >= next_seq {
            return;
        }
        match self.config.ack {
            AckPolicy::None | AckPolicy::FlowControl => {}
            AckPolicy::Explicit => {
                self.out.remove(&seq);
                self.exhausted.remove(&seq);
            }
            AckPolicy::All if ack.consumer_seq > floor.0 && seq > floor.1 => {
                self.out.retain(|out, _| *out > seq);
                self.exhausted.retain(|exhausted| *exhausted > seq);
            }
            AckPolicy::All => {}
        }
    }

    pub(crate) fn nak(&mut self, ack: &AckNumbers, floor: (u64, u64), due: Duration) {
        let last = self.delivered.0;
        if let Some(out) = self.out.get_mut(&ack.stream_seq)
            && (floor.0 + 1..=last).contains(&ack.consumer_seq)
        {
            out.due = due;
        }
    }

    pub(crate) fn progress(&mut self, ack: &AckNumbers, now: Now) {
        let Some(out) = self.out.get(&ack.stream_seq) else { return };
        let due = self.due(out.deliveries, now);
        self.out.get_mut(&ack.stream_seq).unwrap().due = due;
    }

    pub(crate) fn gone(&mut self, seq: u64) {
        self.list.remove(&seq);
        self.out.remove(&seq);
        self.exhausted.remove(&seq);
    }

    pub(crate) fn purge(&mut self, first: u64) {
        self.next = self.next.max(first);
        self.list.retain(|seq| *seq >= first);
        self.out.retain(|seq, _| *seq >= first);
        self.exhausted.retain(|seq| *seq >= first);
        self.delivered.1 = self.delivered.1.max(first - 1);
    }

    pub(crate) fn reset(&mut self, seq: u64) {
        self.next = seq;
        self.list.clear();
        self.out.clear();
        self.exhausted.clear();
        self.delivered = (0, seq - 1);
    }

    pub(crate) fn not_delivered(&mut self, seq: u64, now: Now) {
        self.active = false;
        if let Some(out) = self.out.get_mut(&seq) {
            out.deliveries = out.deliveries.saturating_sub(1);
            out.due = now.mono;
        }
    }

    /// The process was killed, and the stream may have lost what came last.
    pub(crate) fn restart(&mut self, stream: &Stream, next_seq: u64) {
        let next_seq = next_seq.min(stream.last + 1);
        self.next = self.next.min(stream.last + 1);
        self.delivered.1 = self.delivered.1.min(next_seq - 1);
        self.list.retain(|seq| stream.messages.contains_key(seq));
        self.out.retain(|seq, _| *seq < next_seq);
        self.exhausted.retain(|seq| *seq < next_seq);
        self.requests.clear();
        self.refused.clear();
    }

    /// What has to hold when the machine waits.
    pub(crate) fn quiet(&self, sim: &Sim) {
        let (machine, now) = (&sim.machine, sim.now);
        let state = machine.save(now);
        let saved: Vec<_> =
            state.pending.iter().map(|out| (out.stream_seq, out.consumer_seq, out.deliveries)).collect();
        let out: Vec<_> = self.out.iter().map(|(seq, out)| (*seq, out.consumer_seq, out.deliveries)).collect();
        assert_eq!(saved, out, "what is out");
        assert_eq!(state.exhausted.iter().map(|(seq, _)| *seq).collect::<BTreeSet<_>>(), self.exhausted);
        assert_eq!((state.delivered.consumer, state.delivered.stream), self.delivered);
        assert_eq!(self.delivered, sim.delivered());
        assert!(state.next_seq <= sim.stream.last + 1, "ahead of the stream");
        let ahead = self.ahead(&sim.stream);
        assert!(ahead.first().is_none_or(|first| state.next_seq <= *first), "{ahead:?} would be passed over");
        assert_eq!(machine.num_pending(&sim.stream), ahead.len() as u64);
        assert_eq!(machine.num_waiting(), self.requests.len());
        assert_eq!(self.refused, [], "refusals that did not come");
        let redelivered = self.out.values().filter(|out| out.deliveries > 1).count() + self.exhausted.len();
        assert_eq!(machine.num_redelivered(), if self.config.max_deliver == Some(1) { 0 } else { redelivered });
        self.floor(sim);
        self.nothing_is_left(sim, &ahead);
    }

    fn floor(&self, sim: &Sim) {
        let (consumer, stream) = sim.floor();
        let Some((first_seq, first)) = self.out.first_key_value() else {
            return assert_eq!(sim.floor(), self.delivered, "all is settled");
        };
        assert_eq!(consumer + 1, first.consumer_seq, "the floor is right below the first that is out");
        assert!(stream < *first_seq, "{first_seq} is out, and not above the floor of {stream}");
    }

    /// If something could be sent, it was.
    fn nothing_is_left(&self, sim: &Sim, ahead: &[u64]) {
        let now = sim.now;
        if let Some(first) = self.out.values().map(|out| out.due).filter(|due| *due > now.mono).min() {
            assert!(sim.wait.is_some_and(|until| until <= first), "would sleep over {first:?}: {:?}", sim.wait);
        }
        for request in &self.requests {
            assert!(request.expires.is_none_or(|at| at > now.mono && sim.wait.is_some_and(|until| until <= at)));
        }
        let ready = self.ready(now);
        let at_last = |seq: &&u64| self.config.max_deliver.is_some_and(|max| self.out[seq].deliveries >= max);
        assert_eq!(ready.iter().find(at_last), None, "delivered as often as it may be, and not said so");
        let open = match self.config.mode {
            Mode::Push(_) => self.active,
            Mode::Pull(_) => !self.requests.is_empty(),
        };
        let stall = sim.machine.stall(now);
        if !open {
            return assert!(matches!(stall, Stall::NoInterest | Stall::NoRequests), "{stall:?}");
        }
        assert_eq!(ready, [0; 0], "due, and not delivered");
        if self.has_room() {
            assert_eq!((ahead, stall), (&[][..], Stall::UpToDate), "to be delivered");
            let ends = |request: &&Request| request.no_wait && (request.expires.is_none() || request.served);
            assert!(!self.requests.iter().any(|request| ends(&request)), "it does not wait");
        } else {
            assert_eq!(stall, Stall::MaxAckPending);
        }
        assert_eq!(sim.stream.pending(self.next) + self.list.len() as u64, ahead.len() as u64);
    }
}
