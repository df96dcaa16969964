//! `/leafz`: servers that are attached to this one. There are none, which is said in the form that tools read.

use std::sync::Arc;

use serde::Serialize;

use super::http::{Answer, Asked, Refused};
use super::text;
use crate::clock;
use crate::server::Server;

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Leafz {
    server_id: String,
    now: String,
    leafnodes: u32,
    leafs: [(); 0],
}

/// The page as it is now.
pub(super) fn page(server: &Server) -> Leafz {
    Leafz { server_id: server.id.clone(), now: text::time(clock::wall()), leafnodes: 0, leafs: [] }
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    asked.switch("subs")?;
    Ok(Answer::json(&page(server)))
}
