//! What streams and the account are shown as.

use std::collections::BTreeMap;

use sublog_storage::Log;
use sublog_storage::index::{FilterSet, SubjectFilter};

use super::super::config::Time;
use super::super::config::stream::StorageType;
use super::super::errors::ApiError;
use super::super::read::{self, Unreadable};
use super::super::server_level;
use super::super::streams::Declared;
use super::super::wire::info::{AccountInfo, AccountLimits, StreamInfo, StreamState, Tier};
use super::super::wire::paging::SUBJECTS_MAX;
use crate::account::Account;
use crate::clock;

/// Removed numbers shown at most.
const DELETED_MAX: usize = 1_000_000;

/// The account: everything there is.
pub(in crate::jetstream) fn account(account: &Account) -> AccountInfo {
    let all = account.jetstream.streams.all();
    let limits =
        AccountLimits { memory_max_stream_bytes: -1, storage_max_stream_bytes: -1, ..AccountLimits::default() };
    let consumers = all.iter().map(|declared| declared.stream.consumers.len()).sum();
    let mut usage = Tier { streams: all.len(), consumers, limits, ..Tier::default() };
    for declared in &all {
        let bytes = declared.stream.log().map_or(0, |log| log.log().state().bytes);
        let reserved = u64::try_from(declared.config.max_bytes).unwrap_or(0);
        if declared.config.storage == StorageType::Memory {
            usage.memory += bytes;
            usage.reserved_memory += reserved;
        } else {
            usage.storage += bytes;
            usage.reserved_storage += reserved;
        }
    }
    // The request that asks is one of them.
    AccountInfo {
        usage,
        domain: account.shared.domain.name().to_owned(),
        api: account.jetstream.stats(),
        ..AccountInfo::default()
    }
}

/// A stream: configuration and state.
pub(crate) fn stream(account: &Account, declared: &Declared) -> StreamInfo {
    StreamInfo {
        config: declared.config.shown(&server_level()),
        created: Time::from_ns(declared.created_ns),
        state: StreamState {
            consumer_count: declared.stream.consumers.len(),
            ..declared.stream.log().map_or_else(StreamState::default, |log| state(log.log()))
        },
        domain: account.shared.domain.name().to_owned(),
        cluster: None,
        mirror: declared.stream.copies.mirror(),
        sources: declared.stream.copies.sources(),
        alternates: Vec::new(),
        ts: Time::from_ns(clock::unix_ns()),
    }
}

pub(in crate::jetstream) fn state(log: &Log) -> StreamState {
    let state = log.state();
    let time = |ns: i64| if ns == 0 { Time::NEVER } else { Time::from_ns(ns) };
    let has_any = state.messages > 0;
    let deleted = (state.last_seq + 1).saturating_sub(state.first_seq).saturating_sub(state.messages);
    let num_subjects = read::or_nothing(log.subject_count()).unwrap_or_else(|error| {
        tracing::warn!("Subjects of a stream cannot be counted: {error}");
        0
    });
    StreamState {
        messages: state.messages,
        bytes: state.bytes,
        first_seq: if state.last_seq == 0 { 0 } else { state.first_seq },
        first_ts: if has_any { time(state.first_ts_ns) } else { Time::NEVER },
        last_seq: state.last_seq,
        last_ts: time(state.last_ts_ns),
        num_subjects,
        num_deleted: if has_any { deleted } else { 0 },
        ..StreamState::default()
    }
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
pub(in crate::jetstream) fn subjects(
    log: &Log,
    filter: &[u8],
    offset: usize,
) -> Result<(BTreeMap<String, u64>, usize), ApiError> {
    let Ok(filter) = SubjectFilter::parse(filter) else { return Ok((BTreeMap::new(), 0)) };
    let mut found = BTreeMap::new();
    let mut total = 0_usize;
    let read = each_subject(log, &FilterSet::from(filter), &mut |subject, count| {
        if total >= offset && found.len() < SUBJECTS_MAX {
            found.insert(String::from_utf8_lossy(&subject).into_owned(), count);
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
pub(in crate::jetstream) fn deleted(log: &Log) -> Vec<u64> {
    let state = log.state();
    if state.messages == 0 {
        return Vec::new();
    }
    (state.first_seq..=state.last_seq).filter(|seq| log.is_removed(*seq)).take(DELETED_MAX).collect()
}
