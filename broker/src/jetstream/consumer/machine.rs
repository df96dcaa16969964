//! A consumer as a state machine: which message goes where next, what is settled, when to look again.
//!
//! It reads no log, sends nothing and has no clock. Whoever drives it feeds events (`pull`, `ack`, `new_messages`, ...),
//! asks [`Machine::next`], does what that says, and sends what [`Machine::pop_action`] holds. All times are passed in.
//!
//! ```text
//!                    Fetch / FetchOne                 Redeliver
//!   stream ── at next_seq, or from a list ──┐     ┌──────────────── queued ◄──┐
//!                                           ▼     ▼                           │ ack wait over, nak
//!                                     ┌── deliver ──► to a request or subject │
//!                ack policy none:     │      │                                │
//!                settled at once ◄────┘      └────────► out, until due ───────┤
//!                                                        │                    │ delivered max_deliver times
//!                             ack, term, message gone    ▼                    ▼
//!                                                     settled             exhausted
//! ```
//!
//! - Messages due again come before new ones, and are not held back by `max_ack_pending`.
//! - Every delivery has the next consumer sequence; a message keeps that of its first delivery for the ack floor.
//! - With dead letters, what is exhausted or terminated is [`Dead`] until [`Machine::buried`] says that it is copied.
//! - The ack floor is right below the first message that is out, or at the last delivery when none is.
//! - [`Machine::save`] never shows more delivered or settled than is; [`Machine::restore`] cuts back what the stream
//!   turns out not to hold.

mod ack;
mod acks;
mod changes;
mod config;
mod dead;
mod delivering;
pub(in crate::jetstream) mod durations;
mod outgoing;
mod pins;
mod pull;
mod push;
mod requests;
mod standing;
mod state;
mod timers;
mod unacked;
mod waiting;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use ack::{AckBody, AckNumbers, AckSubject};
pub use changes::{Closing, Removal};
pub use config::{AckPolicy, MachineConfig, Mode, PriorityPolicy, PullConfig, PushConfig, RateLimit};
pub use dead::Dead;
pub use outgoing::{Action, Advisory, Delivery, FLOW_CONTROL_BLOCK, Heartbeat, Status};
pub use pull::{BadPull, GroupRequest, PullRequest};
pub use state::{PendingState, State};

use pins::{Ids, Pin};
use push::{Bucket, PushSide, Window};
use timers::Inactivity;
use unacked::Unacked;
use waiting::Waiting;

/// The time of an event: monotonic for timers, wall for what is told or saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment.
    pub mono: Duration,
    /// Nanoseconds since the epoch.
    pub wall_ns: i64,
}

/// A pair of sequences: of deliveries, and of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Counts what the consumer has sent.
    pub consumer: u64,
    /// Counts what the stream holds.
    pub stream: u64,
}

/// Look-ups that a decision needs now and then.
pub trait World {
    /// Whether anybody listens to a subject.
    fn interested(&self, subject: &[u8]) -> bool;

    /// Whether whoever listens to a subject keeps up. Who does not is passed over until it is
    /// [looked at again](Machine::look_again), so that a slow client holds nobody up but itself.
    fn keeps_up(&self, subject: &[u8]) -> bool {
        let _ = subject;
        true
    }

    /// How many messages from a stream sequence on the consumer's filters select.
    fn pending(&self, from_seq: u64) -> u64;
}

/// What a driver knows of a message it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its number in the stream.
    pub stream_seq: u64,
    /// Bytes of its subject, headers and payload as they will be sent.
    pub size: u64,
    /// When it was stored, in nanoseconds since the epoch.
    pub time_ns: i64,
    /// How many selected messages there are from [`Machine::next_seq`] on (in list mode: after the list), this one not
    /// counted.
    pub num_pending: u64,
}

/// Where a new consumer begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the first selected message from here on.
    At(u64),
    /// With these, in rising order, then after `resume`: the last message of every subject.
    List {
        /// The messages.
        seqs: Vec<u64>,
        /// The stream's last sequence when the list was made.
        resume: u64,
    },
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read this message, which was delivered before; answer with [`Machine::deliver`] or [`Machine::gone`].
    Redeliver {
        /// The message.
        stream_seq: u64,
    },
    /// Read exactly this message; answer with [`Machine::deliver`] or [`Machine::gone`].
    FetchOne {
        /// The message.
        stream_seq: u64,
    },
    /// Read the first selected message from here on; answer with [`Machine::deliver`] or [`Machine::at_end`].
    Fetch {
        /// Where to look from.
        from_seq: u64,
    },
    /// Nothing, until an event or this time.
    Wait {
        /// On the monotonic clock.
        until: Option<Duration>,
    },
}

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// Something is to be sent.
    None,
    /// There is nothing to send.
    UpToDate,
    /// It is paused.
    Paused,
    /// Nobody listens to the deliver subject.
    NoInterest,
    /// No pull request waits.
    NoRequests,
    /// No request that waits may have the message.
    Priority,
    /// As many messages are unacked as may be.
    MaxAckPending,
    /// The subscriber has not said that it has kept up.
    FlowControl,
    /// The rate limit.
    RateLimit,
    /// The next message's time has not come.
    Replay,
    /// Whoever would get it does not take what was sent before.
    SlowClient,
}

/// Messages to deliver before the stream is read on.
#[derive(Debug)]
struct List {
    seqs: VecDeque<u64>,
    resume: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    ack_prefix: Vec<u8>,
    delivered: Position,
    /// Where to look for the next new message.
    next_seq: u64,
    /// The last message the stream is known to hold.
    last_seq: u64,
    list: Option<List>,
    unacked: Unacked,
    waiting: Waiting,
    /// When uninterested requests were last looked for because the line was full.
    waiting_swept: Option<Duration>,
    /// No waiting request may have the next message; until something happens there is no use in trying.
    no_eligible: bool,
    pin: Option<Pin>,
    ids: Ids,
    push: Option<PushSide>,
    paused: bool,
    /// Up to here messages keep their original spacing.
    replay_to: Option<u64>,
    /// Stored time and sending time of the last message.
    replayed: Option<(i64, Duration)>,
    hold_until: Option<Duration>,
    inactivity: Inactivity,
    last_delivery_ns: Option<i64>,
    last_ack_ns: Option<i64>,
    actions: VecDeque<Action>,
    changed: bool,
}

impl Machine {
    /// A new consumer of a stream whose last message is `last_seq`.
    #[must_use]
    pub fn new(config: MachineConfig, start: Start, last_seq: u64, now: Now) -> Self {
        let (next_seq, list) = match start {
            Start::At(seq) => (seq.max(1), None),
            Start::List { seqs, resume } => match seqs.first() {
                None => (resume.saturating_add(1), None),
                Some(&first) => (first.max(1), Some(List { seqs: seqs.into(), resume })),
            },
        };
        let begin = Position { consumer: 0, stream: next_seq - 1 };
        let mut machine = Self::with(config, begin, next_seq, last_seq, now);
        machine.list = list;
        machine.changed = true;
        machine
    }

    fn with(config: MachineConfig, delivered: Position, next_seq: u64, last_seq: u64, now: Now) -> Self {
        let push = config.push().map(|push| PushSide {
            active: false,
            window: push.flow_control.then(Window::new),
            bucket: push.rate_limit.map(|limit| Bucket::new(limit, now.mono)),
            heartbeat_at: push.idle_heartbeat.map(|every| now.mono.saturating_add(every)),
        });
        Self {
            ack_prefix: format!("$JS.ACK.{}.{}.", config.stream, config.consumer).into_bytes(),
            delivered,
            next_seq,
            last_seq,
            list: None,
            unacked: Unacked::at(delivered),
            waiting: Waiting::default(),
            waiting_swept: None,
            no_eligible: false,
            pin: None,
            ids: Ids::new(config.seed),
            push,
            paused: config.paused_until.is_some_and(|until| until > now.wall_ns),
            replay_to: config.replay_original.then_some(last_seq),
            replayed: None,
            hold_until: None,
            inactivity: Inactivity::new(config.inactive_threshold, now.mono),
            last_delivery_ns: None,
            last_ack_ns: None,
            actions: VecDeque::new(),
            changed: false,
            config,
        }
    }

    /// The next thing to send or tell. A [`Delivery`] goes before what is queued when [`Self::deliver`] returns it.
    pub fn pop_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A client that did not keep up may do so now.
    pub fn look_again(&mut self) {
        self.no_eligible = false;
    }

    /// Whether what [`Self::save`] returns has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The configuration as it is now.
    #[must_use]
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// What ack subjects of this consumer begin with.
    #[must_use]
    pub fn ack_prefix(&self) -> &[u8] {
        &self.ack_prefix
    }

    /// The last delivery, and the highest message delivered.
    #[must_use]
    pub fn delivered(&self) -> Position {
        self.delivered
    }

    /// Everything up to here is settled.
    #[must_use]
    pub fn ack_floor(&self) -> Position {
        self.unacked.floor
    }

    /// Wall time of the last delivery, in nanoseconds.
    #[must_use]
    pub fn last_delivery_ns(&self) -> Option<i64> {
        self.last_delivery_ns
    }

    /// Wall time of the last ack, in nanoseconds.
    #[must_use]
    pub fn last_ack_ns(&self) -> Option<i64> {
        self.last_ack_ns
    }

    /// Where the stream is read on: after the list, if there is one.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.list.as_ref().map_or(self.next_seq, |list| list.resume.saturating_add(1))
    }

    /// Messages that were not yet delivered.
    #[must_use]
    pub fn num_pending(&self, world: &dyn World) -> u64 {
        world.pending(self.next_seq()).saturating_add(self.listed())
    }

    fn listed(&self) -> u64 {
        self.list.as_ref().map_or(0, |list| list.seqs.len() as u64)
    }

    /// Messages that are out or due again.
    #[must_use]
    pub fn num_ack_pending(&self) -> usize {
        self.unacked.len()
    }

    /// Unsettled messages that were delivered more than once, or as often as allowed.
    #[must_use]
    pub fn num_redelivered(&self) -> usize {
        if self.config.max_deliver == Some(1) { 0 } else { self.unacked.redelivered() }
    }

    /// Pull requests that wait.
    #[must_use]
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether somebody listens to the deliver subject of a push consumer.
    #[must_use]
    pub fn is_push_bound(&self) -> bool {
        self.push.as_ref().is_some_and(|push| push.active)
    }

    /// How long the pause still lasts.
    #[must_use]
    pub fn pause_remaining(&self, now: Now) -> Option<Duration> {
        let left = self.config.paused_until?.saturating_sub(now.wall_ns);
        u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_nanos)
    }

    /// The client that has the pin: its id, and since when in nanoseconds since the epoch.
    #[must_use]
    pub fn pinned(&self) -> Option<(&str, i64)> {
        self.pin.as_ref().map(|pin| (pin.id.as_str(), pin.since_ns))
    }

    /// Whether a stream that keeps messages for their consumers still has to keep this one for this consumer, given
    /// that the filters select it.
    #[must_use]
    pub fn needs(&self, stream_seq: u64) -> bool {
        let waits = stream_seq > self.unacked.floor.stream
            && (self.config.ack != AckPolicy::Explicit
                || self.is_ahead(stream_seq)
                || self.unacked.get(stream_seq).is_some());
        waits || self.unacked.is_exhausted(stream_seq)
    }

    /// Whether a message is yet to be delivered for the first time, if the filters select it.
    fn is_ahead(&self, stream_seq: u64) -> bool {
        stream_seq >= self.next_seq
    }

    fn has_room(&self) -> bool {
        self.config.ack == AckPolicy::None || self.config.max_ack_pending.is_none_or(|max| self.unacked.len() < max)
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn advise(&mut self, advisory: Advisory) {
        self.act(Action::Advisory(advisory));
    }
}
