//! `/jsz`: streams and consumers. The capture stream is one of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sublog_storage::SyncMode;

use super::http::{self, Answer, Asked, Refused};
use super::text;
use crate::account;
use crate::clock;
use crate::jetstream::api::info;
use crate::jetstream::config::stream::StorageType;
use crate::jetstream::config::{StreamConfig, Time};
use crate::jetstream::consumer;
use crate::jetstream::streams::Declared;
use crate::jetstream::wire::info::{ApiStats, ClusterInfo, StreamState};
use crate::server::Server;

/// Accounts on a page if nobody says how many.
const LIMIT: i64 = 1024;

/// What is asked for; the fields are those of a request of the system account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    account: String,
    accounts: bool,
    streams: bool,
    consumer: bool,
    config: bool,
    offset: i64,
    limit: i64,
    raft: bool,
}

impl Options {
    /// Of one account.
    pub(super) fn of_account(&mut self, account: &str) {
        account.clone_into(&mut self.account);
    }
}

/// The page.
#[derive(Debug, Default, Serialize)]
pub(super) struct Jsz {
    #[serde(flatten)]
    usage: Usage,
    server_id: String,
    now: String,
    #[serde(skip_serializing_if = "is_false")]
    disabled: bool,
    config: JetStreamConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    streams: usize,
    #[serde(skip_serializing_if = "is_zero")]
    streams_leader: usize,
    consumers: usize,
    #[serde(skip_serializing_if = "is_zero")]
    consumers_leader: usize,
    messages: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    account_details: Vec<Account>,
    total: usize,
}

/// Limits of an operator's: there are none.
#[derive(Debug, Default, Serialize)]
struct Limits {}

/// What streams may use: as much as the disk has.
#[derive(Debug, Default, Serialize)]
pub(super) struct JetStreamConfig {
    max_memory: i64,
    max_storage: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    store_dir: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    domain: String,
    #[serde(skip_serializing_if = "is_nothing")]
    sync_interval: i64,
    #[serde(skip_serializing_if = "is_false")]
    sync_always: bool,
    #[serde(skip_serializing_if = "is_false")]
    compress_ok: bool,
}

/// What streams use.
#[derive(Debug, Default, Serialize)]
pub(super) struct Usage {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    accounts: u64,
    ha_assets: u64,
    api: ApiStats,
}

/// What an account has.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    name: String,
    id: String,
    #[serde(flatten)]
    usage: Usage,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stream_detail: Vec<Stream>,
}

/// What a stream is.
#[derive(Debug, Serialize)]
struct Stream {
    name: String,
    created: Time,
    cluster: ClusterInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<StreamConfig>,
    state: StreamState,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consumer_detail: Vec<Value>,
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn is_nothing(value: &i64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

impl JetStreamConfig {
    /// Of this server.
    pub(super) fn of(server: &Server) -> Self {
        let sync = server.options.capture.sync;
        Self {
            max_memory: -1,
            max_storage: -1,
            store_dir: server.options.store_dir.display().to_string(),
            domain: server.shared.domain.name().to_owned(),
            sync_interval: if let SyncMode::Interval(interval) = sync { text::ns(interval) } else { 0 },
            sync_always: sync == SyncMode::Always,
            compress_ok: true,
        }
    }
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    let options = Options {
        accounts: asked.switch("accounts")?,
        streams: asked.switch("streams")?,
        consumer: asked.switch("consumers")?,
        config: {
            asked.switch("direct-consumers")?;
            asked.switch("config")?
        },
        offset: asked.int("offset")?,
        limit: asked.int("limit")?,
        raft: {
            // This server leads all it has.
            asked.switch("leader-only")?;
            asked.switch("raft")?
        },
        account: {
            asked.switch("stream-leader-only")?;
            asked.text("acc").to_owned()
        },
    };
    Ok(Answer::json(&page(server, &options)))
}

/// The accounts that have streams, or may.
fn enabled(server: &Server) -> Vec<Arc<account::Account>> {
    server.accounts.all().into_iter().filter(|account| account.jetstream.is_enabled()).collect()
}

/// What streams use in all.
pub(super) fn usage(server: &Server) -> Usage {
    let accounts = enabled(server);
    let mut all = used(&accounts.iter().flat_map(|account| account.jetstream.all()).collect::<Vec<_>>());
    all.accounts = accounts.len() as u64;
    all.api = server.accounts.global.jetstream.api.stats();
    all
}

/// What these streams use.
fn used(streams: &[Declared]) -> Usage {
    let mut usage = Usage::default();
    for declared in streams {
        let bytes = declared.stream.log().map_or(0, |log| log.log().state().bytes);
        let reserved = u64::try_from(declared.config.max_bytes).unwrap_or(0);
        if declared.config.storage == StorageType::Memory {
            usage.memory += bytes;
            usage.reserved_memory += reserved;
        } else {
            usage.storage += bytes;
            usage.reserved_storage += reserved;
        }
    }
    usage
}

/// The page as it is now.
pub(super) fn page(server: &Server, options: &Options) -> Jsz {
    let (server_id, now) = (server.id.clone(), text::time(clock::wall()));
    if !server.options.jetstream {
        return Jsz { server_id, now, disabled: true, ..Jsz::default() };
    }
    let accounts = enabled(server);
    let all: Vec<Declared> = accounts.iter().flat_map(|account| account.jetstream.all()).collect();
    let states = all.iter().filter_map(|declared| declared.stream.log()).map(|log| log.log().state());
    let (messages, bytes) = states.fold((0, 0), |(m, b), state| (m + state.messages, b + state.bytes));
    let consumers = all.iter().map(|declared| declared.stream.consumers.len()).sum();
    let shown = shown(&accounts, options);
    let account_details = shown.iter().map(|one| account(server, options, one)).collect();
    Jsz {
        usage: usage(server),
        server_id,
        now,
        disabled: false,
        config: JetStreamConfig::of(server),
        limits: Some(Limits {}),
        streams: all.len(),
        streams_leader: if options.raft { all.len() } else { 0 },
        consumers,
        consumers_leader: if options.raft { consumers } else { 0 },
        messages,
        bytes,
        account_details,
        total: accounts.len(),
    }
}

/// What one account has.
///
/// # Errors
/// It has nothing of that kind.
pub(super) fn of_account(server: &Server, options: &Options) -> Result<Account, Refused> {
    let Some(found) = server.accounts.get(&options.account) else {
        return Err(Refused(format!("account {:?} not found", options.account)));
    };
    if !found.jetstream.is_enabled() {
        return Err(Refused(format!("account {:?} not jetstream enabled", options.account)));
    }
    Ok(account(server, options, &found))
}

/// The accounts that are shown one by one.
fn shown<'a>(accounts: &'a [Arc<account::Account>], options: &Options) -> &'a [Arc<account::Account>] {
    if !options.account.is_empty() {
        let at = accounts.iter().position(|account| *account.name == *options.account);
        return at.and_then(|at| accounts.get(at..=at)).unwrap_or_default();
    }
    if !(options.accounts || options.streams || options.consumer) {
        return &[];
    }
    // Accounts are paged; below 0 all are wanted.
    let limit = if options.limit == 0 { LIMIT } else { options.limit };
    if limit < 0 {
        return accounts;
    }
    accounts.get(http::page(accounts.len(), options.offset, limit)).unwrap_or_default()
}

fn account(server: &Server, options: &Options, account: &account::Account) -> Account {
    let all = account.jetstream.all();
    let used = used(&all);
    let shown = if options.streams || options.consumer { all.as_slice() } else { &[] };
    Account {
        name: account.name.to_string(),
        id: account.name.to_string(),
        usage: Usage {
            // What the account may use: no limit, as nats-server writes it.
            reserved_memory: u64::MAX,
            reserved_storage: u64::MAX,
            accounts: 0,
            api: ApiStats { level: 0, inflight: 0, ..account.jetstream.stats() },
            ..used
        },
        stream_detail: shown.iter().map(|declared| stream((server, account), options, declared)).collect(),
    }
}

fn stream((server, account): (&Server, &account::Account), options: &Options, declared: &Declared) -> Stream {
    let info = info::stream(account, declared);
    let consumers = if options.consumer { declared.stream.consumers.all() } else { Vec::new() };
    let consumer = |consumer: &Arc<consumer::Consumer>| {
        let mut info = serde_json::to_value(consumer::info::listed(account, consumer)).unwrap_or_default();
        if let Some(fields) = info.as_object_mut().filter(|_| !options.config) {
            fields.remove("config");
        }
        info
    };
    Stream {
        name: declared.config.name.clone(),
        created: info.created,
        cluster: ClusterInfo { leader: server.name().to_owned(), ..ClusterInfo::default() },
        config: options.config.then(|| StreamConfig::clone(&declared.config)),
        state: info.state,
        consumer_detail: consumers.iter().map(consumer).collect(),
    }
}
