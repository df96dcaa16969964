//! What clients declare a stream to be: read from their JSON, checked, shown again, and turned into how its log is kept.

mod parts;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sublog_protocol::subject;
use sublog_storage::{Codec, Discard, Limits, LogOptions, SyncMode};

use self::parts::or_default;
pub use self::parts::{Compression, ConsumerLimits, Discarded, Kept, Retention};
use super::errors::ApiError;
use super::stream::checks::Rules;
use crate::capture::CAPTURE;

/// Ids of messages are remembered this long unless it is said otherwise, in nanoseconds.
const WINDOW_NS: i64 = 120_000_000_000;
/// Shortest age and window, in nanoseconds.
const SPAN_MIN_NS: i64 = 100_000_000;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Largest metadata, in bytes.
const METADATA_BYTES_MAX: usize = 128 * 1024;
/// Most subject filters of a stream; each costs a place in the table that all publishers look into.
const SUBJECTS_MAX: usize = 10_000;
/// The log of a stream begins small: there may be many.
const SEGMENT_BYTES_FIRST: u64 = 1 << 20;

/// A stream's configuration, as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as they are sent; -1 is no limit")]
pub struct StreamConfig {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(deserialize_with = "or_default")]
    pub subjects: Vec<String>,
    pub retention: Retention,
    pub max_consumers: i64,
    pub max_msgs: i64,
    pub max_bytes: i64,
    pub max_age: i64,
    pub max_msgs_per_subject: i64,
    pub max_msg_size: i64,
    pub discard: Discarded,
    pub storage: Kept,
    pub num_replicas: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_ack: bool,
    pub duplicate_window: i64,
    pub compression: Compression,
    pub allow_direct: bool,
    pub mirror_direct: bool,
    pub sealed: bool,
    pub deny_delete: bool,
    pub deny_purge: bool,
    pub allow_rollup_hdrs: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub discard_new_per_subject: bool,
    /// Always shown as off.
    pub allow_msg_ttl: bool,
    #[serde(deserialize_with = "or_default")]
    pub consumer_limits: ConsumerLimits,
    #[serde(deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
    /// What it asks for that this server does not have, or does not know.
    #[serde(flatten, skip_serializing)]
    pub others: BTreeMap<String, Value>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            subjects: Vec::new(),
            retention: Retention::default(),
            max_consumers: -1,
            max_msgs: -1,
            max_bytes: -1,
            max_age: 0,
            max_msgs_per_subject: -1,
            max_msg_size: -1,
            discard: Discarded::default(),
            storage: Kept::default(),
            num_replicas: 1,
            no_ack: false,
            duplicate_window: 0,
            compression: Compression::default(),
            allow_direct: false,
            mirror_direct: false,
            sealed: false,
            deny_delete: false,
            deny_purge: false,
            allow_rollup_hdrs: false,
            discard_new_per_subject: false,
            allow_msg_ttl: false,
            consumer_limits: ConsumerLimits::default(),
            metadata: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }
}

/// Options that are refused when they are asked for. What a server does not have it must not promise.
const UNSUPPORTED: [&str; 12] = [
    "mirror",
    "sources",
    "subject_transform",
    "republish",
    "subject_delete_marker_ttl",
    "allow_msg_counter",
    "allow_atomic",
    "allow_msg_schedules",
    "allow_batched",
    "persist_mode",
    "first_seq",
    "placement",
];

/// Whether an option that is there asks for anything.
fn asks(option: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(n) => n.as_i64() != Some(0) && !(option == "first_seq" && n.as_u64() == Some(1)),
        Value::String(text) => !text.is_empty() && text != "default",
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => option != "placement" || all.values().any(|value| asks("", value)),
        Value::Bool(true) => true,
    }
}

impl StreamConfig {
    /// A configuration from a request, with what was left out filled in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_request(mut self) -> Result<Self, ApiError> {
        let invalid = |why: &str| Err(ApiError::stream_invalid_config(why));
        check_name(&self.name)?;
        if let Some(option) = UNSUPPORTED.iter().find(|name| self.others.get(**name).is_some_and(|v| asks(name, v))) {
            return invalid(&format!("{option} is not supported by this server"));
        }
        // nats.py asks for it with every bucket. As with a server that does not know it, the answer says that it is off, and
        // a message that comes with a time to live is refused.
        self.allow_msg_ttl = false;
        self.others.clear();
        if self.num_replicas > 1 {
            return Err(ApiError::stream_replicas_not_supported());
        }
        self.num_replicas = 1;
        if self.subjects.is_empty() {
            self.subjects.push(self.name.clone());
        }
        for limit in [
            &mut self.max_consumers,
            &mut self.max_msgs,
            &mut self.max_bytes,
            &mut self.max_msgs_per_subject,
            &mut self.max_msg_size,
        ] {
            *limit = if *limit <= 0 { -1 } else { *limit };
        }
        if self.max_age != 0 && self.max_age < SPAN_MIN_NS {
            return invalid("max age needs to be >= 100ms");
        }
        if self.duplicate_window == 0 {
            self.duplicate_window = if self.max_age > 0 { WINDOW_NS.min(self.max_age) } else { WINDOW_NS };
        }
        if self.max_age > 0 && self.duplicate_window > self.max_age {
            return invalid("duplicates window can not be larger then max age");
        }
        if self.duplicate_window < SPAN_MIN_NS {
            return invalid("duplicates window needs to be >= 100ms");
        }
        if self.discard_new_per_subject && (self.discard == Discarded::Old || self.max_msgs_per_subject <= 0) {
            return invalid("discard new per subject requires discard new policy and max msgs per subject set");
        }
        if self.deny_purge && self.allow_rollup_hdrs {
            return invalid("roll-ups require the purge permission");
        }
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            return invalid("stream description is too long, maximum allowed is 4096");
        }
        if self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > METADATA_BYTES_MAX {
            return invalid("stream metadata exceeds maximum size of 131072 bytes");
        }
        if self.sealed {
            // Nothing comes or goes any more.
            (self.deny_delete, self.deny_purge, self.allow_rollup_hdrs) = (true, true, false);
            self.discard = Discarded::New;
        }
        self.check_subjects()?;
        Ok(self)
    }

    fn check_subjects(&self) -> Result<(), ApiError> {
        let invalid = |why: String| Err(ApiError::stream_invalid_config(&why));
        if self.subjects.len() > SUBJECTS_MAX {
            return invalid(format!("more than {SUBJECTS_MAX} subjects"));
        }
        for (at, filter) in self.subjects.iter().enumerate() {
            let bytes = filter.as_bytes();
            if !subject::is_valid_filter(bytes) {
                return invalid(format!("invalid subject {filter:?}"));
            }
            let overlaps = |with: &str| subject::overlaps(bytes, with.as_bytes());
            if self.no_ack {
                // Its publishers wait for no answer that could be taken for one of the system's.
            } else if filter == ">" {
                return invalid("capturing all subjects requires no-ack to be true".to_owned());
            } else if overlaps("$JS.>") && !subject::is_subset(bytes, b"$JS.EVENT.>") {
                return invalid("subjects that overlap with jetstream api require no-ack to be true".to_owned());
            } else if overlaps("$SYS.>") && !subject::is_subset(bytes, b"$SYS.ACCOUNT.>") {
                return invalid("subjects that overlap with system api require no-ack to be true".to_owned());
            }
            for other in self.subjects.iter().skip(at + 1) {
                if other == filter {
                    return invalid("duplicate subjects detected".to_owned());
                }
                if overlaps(other) {
                    return invalid(format!("subject {filter:?} overlaps with {other:?}"));
                }
            }
        }
        Ok(())
    }

    /// Whether a stream may go on with `new` instead of this.
    ///
    /// # Errors
    /// What cannot be changed.
    pub fn check_update(&self, new: &Self) -> Result<(), ApiError> {
        let refused =
            |what: &str| Err(ApiError::stream_invalid_config(&format!("stream configuration update can not {what}")));
        if self.name != new.name {
            return refused("change name");
        }
        if self.max_consumers != new.max_consumers {
            return refused("change MaxConsumers");
        }
        if self.storage != new.storage {
            return refused("change storage type");
        }
        if self.retention != new.retention {
            return refused("change retention policy");
        }
        if self.sealed && !new.sealed {
            return refused("unseal a sealed stream");
        }
        if self.deny_delete && !new.deny_delete {
            return refused("cancel deny message deletes");
        }
        if self.deny_purge && !new.deny_purge {
            return refused("cancel deny purge");
        }
        if self.compression != new.compression {
            return refused("change compression");
        }
        Ok(())
    }

    /// How messages are taken.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let limited = self.max_msgs > 0 || self.max_bytes > 0;
        Rules {
            max_msg_bytes: usize::try_from(self.max_msg_size).ok(),
            sealed: self.sealed,
            silent: self.no_ack,
            rollup: self.allow_rollup_hdrs && !self.deny_purge,
            discards_new: self.discard == Discarded::New && limited,
            refuses_per_subject: u64::try_from(self.max_msgs_per_subject).ok().filter(|_| self.discard_new_per_subject),
            replaces_per_subject: u64::try_from(self.max_msgs_per_subject)
                .ok()
                .filter(|_| !self.discard_new_per_subject),
            limits: self.limits(),
            window_ns: self.duplicate_window,
        }
    }

    /// How much the log keeps.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let limit = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
        if self.sealed {
            return Limits::default();
        }
        Limits {
            max_messages: limit(self.max_msgs),
            max_bytes: limit(self.max_bytes),
            max_per_subject: limit(self.max_msgs_per_subject),
            discard: match self.discard {
                Discarded::Old => Discard::Old,
                Discarded::New => Discard::New,
            },
        }
    }

    /// How the log is kept, if files are synced like `sync` says.
    #[must_use]
    pub fn log_options(&self, sync: SyncMode) -> LogOptions {
        LogOptions {
            sync: if self.storage == Kept::Memory { SyncMode::Os } else { sync },
            limits: self.limits(),
            pack: (self.compression == Compression::S2).then_some(Codec::Zstd),
            segment_bytes_first: SEGMENT_BYTES_FIRST,
            ..LogOptions::default()
        }
    }

    /// The age at which messages are removed.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        u64::try_from(self.max_age).ok().filter(|ns| *ns > 0 && !self.sealed).map(Duration::from_nanos)
    }
}

/// A stream's name is a token of subjects and a file's name.
///
/// # Errors
/// It is neither.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::stream_invalid_config("stream name is required and can not contain '.', '*', '>'"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(ApiError::stream_invalid_config("stream name is too long, maximum allowed is 255"));
    }
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>' | '/' | '\\');
    if name.contains(bad) {
        return Err(ApiError::stream_invalid_config("invalid stream name"));
    }
    if name == CAPTURE {
        return Err(ApiError::stream_invalid_config("CAPTURE is the server's own stream: its flags say what it is"));
    }
    Ok(())
}
