//! `/streamz`, a page of our own: each stream's log, its health and what reading it for damage found; its consumers.

use std::sync::Arc;

use serde_json::json;

use super::http::{self, Answer, Asked, Refused};
use crate::server::{Server, api};

/// Streams shown, unless `limit` says otherwise.
const LIMIT: i64 = 1024;

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    let offset = asked.int("offset")?.max(0);
    let limit = match asked.int("limit")? {
        limit if limit <= 0 => LIMIT,
        limit => limit,
    };
    let mut streams = api::streams(server);
    let total = streams.len();
    let mut shown: Vec<_> = streams.drain(http::page(total, offset, limit)).collect();
    api::add_consumers(server, &mut shown);
    Ok(Answer::json(&json!({ "total": total, "offset": offset, "limit": limit, "streams": shown })))
}
