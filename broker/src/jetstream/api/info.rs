//! What streams and the account are shown as.

use serde_json::{Map, Value, json};
use sublog_storage::Log;
use sublog_storage::index::{FilterSet, SubjectFilter};

use super::super::errors::ApiError;
use super::super::read::{self, Unreadable};
use super::super::streams::Declared;
use super::{Answer, object};
use crate::clock;
use crate::rfc3339;
use crate::server::Server;

/// Subjects shown at a time.
pub(super) const SUBJECTS_PAGE: usize = 100_000;
/// Removed numbers shown at most.
const DELETED_MAX: usize = 1_000_000;
/// A time that is none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The account: everything there is.
pub(super) fn account(server: &Server) -> Answer {
    use std::sync::atomic::Ordering;
    let all = server.jetstream.streams.all();
    let (mut memory, mut storage, mut reserved_memory, mut reserved_storage) = (0, 0, 0, 0);
    for declared in &all {
        let bytes = declared.stream.log().map_or(0, |log| log.log().state().bytes);
        let reserved = declared.config.max_bytes.max(0);
        if declared.config.storage == super::super::definition::Kept::Memory {
            memory += bytes;
            reserved_memory += reserved;
        } else {
            storage += bytes;
            reserved_storage += reserved;
        }
    }
    let api = &server.jetstream.api;
    object(json!({
        "memory": memory,
        "storage": storage,
        "reserved_memory": reserved_memory,
        "reserved_storage": reserved_storage,
        "streams": all.len(),
        "consumers": 0,
        "limits": {
            "max_memory": -1,
            "max_storage": -1,
            "max_streams": -1,
            "max_consumers": -1,
            "max_ack_pending": -1,
            "memory_max_stream_bytes": -1,
            "storage_max_stream_bytes": -1,
            "max_bytes_required": false,
        },
        "api": {
            "level": 0,
            "total": api.total.load(Ordering::Relaxed),
            "errors": api.errors.load(Ordering::Relaxed),
        },
    }))
}

/// A stream: configuration and state.
pub(super) fn stream(declared: &Declared) -> Answer {
    object(json!({
        "config": &*declared.config,
        "created": rfc3339::format(declared.created_ns),
        "state": declared.stream.log().map_or_else(|| Value::Object(Map::new()), |log| state(log.log())),
        "ts": rfc3339::format(clock::unix_ns()),
    }))
}

fn state(log: &Log) -> Value {
    let state = log.state();
    let time = |ns: i64| if ns == 0 { NO_TIME.to_owned() } else { rfc3339::format(ns) };
    let unused = state.last_seq == 0;
    let mut shown = json!({
        "messages": state.messages,
        "bytes": state.bytes,
        "first_seq": if unused { 0 } else { state.first_seq },
        "first_ts": time(if state.messages == 0 { 0 } else { state.first_ts_ns }),
        "last_seq": state.last_seq,
        "last_ts": time(state.last_ts_ns),
        "consumer_count": 0,
    });
    let deleted = (state.last_seq + 1).saturating_sub(state.first_seq).saturating_sub(state.messages);
    if let Some(members) = shown.as_object_mut() {
        match count_subjects(log) {
            Ok(0) => {}
            Ok(subjects) => {
                members.insert("num_subjects".to_owned(), json!(subjects));
            }
            Err(error) => tracing::warn!("Subjects of a stream cannot be counted: {error}"),
        }
        if deleted > 0 && state.messages > 0 {
            members.insert("num_deleted".to_owned(), json!(deleted));
        }
    }
    shown
}

fn everything() -> FilterSet {
    FilterSet::new(SubjectFilter::parse(b">").into_iter().collect())
}

fn count_subjects(log: &Log) -> Result<usize, Unreadable> {
    let mut count = 0;
    each_subject(log, &everything(), &mut |_, _| count += 1)?;
    Ok(count)
}

fn each_subject(log: &Log, filters: &FilterSet, f: &mut dyn FnMut(Vec<u8>, u64)) -> Result<(), Unreadable> {
    const PAGE: usize = 10_000;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = read::or_nothing(log.subjects(filters, after.as_deref(), PAGE))?;
        let full = page.len() == PAGE;
        after = page.last().map(|(subject, _)| subject.clone());
        page.into_iter().for_each(|(subject, state)| f(subject, state.count));
        if !full {
            return Ok(());
        }
    }
}

/// A page of subjects with their counts, and how many match in all.
pub(super) fn subjects(log: &Log, filter: &[u8], offset: u64) -> Result<(Map<String, Value>, usize), ApiError> {
    let Ok(filter) = SubjectFilter::parse(filter) else { return Ok((Map::new(), 0)) };
    let mut found = Map::new();
    let (mut total, offset) = (0_usize, usize::try_from(offset).unwrap_or(usize::MAX));
    let read = each_subject(log, &FilterSet::from(filter), &mut |subject, count| {
        if total >= offset && found.len() < SUBJECTS_PAGE {
            found.insert(String::from_utf8_lossy(&subject).into_owned(), json!(count));
        }
        total += 1;
    });
    match read {
        Ok(()) => Ok((found, total)),
        Err(error) => {
            tracing::warn!("Subjects of a stream cannot be read: {error}");
            Err(ApiError::general("the stream's subjects cannot be read"))
        }
    }
}

/// Removed numbers between those that are there.
pub(super) fn deleted(log: &Log) -> Vec<u64> {
    let state = log.state();
    if state.messages == 0 {
        return Vec::new();
    }
    (state.first_seq..=state.last_seq).filter(|seq| log.is_removed(*seq)).take(DELETED_MAX).collect()
}
