//! Requests about the messages of a stream.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Log, Record, Visit};

use super::super::base64;
use super::super::errors::ApiError;
use super::super::read::{self, Unreadable};
use super::super::streams::Declared;
use super::{Answer, Request, object};
use crate::rfc3339;
use crate::server::Server;

/// Which message is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    pub(super) seq: u64,
    pub(super) last_by_subj: String,
    pub(super) next_by_subj: String,
    pub(super) start_time: Option<String>,
    pub(super) batch: i64,
    pub(super) max_bytes: i64,
    pub(super) multi_last: Vec<String>,
    pub(super) up_to_seq: u64,
    pub(super) up_to_time: Option<String>,
    pub(super) no_hdr: bool,
}

impl Wanted {
    /// Whether nothing says which one.
    pub(super) fn is_empty(&self) -> bool {
        self.seq == 0
            && self.last_by_subj.is_empty()
            && self.next_by_subj.is_empty()
            && self.multi_last.is_empty()
            && self.start_time.is_none()
    }

    /// Whether it says two things at once.
    pub(super) fn contradicts_itself(&self) -> bool {
        let last = !self.last_by_subj.is_empty();
        let by_time = self.start_time.is_some();
        last && (self.seq > 0 || by_time || !self.next_by_subj.is_empty() || self.batch != 0)
            || self.seq > 0 && by_time
            || self.start_ns().is_none()
    }

    /// The start time, in nanoseconds since 1970; the beginning of time if there is none, `None` if it makes no sense.
    fn start_ns(&self) -> Option<i64> {
        self.start_time.as_deref().map_or(Some(i64::MIN), time_ns)
    }

    /// The number from which on the next one is looked for.
    pub(super) fn first_seq(&self, log: &Log) -> Result<u64, Unreadable> {
        match self.start_ns() {
            Some(ns) if self.start_time.is_some() => Ok(log.seek_time(ns)?),
            _ => Ok(self.seq.max(1)),
        }
    }

    /// Finds it, if it is one message.
    pub(super) fn find(&self, log: &Log) -> Result<Option<Record>, Unreadable> {
        if !self.last_by_subj.is_empty() {
            let Ok(filter) = SubjectFilter::parse(self.last_by_subj.as_bytes()) else { return Ok(None) };
            let last = read::last_matching(log, &FilterSet::from(filter), log.readable_seq())?;
            return read::message(log, last.unwrap_or(0));
        }
        if self.next_by_subj.is_empty() && self.start_time.is_none() {
            return read::message(log, self.seq);
        }
        let filter = if self.next_by_subj.is_empty() { ">" } else { &self.next_by_subj };
        let Ok(filter) = SubjectFilter::parse(filter.as_bytes()) else { return Ok(None) };
        read::next_matching(log, FilterSet::from(filter), self.first_seq(log)?)
    }
}

/// A time as clients write it, in nanoseconds since 1970.
pub(super) fn time_ns(text: &str) -> Option<i64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() < 0 { i64::MIN } else { i64::MAX }))
}

/// A stream that is there, and its log, that can be read.
fn declared(server: &Server, name: &str) -> Result<Declared, ApiError> {
    let declared = server.jetstream.get(name).ok_or_else(ApiError::stream_not_found)?;
    if declared.stream.log().is_none() { Err(ApiError::stream_offline()) } else { Ok(declared) }
}

fn unreadable(error: &Unreadable) -> ApiError {
    tracing::warn!("A stream cannot be read: {error}");
    ApiError::general("the stream cannot be read")
}

pub(super) fn get(server: &Arc<Server>, name: &str, request: &Request) -> Result<Answer, ApiError> {
    let declared = declared(server, name)?;
    if request.body().is_empty() {
        return Err(ApiError::bad_request());
    }
    let wanted: Wanted = request.json()?;
    if wanted.is_empty() || wanted.contradicts_itself() || wanted.batch != 0 || !wanted.multi_last.is_empty() {
        return Err(ApiError::bad_request());
    }
    let Some(log) = declared.stream.log() else { return Err(ApiError::stream_offline()) };
    let found = wanted.find(log.log()).map_err(|e| unreadable(&e))?.ok_or_else(ApiError::no_message_found)?;
    let mut message = object(json!({
        "subject": String::from_utf8_lossy(&found.subject),
        "seq": found.seq,
        "time": rfc3339::format(found.ts_ns),
    }));
    if !found.headers.is_empty() && !wanted.no_hdr {
        message.insert("hdrs".to_owned(), json!(base64::encode(&found.headers)));
    }
    if !found.payload.is_empty() {
        message.insert("data".to_owned(), json!(base64::encode(&found.payload)));
    }
    Ok(object(json!({ "message": message })))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DeleteRequest {
    seq: u64,
}

pub(super) fn delete(server: &Arc<Server>, name: &str, request: &Request) -> Result<Answer, ApiError> {
    let declared = declared(server, name)?;
    if request.body().is_empty() {
        return Err(ApiError::bad_request());
    }
    let DeleteRequest { seq } = request.json()?;
    if declared.config.sealed {
        return Err(ApiError::stream_sealed());
    }
    if declared.config.deny_delete {
        return Err(ApiError::stream_msg_delete_failed("message delete not permitted"));
    }
    let Some(log) = declared.stream.log() else { return Err(ApiError::stream_offline()) };
    let log = log.log();
    if seq == 0 {
        return Err(ApiError::stream_msg_delete_failed("no message found"));
    }
    if seq > log.readable_seq() {
        return Err(ApiError::stream_msg_delete_failed("stream store EOF"));
    }
    match log.remove_now(vec![(seq, seq)]) {
        Ok(removed) if removed.messages > 0 => Ok(object(json!({ "success": true }))),
        Ok(_) => Err(ApiError::sequence_not_found(seq)),
        Err(error) => {
            tracing::warn!(stream = name, "A message cannot be removed: {error}");
            Err(ApiError::stream_msg_delete_failed("the removal could not be written"))
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PurgeRequest {
    filter: String,
    seq: u64,
    keep: u64,
}

pub(super) fn purge(server: &Arc<Server>, name: &str, request: &Request) -> Result<Answer, ApiError> {
    let declared = declared(server, name)?;
    let asked: PurgeRequest = request.json_if_any()?;
    if declared.config.sealed {
        return Err(ApiError::stream_sealed());
    }
    if declared.config.deny_purge {
        return Err(ApiError::stream_purge_failed("stream purge not permitted"));
    }
    if asked.seq > 0 && asked.keep > 0 {
        return Err(ApiError::bad_request());
    }
    let Some(log) = declared.stream.log() else { return Err(ApiError::stream_offline()) };
    let ranges = to_purge(log.log(), &asked).map_err(|e| unreadable(&e))?;
    let purged = if ranges.is_empty() { Ok(0) } else { log.log().remove_now(ranges).map(|removed| removed.messages) };
    match purged {
        Ok(purged) => Ok(object(json!({ "success": true, "purged": purged }))),
        Err(error) => {
            tracing::warn!(stream = name, "The stream cannot be purged: {error}");
            Err(ApiError::stream_purge_failed("the removal could not be written"))
        }
    }
}

/// The numbers that go.
fn to_purge(log: &Log, asked: &PurgeRequest) -> Result<Vec<(u64, u64)>, Unreadable> {
    let last = log.readable_seq();
    let to = if asked.seq > 0 { last.min(asked.seq - 1) } else { last };
    let filter = if asked.filter.is_empty() { ">" } else { &asked.filter };
    let Ok(filter) = SubjectFilter::parse(filter.as_bytes()) else { return Ok(Vec::new()) };
    if filter.is_everything() {
        let to = if asked.keep > 0 { before_newest(log, asked.keep)? } else { to };
        return Ok(if to == 0 { Vec::new() } else { vec![(1, to)] });
    }
    let mut numbers = Vec::new();
    log.select(FilterSet::from(filter), 1).visit(usize::MAX, &mut |visit| match visit {
        Visit::Record(record) if record.seq > to => ControlFlow::Break(()),
        Visit::Record(record) => {
            numbers.push(record.seq);
            ControlFlow::Continue(())
        }
        Visit::Lost(_) => ControlFlow::Continue(()),
    })?;
    numbers.truncate(numbers.len().saturating_sub(usize::try_from(asked.keep).unwrap_or(usize::MAX)));
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for seq in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => ranges.push((seq, seq)),
        }
    }
    Ok(ranges)
}

/// The number before the newest `keep` messages.
fn before_newest(log: &Log, keep: u64) -> Result<u64, Unreadable> {
    let mut left = keep;
    let mut first_kept = 1;
    log.reader().visit_backward(u64::MAX, &mut |visit| {
        if let Visit::Record(record) = visit {
            left -= 1;
            if left == 0 {
                first_kept = record.seq;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(first_kept - 1)
}
