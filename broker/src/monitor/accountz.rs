//! `/accountz`: the accounts there are, or one of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::http::{Answer, Asked, Refused};
use super::subsz::{self, Stats};
use super::text;
use crate::account;
use crate::clock;
use crate::server::Server;

/// What is asked for; the fields are those of a request of the system account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    account: String,
}

impl Options {
    /// About one account.
    pub(super) fn of(account: &str) -> Self {
        Self { account: account.to_owned() }
    }
}

impl Accountz {
    /// The account alone.
    pub(super) fn into_detail(self) -> Option<Account> {
        self.account_detail
    }
}

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Accountz {
    server_id: String,
    now: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_account: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accounts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_detail: Option<Account>,
}

/// One account.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    account_name: String,
    update_time: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_system: bool,
    expired: bool,
    complete: bool,
    jetstream_enabled: bool,
    leafnode_connections: u32,
    client_connections: usize,
    subscriptions: u64,
    name_tag: String,
    sublist_stats: Stats,
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    page(server, &Options { account: asked.text("acc").to_owned() }).map(|page| Answer::json(&page))
}

/// The page as it is now.
///
/// # Errors
/// There is no such account.
pub(super) fn page(server: &Server, options: &Options) -> Result<Accountz, Refused> {
    let (accounts, account_detail) = match options.account.as_str() {
        "" => (server.accounts.all().iter().map(|account| account.name.to_string()).collect(), None),
        name => match server.accounts.get(name) {
            Some(account) => (Vec::new(), Some(detail(server, &account))),
            None => return Err(Refused(format!("Account {name} does not exist"))),
        },
    };
    let system_account = server.accounts.system().map(|account| account.name.to_string());
    let now = text::time(clock::wall());
    Ok(Accountz { server_id: server.id.clone(), now, system_account, accounts, account_detail })
}

fn detail(server: &Server, account: &account::Account) -> Account {
    let name = account.name.to_string();
    Account {
        update_time: text::time(server.start),
        is_system: account.is_system(),
        expired: false,
        complete: true,
        jetstream_enabled: account.jetstream.is_enabled(),
        leafnode_connections: 0,
        client_connections: account.connections(),
        subscriptions: account.router.len() as u64,
        sublist_stats: subsz::stats(server, &name),
        name_tag: name.clone(),
        account_name: name,
    }
}
