//! `/accountz`: the accounts there are, or one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::http::{Answer, Asked, Refused};
use super::subsz::{self, Stats};
use super::text;
use crate::account;
use crate::jwt::valid;
use crate::operator::{self, Loaded};
use crate::server::Server;
use crate::{clock, rfc3339};

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
    #[serde(skip_serializing_if = "String::is_empty")]
    jwt: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    issuer_key: String,
    name_tag: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded_jwt: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    validation_result_jwt: Vec<Issue>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    revoked_user: BTreeMap<String, String>,
    sublist_stats: Stats,
}

/// Something that is wrong with a token.
#[derive(Debug, Serialize)]
struct Issue {
    description: String,
    blocking: bool,
    time_check: bool,
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
    let operator = server.operator.as_ref();
    let loaded = operator.and_then(|operator| operator.find(&name));
    let loaded = loaded.as_deref();
    let (claims, now) = (loaded.map(|loaded| &loaded.token), operator::now());
    let jwt = loaded.and_then(|loaded| loaded.jwt.as_ref());
    let issue =
        |issue: valid::Issue| Issue { description: issue.text, blocking: issue.blocking, time_check: issue.of_time };
    let issues = claims.filter(|_| jwt.is_some()).map(|claims| claims.issues(now).0).unwrap_or_default();
    let time = |seconds: i64| rfc3339::format(seconds.saturating_mul(1_000_000_000));
    let revoked = loaded.into_iter().flat_map(Loaded::revoked);
    Account {
        update_time: text::time(loaded.map_or(server.start, |loaded| loaded.updated)),
        is_system: account.is_system(),
        expired: loaded.is_some_and(|loaded| loaded.has_expired(now)),
        complete: operator.is_none_or(|operator| operator.is_complete(&name)),
        jwt: jwt.map(|jwt| jwt.text().to_owned()).unwrap_or_default(),
        issuer_key: claims.map(|claims| claims.claims.iss.clone()).unwrap_or_default(),
        tags: claims.map(|claims| claims.body.tags.clone()).unwrap_or_default(),
        decoded_jwt: claims.filter(|_| jwt.is_some()).map(|claims| claims.payload.clone()),
        validation_result_jwt: issues.into_iter().map(issue).collect(),
        revoked_user: revoked.map(|(key, since)| (key.to_owned(), time(since))).collect(),
        jetstream_enabled: account.jetstream.is_enabled(),
        leafnode_connections: 0,
        client_connections: account.connections(),
        subscriptions: account.router.len() as u64,
        sublist_stats: subsz::stats(server, &name),
        name_tag: account.options().name_tag.as_ref().map_or_else(|| name.clone(), |tag| tag.to_string()),
        account_name: name,
    }
}
