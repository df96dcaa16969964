//! `/streamz`, a page of our own: each stream's log, its health and what reading it for damage found; its consumers.

use std::sync::Arc;

use serde_json::json;

use super::http::{Answer, Asked, Refused};
use crate::server::{Server, api};

pub(super) fn answer(server: &Arc<Server>, _: &Asked) -> Result<Answer, Refused> {
    let accounts = server.accounts.all();
    let streams: Vec<_> = accounts.iter().flat_map(|account| api::streams_with_consumers(server, account)).collect();
    Ok(Answer::json(&json!({ "streams": streams })))
}
