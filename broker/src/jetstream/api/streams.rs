//! Requests about streams.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use sublog_protocol::subject;

use super::super::definition::StreamConfig;
use super::super::errors::ApiError;
use super::super::streams::Declared;
use super::{Answer, Request, info, object};
use crate::capture::{CAPTURE, is_captured};
use crate::server::Server;

const NAMES_PAGE: usize = 1024;
const LIST_PAGE: usize = 256;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Paging {
    subject: String,
    offset: i64,
}

/// Names of streams, those only that a subject may go to if one is given.
pub(super) fn names(server: &Server, request: &Request) -> Answer {
    let paging: Paging = request.json_or_default();
    let (total, offset, page) = page(server, &paging, NAMES_PAGE);
    let names: Vec<&str> = page.iter().map(|stream| stream.config.name.as_str()).collect();
    let names = if names.is_empty() { Value::Null } else { json!(names) };
    object(json!({ "total": total, "offset": offset, "limit": NAMES_PAGE, "streams": names }))
}

/// The same with all about them.
pub(super) fn list(server: &Server, request: &Request) -> Answer {
    let paging: Paging = request.json_or_default();
    let (total, offset, page) = page(server, &paging, LIST_PAGE);
    let streams: Vec<Answer> = page.iter().map(info::stream).collect();
    let mut answer = json!({ "total": total, "offset": offset, "limit": LIST_PAGE, "streams": streams });
    let offline = page.iter().filter(|stream| stream.stream.log().is_none());
    let offline: serde_json::Map<String, Value> =
        offline.map(|stream| (stream.config.name.clone(), json!("the stream's log cannot be opened"))).collect();
    if !offline.is_empty()
        && let Some(answer) = answer.as_object_mut()
    {
        answer.insert("offline".to_owned(), Value::Object(offline));
    }
    object(answer)
}

fn page(server: &Server, paging: &Paging, limit: usize) -> (usize, usize, Vec<Declared>) {
    let mut all = server.jetstream.all();
    if !paging.subject.is_empty() {
        let wanted = paging.subject.as_bytes();
        all.retain(|stream| stream.config.subjects.iter().any(|own| subject::overlaps(own.as_bytes(), wanted)));
        // It has what no other takes: whoever looks for the stream of a subject means the other.
        if all.len() > 1 || !is_captured(wanted) {
            all.retain(|stream| stream.config.name != CAPTURE);
        }
    }
    let (total, offset) = (all.len(), usize::try_from(paging.offset).unwrap_or(0));
    let offset = offset.min(total);
    (total, offset, all.into_iter().skip(offset).take(limit).collect())
}

fn requested(name: &str, request: &Request) -> Result<StreamConfig, ApiError> {
    if request.body().is_empty() {
        return Err(ApiError::stream_mismatch());
    }
    let config: StreamConfig = request.json()?;
    if config.name != name {
        return Err(ApiError::stream_mismatch());
    }
    config.from_request()
}

pub(super) fn create(server: &Arc<Server>, name: &str, request: &Request) -> Result<Answer, ApiError> {
    let config = requested(name, request)?;
    let (declared, made) = server.jetstream.streams.create(config, &server.router)?;
    let mut answer = info::stream(&declared);
    if made {
        answer.insert("did_create".to_owned(), json!(true));
    }
    Ok(answer)
}

pub(super) fn update(server: &Arc<Server>, name: &str, request: &Request) -> Result<Answer, ApiError> {
    let config = requested(name, request)?;
    Ok(info::stream(&server.jetstream.streams.update(config, &server.router)?))
}

pub(super) fn delete(server: &Arc<Server>, name: &str) -> Result<Answer, ApiError> {
    if name == CAPTURE && server.capture.is_on() {
        return Err(ApiError::stream_delete("CAPTURE is the server's own stream: --capture=off ends it"));
    }
    server.jetstream.streams.delete(name, &server.router)?;
    Ok(object(json!({ "success": true })))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InfoRequest {
    deleted_details: bool,
    subjects_filter: String,
    offset: u64,
}

pub(super) fn info(server: &Arc<Server>, name: &str, request: &Request) -> Result<Answer, ApiError> {
    let asked: InfoRequest = request.json_if_any()?;
    let declared = server.jetstream.get(name).ok_or_else(ApiError::stream_not_found)?;
    let log = declared.stream.log().ok_or_else(ApiError::stream_offline)?;
    let mut answer = info::stream(&declared);
    let (mut total, mut limit) = (0, 0);
    let state = answer.get_mut("state").and_then(Value::as_object_mut);
    if let Some(state) = state {
        if asked.deleted_details {
            let deleted = info::deleted(log.log());
            if !deleted.is_empty() {
                state.insert("deleted".to_owned(), json!(deleted));
            }
        }
        if !asked.subjects_filter.is_empty() {
            let (subjects, all) = info::subjects(log.log(), asked.subjects_filter.as_bytes(), asked.offset)?;
            (total, limit) = (all, info::SUBJECTS_PAGE);
            if !subjects.is_empty() {
                state.insert("subjects".to_owned(), Value::Object(subjects));
            }
        }
    }
    answer.extend(object(json!({ "total": total, "offset": asked.offset, "limit": limit })));
    answer.insert("cluster".to_owned(), json!({ "leader": server.name() }));
    Ok(answer)
}
