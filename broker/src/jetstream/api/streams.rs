//! Requests about streams.

use std::sync::Arc;

use serde::Serialize;
use sublog_protocol::subject;

use super::super::advisories;
use super::super::config::json::Unknown;
use super::super::consumer::manage;
use super::super::copy;
use super::super::errors::ApiError;
use super::super::streams::Declared;
use super::super::wire::Kind;
use super::super::wire::info::{ClusterInfo, StreamInfo};
use super::super::wire::paging::{LIST_MAX, NAMES_MAX, Page, SUBJECTS_MAX};
use super::super::wire::requests::{StreamInfoRequest, StreamRequest, StreamsRequest, expect_empty};
use super::super::wire::responses::{Done, StreamCreated, StreamInfoPage, StreamNames};
use super::{Answer, Request, answer, info};
use crate::account::Account;
use crate::capture::{CAPTURE, is_captured};

/// Names of streams, those only that a subject may go to if one is given.
pub(super) fn names(account: &Account, request: &Request) -> Answer {
    let names = page(account, request.body(), NAMES_MAX).map(|(page, streams)| StreamNames {
        page,
        streams: streams.into_iter().map(|declared| declared.config.name.clone()).collect(),
    });
    answer(Kind::StreamNames, names)
}

/// A list of streams, with those that could not be opened by name besides.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    page: Page,
    streams: Vec<StreamInfo>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    offline: std::collections::BTreeMap<String, &'static str>,
}

/// The same with all about them.
pub(super) fn list(account: &Account, request: &Request) -> Answer {
    let list = page(account, request.body(), LIST_MAX).map(|(page, streams)| Listed {
        page,
        streams: streams.iter().map(|declared| info::stream(account, declared)).collect(),
        offline: streams
            .iter()
            .filter(|declared| declared.stream.log().is_none())
            .map(|declared| (declared.config.name.clone(), "the stream's log cannot be opened"))
            .collect(),
    });
    answer(Kind::StreamList, list)
}

fn page(account: &Account, body: &[u8], limit: usize) -> Result<(Page, Vec<Declared>), ApiError> {
    super::allowed(account, b"")?;
    let asked = StreamsRequest::parse(body, Unknown::Ignore)?;
    let mut all = account.jetstream.all();
    if !asked.subject.is_empty() {
        let wanted = asked.subject.as_bytes();
        all.retain(|stream| stream.config.subjects.iter().any(|own| subject::overlaps(own.as_bytes(), wanted)));
        // It has what no other takes: whoever looks for the stream of a subject means the other.
        if all.len() > 1 || !is_captured(wanted) {
            all.retain(|stream| stream.config.name != CAPTURE);
        }
    }
    let page = Page::new(all.len(), asked.offset, limit);
    Ok((page, page.pick(all.into_iter()).collect()))
}

pub(super) fn create(account: &Arc<Account>, name: &str, body: &[u8]) -> Result<StreamCreated, ApiError> {
    let request = StreamRequest::parse(name, body, Unknown::Ignore)?;
    let (declared, is_new) = account.jetstream.streams.create(request.config, request.pedantic, &account.router)?;
    // Also of one that was there already: that is what a single nats-server says.
    let did_create = true;
    if !is_new {
        return Ok(StreamCreated { info: info::stream(account, &declared), did_create });
    }
    // What is told is how it is before anything is copied.
    copy::announce(&declared);
    let info = info::stream(account, &declared);
    copy::start(account, &declared);
    advisories::stream_action(account, &declared.config.name, "CREATED", "create");
    Ok(StreamCreated { info, did_create })
}

pub(super) fn update(account: &Arc<Account>, name: &str, body: &[u8]) -> Result<StreamCreated, ApiError> {
    let request = StreamRequest::parse(name, body, Unknown::Ignore)?;
    let before = account.jetstream.get(name);
    let declared = account.jetstream.streams.update(request.config, request.pedantic, &account.router)?;
    manage::stream_changed(account, &declared);
    if let Some(before) = before {
        copy::changed(account, &before.config, &declared);
    }
    advisories::stream_action(account, name, "UPDATED", "modify");
    Ok(StreamCreated { info: info::stream(account, &declared), did_create: false })
}

pub(super) fn delete(account: &Arc<Account>, name: &str, body: &[u8]) -> Result<Done, ApiError> {
    expect_empty(body)?;
    if name == CAPTURE && account.capture.is_on() {
        return Err(ApiError::stream_delete("CAPTURE is the server's own stream: --capture=off ends it"));
    }
    let declared = account.jetstream.get(name);
    account.jetstream.streams.delete(name, &account.router)?;
    if let Some(declared) = declared {
        manage::delete_all(account, &declared.stream);
        copy::forget(account, &declared);
    }
    advisories::stream_action(account, name, "DELETED", "delete");
    Ok(Done::YES)
}

pub(super) fn info(account: &Arc<Account>, name: &str, body: &[u8]) -> Result<StreamInfoPage, ApiError> {
    let asked = StreamInfoRequest::parse(body, Unknown::Ignore)?;
    let declared = account.jetstream.get(name).ok_or_else(ApiError::stream_not_found)?;
    let log = declared.stream.log().ok_or_else(ApiError::stream_offline)?;
    let mut found = StreamInfoPage { page: Page::default(), info: info::stream(account, &declared) };
    if asked.deleted_details {
        found.info.state.deleted = info::deleted(log.log());
    }
    if !asked.subjects_filter.is_empty() {
        let offset = usize::try_from(asked.offset).unwrap_or(0);
        let (subjects, total) = info::subjects(log.log(), asked.subjects_filter.as_bytes(), offset)?;
        found.page = Page::new(total, asked.offset, SUBJECTS_MAX);
        found.info.state.subjects = subjects;
    }
    found.info.cluster = Some(ClusterInfo { leader: account.shared.server_name.clone(), ..ClusterInfo::default() });
    Ok(found)
}
