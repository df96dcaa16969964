//! `authorization` as types: users, what proves who they are, and what they may do.

use std::time::Duration;

use sublog_protocol::subject;

use super::read::{duration, texts};
use super::{Finding, find};
use crate::auth::users::Secret;
use crate::conf::tree::{Map, Node, Position, Value};

/// Who may connect.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// Where the block stands.
    pub at: Position,
    /// The only user, where there is no list.
    pub user: Option<String>,
    /// Its password, plain or as a bcrypt hash.
    pub password: Option<Secret>,
    /// Whoever knows it may connect.
    pub token: Option<Secret>,
    /// How long a client may take to say who it is.
    pub timeout: Option<Duration>,
    /// The users.
    pub users: Vec<User>,
    /// There is a list of users, even if it is empty.
    pub has_users: bool,
    /// What users without permissions of their own may do.
    pub default_permissions: Option<Permissions>,
    /// A service that decides instead.
    pub callout: Option<Callout>,
}

/// One user.
#[derive(Debug, Clone)]
pub struct User {
    /// Where it stands.
    pub at: Position,
    /// How it proves who it is.
    pub login: Login,
    /// What it may do, if that is bounded.
    pub permissions: Option<Permissions>,
    /// Kinds of connection it may use, as written; empty is any.
    pub connection_types: Vec<String>,
}

/// How a user proves who it is.
#[derive(Debug, Clone)]
pub enum Login {
    /// By a password, plain or as a bcrypt hash. A user without one cannot be told from others.
    Password {
        /// The name.
        user: String,
        /// What it must know.
        password: Option<Secret>,
    },
    /// By a signature with the private half of this key.
    Nkey(String),
}

impl Login {
    /// The name or public key.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Password { user, .. } => user,
            Self::Nkey(key) => key,
        }
    }
}

/// What a user may do.
#[derive(Debug, Clone)]
pub struct Permissions {
    /// Where they stand.
    pub at: Position,
    /// Subjects it may publish to.
    pub publish: Rules,
    /// Subjects it may subscribe to.
    pub subscribe: Rules,
    /// Whether it may answer requests wherever they ask it to.
    pub responses: Option<Responses>,
}

/// Allowed and denied subjects; what is denied is denied even where it is allowed.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `None` allows everything.
    pub allow: Option<Vec<Rule>>,
    /// Never these.
    pub deny: Vec<Rule>,
}

/// One subject of a rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// With wildcards.
    pub subject: String,
    /// Only as a member of this group, which may have wildcards.
    pub queue: Option<String>,
    /// Where it stands.
    pub at: Position,
}

/// Answers beyond what may be published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Responses {
    /// Answers to one request; `None` is any number.
    pub max: Option<u64>,
    /// How long after the request; `None` is for ever.
    pub expires: Option<Duration>,
}

impl Default for Responses {
    fn default() -> Self {
        Self { max: Some(1), expires: Some(Duration::from_secs(120)) }
    }
}

/// `auth_callout`
#[derive(Debug, Clone)]
pub struct Callout {
    /// Where it stands.
    pub at: Position,
    /// Public key that signs its answers.
    pub issuer: Option<String>,
    /// Account it lives in.
    pub account: Option<String>,
    /// Users that are not asked about.
    pub users: Vec<String>,
    /// Public key its requests are encrypted to.
    pub xkey: Option<String>,
    /// Accounts it may place users in.
    pub allowed_accounts: Vec<String>,
}

/// Reads the block of a checked tree.
pub(super) fn read(map: &Map) -> Option<Authorization> {
    let entry = find(map, &["authorization"])?;
    let Value::Map(block) = &entry.node.value else { return None };
    let mut ignored = Vec::new();
    Some(Authorization {
        at: entry.at.clone(),
        user: text(block, &["user", "username"]),
        password: text(block, &["password", "pass"]).map(Secret::new),
        token: text(block, &["token"]).map(Secret::new),
        timeout: find(block, &["timeout"]).and_then(|entry| duration(&entry.node.value).ok()),
        users: find(block, &["users"]).map(|entry| users(&entry.node, &mut ignored)).unwrap_or_default(),
        has_users: find(block, &["users"]).is_some(),
        default_permissions: find(block, &["default_permissions", "default_permission", "permissions"])
            .and_then(|entry| permissions(&entry.node, &entry.at, &mut ignored)),
        callout: find(block, &["auth_callout", "auth_hook"]).and_then(|entry| callout(&entry.node, &entry.at)),
    })
}

/// What the kinds of values do not tell: who is named twice, what is missing, what is no subject.
pub(super) fn check(map: &Map) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let Some(entry) = find(map, &["authorization"]) else { return wrong };
    let Value::Map(block) = &entry.node.value else { return wrong };
    let list = find(block, &["users"]);
    let one = find(block, &["user", "username"]).or_else(|| find(block, &["password", "pass"]));
    let token = find(block, &["token"]);
    for (first, second, text) in [
        (one, token, "a token excludes user and password"),
        (one, list, "a list of users excludes a single user and password"),
        (token, list, "a list of users excludes a token"),
    ] {
        if let (Some(_), Some(second)) = (first, second) {
            wrong.push(Finding { at: second.at.clone(), text: text.to_owned() });
        }
    }
    if let Some(list) = list {
        let found = users(&list.node, &mut wrong);
        named_once(&found, &mut wrong);
    }
    if let Some(entry) = find(block, &["default_permissions", "default_permission", "permissions"]) {
        permissions(&entry.node, &entry.at, &mut wrong);
    }
    wrong
}

/// No name may stand for two users.
pub(super) fn named_once(users: &[User], wrong: &mut Vec<Finding>) {
    let mut seen = std::collections::HashMap::new();
    for user in users {
        if let Some(first) = seen.insert(user.login.name(), &user.at) {
            let text = format!("the user {:?} stands at {first} already", user.login.name());
            wrong.push(Finding { at: user.at.clone(), text });
        }
    }
}

pub(super) fn users(node: &Node, wrong: &mut Vec<Finding>) -> Vec<User> {
    let Value::Array(nodes) = &node.value else { return Vec::new() };
    nodes.iter().filter_map(|node| user(node, wrong)).collect()
}

fn user(node: &Node, wrong: &mut Vec<Finding>) -> Option<User> {
    let Value::Map(block) = &node.value else { return None };
    let name = text(block, &["user", "username"]).filter(|name| !name.is_empty());
    let password = text(block, &["password", "pass"]).map(Secret::new);
    let nkey = find(block, &["nkey"]);
    let login = match (name, nkey.zip(text(block, &["nkey"]))) {
        (None, None) => {
            wrong.push(Finding { at: node.at.clone(), text: "a user needs user or nkey".to_owned() });
            return None;
        }
        (None, Some((entry, key))) if password.is_none() => {
            if !is_user_key(&key) {
                wrong
                    .push(Finding { at: entry.node.at.clone(), text: "nkey: expected a user's public key".to_owned() });
            }
            Login::Nkey(key)
        }
        (Some(user), None) => Login::Password { user, password },
        (_, Some((entry, _))) => {
            wrong.push(Finding { at: entry.at.clone(), text: "an nkey excludes user and password".to_owned() });
            return None;
        }
    };
    let permissions = find(block, &["permissions", "permission", "authorization"])
        .and_then(|entry| permissions(&entry.node, &entry.at, wrong));
    let types = find(block, &["allowed_connection_types", "connection_types", "clients"]);
    let connection_types = types.map(|entry| all(&entry.node)).unwrap_or_default();
    Some(User { at: node.at.clone(), login, permissions, connection_types })
}

/// Whether it is the public half of a user's key.
fn is_user_key(key: &str) -> bool {
    key.starts_with('U') && nkeys::KeyPair::from_public_key(key).is_ok()
}

/// Reads what a user may do.
pub(super) fn permissions(node: &Node, at: &Position, wrong: &mut Vec<Finding>) -> Option<Permissions> {
    let Value::Map(block) = &node.value else { return None };
    let mut rules = |names: &[&str], queues: bool| {
        find(block, names).map(|entry| rules_of(&entry.node, queues, wrong)).unwrap_or_default()
    };
    let mut publish = rules(&["publish", "pub", "import"], false);
    let subscribe = rules(&["subscribe", "sub", "export"], true);
    let entry = find(block, &["allow_responses", "publish_allow_responses"]);
    let responses = entry.and_then(|entry| responses_of(&entry.node.value));
    if responses.is_some() && publish.allow.is_none() {
        // Who may answer may not publish at will, unless that is said as well.
        publish.allow = Some(Vec::new());
    }
    Some(Permissions { at: at.clone(), publish, subscribe, responses })
}

fn rules_of(node: &Node, queues: bool, wrong: &mut Vec<Finding>) -> Rules {
    match &node.value {
        Value::Map(block) => Rules {
            allow: find(block, &["allow"]).map(|entry| subjects(&entry.node, queues, wrong)),
            deny: find(block, &["deny"]).map(|entry| subjects(&entry.node, queues, wrong)).unwrap_or_default(),
        },
        _ => Rules { allow: Some(subjects(node, queues, wrong)), deny: Vec::new() },
    }
}

fn subjects(node: &Node, queues: bool, wrong: &mut Vec<Finding>) -> Vec<Rule> {
    let mut out = Vec::new();
    for (text, node) in texts(node) {
        let mut words = text.split_whitespace();
        let (subject, queue) = (words.next().unwrap_or_default(), words.next().filter(|_| queues));
        let whole = if queue.is_some() { words.next().is_none() } else { subject == text };
        let known = |subject: &str| subject::is_valid_filter(subject.as_bytes());
        if whole && known(subject) && queue.is_none_or(known) {
            out.push(Rule { subject: subject.to_owned(), queue: queue.map(str::to_owned), at: node.at.clone() });
        } else {
            let text = format!("{text:?} is no subject{}", if queues { " (or subject and queue)" } else { "" });
            wrong.push(Finding { at: node.at.clone(), text });
        }
    }
    out
}

fn responses_of(value: &Value) -> Option<Responses> {
    let mut responses = Responses::default();
    match value {
        Value::Bool(true) => {}
        Value::Map(block) => {
            if let Some(Value::Int(max)) =
                find(block, &["max", "max_msgs", "max_messages", "max_responses"]).map(|e| &e.node.value)
                && *max != 0
            {
                responses.max = u64::try_from(*max).ok();
            }
            if let Some(entry) = find(block, &["expires", "expiration", "ttl"]) {
                match duration(&entry.node.value) {
                    Ok(span) if !span.is_zero() => responses.expires = Some(span),
                    _ => {}
                }
            }
        }
        _ => return None,
    }
    Some(responses)
}

fn callout(node: &Node, at: &Position) -> Option<Callout> {
    let Value::Map(block) = &node.value else { return None };
    Some(Callout {
        at: at.clone(),
        issuer: text(block, &["issuer"]),
        account: text(block, &["account", "acc"]),
        users: find(block, &["auth_users", "users"]).map(|entry| all(&entry.node)).unwrap_or_default(),
        xkey: text(block, &["xkey", "key"]),
        allowed_accounts: find(block, &["allowed_accounts"]).map(|entry| all(&entry.node)).unwrap_or_default(),
    })
}

/// The text of a key.
pub(super) fn text(block: &Map, names: &[&str]) -> Option<String> {
    match &find(block, names)?.node.value {
        Value::Str(text) => Some(text.clone()),
        _ => None,
    }
}

/// All texts of a node.
pub(super) fn all(node: &Node) -> Vec<String> {
    texts(node).into_iter().map(|(text, _)| text.to_owned()).collect()
}
