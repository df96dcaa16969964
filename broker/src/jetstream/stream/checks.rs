//! What a message asks for with its headers, and whether it may be taken.
//!
//! The order of the checks, and what is said, is nats-server's: clients compare both.

use sublog_protocol::headers;
use sublog_storage::index::{FilterSet, SubjectFilter};

use super::ingest::Ingest;
use super::rollup::Rollup;
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::Incoming;
use crate::jetstream::read;
use crate::jetstream::store::StreamLog;

/// What a stream's configuration says about taking messages.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Largest message, headers included; `None` for no limit.
    pub max_msg_bytes: Option<usize>,
    /// Nothing is taken or removed any more.
    pub sealed: bool,
    /// Publishers get no acknowledgements.
    pub silent: bool,
    /// Messages may replace the ones before them.
    pub rollup: bool,
    /// Every message is looked at by itself, since one that is too many is refused alone.
    pub discards_new: bool,
    /// New messages of a subject are refused, or have to find room: the log counts what a subject has.
    pub counts_subjects: bool,
    /// How long message ids are remembered.
    pub window_ns: i64,
}

impl Rules {
    /// Messages below this size are taken without a look.
    #[must_use]
    pub fn plain_below(&self) -> usize {
        if self.sealed || self.discards_new || self.counts_subjects {
            return 0;
        }
        self.max_msg_bytes.map_or(usize::MAX, |max| max.saturating_add(1))
    }
}

/// What becomes of a message.
pub(super) enum Verdict<'a> {
    Take { id: Option<&'a [u8]>, rollup: Option<Rollup> },
    Duplicate(u64),
    Refuse(ApiError),
}

type Refusal = fn() -> ApiError;

/// Headers that ask for what this server does not have.
const UNSUPPORTED: [(&[u8], Refusal); 4] = [
    (b"Nats-Batch-Id", ApiError::atomic_publish_disabled),
    (b"Nats-Incr", ApiError::message_incr_disabled),
    (b"Nats-TTL", ApiError::message_ttl_disabled),
    (b"Nats-Schedule", ApiError::message_schedules_disabled),
];

/// Whether the checks of a message ask the index.
pub(super) fn asks_index(rules: &Rules, message: &Incoming) -> bool {
    let (head, _) = message.parts();
    rules.counts_subjects || headers::get(head, b"Nats-Expected-Last-Subject-Sequence").is_some()
}

/// Looks at one message.
pub(super) fn consider<'a>(
    rules: &Rules,
    stream: &str,
    ingest: &mut Ingest,
    log: &StreamLog,
    message: &'a Incoming,
) -> Verdict<'a> {
    match look(rules, stream, ingest, log, message) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Refuse(error),
    }
}

fn look<'a>(
    rules: &Rules,
    stream: &str,
    ingest: &mut Ingest,
    log: &StreamLog,
    message: &'a Incoming,
) -> Result<Verdict<'a>, ApiError> {
    let (head, _) = message.parts();
    let header = |key: &[u8]| headers::get(head, key).filter(|value| !value.is_empty());
    if rules.sealed {
        return Err(ApiError::stream_sealed());
    }
    if rules.max_msg_bytes.is_some_and(|max| message.message.len() > max) {
        return Err(ApiError::stream_message_exceeds_maximum());
    }
    if head.is_empty() {
        return Ok(Verdict::Take { id: None, rollup: None });
    }
    if header(b"Nats-Expected-Stream").is_some_and(|expected| expected != stream.as_bytes()) {
        return Err(ApiError::stream_not_match());
    }
    if let Some((_, error)) = UNSUPPORTED.iter().find(|(key, _)| header(key).is_some()) {
        return Err(error());
    }
    let id = header(b"Nats-Msg-Id");
    if let Some(id) = id
        && let Some(seq) = ingest.dedup.find(id, message.now_ns, rules.window_ns)
    {
        return Ok(Verdict::Duplicate(seq));
    }
    if let Some(expected) = header(b"Nats-Expected-Last-Subject-Sequence") {
        let filter = header(b"Nats-Expected-Last-Subject-Sequence-Subject").unwrap_or(&message.subject);
        let last = last_of(ingest, log, filter)?;
        if number(expected) != Some(last) {
            return Err(ApiError::stream_wrong_last_sequence(last));
        }
    }
    let last = ingest.last_seq(log);
    if header(b"Nats-Expected-Last-Sequence").is_some_and(|expected| number(expected) != Some(last)) {
        return Err(ApiError::stream_wrong_last_sequence(last));
    }
    if header(b"Nats-Expected-Last-Msg-Id").is_some_and(|expected| expected != ingest.last_id) {
        return Err(ApiError::stream_wrong_last_msg_id(String::from_utf8_lossy(&ingest.last_id)));
    }
    let rollup = match header(b"Nats-Rollup") {
        None => None,
        Some(_) if !rules.rollup => return Err(ApiError::stream_rollup_failed("rollup not permitted")),
        Some(value) => match Rollup::parse(value) {
            Some(rollup) => Some(rollup),
            None => {
                let why = format!("rollup value invalid: {:?}", String::from_utf8_lossy(value));
                return Err(ApiError::stream_rollup_failed(&why));
            }
        },
    };
    Ok(Verdict::Take { id, rollup })
}

/// The number of the last message that `filter` selects, 0 if there is none; what is in flight counts.
fn last_of(ingest: &Ingest, log: &StreamLog, filter: &[u8]) -> Result<u64, ApiError> {
    let Ok(parsed) = SubjectFilter::parse(filter) else { return Ok(0) };
    let readable = log.log().readable_seq();
    let flying = ingest.flights.of(readable, |subject| parsed.matches(subject)).last_seq;
    if flying > 0 {
        return Ok(flying);
    }
    let found = read::last_matching(log.log(), &FilterSet::from(parsed), readable).map_err(|e| store_error(&e))?;
    Ok(found.unwrap_or(0))
}

fn store_error(error: &read::Unreadable) -> ApiError {
    tracing::warn!("A message cannot be checked: {error}");
    ApiError::stream_store_failed("the message log cannot be read")
}

/// A sequence as clients write it; anything else is no sequence at all.
fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}
