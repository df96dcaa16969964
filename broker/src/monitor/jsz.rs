//! `/jsz`: streams and consumers. The capture stream is one of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sublog_storage::SyncMode;

use super::http::{self, Answer, Asked, Refused};
use super::{GLOBAL_ACCOUNT, text};
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
struct Account {
    name: &'static str,
    id: &'static str,
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

/// What streams use in all.
pub(super) fn usage(server: &Server) -> Usage {
    let mut usage = Usage { accounts: 1, api: server.jetstream.api.stats(), ..Usage::default() };
    for declared in server.jetstream.all() {
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
    let all = server.jetstream.all();
    let states = all.iter().filter_map(|declared| declared.stream.log()).map(|log| log.log().state());
    let (messages, bytes) = states.fold((0, 0), |(m, b), state| (m + state.messages, b + state.bytes));
    let consumers = all.iter().map(|declared| declared.stream.consumers.len()).sum();
    let account_details = if shows_account(options) { vec![account(server, options, &all)] } else { Vec::new() };
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
        total: 1,
    }
}

fn shows_account(options: &Options) -> bool {
    if options.account == GLOBAL_ACCOUNT {
        return true;
    }
    let all = options.accounts || (options.account.is_empty() && (options.streams || options.consumer));
    // Accounts are paged; below 0 all are wanted.
    let limit = if options.limit == 0 { LIMIT } else { options.limit };
    all && (limit < 0 || !http::page(1, options.offset, limit).is_empty())
}

fn account(server: &Server, options: &Options, all: &[Declared]) -> Account {
    let used = usage(server);
    let shown = if options.streams || options.consumer { all } else { &[] };
    Account {
        name: GLOBAL_ACCOUNT,
        id: GLOBAL_ACCOUNT,
        usage: Usage {
            // What the account may use: no limit, as nats-server writes it.
            reserved_memory: u64::MAX,
            reserved_storage: u64::MAX,
            accounts: 0,
            api: ApiStats { level: 0, inflight: 0, ..used.api },
            ..used
        },
        stream_detail: shown.iter().map(|declared| stream(server, options, declared)).collect(),
    }
}

fn stream(server: &Server, options: &Options, declared: &Declared) -> Stream {
    let info = info::stream(declared);
    let consumers = if options.consumer { declared.stream.consumers.all() } else { Vec::new() };
    let consumer = |consumer: &Arc<consumer::Consumer>| {
        let mut info = serde_json::to_value(consumer::info::listed(server, consumer)).unwrap_or_default();
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
