//! `/subsz`: the subscriptions of all connections, and how publishers find them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sublog_protocol::subject;

use super::http::{self, Answer, Asked, Refused};
use super::{GLOBAL_ACCOUNT, text};
use crate::account::Account;
use crate::client::Client;
use crate::client::shown::Listed;
use crate::clock;
use crate::router::cache::Facts;
use crate::server::Server;

/// Subscriptions on a page if nobody says how many.
const LIMIT: i64 = 1024;

/// What is asked for; the fields are those of a request of the system account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    offset: i64,
    limit: i64,
    subscriptions: bool,
    account: String,
    test: String,
}

impl Options {
    /// All of one account.
    pub(super) fn of_account(&mut self, account: &str) {
        self.subscriptions = true;
        account.clone_into(&mut self.account);
    }
}

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Subsz {
    server_id: String,
    now: String,
    #[serde(flatten)]
    stats: Stats,
    total: usize,
    offset: i64,
    limit: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<Subscription>,
}

/// How publishers find subscriptions: each connection has a cache of the subjects it publishes on.
#[derive(Debug, Default, Serialize)]
pub(super) struct Stats {
    num_subscriptions: u64,
    /// Subjects in all caches.
    num_cache: u64,
    num_inserts: u64,
    num_removes: u64,
    /// Look-ups: one a message of a client.
    num_matches: u64,
    /// How many of those were answered by a cache: 0 to 1.
    cache_hit_rate: f64,
    /// Subscriptions and queue groups that get one message, of the subjects in caches.
    max_fanout: u64,
    avg_fanout: f64,
}

/// One subscription.
#[derive(Debug, Serialize)]
pub(super) struct Subscription {
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    account_tag: String,
    subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    qgroup: String,
    sid: String,
    msgs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    cid: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Subscription {
    /// As it is shown among those of its connection.
    pub(super) fn of_connection(listed: &Listed) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            account: String::new(),
            account_tag: String::new(),
            subject: text(&listed.subject),
            qgroup: listed.queue.as_deref().map(text).unwrap_or_default(),
            sid: text(&listed.sid),
            msgs: listed.msgs,
            max: listed.max,
            cid: listed.cid,
        }
    }

    /// As it is shown among those of its account.
    pub(super) fn of_account(listed: &Listed, account: &str) -> Self {
        let account = account.to_owned();
        Self { account_tag: account.clone(), account, ..Self::of_connection(listed) }
    }
}

/// The accounts of that name, or all where there is none.
fn accounts(server: &Server, name: &str) -> Vec<Arc<Account>> {
    match name {
        "" => server.accounts.all(),
        name => server.accounts.get(name).into_iter().collect(),
    }
}

/// The subscriptions of those connections that `of` picks, replays among them, in no order.
pub(super) fn listed(server: &Server, account: &str, of: impl Fn(u64) -> bool) -> Vec<Listed> {
    let subscriptions = accounts(server, account)
        .into_iter()
        .flat_map(|account| account.router.subscriptions())
        .filter(|one| one.shadow.is_none());
    let subscriptions: Vec<_> = subscriptions.collect();
    let picked = subscriptions.iter().filter(|subscription| of(subscription.client.id));
    let mut all: Vec<Listed> = picked.map(|subscription| Listed::of(subscription)).collect();
    if server.stats.replays.load(Ordering::Relaxed) > 0 {
        let clients = server.clients();
        let is_of = |client: &&Arc<Client>| of(client.id) && (account.is_empty() || *client.account() == *account);
        all.extend(clients.iter().filter(is_of).flat_map(|client| Listed::replays(client)));
    }
    all
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    let options = Options {
        subscriptions: asked.switch("subs")?,
        offset: asked.int("offset")?,
        limit: asked.int("limit")?,
        test: asked.text("test").to_owned(),
        account: asked.text("acc").to_owned(),
    };
    page(server, &options).map(|page| Answer::json(&page))
}

/// The page as it is now.
///
/// # Errors
/// The subject to test is none.
pub(super) fn page(server: &Server, options: &Options) -> Result<Subsz, Refused> {
    let test = Some(options.test.as_str()).filter(|test| !test.is_empty());
    if let Some(test) = test
        && !subject::is_valid_literal(test.as_bytes())
    {
        return Err(Refused(format!("invalid test subject, must be valid publish subject: {test}")));
    }
    let limit = Some(options.limit).filter(|limit| *limit > 0).unwrap_or(LIMIT);
    let offset = options.offset.max(0);
    let mut found = Vec::new();
    if options.subscriptions {
        found = listed(server, &options.account, |_| true);
        if let Some(test) = test {
            found.retain(|listed| subject::matches(&listed.subject, test.as_bytes()));
        }
        // So that pages follow each other.
        found.sort_unstable_by(|a, b| (a.cid, a.sid.len(), &a.sid).cmp(&(b.cid, b.sid.len(), &b.sid)));
    }
    let clients: FxHashMap<u64, Arc<str>> = if found.is_empty() {
        FxHashMap::default()
    } else {
        server.clients().iter().map(|client| (client.id, client.account())).collect()
    };
    // Who is gone meanwhile was of some account all the same.
    let whose = |cid: u64| clients.get(&cid).map_or(GLOBAL_ACCOUNT, |account| account);
    let shown = found.get(http::page(found.len(), offset, limit)).unwrap_or_default();
    Ok(Subsz {
        server_id: server.id.clone(),
        now: text::time(clock::wall()),
        stats: stats(server, &options.account),
        total: found.len(),
        offset,
        limit,
        subscriptions_list: shown.iter().map(|one| Subscription::of_account(one, whose(one.cid))).collect(),
    })
}

/// How publishers find subscriptions.
pub(super) fn stats(server: &Server, account: &str) -> Stats {
    let (mut all, mut lookups, mut known) = (Facts::default(), 0, 0);
    let of_account = |client: &Arc<Client>| account.is_empty() || *client.account() == *account;
    for client in server.clients().iter().filter(|client| of_account(client)) {
        lookups += client.stats.in_msgs.load(Ordering::Relaxed);
        let facts = *client.cache.lock();
        all.subjects += facts.subjects;
        all.width += facts.width;
        all.widest = all.widest.max(facts.widest);
        all.misses += facts.misses;
    }
    let (mut num_inserts, mut num_removes) = (0, 0);
    for account in accounts(server, account) {
        let (inserts, removes) = account.router.changes();
        (num_inserts, num_removes) = (num_inserts + inserts, num_removes + removes);
        lookups += account.closed.in_msgs.load(Ordering::Relaxed);
        known += account.closed.misses.load(Ordering::Relaxed);
    }
    let misses = (all.misses + known).min(lookups);
    Stats {
        num_subscriptions: num_inserts.saturating_sub(num_removes),
        num_cache: all.subjects,
        num_inserts,
        num_removes,
        num_matches: lookups,
        cache_hit_rate: ratio(lookups - misses, lookups),
        max_fanout: all.widest,
        avg_fanout: ratio(all.width, all.subjects),
    }
}

/// A quotient, 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "it is looked at, not counted with")]
fn ratio(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}
