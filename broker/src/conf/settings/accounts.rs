//! `accounts` as types.

pub(crate) mod agree;

use std::time::Duration;

use sublog_protocol::subject;

use super::authorization::{self, Permissions, User, all, text};
use super::read::{duration, size};
use super::{Finding, find};
use crate::auth::users::GLOBAL_ACCOUNT;
use crate::conf::tree::{Map, Node, Position, Value};
use crate::config::accounts::Response;
use crate::jetstream::config::Limits as StreamLimits;
use crate::jetstream::config::transform::{Transform, validate_mapping};

/// A space of subjects of its own, with its users.
#[derive(Debug, Clone)]
pub struct Account {
    /// As the configuration names it.
    pub name: String,
    /// Where it stands.
    pub at: Position,
    /// Its public key.
    pub nkey: Option<String>,
    /// Who belongs to it.
    pub users: Vec<User>,
    /// What users without permissions of their own may do.
    pub default_permissions: Option<Permissions>,
    /// What others may take from it.
    pub exports: Vec<Export>,
    /// What it takes from others.
    pub imports: Vec<Import>,
    /// Bounds on all its connections together.
    pub limits: AccountLimits,
    /// Whether it may have streams, and which.
    pub jetstream: Option<StreamLimits>,
    /// Where its messages go instead.
    pub mappings: Vec<Mapping>,
}

/// Where messages on a subject go instead.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The subject, with wildcards.
    pub source: String,
    /// Percent of the messages, and where they go; no transform: where they would have gone.
    pub destinations: Vec<(u8, Option<Transform>)>,
}

/// What others may take from an account.
#[derive(Debug, Clone)]
pub struct Export {
    /// Where it stands.
    pub at: Position,
    /// Subject, with wildcards.
    pub subject: String,
    /// A service answers, a stream tells.
    pub service: bool,
    /// Only these accounts; `None` is all. An empty list opens no door.
    pub accounts: Option<Vec<String>>,
    /// How many answers a service gives.
    pub response: Response,
    /// How long it may take.
    pub threshold: Option<Duration>,
    /// Which token, from 1 on, names the account that imports; 0: none does.
    pub account_token: usize,
}

/// What an account takes from another one.
#[derive(Debug, Clone)]
pub struct Import {
    /// Where it stands.
    pub at: Position,
    /// The other one.
    pub account: String,
    /// Subject there.
    pub subject: String,
    /// A service answers, a stream tells.
    pub service: bool,
    /// Subject here, where it is another one.
    pub to: Option<String>,
    /// First tokens before the subject here.
    pub prefix: Option<String>,
    /// Whether the other account is told who asks.
    pub share: bool,
}

/// Bounds of one account; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Connections.
    pub max_connections: Option<u64>,
    /// Subscriptions of one connection.
    pub max_subscriptions: Option<u64>,
    /// Bytes of one message.
    pub max_payload: Option<u64>,
}

/// Reads the accounts of a checked tree.
pub(super) fn read(map: &Map) -> Vec<Account> {
    accounts(map, &mut Vec::new())
}

/// What the kinds of values do not tell.
pub(super) fn check(map: &Map) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let accounts = accounts(map, &mut wrong);
    let mut users = authorization::read(map).map(|block| block.users).unwrap_or_default();
    users.extend(accounts.iter().flat_map(|account| account.users.iter().cloned()));
    authorization::named_once(&users, &mut wrong);
    if let Some(entry) = find(map, &["mappings", "maps"]) {
        mappings(&entry.node, &mut wrong);
    }
    single_user(map, &accounts, &mut wrong);
    agree::check(&accounts, &mut wrong);
    wrong
}

fn accounts(map: &Map, wrong: &mut Vec<Finding>) -> Vec<Account> {
    let Some(entry) = find(map, &["accounts"]) else { return Vec::new() };
    let Value::Map(named) = &entry.node.value else { return Vec::new() };
    let mut out = Vec::new();
    for entry in named.iter().filter(|entry| !entry.used) {
        let Value::Map(block) = &entry.node.value else { continue };
        if entry.key == GLOBAL_ACCOUNT {
            wrong.push(Finding { at: entry.at.clone(), text: format!("{:?} is a Reserved Account", entry.key) });
        }
        let jetstream = find(block, &["jetstream"]).and_then(|entry| streams(&entry.node.value));
        let mapped = find(block, &["mappings", "maps"]).map(|entry| mappings(&entry.node, wrong));
        out.push(Account {
            name: entry.key.clone(),
            at: entry.at.clone(),
            nkey: text(block, &["nkey"]),
            users: find(block, &["users"]).map(|entry| authorization::users(&entry.node, wrong)).unwrap_or_default(),
            default_permissions: find(block, &["default_permissions"])
                .and_then(|entry| authorization::permissions(&entry.node, &entry.at, wrong)),
            exports: list(block, "exports", |node| export(node, wrong)),
            imports: list(block, "imports", |node| import(node, wrong)),
            limits: limits(block),
            jetstream,
            mappings: mapped.unwrap_or_default(),
        });
    }
    out
}

fn list<T>(block: &Map, name: &str, read: impl FnMut(&Node) -> Option<T>) -> Vec<T> {
    match find(block, &[name]).map(|entry| &entry.node.value) {
        Some(Value::Array(nodes)) => nodes.iter().filter_map(read).collect(),
        _ => Vec::new(),
    }
}

fn export(node: &Node, wrong: &mut Vec<Finding>) -> Option<Export> {
    let Value::Map(block) = &node.value else { return None };
    let (subject, service) = match (text(block, &["stream"]), text(block, &["service"])) {
        (Some(subject), None) => (subject, false),
        (None, Some(subject)) => (subject, true),
        _ => {
            wrong.push(Finding { at: node.at.clone(), text: "an export is either a stream or a service".to_owned() });
            return None;
        }
    };
    let response = text(block, &["response_type", "response"]).map(|word| word.to_ascii_lowercase());
    let threshold = find(block, &["response_threshold", "threshold", "response_max_time", "response_time"]);
    if !service && (response.is_some() || threshold.is_some()) {
        wrong.push(Finding { at: node.at.clone(), text: "Detected response directive on non-service".to_owned() });
    }
    let account_token = match find(block, &["account_token_position"]).map(|entry| &entry.node.value) {
        Some(Value::Int(position)) => usize::try_from(*position).unwrap_or(usize::MAX),
        _ => 0,
    };
    let accounts = find(block, &["accounts"]).map(|entry| all(&entry.node));
    agree::check_export(&subject, accounts.as_deref(), account_token)
        .unwrap_or_else(|text| wrong.push(Finding { at: node.at.clone(), text }));
    Some(Export {
        at: node.at.clone(),
        subject,
        service,
        accounts,
        response: match response.as_deref() {
            Some("stream") => Response::Stream,
            Some("chunk" | "chunked") => Response::Chunked,
            _ => Response::Singleton,
        },
        threshold: threshold.and_then(|entry| duration(&entry.node.value).ok()).filter(|span| !span.is_zero()),
        account_token,
    })
}

fn import(node: &Node, wrong: &mut Vec<Finding>) -> Option<Import> {
    let Value::Map(block) = &node.value else { return None };
    let (source, service) = match (find(block, &["stream"]), find(block, &["service"])) {
        (Some(source), None) => (source, false),
        (None, Some(source)) => (source, true),
        _ => {
            wrong.push(Finding { at: node.at.clone(), text: "an import is either a stream or a service".to_owned() });
            return None;
        }
    };
    let Value::Map(from) = &source.node.value else { return None };
    let (Some(account), Some(subject)) = (text(from, &["account"]), text(from, &["subject"])) else {
        wrong.push(Finding { at: source.at.clone(), text: "an import needs account and subject".to_owned() });
        return None;
    };
    let some = |names: &[&str]| text(block, names).filter(|text| !text.is_empty());
    let (to, prefix) = (some(&["to"]), some(&["prefix"]));
    if !service && to.is_some() && prefix.is_some() {
        let text = "Stream import can not have a 'prefix' and a 'to' property".to_owned();
        wrong.push(Finding { at: node.at.clone(), text });
    }
    let share = matches!(find(block, &["share"]).map(|entry| &entry.node.value), Some(Value::Bool(true)));
    let import = Import { at: node.at.clone(), account, subject, service, to, prefix, share };
    if let Err(text) = agree::subjects(&import) {
        wrong.push(Finding { at: node.at.clone(), text });
        return None;
    }
    Some(import)
}

/// The streams an account may have, if any.
fn streams(value: &Value) -> Option<StreamLimits> {
    match value {
        Value::Bool(is) => is.then(StreamLimits::default),
        Value::Str(text) => text.to_ascii_lowercase().starts_with("enable").then(StreamLimits::default),
        Value::Map(block) => {
            let number = |names: &[&str]| {
                let found = find(block, names).and_then(|entry| size(&entry.node.value).ok());
                found.filter(|number| *number > 0).unwrap_or(0)
            };
            let is = |names: &[&str]| find(block, names).map(|entry| entry.node.value == Value::Bool(true));
            is(&["enabled", "enable"]).unwrap_or(true).then(|| StreamLimits {
                max_streams: usize::try_from(number(&["max_streams", "streams"])).unwrap_or(0),
                max_consumers: number(&["max_consumers", "consumers"]),
                max_ack_pending: number(&["max_ack_pending"]),
                memory_max_stream_bytes: number(&["memory_max_stream_bytes", "mem_max_stream_bytes"]),
                storage_max_stream_bytes: number(&["disk_max_stream_bytes", "store_max_stream_bytes"]),
                max_bytes_required: is(&["max_bytes_required", "max_stream_bytes", "max_bytes"]).unwrap_or(false),
                ..StreamLimits::default()
            })
        }
        _ => None,
    }
}

/// Mappings of the default account.
pub(super) fn of_global(map: &Map) -> Vec<Mapping> {
    find(map, &["mappings", "maps"]).map(|entry| mappings(&entry.node, &mut Vec::new())).unwrap_or_default()
}

fn mappings(node: &Node, wrong: &mut Vec<Finding>) -> Vec<Mapping> {
    let Value::Map(block) = &node.value else { return Vec::new() };
    let mut out: Vec<Mapping> = Vec::new();
    for entry in block.iter().filter(|entry| !entry.used) {
        match mapping(&entry.key, &entry.node.value) {
            Ok(mapping) => out.push(mapping),
            Err(text) => wrong.push(Finding { at: entry.at.clone(), text }),
        }
    }
    out
}

fn mapping(source: &str, value: &Value) -> Result<Mapping, String> {
    let mut given: Vec<(u8, String)> = Vec::new();
    let blocks: Vec<&Value> = match value {
        Value::Str(to) => {
            given.push((100, to.clone()));
            Vec::new()
        }
        Value::Array(nodes) => nodes.iter().map(|node| &node.value).collect(),
        one => vec![one],
    };
    for block in blocks {
        let Value::Map(block) = block else { continue };
        let to = text(block, &["destination", "dest"]).unwrap_or_default();
        let weight = match find(block, &["weight"]).map(|entry| &entry.node.value) {
            None => return Err(format!("Missing weight for mapping destination {to:?}")),
            Some(Value::Int(weight)) => weight.to_string(),
            Some(Value::Str(text)) => text.strip_suffix('%').unwrap_or(text).to_owned(),
            Some(_) => String::new(),
        };
        let percent = weight.parse().ok().filter(|percent: &u8| *percent <= 100);
        let percent = percent.ok_or_else(|| format!("Invalid weight {weight:?} for mapping destination"))?;
        // This server is in no cluster.
        if find(block, &["cluster"]).is_none() {
            given.push((percent, to));
        }
    }
    mapped(source, given)
}

/// A mapping to these destinations, each with its share in percent.
pub(crate) fn mapped(source: &str, given: Vec<(u8, String)>) -> Result<Mapping, String> {
    if !subject::is_valid_filter(source.as_bytes()) {
        return Err(format!("Subject {source:?} is not a valid subject"));
    }
    let failed = |why: &dyn std::fmt::Display| format!("Error adding mapping for {source:?} : {why}");
    let (mut total, mut destinations) = (0_u32, Vec::new());
    for (at, (percent, to)) in given.iter().enumerate() {
        if given.iter().take(at).any(|(_, other)| other == to) {
            return Err(failed(&format_args!("duplicate entry for {to:?}")));
        }
        total += u32::from(*percent);
        if total > 100 {
            return Err(failed(&"total weight needs to be <= 100"));
        }
        validate_mapping(source, to).map_err(|error| failed(&error))?;
        let transform = if to == source { None } else { Transform::new(source, to).map_err(|error| failed(&error))? };
        destinations.push((*percent, transform));
    }
    if total < 100 && !given.iter().any(|(_, to)| to == source) {
        // What is left goes where it would have gone, unless that was said to be less.
        destinations.push((u8::try_from(100 - total).unwrap_or(100), None));
    }
    Ok(Mapping { source: source.to_owned(), destinations })
}

/// Whoever is alone in `authorization` cannot be beside users of accounts.
fn single_user(map: &Map, accounts: &[Account], wrong: &mut Vec<Finding>) {
    let Some(first) = accounts.iter().flat_map(|account| &account.users).next() else { return };
    let Some(Value::Map(block)) = find(map, &["authorization"]).map(|entry| &entry.node.value) else { return };
    for (names, text) in [
        (["user", "username"].as_slice(), "Can not have a single user/pass and accounts"),
        (["password", "pass"].as_slice(), "Can not have a single user/pass and accounts"),
        (["token"].as_slice(), "Can not have a token and accounts"),
    ] {
        if find(block, names).is_some() {
            wrong.push(Finding { at: first.at.clone(), text: text.to_owned() });
            return;
        }
    }
}

fn limits(block: &Map) -> AccountLimits {
    let Some(Value::Map(block)) = find(block, &["limits"]).map(|entry| &entry.node.value) else {
        return AccountLimits::default();
    };
    let bound = |names: &[&str]| {
        let bound = find(block, names).and_then(|entry| size(&entry.node.value).ok());
        bound.and_then(|bound| u64::try_from(bound).ok())
    };
    AccountLimits {
        max_connections: bound(&["max_connections", "max_conn"]),
        max_subscriptions: bound(&["max_subscriptions", "max_subs"]),
        max_payload: bound(&["max_payload", "max_pay"]),
    }
}
