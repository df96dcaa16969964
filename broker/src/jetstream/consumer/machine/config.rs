//! What the machine has to know of a consumer's configuration: validated, with defaults filled in, by whoever made it.

use std::time::Duration;

use bytes::Bytes;

/// A consumer's configuration as far as its behaviour depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineConfig {
    /// The stream's name, for ack subjects.
    pub stream: String,
    /// The consumer's name, for ack subjects.
    pub consumer: String,
    /// Who decides when a message goes out.
    pub mode: Mode,
    /// Which acks settle which messages.
    pub ack: AckPolicy,
    /// How long a message may stay unacked before it is due again. Zero: for ever.
    pub ack_wait: Duration,
    /// Instead of `ack_wait`: the wait after the first, second, ... delivery; the last one holds from there on.
    pub backoff: Vec<Duration>,
    /// How often one message is delivered at most.
    pub max_deliver: Option<u64>,
    /// How many messages may be unacked before new ones are held back.
    pub max_ack_pending: Option<usize>,
    /// Deliver what the stream held at the start with its messages' original spacing.
    pub replay_original: bool,
    /// How long nobody may be there before [`Action::Inactive`](super::Action::Inactive).
    pub inactive_threshold: Option<Duration>,
    /// Nothing is delivered before this wall time, in nanoseconds since the epoch.
    pub paused_until: Option<i64>,
    /// Report every settled message as [`Action::Settled`](super::Action::Settled): a stream whose retention depends on
    /// acks wants to know.
    pub report_settled: bool,
    /// Keep messages that are not delivered again until they are [buried](super::Machine::buried).
    pub dead_letters: bool,
    /// Where the unguessable parts of flow control subjects and pin ids start.
    pub seed: u64,
}

/// See [`MachineConfig::ack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckPolicy {
    /// A message is settled when it is sent.
    None,
    /// An ack settles its message and all before it.
    All,
    /// An ack settles its message.
    Explicit,
    /// An answer to flow control settles all messages up to the one that it names.
    FlowControl,
}

/// See [`MachineConfig::mode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Clients ask for messages.
    Pull(PullConfig),
    /// Messages go to a subject as fast as it takes them.
    Push(PushConfig),
}

/// What pull requests may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullConfig {
    /// How many requests may wait.
    pub max_waiting: usize,
    /// The largest batch a request may ask for.
    pub max_batch: Option<u64>,
    /// The longest expiry a request may ask for.
    pub max_expires: Option<Duration>,
    /// The most bytes a request may ask for.
    pub max_bytes: Option<u64>,
    /// Which of several waiting requests is served.
    pub priority: PriorityPolicy,
    /// The groups a request may name; one of them it must name unless the policy is [`PriorityPolicy::None`].
    pub groups: Vec<String>,
    /// How long a pinned client may be silent before its pin is lost.
    pub pin_timeout: Duration,
}

/// See [`PullConfig::priority`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriorityPolicy {
    /// In turn.
    None,
    /// In turn, those with thresholds only when enough is pending.
    Overflow,
    /// One client as long as it is there.
    Pinned,
    /// The lowest number first.
    Prioritized,
}

/// Where and how a push consumer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushConfig {
    /// The subject the messages go to.
    pub deliver_subject: Bytes,
    /// After so long without a message a heartbeat is sent.
    pub idle_heartbeat: Option<Duration>,
    /// Ask the subscriber now and then whether it has kept up, and hold back when it has not said so.
    pub flow_control: bool,
    /// How fast to send at most.
    pub rate_limit: Option<RateLimit>,
}

/// See [`PushConfig::rate_limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Bits a second.
    pub bits_per_second: u64,
    /// Bytes that may go out at once after a pause; the largest message a stream takes.
    pub burst_bytes: u64,
}

impl MachineConfig {
    /// How long to wait for the ack of a message that was delivered so often; `None` for ever.
    #[must_use]
    pub fn wait_after(&self, deliveries: u64) -> Option<Duration> {
        let at = usize::try_from(deliveries.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = self.backoff.get(at).or(self.backoff.last()).copied().unwrap_or(self.ack_wait);
        (!wait.is_zero()).then_some(wait)
    }

    pub(super) fn pull(&self) -> Option<&PullConfig> {
        match &self.mode {
            Mode::Pull(pull) => Some(pull),
            Mode::Push(_) => None,
        }
    }

    pub(super) fn push(&self) -> Option<&PushConfig> {
        match &self.mode {
            Mode::Pull(_) => None,
            Mode::Push(push) => Some(push),
        }
    }

    pub(super) fn priority(&self) -> PriorityPolicy {
        self.pull().map_or(PriorityPolicy::None, |pull| pull.priority)
    }
}
