//! `/ipqueuesz`: requests that wait for a thread of the server. Names are those of nats-server where the queue is the
//! same thing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::http::{Answer, Asked, Refused};
use crate::server::Server;

/// What is asked for; the fields are those of a request of the system account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    /// Empty ones too.
    all: bool,
    /// Those whose name holds this.
    filter: String,
}

/// One queue.
#[derive(Debug, Serialize)]
pub(super) struct Queue {
    pending: usize,
    #[serde(skip_serializing_if = "is_zero")]
    in_progress: usize,
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    let options = Options { all: asked.switch("all")?, filter: asked.text("queues").to_owned() };
    Ok(Answer::json(&page(server, &options)))
}

/// The page as it is now.
pub(super) fn page(server: &Server, options: &Options) -> BTreeMap<&'static str, Queue> {
    let load = server.accounts.global.jetstream.api.load();
    let queues = [
        ("JetStream API queue", Queue { pending: load.waiting, in_progress: load.in_progress }),
        ("JetStream direct gets", Queue { pending: 0, in_progress: load.direct_gets }),
    ];
    let wanted = queues.into_iter().filter(|(name, queue)| {
        (options.all || queue.pending > 0 || queue.in_progress > 0) && name.contains(&options.filter)
    });
    wanted.collect()
}
