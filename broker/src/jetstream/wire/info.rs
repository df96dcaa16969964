//! What is told about the account, a stream and a consumer.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::jetstream::config::json::absent;
use crate::jetstream::config::stream::{ExternalStream, SubjectTransform};
use crate::jetstream::config::{ConsumerConfig, StreamConfig, Time};
use crate::jetstream::errors::ApiError;

/// What an account uses, and may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccountInfo {
    /// All of it.
    #[serde(flatten)]
    pub usage: Tier,
    /// The server's domain.
    #[serde(skip_serializing_if = "absent")]
    pub domain: String,
    /// What the API did.
    pub api: ApiStats,
    /// The same per number of replicas.
    #[serde(skip_serializing_if = "absent")]
    pub tiers: BTreeMap<String, Tier>,
}

/// See [`AccountInfo`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tier {
    /// Bytes.
    pub memory: u64,
    /// Bytes in files.
    pub storage: u64,
    /// Bytes that streams may come to hold.
    pub reserved_memory: u64,
    /// Bytes that streams may come to hold in files.
    pub reserved_storage: u64,
    /// How many there are.
    pub streams: usize,
    /// How many there are.
    pub consumers: usize,
    /// What may be used.
    pub limits: AccountLimits,
}

/// What an account may use; -1 or, for one stream, 0: no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountLimits {
    /// Bytes.
    pub max_memory: i64,
    /// Bytes in files.
    pub max_storage: i64,
    /// How many.
    pub max_streams: i64,
    /// How many of one stream.
    pub max_consumers: i64,
    /// Messages of one consumer.
    pub max_ack_pending: i64,
    /// Bytes of one stream.
    pub memory_max_stream_bytes: i64,
    /// Bytes of one stream in files.
    pub storage_max_stream_bytes: i64,
    /// Whether a stream has to say how many bytes it may hold.
    pub max_bytes_required: bool,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self {
            max_memory: -1,
            max_storage: -1,
            max_streams: -1,
            max_consumers: -1,
            max_ack_pending: -1,
            memory_max_stream_bytes: -1,
            storage_max_stream_bytes: -1,
            max_bytes_required: false,
        }
    }
}

/// What the API did since the server started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ApiStats {
    /// Its level.
    pub level: u32,
    /// Requests.
    pub total: u64,
    /// Those that were answered with an error.
    pub errors: u64,
    /// Those being worked on.
    #[serde(skip_serializing_if = "absent")]
    pub inflight: u64,
}

/// What is told about a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamInfo {
    /// What it is declared to be.
    pub config: StreamConfig,
    /// When it was created.
    pub created: Time,
    /// What it holds.
    pub state: StreamState,
    /// The server's domain.
    #[serde(skip_serializing_if = "absent")]
    pub domain: String,
    /// Which servers hold it.
    #[serde(skip_serializing_if = "absent")]
    pub cluster: Option<ClusterInfo>,
    /// How its mirror's copying goes.
    #[serde(skip_serializing_if = "absent")]
    pub mirror: Option<SourceInfo>,
    /// How copying from its sources goes.
    #[serde(skip_serializing_if = "absent")]
    pub sources: Vec<SourceInfo>,
    /// Mirrors that can be read instead.
    #[serde(skip_serializing_if = "absent")]
    pub alternates: Vec<Alternate>,
    /// When this was so.
    pub ts: Time,
}

/// What a stream holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first message's sequence.
    pub first_seq: u64,
    /// When it was stored.
    pub first_ts: Time,
    /// The last sequence that was given to a message.
    pub last_seq: u64,
    /// When that was.
    pub last_ts: Time,
    /// Different subjects.
    #[serde(skip_serializing_if = "absent")]
    pub num_subjects: u64,
    /// Messages of subjects.
    #[serde(skip_serializing_if = "absent")]
    pub subjects: BTreeMap<String, u64>,
    /// Sequences between first and last whose messages are gone.
    #[serde(skip_serializing_if = "absent")]
    pub num_deleted: u64,
    /// Which.
    #[serde(skip_serializing_if = "absent")]
    pub deleted: Vec<u64>,
    /// What the disk lost.
    #[serde(skip_serializing_if = "absent")]
    pub lost: Option<Lost>,
    /// Consumers.
    pub consumer_count: usize,
}

/// What the disk lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Sequences.
    pub msgs: Vec<u64>,
    /// Bytes.
    pub bytes: u64,
}

/// Which servers hold a stream or consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClusterInfo {
    /// The cluster.
    #[serde(skip_serializing_if = "absent")]
    pub name: String,
    /// The server that answers.
    #[serde(skip_serializing_if = "absent")]
    pub leader: String,
}

/// How copying from another stream goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceInfo {
    /// The other stream.
    pub name: String,
    /// Where it is.
    #[serde(skip_serializing_if = "absent")]
    pub external: Option<ExternalStream>,
    /// Messages that are still to be copied.
    pub lag: u64,
    /// The last message that was copied from a source.
    #[serde(skip_serializing_if = "absent")]
    pub seq: u64,
    /// Nanoseconds since something was heard of it; -1: nothing was.
    pub active: i64,
    /// Why it does not go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
    /// What is copied.
    #[serde(skip_serializing_if = "absent")]
    pub filter_subject: String,
    /// What is copied under which subjects.
    #[serde(skip_serializing_if = "absent")]
    pub subject_transforms: Vec<SubjectTransform>,
}

/// A mirror that can be read instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Alternate {
    /// Its name.
    pub name: String,
    /// Its domain.
    #[serde(skip_serializing_if = "absent")]
    pub domain: String,
    /// Its cluster.
    pub cluster: String,
}

/// What is told about a consumer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConsumerInfo {
    /// Its stream.
    pub stream_name: String,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Time,
    /// What it was asked to be.
    pub config: ConsumerConfig,
    /// The last delivery.
    pub delivered: Position,
    /// Up to where everything is acked.
    pub ack_floor: Position,
    /// Messages that are delivered and not acked.
    pub num_ack_pending: u64,
    /// Those of them that were delivered more than once.
    pub num_redelivered: u64,
    /// Pull requests that wait.
    pub num_waiting: u64,
    /// Messages that are still to be delivered.
    pub num_pending: u64,
    /// Which servers hold it.
    #[serde(skip_serializing_if = "absent")]
    pub cluster: Option<ClusterInfo>,
    /// Somebody subscribes to its deliver subject.
    #[serde(skip_serializing_if = "absent")]
    pub push_bound: bool,
    /// It is paused.
    #[serde(skip_serializing_if = "absent")]
    pub paused: bool,
    /// For so many nanoseconds more.
    #[serde(skip_serializing_if = "absent")]
    pub pause_remaining: i64,
    /// When this was so.
    pub ts: Time,
    /// Who is pinned.
    #[serde(skip_serializing_if = "absent")]
    pub priority_groups: Vec<PriorityGroupState>,
    /// What Sublog tells beyond NATS: to who asks for it, since some clients refuse what they do not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sublog: Option<Standing>,
}

/// How far a consumer is behind, and what holds it up.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Standing {
    /// Messages that are not settled: still to be delivered, out, or due again.
    pub lag_messages: u64,
    /// How long ago the oldest of them was stored, in seconds; 0 if there is none.
    pub lag_seconds: f64,
    /// Why nothing is sent though there is something to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<&'static str>,
}

/// A message by a consumer's count and by the stream's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The consumer's count of deliveries.
    pub consumer_seq: u64,
    /// The stream's sequence.
    pub stream_seq: u64,
    /// When it came there.
    #[serde(skip_serializing_if = "absent")]
    pub last_active: Option<Time>,
}

/// Who is pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PriorityGroupState {
    /// In which group.
    pub group: String,
    /// The id that the server gave it.
    #[serde(skip_serializing_if = "absent")]
    pub pinned_client_id: String,
    /// Since when.
    pub pinned_ts: Time,
}
