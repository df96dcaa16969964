//! `/accstatz`: what each account sent and received.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::http::{Answer, Asked, Refused};
use super::text;
use super::varz::Traffic;
use crate::account;
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

impl Options {
    /// About one account.
    pub(super) fn of_account(&mut self, account: &str) {
        self.accounts = vec![account.to_owned()];
    }

    /// Whether accounts without connections are wanted too.
    pub(super) fn wants_unused(&self) -> bool {
        self.include_unused
    }
}

impl Accstatz {
    /// Whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.account_statz.is_empty()
    }
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
    acc: String,
    name: String,
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
    let accounts: Vec<Arc<account::Account>> = match options.accounts.as_slice() {
        [] => server.accounts.all(),
        names => names.iter().filter_map(|name| server.accounts.get(name)).collect(),
    };
    let used = accounts.iter().filter(|account| options.include_unused || account.connections() > 0);
    let account_statz = used.map(|account| Account::of(server, account)).collect();
    Accstatz { server_id: server.id.clone(), now: text::time(clock::wall()), account_statz }
}

impl Account {
    /// As it is now.
    pub(super) fn of(server: &Server, account: &account::Account) -> Self {
        let (conns, traffic) = (account.connections(), Traffic::of_account(server, account));
        Self {
            acc: account.name.to_string(),
            name: account.options().name_tag.clone().unwrap_or_else(|| account.name.clone()).to_string(),
            conns,
            leafnodes: 0,
            total_conns: conns,
            num_subscriptions: account.router.len() as u64,
            // From the server's side: what it sent to clients.
            sent: Data::of(traffic.out_msgs, traffic.out_bytes),
            received: Data::of(traffic.in_msgs, traffic.in_bytes),
            slow_consumers: account.closed.slow_consumers.load(Ordering::Relaxed),
        }
    }
}
