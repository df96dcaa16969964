//! From what a client declares a stream to be to how its log is kept.

use std::time::Duration;

use sublog_storage::{Codec, Discard, Limits, LogOptions, SyncMode};

use super::config::StreamConfig;
use super::config::stream::{Compression, DiscardPolicy, PersistMode, StorageType, SubjectTransform};
use super::config::transform::Transform;
use super::errors::ApiError;
use super::store::{RECORD_OVERHEAD_FILE, RECORD_OVERHEAD_MEMORY};
use super::stream::checks::Rules;
use super::stream::republish::Republishing;
use crate::capture::CAPTURE;

/// The log of a stream begins small: there may be many.
const SEGMENT_BYTES_FIRST: u64 = 1 << 20;

/// What is requested, as this server can have it.
///
/// # Errors
/// It is not for clients to declare.
pub fn requested(config: StreamConfig) -> Result<StreamConfig, ApiError> {
    if config.name == CAPTURE {
        return Err(ApiError::stream_invalid_config("CAPTURE is the server's own stream: its flags say what it is"));
    }
    Ok(config)
}

/// What this server cannot change in a stream that is at work, though others can.
///
/// # Errors
/// 10052.
pub fn check_update(old: &StreamConfig, new: &StreamConfig) -> Result<(), ApiError> {
    if old.compression != new.compression {
        return Err(ApiError::stream_invalid_config("stream configuration update can not change compression"));
    }
    Ok(())
}

/// A transform as it is applied; without a destination there is none.
fn transform(config: &SubjectTransform) -> Option<Transform> {
    Transform::new(&config.src, &config.dest).ok().flatten()
}

fn limit(n: i64) -> Option<u64> {
    u64::try_from(n).ok().filter(|n| *n > 0)
}

impl StreamConfig {
    /// How messages are taken.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let limited = self.max_msgs > 0 || self.max_bytes > 0;
        Rules {
            max_msg_bytes: usize::try_from(self.max_msg_size).ok().filter(|bytes| *bytes > 0),
            sealed: self.sealed,
            silent: self.no_ack,
            rollup: self.allow_rollup_hdrs && !self.deny_purge,
            discards_new: self.discard == DiscardPolicy::New && limited,
            counts_subjects: self.limits().max_per_subject.is_some() && self.discard == DiscardPolicy::New,
            window_ns: self.duplicate_window,
            survives: self.storage == StorageType::File,
            ttl: self.allow_msg_ttl,
            marker_seconds: Some(self.subject_delete_marker_ttl / 1_000_000_000).filter(|seconds| *seconds > 0),
            one_per_subject: self.max_msgs_per_subject == 1,
            ages_ns: Some(self.max_age).filter(|age| *age > 0 && self.ages_by_message()),
            counter: self.allow_msg_counter,
            atomic: self.allow_atomic,
            batched: self.allow_batched,
            schedules: self.allow_msg_schedules,
            subjects: self.subjects.clone(),
            transform: self.subject_transform.as_ref().and_then(transform),
            republish: self.republish.as_ref().and_then(Republishing::of),
        }
    }

    /// Whether the age limit looks at messages: some may stay longer, or leave markers behind.
    fn ages_by_message(&self) -> bool {
        self.allow_msg_ttl || self.subject_delete_marker_ttl > 0
    }

    /// How much the log keeps.
    #[must_use]
    pub fn limits(&self) -> Limits {
        if self.sealed {
            return Limits::default();
        }
        Limits {
            max_messages: limit(self.max_msgs),
            max_bytes: limit(self.max_bytes),
            max_per_subject: limit(self.max_msgs_per_subject),
            max_age: limit(self.max_age).filter(|_| !self.ages_by_message()).map(Duration::from_nanos),
            discard: match self.discard {
                DiscardPolicy::Old => Discard::Old,
                DiscardPolicy::New => Discard::New,
            },
            discard_per_subject: self.discard_new_per_subject,
        }
    }

    /// How the log is kept, if files are synced like `sync` says.
    #[must_use]
    pub fn log_options(&self, sync: SyncMode) -> LogOptions {
        LogOptions {
            sync: match (self.storage, self.persist_mode) {
                (StorageType::Memory, _) | (_, PersistMode::Async) => SyncMode::Os,
                (StorageType::File, PersistMode::Default) => sync,
            },
            record_overhead: match self.storage {
                StorageType::File => RECORD_OVERHEAD_FILE,
                StorageType::Memory => RECORD_OVERHEAD_MEMORY,
            },
            limits: self.limits(),
            first_seq: self.first_seq.max(1),
            pack: (self.compression == Compression::S2).then_some(Codec::Zstd),
            segment_bytes_first: SEGMENT_BYTES_FIRST,
            ..LogOptions::default()
        }
    }
}
