//! Requests that begin backups.

use std::sync::Arc;

use super::super::config::json::Unknown;
use super::super::config::stream::StorageType;
use super::super::errors::ApiError;
use super::super::transfer::{backup, restore as taking};
use super::super::wire::requests::{RestoreRequest, SnapshotRequest};
use super::super::wire::responses::{RestoreBegun, SnapshotBegun};
use super::super::wire::{Kind, Response};
use super::{Answer, Request, answer, info};
use crate::account::Account;
use crate::capture::CAPTURE;

/// Begins to send a backup, when the client has the answer.
pub(super) fn snapshot(account: &Arc<Account>, name: &str, request: &Request, allowed: Result<(), ApiError>) -> Answer {
    match allowed.and_then(|()| begin_snapshot(account, name, request)) {
        Ok((begun, backup)) => {
            let state = begun.state.clone();
            let then = move |account: &Arc<Account>| backup.begin(account, &state);
            Answer { then: Some(Box::new(then)), ..answer(Kind::StreamSnapshot, Ok(begun)) }
        }
        Err(error) => answer(Kind::StreamSnapshot, Err::<SnapshotBegun, _>(error)),
    }
}

fn begin_snapshot(
    account: &Arc<Account>,
    name: &str,
    request: &Request,
) -> Result<(SnapshotBegun, backup::Backup), ApiError> {
    if request.body().is_empty() {
        return Err(ApiError::bad_request());
    }
    let declared = account.jetstream.get(name).ok_or_else(ApiError::stream_not_found)?;
    let asked = SnapshotRequest::parse(request.body(), Unknown::Ignore)?;
    let to = &asked.deliver_subject;
    if !backup::is_deliverable(account, name, to) || !request.may_have_delivered(to.as_bytes(), "") {
        return Err(ApiError::snapshot_deliver_subject_invalid());
    }
    if declared.config.storage == StorageType::Memory {
        return Err(ApiError::stream_snapshot("streams in memory have no backups"));
    }
    if name == CAPTURE {
        return Err(ApiError::stream_snapshot("CAPTURE is the server's own stream: sublog export copies it"));
    }
    let log = declared.stream.log().ok_or_else(ApiError::stream_offline)?;
    let mut state = info::state(log.log());
    state.consumer_count = declared.stream.consumers.len();
    let backup = backup::prepare(account, &declared, &asked, request.client.clone())?;
    Ok((SnapshotBegun { config: (*declared.config).clone(), state }, backup))
}

/// Gets ready to take a backup.
pub(super) fn restore(account: &Arc<Account>, name: &str, request: &Request, allowed: Result<(), ApiError>) -> Answer {
    match allowed.and_then(|()| begin_restore(account, name, request)) {
        Ok(restore) => {
            let begun = RestoreBegun { deliver_subject: restore.subject() };
            restore.begin(account);
            answer(Kind::StreamRestore, Ok(begun))
        }
        Err(error) => Response::with_error(Kind::StreamRestore, error, RestoreBegun::default()).into(),
    }
}

fn begin_restore(account: &Arc<Account>, name: &str, request: &Request) -> Result<taking::Restore, ApiError> {
    let asked = RestoreRequest::parse(name, request.body(), Unknown::Ignore)?;
    let config = account.jetstream.streams.check_restore(asked.config)?;
    taking::prepare(account, config, request.client.clone())
}
