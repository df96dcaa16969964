//! From what a client declares a stream to be to how its log is kept.

use std::time::Duration;

use sublog_storage::{Codec, Discard, Limits, LogOptions, SyncMode};

use super::config::StreamConfig;
use super::config::stream::{Compression, DiscardPolicy, StorageType};
use super::errors::ApiError;
use super::stream::checks::Rules;
use crate::capture::CAPTURE;

/// The log of a stream begins small: there may be many.
const SEGMENT_BYTES_FIRST: u64 = 1 << 20;

/// What is requested, as this server can have it.
///
/// # Errors
/// It is not for clients to declare.
pub fn requested(mut config: StreamConfig) -> Result<StreamConfig, ApiError> {
    if config.name == CAPTURE {
        return Err(ApiError::stream_invalid_config("CAPTURE is the server's own stream: its flags say what it is"));
    }
    // nats.py asks for it with every bucket. As with a server that does not know it, the answer says that it is off, and a
    // message that comes with a time to live is refused.
    config.allow_msg_ttl = false;
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
        }
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
            max_age: limit(self.max_age).map(Duration::from_nanos),
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
            sync: if self.storage == StorageType::Memory { SyncMode::Os } else { sync },
            limits: self.limits(),
            pack: (self.compression == Compression::S2).then_some(Codec::Zstd),
            segment_bytes_first: SEGMENT_BYTES_FIRST,
            ..LogOptions::default()
        }
    }
}
