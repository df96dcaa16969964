//! `/gatewayz`: other clusters. There are none, which is said in the form that tools read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::http::{Answer, Asked, Refused};
use super::text;
use crate::clock;
use crate::server::Server;

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Gatewayz {
    server_id: String,
    now: String,
    outbound_gateways: BTreeMap<String, ()>,
    inbound_gateways: BTreeMap<String, ()>,
}

/// The page as it is now.
pub(super) fn page(server: &Server) -> Gatewayz {
    Gatewayz {
        server_id: server.id.clone(),
        now: text::time(clock::wall()),
        outbound_gateways: BTreeMap::new(),
        inbound_gateways: BTreeMap::new(),
    }
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    asked.subs()?;
    asked.switch("accs")?;
    Ok(Answer::json(&page(server)))
}
