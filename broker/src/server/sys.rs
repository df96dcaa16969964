//! What clients ask of the server itself: `$SYS.REQ.USER.INFO`, who they are and what they may do.

pub mod events;
pub mod requests;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::{NATS_VERSION, Server};
use crate::account::Account;
use crate::auth::permissions::{Permissions, Responses, Rule, Rules};
use crate::client::Client;
use crate::operator::requests as claims;
use crate::{clock, rfc3339};

/// The subject of that request.
pub const USER_INFO: &[u8] = b"$SYS.REQ.USER.INFO";
/// First bytes of the subjects on which the system account asks about the server.
pub const REQUESTS: &[u8] = b"$SYS.REQ.";

#[derive(Serialize)]
struct Answer<'a, T> {
    server: About<'a>,
    data: T,
}

/// The server, in every answer.
#[derive(Debug, Serialize)]
pub struct About<'a> {
    name: &'a str,
    host: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    ver: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    jetstream: bool,
    flags: u64,
    seq: u64,
    time: String,
}

#[derive(Serialize)]
struct UserInfo {
    user: String,
    account: String,
    account_name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_name: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Shown>,
    /// Nanoseconds that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<Lists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribe: Option<Lists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responses: Option<ShownResponses>,
}

#[derive(Serialize)]
struct Lists {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
}

/// -1 is no bound.
#[derive(Serialize)]
struct ShownResponses {
    max: i64,
    ttl: i64,
}

/// Whether a message is a request about the server, in an account where it may be asked.
#[must_use]
pub fn is_request(account: &Account, subject: &[u8]) -> bool {
    const OF_ALL: [&[u8]; 3] =
        [b"$SYS.REQ.ACCOUNT.PING.CONNZ", b"$SYS.REQ.SERVER.PING.CONNZ", b"$SYS.REQ.ACCOUNT.PING.STATZ"];
    let updates_claims = || subject.starts_with(claims::OLD_UPDATES) && subject.ends_with(claims::UPDATES);
    if account.is_system() {
        return subject.starts_with(REQUESTS) || updates_claims();
    }
    OF_ALL.contains(&subject)
}

/// Answers [`USER_INFO`].
#[must_use]
pub fn user_info(server: &Server, client: &Client) -> Vec<u8> {
    let grant = client.access.grant();
    let account = grant.account().to_string();
    let permissions = grant.user.as_ref().and_then(|user| user.permissions.as_deref()).map(shown);
    let token = grant.user.as_ref().and_then(|user| user.by_token.as_ref());
    let user_name = token.map(|token| token.name_tag.clone()).unwrap_or_default();
    let left_s = |until_ms: i64| until_ms.saturating_sub(clock::unix_ns() / 1_000_000) / 1000;
    let expires = token.and_then(|token| token.expires_ms).map(|ms| left_s(ms).saturating_mul(1_000_000_000));
    let tag = server.accounts.get(&account).and_then(|account| account.options().name_tag.clone());
    let account_name = tag.map_or_else(|| account.clone(), |tag| tag.to_string());
    let user = grant.name.clone().unwrap_or_default();
    answer(server, UserInfo { user, account_name, account, user_name, permissions, expires })
}

fn answer<T: Serialize>(server: &Server, data: T) -> Vec<u8> {
    // Plain structs of text and numbers: that does not fail.
    serde_json::to_vec(&Answer { server: About::of(server), data }).unwrap_or_default()
}

impl<'a> About<'a> {
    /// As it is now.
    #[must_use]
    pub fn of(server: &'a Server) -> Self {
        let current = server.current();
        Self {
            name: server.name(),
            host: &server.options.host,
            id: &server.id,
            domain: server.shared.domain.name(),
            ver: NATS_VERSION,
            tags: current.tags.clone(),
            metadata: current.metadata.clone(),
            jetstream: server.options.jetstream,
            flags: 0,
            seq: server.sys_answers.fetch_add(1, Ordering::Relaxed) + 1,
            time: rfc3339::format(clock::unix_ns()),
        }
    }
}

fn shown(permissions: &Permissions) -> Shown {
    let responses = |found: Responses| ShownResponses {
        max: found.max.map_or(-1, |max| i64::try_from(max).unwrap_or(i64::MAX)),
        ttl: found.expires.map_or(-1, |span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)),
    };
    Shown {
        publish: lists(&permissions.publish),
        subscribe: lists(&permissions.subscribe),
        responses: permissions.responses.map(responses),
    }
}

fn lists(rules: &Rules) -> Option<Lists> {
    let texts = |rules: &[Rule]| {
        let mut texts: Vec<String> = rules.iter().map(text).collect();
        texts.sort_unstable();
        texts
    };
    let lists = Lists { allow: rules.allow.as_deref().map(texts).unwrap_or_default(), deny: texts(&rules.deny) };
    (!rules.is_open()).then_some(lists)
}

fn text(rule: &Rule) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match &rule.queue {
        Some(queue) => format!("{} {}", part(&rule.subject), part(queue)),
        None => part(&rule.subject),
    }
}
