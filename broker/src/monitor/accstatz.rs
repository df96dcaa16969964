//! `/accstatz`: what each account sent and received.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::http::{Answer, Asked, Refused};
use super::varz::Traffic;
use super::{GLOBAL_ACCOUNT, text};
use crate::clock;
use crate::server::Server;

/// What is asked for; the fields are those of a request of the system account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    /// These only; nothing: all.
    accounts: Vec<String>,
    /// Those without connections too.
    include_unused: bool,
}

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Accstatz {
    server_id: String,
    now: String,
    account_statz: Vec<Account>,
}

/// One account.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    acc: &'static str,
    name: &'static str,
    conns: usize,
    leafnodes: u32,
    total_conns: usize,
    num_subscriptions: u64,
    sent: Data,
    received: Data,
    slow_consumers: u64,
}

/// Messages and bytes, of clients and of what else could be connected.
#[derive(Debug, Default, Serialize)]
struct Data {
    #[serde(flatten)]
    all: Count,
    gateways: Count,
    routes: Count,
    leafs: Count,
}

#[derive(Debug, Default, Serialize)]
struct Count {
    msgs: u64,
    bytes: u64,
}

impl Data {
    fn of(msgs: u64, bytes: u64) -> Self {
        Self { all: Count { msgs, bytes }, ..Self::default() }
    }
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    let options = Options { accounts: Vec::new(), include_unused: asked.switch("unused")? };
    Ok(Answer::json(&page(server, &options)))
}

/// The page as it is now.
pub(super) fn page(server: &Server, options: &Options) -> Accstatz {
    let wanted = options.accounts.is_empty() || options.accounts.iter().any(|name| name == GLOBAL_ACCOUNT);
    let account = Some(global(server)).filter(|account| wanted && (options.include_unused || account.conns > 0));
    Accstatz {
        server_id: server.id.clone(),
        now: text::time(clock::wall()),
        account_statz: account.into_iter().collect(),
    }
}

fn global(server: &Server) -> Account {
    let (conns, traffic) = (server.connections(), Traffic::of(server));
    Account {
        acc: GLOBAL_ACCOUNT,
        name: GLOBAL_ACCOUNT,
        conns,
        leafnodes: 0,
        total_conns: conns,
        num_subscriptions: server.router.len() as u64,
        // From the server's side: what it sent to clients.
        sent: Data::of(traffic.out_msgs, traffic.out_bytes),
        received: Data::of(traffic.in_msgs, traffic.in_bytes),
        slow_consumers: server.stats.slow_consumers.load(Ordering::Relaxed),
    }
}
