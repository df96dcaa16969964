//! Limits that hold for every configuration.

use crate::jetstream::domain::Domain;

/// Longest name of a stream or consumer, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Largest metadata, keys and values together, in bytes.
pub const METADATA_BYTES_MAX: usize = 128 * 1024;
/// Most replicas that can be asked for at all.
pub const REPLICAS_MAX: i64 = 5;
/// Most subjects of a stream; each is compared with all others of all streams.
pub const SUBJECTS_MAX: usize = 10_000;
/// Most filters of a consumer; each is compared with all others.
pub const FILTERS_MAX: usize = 10_000;

/// What whoever runs the server allows. Zero, or `false`: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The server's domain: other names are those of other servers.
    pub domain: Domain,
    /// Longest window in which message ids are remembered, in nanoseconds.
    pub duplicate_window: i64,
    /// Most unacked messages of a consumer.
    pub max_ack_pending: i64,
    /// Largest batch that a pull request may ask for.
    pub max_request_batch: i64,
    /// Most streams.
    pub max_streams: usize,
    /// Most consumers of a stream.
    pub max_consumers: i64,
    /// Most bytes that a stream in memory may ask for; below 0: there may be none.
    pub memory_max_stream_bytes: i64,
    /// Most bytes that a stream in files may ask for; below 0: there may be none.
    pub storage_max_stream_bytes: i64,
    /// Whether a stream has to say how many bytes it may hold.
    pub max_bytes_required: bool,
}
