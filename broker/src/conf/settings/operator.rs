//! Operators and where accounts are found, as the file says it. What is in the tokens is read by whoever starts the server:
//! they may be files.

use super::authorization::text;
use super::read::{duration, texts};
use super::{find, keys};
use crate::conf::tree::{Map, Node, Position, Value};

/// A text, and where it stands.
pub type Placed = (String, Position);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Operator {
    /// Tokens, or files that hold them.
    pub operators: Vec<Placed>,
    /// Keys that are trusted without a token.
    pub trusted: Vec<Placed>,
    /// Where accounts are found.
    pub resolver: Option<(Resolver, Position)>,
    /// Tokens of accounts, by their keys.
    pub preload: Vec<(String, Placed)>,
    /// The only accounts that may connect.
    pub pinned: Option<Vec<Placed>>,
}

/// Where accounts are found.
#[derive(Debug, Clone)]
pub enum Resolver {
    /// `MEMORY`, `URL(...)`.
    Word(String),
    /// A block.
    Block {
        /// `full`, `cache` or `memory`.
        kind: String,
        /// The folder.
        dir: Option<String>,
        /// Accounts may be deleted.
        allow_delete: bool,
        /// What is deleted leaves no file; `None` is not said.
        hard_delete: Option<bool>,
        /// Most accounts.
        limit: i64,
        /// Something is said of `ttl`.
        has_ttl: bool,
    },
}

/// Reads it; `None` where nothing is said of operators.
pub(super) fn read(map: &Map) -> Option<Operator> {
    let all = |names: &[&str]| {
        let entry = find(map, names);
        entry.map(|entry| {
            texts(&entry.node).into_iter().map(|(text, node)| (text.to_owned(), node.at.clone())).collect()
        })
    };
    let names = keys::names_of;
    let operators: Option<Vec<Placed>> = all(names("operator"));
    let trusted: Option<Vec<Placed>> = all(names("trusted"));
    let resolver = find(map, names("resolver")).map(|entry| (resolver(&entry.node), entry.at.clone()));
    let preload = find(map, names("resolver_preload")).map(|entry| preloads(&entry.node));
    let pinned = all(names("resolver_pinned_accounts"));
    if operators.is_none() && trusted.is_none() && resolver.is_none() && preload.is_none() && pinned.is_none() {
        return None;
    }
    Some(Operator {
        operators: operators.unwrap_or_default(),
        trusted: trusted.unwrap_or_default(),
        resolver,
        preload: preload.unwrap_or_default(),
        pinned,
    })
}

fn preloads(node: &Node) -> Vec<(String, Placed)> {
    let Value::Map(map) = &node.value else { return Vec::new() };
    let placed = map.iter().filter(|entry| !entry.used).filter_map(|entry| match &entry.node.value {
        Value::Str(jwt) => Some((entry.key.clone(), (jwt.clone(), entry.node.at.clone()))),
        _ => None,
    });
    placed.collect()
}

fn resolver(node: &Node) -> Resolver {
    let Value::Map(block) = &node.value else {
        let word = if let Value::Str(text) = &node.value { text.clone() } else { String::new() };
        return Resolver::Word(word);
    };
    let is = |name: &str| match find(block, &[name]).map(|entry| &entry.node.value) {
        Some(Value::Bool(is)) => Some(*is),
        _ => None,
    };
    let limit = match find(block, &["limit"]).map(|entry| &entry.node.value) {
        Some(Value::Int(limit)) => *limit,
        _ => 0,
    };
    let ttl = find(block, &["ttl"]).and_then(|entry| duration(&entry.node.value).ok());
    Resolver::Block {
        kind: text(block, &["type"]).unwrap_or_default(),
        dir: text(block, &["dir"]).filter(|dir| !dir.is_empty()),
        allow_delete: is("allow_delete").unwrap_or(false),
        hard_delete: is("hard_delete"),
        limit,
        has_ttl: ttl.is_some_and(|ttl| !ttl.is_zero()),
    }
}
