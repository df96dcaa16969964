//! `/accountz`: the accounts there are, or one of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::http::{Answer, Asked, Refused};
use super::subsz::{self, Stats};
use super::{GLOBAL_ACCOUNT, text};
use crate::clock;
use crate::server::Server;

/// What is asked for; the fields are those of a request of the system account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    account: String,
}

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Accountz {
    server_id: String,
    now: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accounts: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_detail: Option<Account>,
}

/// One account.
#[derive(Debug, Serialize)]
struct Account {
    account_name: &'static str,
    update_time: String,
    expired: bool,
    complete: bool,
    jetstream_enabled: bool,
    leafnode_connections: u32,
    client_connections: usize,
    subscriptions: u64,
    name_tag: &'static str,
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
        "" => (vec![GLOBAL_ACCOUNT], None),
        GLOBAL_ACCOUNT => (Vec::new(), Some(global(server))),
        other => return Err(Refused(format!("Account {other} does not exist"))),
    };
    Ok(Accountz { server_id: server.id.clone(), now: text::time(clock::wall()), accounts, account_detail })
}

fn global(server: &Server) -> Account {
    Account {
        account_name: GLOBAL_ACCOUNT,
        update_time: text::time(server.start),
        expired: false,
        complete: true,
        jetstream_enabled: server.options.jetstream,
        leafnode_connections: 0,
        client_connections: server.connections(),
        subscriptions: server.router.len() as u64,
        name_tag: GLOBAL_ACCOUNT,
        sublist_stats: subsz::stats(server),
    }
}
