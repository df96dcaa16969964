//! `/routez`: the other servers of a cluster. This server is alone, which is said in the form that tools read.

use std::sync::Arc;

use serde::Serialize;

use super::http::{Answer, Asked, Refused};
use super::text;
use crate::clock;
use crate::server::Server;

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Routez {
    server_id: String,
    server_name: String,
    now: String,
    num_routes: u32,
    routes: [(); 0],
}

/// The page as it is now.
pub(super) fn page(server: &Server) -> Routez {
    Routez {
        server_id: server.id.clone(),
        server_name: server.name().to_owned(),
        now: text::time(clock::wall()),
        num_routes: 0,
        routes: [],
    }
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    asked.subs()?;
    Ok(Answer::json(&page(server)))
}
