//! Requests about the messages of a stream.

use std::sync::Arc;

use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{AppendError, Log, Purge, PurgeError, Record};

use super::super::config::Time;
use super::super::config::json::Unknown;
use super::super::consumer::machine::Removal;
use super::super::consumer::manage;
use super::super::copy::log::GAP_MAX;
use super::super::errors::ApiError;
use super::super::read::{self, Unreadable};
use super::super::stream::Stream;
use super::super::streams::Declared;
use super::super::wire::message::StoredMessage;
use super::super::wire::requests::{MsgDeleteRequest, MsgGetRequest, PurgeRequest};
use super::super::wire::responses::{Done, MessageFound, Purged};
use crate::account::Account;

/// Which message is wanted.
pub(super) trait Wanted {
    /// Whether nothing says which one.
    fn is_unsaid(&self) -> bool;
    /// Whether it says two things at once.
    fn contradicts_itself(&self) -> bool;
    /// The number from which on the next one is looked for.
    fn first_number(&self, log: &Log) -> Result<u64, Unreadable>;
    /// Finds it, if it is one message.
    fn find(&self, log: &Log) -> Result<Option<Record>, Unreadable>;
}

impl Wanted for MsgGetRequest {
    fn is_unsaid(&self) -> bool {
        self.seq == 0
            && self.last_by_subj.is_empty()
            && self.next_by_subj.is_empty()
            && self.multi_last.is_empty()
            && self.start_time.is_none()
    }

    fn contradicts_itself(&self) -> bool {
        let last = !self.last_by_subj.is_empty();
        let by_time = self.start_time.is_some();
        last && (self.seq > 0 || by_time || !self.next_by_subj.is_empty() || self.batch != 0) || self.seq > 0 && by_time
    }

    fn first_number(&self, log: &Log) -> Result<u64, Unreadable> {
        match self.start_time.and_then(Time::ns) {
            Some(ns) => Ok(log.seek_time(ns)?),
            None => Ok(self.seq.max(1)),
        }
    }

    fn find(&self, log: &Log) -> Result<Option<Record>, Unreadable> {
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
        read::next_matching(log, FilterSet::from(filter), self.first_number(log)?)
    }
}

/// A stream that is there, and its log, that can be read.
fn declared(account: &Account, name: &str) -> Result<Declared, ApiError> {
    let declared = account.jetstream.get(name).ok_or_else(ApiError::stream_not_found)?;
    if declared.stream.log().is_none() { Err(ApiError::stream_offline()) } else { Ok(declared) }
}

fn unreadable(error: &Unreadable) -> ApiError {
    tracing::warn!("A stream cannot be read: {error}");
    ApiError::general("the stream cannot be read")
}

pub(super) fn get(account: &Arc<Account>, name: &str, body: &[u8]) -> Result<MessageFound, ApiError> {
    let declared = declared(account, name)?;
    let wanted = MsgGetRequest::parse(body, Unknown::Ignore)?;
    if wanted.batch != 0 || !wanted.multi_last.is_empty() {
        return Err(ApiError::bad_request());
    }
    let log = declared.stream.log().ok_or_else(ApiError::stream_offline)?;
    let found = wanted.find(log.log()).map_err(|e| unreadable(&e))?.ok_or_else(ApiError::no_message_found)?;
    let message = StoredMessage {
        subject: String::from_utf8_lossy(&found.subject).into_owned(),
        seq: found.seq,
        hdrs: if wanted.no_hdr { Vec::new() } else { found.headers.to_vec() },
        data: found.payload.to_vec(),
        time: Time::from_ns(found.ts_ns),
    };
    Ok(MessageFound { message })
}

pub(super) fn delete(account: &Arc<Account>, name: &str, body: &[u8]) -> Result<Done, ApiError> {
    let declared = declared(account, name)?;
    let seq = MsgDeleteRequest::parse(body, Unknown::Ignore)?.seq;
    if declared.config.sealed {
        return Err(ApiError::stream_sealed());
    }
    if declared.config.deny_delete {
        return Err(ApiError::stream_msg_delete_failed("message delete not permitted"));
    }
    let log = declared.stream.log().ok_or_else(ApiError::stream_offline)?.log();
    if seq < log.state().first_seq.max(1) {
        return Err(ApiError::stream_msg_delete_failed("no message found"));
    }
    if seq > log.readable_seq() {
        return Err(ApiError::stream_msg_delete_failed("stream store EOF"));
    }
    let range = [(seq, seq)];
    match manage::removing(&declared.stream, &range, Removal::Limits, || log.remove_now(range.to_vec())) {
        Ok(removed) if removed.messages > 0 => Ok(Done::YES),
        Ok(_) => Err(ApiError::sequence_not_found(seq)),
        Err(error) => {
            tracing::warn!(stream = name, "A message cannot be removed: {error}");
            Err(ApiError::stream_msg_delete_failed("the removal could not be written"))
        }
    }
}

pub(super) fn purge(account: &Arc<Account>, name: &str, body: &[u8]) -> Result<Purged, ApiError> {
    let declared = declared(account, name)?;
    let asked = PurgeRequest::parse(body, Unknown::Ignore)?;
    if !body.trim_ascii().is_empty() && !body.trim_ascii_start().starts_with(b"{") {
        // What is no request at all must not be taken for one to remove everything.
        return Err(ApiError::invalid_json("an object is expected"));
    }
    if declared.config.sealed {
        return Err(ApiError::stream_sealed());
    }
    if declared.config.deny_purge {
        return Err(ApiError::stream_purge_failed("stream purge not permitted"));
    }
    let log = declared.stream.log().ok_or_else(ApiError::stream_offline)?.log();
    let filter = if asked.filter.is_empty() { ">" } else { &asked.filter };
    let Ok(filter) = SubjectFilter::parse(filter.as_bytes()) else { return Ok(Purged { success: true, purged: 0 }) };
    let before_seq = Some(asked.seq).filter(|&seq| seq > 0);
    let purge = Purge { filters: Some(FilterSet::from(filter)), before_seq, keep: asked.keep };
    let everything = matches!(asked.filter.as_str(), "" | ">");
    if everything && asked.seq.saturating_sub(log.readable_seq()) > GAP_MAX {
        return Err(ApiError::stream_purge_failed("the sequence is too far beyond the last"));
    }
    match purge_now(&declared.stream, log, purge) {
        Ok(purged) => {
            if everything && asked.seq > 0 {
                skip_to(log, asked.seq).map_err(|error| {
                    tracing::warn!(stream = name, "Sequences cannot be left out: {error}");
                    ApiError::stream_purge_failed("the next sequence could not be written")
                })?;
            }
            Ok(Purged { success: true, purged })
        }
        Err(PurgeError::Read(error)) => Err(unreadable(&error.into())),
        Err(PurgeError::Index(error)) => Err(unreadable(&error.into())),
        Err(PurgeError::Log(error)) => {
            tracing::warn!(stream = name, "The stream cannot be purged: {error}");
            Err(ApiError::stream_purge_failed("the removal could not be written"))
        }
    }
}

/// The next message gets at least this number; on disk when it returns.
fn skip_to(log: &Log, seq: u64) -> Result<(), AppendError> {
    if seq <= log.readable_seq() + 1 {
        return Ok(());
    }
    log.skip_to(seq)?;
    log.sync_now().map_err(AppendError::Failed)
}

/// Purges piece by piece, and tells the consumers of each. How many messages went.
fn purge_now(stream: &Stream, log: &Log, purge: Purge) -> Result<u64, PurgeError> {
    let mut purging = log.purge(purge)?;
    let mut messages = 0;
    while let Some(ranges) = purging.piece()? {
        if !ranges.is_empty() {
            let remove = || log.remove_now(ranges.clone());
            messages += manage::removing(stream, &ranges, Removal::Purge, remove)?.messages;
        }
    }
    Ok(messages)
}
