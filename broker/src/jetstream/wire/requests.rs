//! What is asked for, but for consumers, which [`create`](super::create) reads.

use serde_json::Value;

use crate::jetstream::config::check::has_path_separator;
use crate::jetstream::config::consumer::admit::is_group_name;
use crate::jetstream::config::json::{self, BadJson, Read, Unknown, read_fields};
use crate::jetstream::config::{StreamConfig, Time};
use crate::jetstream::errors::ApiError;

/// Whether a body says nothing: it is empty, or an object without fields.
#[must_use]
pub fn is_empty(body: &[u8]) -> bool {
    body.is_empty() || matches!(serde_json::from_slice(body), Ok(Value::Object(fields)) if fields.is_empty())
}

/// For requests that have no options.
///
/// # Errors
/// 10038: there is something in the body.
pub fn expect_empty(body: &[u8]) -> Result<(), ApiError> {
    if is_empty(body) { Ok(()) } else { Err(ApiError::not_empty_request()) }
}

/// A request that may as well have no body, or one that is not JSON at all.
fn parse_optional<T: Read + Default>(body: &[u8], unknown: Unknown) -> Result<T, ApiError> {
    match body.trim_ascii_start().first() {
        Some(b'{' | b'[') => json::parse(body, unknown),
        _ => Ok(T::default()),
    }
}

/// `STREAM.CREATE.S` and `STREAM.UPDATE.S`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// What the stream is to be.
    pub config: StreamConfig,
    /// The client would rather have an error than have something changed.
    pub pedantic: bool,
}

impl Read for StreamRequest {
    fn read(json: &Value, unknown: Unknown) -> Result<Self, BadJson> {
        let mut fields = json::fields(json)?.clone();
        let mut pedantic = false;
        let names: Vec<String> = fields.keys().filter(|key| key.eq_ignore_ascii_case("pedantic")).cloned().collect();
        for name in names {
            match fields.remove(&name) {
                None | Some(Value::Null) => {}
                Some(value) => pedantic = bool::read(&value, unknown).map_err(|bad| bad.within("pedantic"))?,
            }
        }
        Ok(Self { config: StreamConfig::read(&Value::Object(fields), unknown)?, pedantic })
    }
}

impl StreamRequest {
    /// The request for the stream that its subject names.
    ///
    /// # Errors
    /// 10025; 10056 if the names differ; 10128 if it is no file's name.
    pub fn parse(stream: &str, body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        let request: Self = json::parse(body, unknown)?;
        if request.config.name != stream {
            return Err(ApiError::stream_mismatch());
        }
        if has_path_separator(stream) {
            return Err(ApiError::stream_name_contains_path_separators());
        }
        Ok(request)
    }
}

/// `STREAM.INFO.S`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamInfoRequest {
    /// The first of the subjects to tell.
    pub offset: i64,
    /// Tell which sequences are gone.
    pub deleted_details: bool,
    /// Tell how many messages these subjects have.
    pub subjects_filter: String,
}
read_fields!(StreamInfoRequest { offset, deleted_details, subjects_filter });

impl StreamInfoRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 10025.
    pub fn parse(body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        parse_optional(body, unknown)
    }
}

/// `STREAM.NAMES`, `STREAM.LIST`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamsRequest {
    /// The first of them to tell.
    pub offset: i64,
    /// Only those that store some of these subjects.
    pub subject: String,
}
read_fields!(StreamsRequest { offset, subject });

impl StreamsRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 10025.
    pub fn parse(body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        parse_optional(body, unknown)
    }
}

/// `CONSUMER.NAMES.S`, `CONSUMER.LIST.S`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumersRequest {
    /// The first of them to tell.
    pub offset: i64,
}
read_fields!(ConsumersRequest { offset });

impl ConsumersRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 10025.
    pub fn parse(body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        parse_optional(body, unknown)
    }
}

/// `STREAM.PURGE.S`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgeRequest {
    /// Only messages before this sequence.
    pub seq: u64,
    /// Only messages of these subjects.
    pub filter: String,
    /// All but so many, the newest.
    pub keep: u64,
}
read_fields!(PurgeRequest { seq, filter, keep });

impl PurgeRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 10025; 10003 if it has both `seq` and `keep`.
    pub fn parse(body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        let request: Self = parse_optional(body, unknown)?;
        if request.seq > 0 && request.keep > 0 { Err(ApiError::bad_request()) } else { Ok(request) }
    }
}

/// `STREAM.MSG.GET.S` and `DIRECT.GET.S`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MsgGetRequest {
    /// The message with this sequence, or the first from it on.
    pub seq: u64,
    /// The last message of a subject.
    pub last_by_subj: String,
    /// The first message of these subjects from `seq` on.
    pub next_by_subj: String,
    /// Direct only: so many messages.
    pub batch: i64,
    /// Direct only: so many bytes.
    pub max_bytes: i64,
    /// The first message from this time on.
    pub start_time: Option<Time>,
    /// Direct only: the last messages of these subjects.
    pub multi_last: Vec<String>,
    /// Direct only: as it was at this sequence.
    pub up_to_seq: u64,
    /// Direct only: as it was at this time.
    pub up_to_time: Option<Time>,
    /// Without headers.
    pub no_hdr: bool,
}
read_fields!(MsgGetRequest {
    seq,
    last_by_subj,
    next_by_subj,
    batch,
    max_bytes,
    start_time,
    multi_last,
    up_to_seq,
    up_to_time,
    no_hdr
});

impl MsgGetRequest {
    /// Reads the body of a `STREAM.MSG.GET`, which is about one message.
    ///
    /// # Errors
    /// 10025; 10003 if it does not say which message, or asks for several.
    pub fn parse(body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        if is_empty(body) {
            return Err(ApiError::bad_request());
        }
        let request: Self = json::parse(body, unknown)?;
        let (seq, time) = (request.seq > 0, request.start_time.is_some());
        let (last, next) = (!request.last_by_subj.is_empty(), !request.next_by_subj.is_empty());
        let none = !seq && !last && !next && !time;
        let several = seq && (last || time) || last && (time || next);
        if request.batch > 0 || request.max_bytes > 0 || none || several {
            return Err(ApiError::bad_request());
        }
        Ok(request)
    }
}

/// `STREAM.MSG.DELETE.S`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MsgDeleteRequest {
    /// Which message.
    pub seq: u64,
    /// Its bytes may stay on disk.
    pub no_erase: bool,
}
read_fields!(MsgDeleteRequest { seq, no_erase });

impl MsgDeleteRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 10025; 10003 if it is empty.
    pub fn parse(body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        if is_empty(body) { Err(ApiError::bad_request()) } else { json::parse(body, unknown) }
    }
}

/// `CONSUMER.PAUSE.S.C`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PauseRequest {
    /// Until when; [`Time::NEVER`]: go on.
    pub pause_until: Time,
}
read_fields!(PauseRequest { pause_until });

impl PauseRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 10025.
    pub fn parse(body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        parse_optional(body, unknown)
    }
}

/// `CONSUMER.RESET.S.C`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResetRequest {
    /// The next sequence to deliver; 0: what comes after the last ack.
    pub seq: u64,
    /// Instead of that (beyond NATS): the first message that was stored then or later.
    pub time: Option<Time>,
}
read_fields!(ResetRequest { seq, time });

impl ResetRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 10025.
    pub fn parse(body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        json::parse(body, unknown)
    }
}

/// `CONSUMER.UNPIN.S.C`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnpinRequest {
    /// In which group.
    pub group: String,
}
read_fields!(UnpinRequest { group });

impl UnpinRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 10025, also if there is no group; 10162 if no group can have that name.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        // Alone among the requests this one is never read strictly.
        let request: Self = json::parse(body, Unknown::Ignore)?;
        if request.group.is_empty() {
            return Err(ApiError::invalid_json("consumer group not specified"));
        }
        if is_group_name(&request.group) { Ok(request) } else { Err(ApiError::consumer_invalid_group_name()) }
    }
}
