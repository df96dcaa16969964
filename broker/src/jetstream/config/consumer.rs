//! What a consumer is asked to be.

pub mod admit;
mod check;
mod defaults;

use serde::Serialize;
use sublog_protocol::subject;

use super::json::{absent, read_fields, words};
use super::metadata::{self, Metadata, ServerLevel};
use super::time::Time;

words! {
    /// Where a consumer begins.
    DeliverPolicy {
        /// At the stream's first message.
        All = "all" | "undefined",
        /// At its last.
        Last = "last",
        /// After its last.
        New = "new",
        /// At a sequence.
        ByStartSequence = "by_start_sequence",
        /// At a time.
        ByStartTime = "by_start_time",
        /// With the last message of every subject.
        LastPerSubject = "last_per_subject",
    }
}

words! {
    /// What an ack means.
    AckPolicy {
        /// There are none.
        None = "none",
        /// It is for all messages up to this one.
        All = "all",
        /// It is for this message.
        Explicit = "explicit",
        /// Answers to flow control are acks.
        FlowControl = "flow_control",
    }
}

words! {
    /// How fast messages are delivered that are there already.
    ReplayPolicy {
        /// As fast as possible.
        Instant = "instant",
        /// As fast as they came.
        Original = "original",
    }
}

words! {
    /// Which of several waiting clients gets a message.
    PriorityPolicy {
        /// The one that waits longest.
        None = "none",
        /// Some only when there is much to do.
        Overflow = "overflow",
        /// One, as long as it is there.
        PinnedClient = "pinned_client",
        /// The one with the lowest number.
        Prioritized = "prioritized",
    }
}

/// A consumer's configuration, its fields in the order and under the names in which they are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConsumerConfig {
    /// Its name, if it is to stay when nobody uses it.
    #[serde(skip_serializing_if = "absent")]
    pub durable_name: String,
    /// Its name.
    #[serde(skip_serializing_if = "absent")]
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "absent")]
    pub description: String,
    /// Where it begins.
    pub deliver_policy: DeliverPolicy,
    /// At which sequence.
    #[serde(skip_serializing_if = "absent")]
    pub opt_start_seq: u64,
    /// At what time.
    #[serde(skip_serializing_if = "absent")]
    pub opt_start_time: Option<Time>,
    /// What an ack means.
    pub ack_policy: AckPolicy,
    /// How long to wait for an ack, in nanoseconds.
    #[serde(skip_serializing_if = "absent")]
    pub ack_wait: i64,
    /// How often a message is delivered at most; -1: no limit.
    #[serde(skip_serializing_if = "absent")]
    pub max_deliver: i64,
    /// Instead of `ack_wait`: nanoseconds after the first, second, ... delivery.
    #[serde(skip_serializing_if = "absent")]
    pub backoff: Vec<i64>,
    /// The messages it is about.
    #[serde(skip_serializing_if = "absent")]
    pub filter_subject: String,
    /// The same, several.
    #[serde(skip_serializing_if = "absent")]
    pub filter_subjects: Vec<String>,
    /// How fast messages are delivered that are there already.
    pub replay_policy: ReplayPolicy,
    /// Bits a second to deliver at most.
    #[serde(skip_serializing_if = "absent")]
    pub rate_limit_bps: u64,
    /// Of how many acks in a hundred to tell; `30%` or `30`.
    #[serde(skip_serializing_if = "absent")]
    pub sample_freq: String,
    /// How many pull requests may wait.
    #[serde(skip_serializing_if = "absent")]
    pub max_waiting: i64,
    /// How many messages may be unacked; -1: no limit.
    #[serde(skip_serializing_if = "absent")]
    pub max_ack_pending: i64,
    /// Ask the subscriber now and then whether it has kept up.
    #[serde(skip_serializing_if = "absent")]
    pub flow_control: bool,
    /// Without payloads.
    #[serde(skip_serializing_if = "absent")]
    pub headers_only: bool,
    /// Largest batch of a pull request.
    #[serde(skip_serializing_if = "absent")]
    pub max_batch: i64,
    /// Longest expiry of a pull request, in nanoseconds.
    #[serde(skip_serializing_if = "absent")]
    pub max_expires: i64,
    /// Most bytes of a pull request.
    #[serde(skip_serializing_if = "absent")]
    pub max_bytes: i64,
    /// Where messages are pushed to; empty: clients pull.
    #[serde(skip_serializing_if = "absent")]
    pub deliver_subject: String,
    /// The queue group that is pushed to.
    #[serde(skip_serializing_if = "absent")]
    pub deliver_group: String,
    /// After how many nanoseconds without a message to send a heartbeat.
    #[serde(skip_serializing_if = "absent")]
    pub idle_heartbeat: i64,
    /// After how many nanoseconds without anybody there it is deleted; 0: never.
    #[serde(skip_serializing_if = "absent")]
    pub inactive_threshold: i64,
    /// On how many servers; 0: as the stream.
    pub num_replicas: i64,
    /// Its state is not kept on disk.
    #[serde(skip_serializing_if = "absent")]
    pub mem_storage: bool,
    /// For mirrors and sources.
    #[serde(skip_serializing_if = "absent")]
    pub direct: bool,
    /// For mirrors and sources.
    #[serde(skip_serializing_if = "absent")]
    pub sourcing: bool,
    /// For people and programs.
    #[serde(skip_serializing_if = "absent")]
    pub metadata: Metadata,
    /// Nothing is delivered before.
    #[serde(skip_serializing_if = "absent")]
    pub pause_until: Option<Time>,
    /// What a pull request's group may be.
    #[serde(skip_serializing_if = "absent")]
    pub priority_groups: Vec<String>,
    /// Which waiting client gets a message.
    #[serde(skip_serializing_if = "absent")]
    pub priority_policy: PriorityPolicy,
    /// How long a pinned client may be silent, in nanoseconds.
    #[serde(skip_serializing_if = "absent")]
    pub priority_timeout: i64,
}

read_fields!(ConsumerConfig {
    durable_name,
    name,
    description,
    deliver_policy,
    opt_start_seq,
    opt_start_time,
    ack_policy,
    ack_wait,
    max_deliver,
    backoff,
    filter_subject,
    filter_subjects,
    replay_policy,
    rate_limit_bps,
    sample_freq,
    max_waiting,
    max_ack_pending,
    flow_control,
    headers_only,
    max_batch,
    max_expires,
    max_bytes,
    deliver_subject,
    deliver_group,
    idle_heartbeat,
    inactive_threshold,
    num_replicas,
    mem_storage,
    direct,
    sourcing,
    metadata,
    pause_until,
    priority_groups,
    priority_policy,
    priority_timeout,
});

impl ConsumerConfig {
    /// Whether it stays when nobody uses it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !self.durable_name.is_empty()
    }

    /// Whether messages are pushed.
    #[must_use]
    pub fn is_push(&self) -> bool {
        !self.deliver_subject.is_empty()
    }

    /// Its name; empty if the server is to choose one.
    #[must_use]
    pub fn asset_name(&self) -> &str {
        if self.is_durable() { &self.durable_name } else { &self.name }
    }

    /// The messages it is about; none: all.
    pub fn filters(&self) -> impl Iterator<Item = &str> + Clone {
        let one = (!self.filter_subject.is_empty()).then_some(self.filter_subject.as_str());
        self.filter_subjects.iter().map(String::as_str).chain(one)
    }

    /// Of how many acks in a hundred to tell.
    #[must_use]
    pub fn sample_percent(&self) -> u8 {
        let number = self.sample_freq.strip_suffix('%').unwrap_or(&self.sample_freq).parse::<i64>().unwrap_or(0);
        u8::try_from(number.clamp(0, 100)).unwrap_or(100)
    }

    /// Whether a client that asks for `other` has it already: the same but for what the server keeps in the metadata.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let bare = |config: &Self| Self { metadata: Metadata::new(), ..config.clone() };
        metadata::same(&self.metadata, &other.metadata) && bare(self) == bare(other)
    }

    /// As it stands in a response.
    #[must_use]
    pub fn shown(&self, server: &ServerLevel) -> Self {
        let mut shown = self.clone();
        server.stamp(&mut shown.metadata);
        shown
    }

    /// The lowest API level of a server that can have such a consumer.
    #[must_use]
    pub fn required_level(&self) -> u32 {
        let paused = self.pause_until.is_some_and(|until| until != Time::NEVER);
        let grouped = self.priority_policy != PriorityPolicy::None
            || self.priority_timeout != 0
            || !self.priority_groups.is_empty();
        if self.ack_policy == AckPolicy::FlowControl { 4 } else { u32::from(paused || grouped) }
    }

    /// Whether a message that one consumer is about may be one that the other is about.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let all = |config: &Self| config.filters().next().is_none();
        let overlap = |a: &str| other.filters().any(|b| subject::overlaps(a.as_bytes(), b.as_bytes()));
        all(self) || all(other) || self.filters().any(overlap)
    }
}
