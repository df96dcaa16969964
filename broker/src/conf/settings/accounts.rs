//! `accounts` as types.

use super::authorization::{self, Permissions, User, all, text};
use super::read::size;
use super::{Finding, find};
use crate::conf::tree::{Map, Node, Position, Value};

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
    /// Whether it may have streams.
    pub jetstream: bool,
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
    /// Only these accounts; empty is all.
    pub accounts: Vec<String>,
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
    let users: Vec<User> = accounts.iter().flat_map(|account| account.users.iter().cloned()).collect();
    authorization::named_once(&users, &mut wrong);
    for import in accounts.iter().flat_map(|account| &account.imports) {
        if !accounts.iter().any(|account| account.name == import.account) {
            let text = format!("there is no account {:?} to import from", import.account);
            wrong.push(Finding { at: import.at.clone(), text });
        }
    }
    wrong
}

fn accounts(map: &Map, wrong: &mut Vec<Finding>) -> Vec<Account> {
    let Some(entry) = find(map, &["accounts"]) else { return Vec::new() };
    let Value::Map(named) = &entry.node.value else { return Vec::new() };
    let mut out = Vec::new();
    for entry in named.iter().filter(|entry| !entry.used) {
        let Value::Map(block) = &entry.node.value else { continue };
        let jetstream = find(block, &["jetstream"]).is_some_and(|entry| match &entry.node.value {
            Value::Bool(is) => *is,
            Value::Str(text) => text.to_ascii_lowercase().starts_with("enable"),
            _ => true,
        });
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
    let accounts = find(block, &["accounts"]).map(|entry| all(&entry.node)).unwrap_or_default();
    Some(Export { at: node.at.clone(), subject, service, accounts })
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
    let (to, prefix) = (text(block, &["to"]), text(block, &["prefix"]));
    Some(Import { at: node.at.clone(), account, subject, service, to, prefix })
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
