//! What a stream is declared to be.

pub mod admit;
mod check;
mod copies;
mod source;
mod update;

use serde::Serialize;

use super::json::{absent, read_fields, words};
use super::metadata::{self, Metadata, ServerLevel};
pub use source::{ConsumerOfSource, ExternalStream, StreamSource};

words! {
    /// What ends a message's stay.
    RetentionPolicy {
        /// The limits alone.
        Limits = "limits",
        /// The limits, and that every consumer that wants it has acked it.
        Interest = "interest",
        /// The limits, and that one consumer has acked it.
        WorkQueue = "workqueue",
    }
}

words! {
    /// What gives way when a limit is reached.
    DiscardPolicy {
        /// The oldest messages.
        Old = "old",
        /// New messages.
        New = "new",
    }
}

words! {
    /// Where messages are kept.
    StorageType {
        /// In files.
        File = "file",
        /// Until the server ends.
        Memory = "memory",
    }
}

words! {
    /// How messages are kept.
    Compression {
        /// As they are.
        None = "none",
        /// Compressed.
        S2 = "s2",
    }
}

words! {
    /// When a publisher has its ack.
    PersistMode {
        /// As the server's durability says.
        Default = "default" | "",
        /// Before anything is written.
        Async = "async",
    }
}

/// Which servers hold a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// Those of a cluster.
    #[serde(skip_serializing_if = "absent")]
    pub cluster: String,
    /// Those with all of these tags.
    #[serde(skip_serializing_if = "absent")]
    pub tags: Vec<String>,
    /// One of them.
    #[serde(skip_serializing_if = "absent")]
    pub preferred: String,
}
read_fields!(Placement { cluster, tags, preferred });

/// Gives messages another subject.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SubjectTransform {
    /// Messages with these subjects; empty: all.
    pub src: String,
    /// The new subject, with places for the tokens of the old one.
    pub dest: String,
}
read_fields!(SubjectTransform { src, dest });

/// Publishes what was stored once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Republish {
    /// Messages with these subjects; empty: all.
    #[serde(skip_serializing_if = "absent")]
    pub src: String,
    /// The new subject, with places for the tokens of the old one.
    pub dest: String,
    /// Without the payload.
    #[serde(skip_serializing_if = "absent")]
    pub headers_only: bool,
}
read_fields!(Republish { src, dest, headers_only });

/// What a stream's consumers get when they say nothing, and may not go beyond.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConsumerLimits {
    /// Nanoseconds.
    #[serde(skip_serializing_if = "absent")]
    pub inactive_threshold: i64,
    /// Messages.
    #[serde(skip_serializing_if = "absent")]
    pub max_ack_pending: i64,
}
read_fields!(ConsumerLimits { inactive_threshold, max_ack_pending });

/// A stream's configuration, its fields in the order and under the names in which they are sent.
///
/// As [`StreamConfig::checked`] leaves it, -1 means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StreamConfig {
    /// A token of subjects, and a folder's name.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "absent")]
    pub description: String,
    /// Filters of the messages that are stored.
    #[serde(skip_serializing_if = "absent")]
    pub subjects: Vec<String>,
    /// What ends a message's stay.
    pub retention: RetentionPolicy,
    /// Most consumers.
    pub max_consumers: i64,
    /// Most messages.
    pub max_msgs: i64,
    /// Most bytes.
    pub max_bytes: i64,
    /// Longest stay, in nanoseconds; 0: no limit.
    pub max_age: i64,
    /// Most messages with one subject.
    pub max_msgs_per_subject: i64,
    /// Largest message, headers and payload, in bytes.
    #[serde(skip_serializing_if = "absent")]
    pub max_msg_size: i32,
    /// What gives way at a limit.
    pub discard: DiscardPolicy,
    /// Where messages are kept.
    pub storage: StorageType,
    /// On how many servers.
    pub num_replicas: i64,
    /// Publishers get no answer.
    #[serde(skip_serializing_if = "absent")]
    pub no_ack: bool,
    /// How long message ids are remembered, in nanoseconds.
    #[serde(skip_serializing_if = "absent")]
    pub duplicate_window: i64,
    /// Which servers.
    #[serde(skip_serializing_if = "absent")]
    pub placement: Option<Placement>,
    /// The stream that this one copies.
    #[serde(skip_serializing_if = "absent")]
    pub mirror: Option<StreamSource>,
    /// Streams whose messages are added here.
    #[serde(skip_serializing_if = "absent")]
    pub sources: Vec<StreamSource>,
    /// How messages are kept.
    pub compression: Compression,
    /// The first message's sequence.
    #[serde(skip_serializing_if = "absent")]
    pub first_seq: u64,
    /// Applied to a message before anything else.
    #[serde(skip_serializing_if = "absent")]
    pub subject_transform: Option<SubjectTransform>,
    /// Publishes what was stored once more.
    #[serde(skip_serializing_if = "absent")]
    pub republish: Option<Republish>,
    /// Messages can be got past the API's queue.
    pub allow_direct: bool,
    /// The same for the stream that is mirrored.
    pub mirror_direct: bool,
    /// With [`DiscardPolicy::New`]: `max_msgs_per_subject` discards new messages too.
    #[serde(skip_serializing_if = "absent")]
    pub discard_new_per_subject: bool,
    /// Nothing goes in or out any more.
    pub sealed: bool,
    /// No single message can be deleted.
    pub deny_delete: bool,
    /// Messages cannot be purged.
    pub deny_purge: bool,
    /// A message may replace those before it.
    pub allow_rollup_hdrs: bool,
    /// What holds for consumers.
    pub consumer_limits: ConsumerLimits,
    /// A message may say how long it stays.
    pub allow_msg_ttl: bool,
    /// A subject's last message leaves a marker behind when it gets too old, for so many nanoseconds.
    #[serde(skip_serializing_if = "absent")]
    pub subject_delete_marker_ttl: i64,
    /// Messages are increments of counters.
    #[serde(skip_serializing_if = "absent")]
    pub allow_msg_counter: bool,
    /// Messages can be published several at once or not at all.
    #[serde(skip_serializing_if = "absent")]
    pub allow_atomic: bool,
    /// Messages can be published at a later time.
    #[serde(skip_serializing_if = "absent")]
    pub allow_msg_schedules: bool,
    /// When a publisher has its ack.
    #[serde(skip_serializing_if = "absent")]
    pub persist_mode: PersistMode,
    /// Messages can be published with few acks.
    #[serde(skip_serializing_if = "absent")]
    pub allow_batched: bool,
    /// For people and programs.
    #[serde(skip_serializing_if = "absent")]
    pub metadata: Metadata,
}

read_fields!(StreamConfig {
    name,
    description,
    subjects,
    retention,
    max_consumers,
    max_msgs,
    max_bytes,
    max_age,
    max_msgs_per_subject,
    max_msg_size,
    discard,
    storage,
    num_replicas,
    no_ack,
    duplicate_window,
    placement,
    mirror,
    sources,
    compression,
    first_seq,
    subject_transform,
    republish,
    allow_direct,
    mirror_direct,
    discard_new_per_subject,
    sealed,
    deny_delete,
    deny_purge,
    allow_rollup_hdrs,
    consumer_limits,
    allow_msg_ttl,
    subject_delete_marker_ttl,
    allow_msg_counter,
    allow_atomic,
    allow_msg_schedules,
    persist_mode,
    allow_batched,
    metadata,
});

impl StreamConfig {
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

    /// The lowest API level of a server that can have such a stream.
    #[must_use]
    pub fn required_level(&self) -> u32 {
        if self.allow_batched {
            4
        } else if self.allow_msg_counter
            || self.allow_atomic
            || self.allow_msg_schedules
            || self.persist_mode == PersistMode::Async
        {
            2
        } else {
            u32::from(self.allow_msg_ttl || self.subject_delete_marker_ttl > 0)
        }
    }

    /// Whether consumers' acks end messages' stay.
    #[must_use]
    pub fn retains_by_interest(&self) -> bool {
        self.retention != RetentionPolicy::Limits
    }
}
