//! `/streamz`, a page of our own: each stream's log, its health and what reading it for damage found; its consumers.

use std::sync::Arc;

use serde_json::json;

use super::http::{Answer, Asked, Refused};
use crate::server::{Server, api};

pub(super) fn answer(server: &Arc<Server>, _: &Asked) -> Result<Answer, Refused> {
    Ok(Answer::json(&json!({ "streams": api::streams_with_consumers(server) })))
}
