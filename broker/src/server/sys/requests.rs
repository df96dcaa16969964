//! What the system account asks about the server: the pages of the monitoring endpoints, over NATS.
//!
//! `$SYS.REQ.SERVER.PING[.X]` asks all servers, `$SYS.REQ.SERVER.<id>.X` one of them, `$SYS.REQ.ACCOUNT.<account>.X` about an
//! account. Other accounts may ask about themselves alone. Pages are built on threads that may wait, so many at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use sublog_protocol::decode::Publish;

use super::REQUESTS;
use crate::account::Account;
use crate::limits::SYSTEM_REQUESTS_MAX;
use crate::monitor::system::{self, Page};
use crate::operator::requests::Request as Claims;
use crate::server::Server;

/// Which servers are asked; what is empty leaves nobody out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filter {
    server_name: String,
    cluster: String,
    host: String,
    exact_match: bool,
    tags: Vec<String>,
    domain: String,
}

impl Filter {
    fn selects(&self, server: &Server) -> bool {
        let fits = |wanted: &str, own: &str| {
            wanted.is_empty() || if self.exact_match { wanted == own } else { own.contains(wanted) }
        };
        let tags = &server.current().tags;
        fits(&self.server_name, server.name())
            && fits(&self.host, &server.options.host)
            // This server is in no cluster.
            && self.cluster.is_empty()
            && (self.domain.is_empty() || self.domain == server.shared.domain.name())
            && self.tags.iter().all(|tag| tags.contains(&tag.to_lowercase()))
    }
}

/// What a subject asks for; `None`: nobody answers there.
fn asked(server: &Server, account: &Account, subject: &[u8]) -> Option<(Page, String)> {
    let rest = std::str::from_utf8(subject.strip_prefix(REQUESTS)?).ok()?;
    let parts: Vec<&str> = rest.split('.').collect();
    if !account.is_system() {
        let own = account.name.to_string();
        return match parts.as_slice() {
            ["ACCOUNT" | "SERVER", "PING", "CONNZ"] => Some((Page::Connz, own)),
            ["ACCOUNT", "PING", "STATZ"] => Some((Page::AccountStatz, own)),
            _ => None,
        };
    }
    match parts.as_slice() {
        ["SERVER", "PING"] => Some((Page::Statsz, String::new())),
        ["SERVER", to, what] if *to == "PING" || *to == server.id => Some((Page::of_server(what)?, String::new())),
        ["ACCOUNT", "PING", "STATZ"] => Some((Page::AccountStatz, String::new())),
        ["ACCOUNT", "PING", "CONNZ"] => Some((Page::Connz, String::new())),
        // An account's name may have dots.
        ["ACCOUNT", name @ .., what] if !name.is_empty() => Some((Page::of_account(what)?, name.join("."))),
        _ => None,
    }
}

/// Takes a request; false when nobody answers there.
pub fn take(server: &Arc<Server>, account: &Arc<Account>, message: &Publish<'_>) -> bool {
    if let Some(operator) = &server.operator
        && account.is_system()
        && let Some(request) = Claims::of(message.subject)
    {
        return operator.answers(&request) && take_claims(server, account, request, message);
    }
    let Some((page, about)) = asked(server, account, message.subject) else { return false };
    // A request for statistics without a reply wants them told to everybody.
    let reply: Vec<u8> = match (message.reply, page) {
        (Some(reply), _) => reply.to_vec(),
        (None, Page::Statsz) => format!("$SYS.SERVER.{}.STATSZ", server.id).into_bytes(),
        (None, _) => return true,
    };
    if !begins(server) {
        return true;
    }
    let body: Box<[u8]> = message.message.get(message.header_len..).unwrap_or_default().into();
    let (server, account) = (server.clone(), account.clone());
    account.shared.runtime.clone().spawn_blocking(move || {
        let filter = if body.is_empty() { Some(Filter::default()) } else { serde_json::from_slice(&body).ok() };
        // What is no request at all is answered: the page says what is wrong with it.
        if filter.is_none_or(|filter: Filter| filter.selects(&server))
            && let Some(json) = system::answer(&server, page, &about, &body)
        {
            account.send(|sender| sender.publish(&account, &reply, None, 0, &json));
        }
        server.monitor.under_way.fetch_sub(1, Ordering::AcqRel);
    });
    true
}

/// Whether one more request may be under way; if not, the log says so.
fn begins(server: &Server) -> bool {
    let begins = server.monitor.under_way.fetch_add(1, Ordering::AcqRel) < SYSTEM_REQUESTS_MAX;
    if !begins {
        server.monitor.under_way.fetch_sub(1, Ordering::AcqRel);
        tracing::warn!("A request of the system account dropped, {SYSTEM_REQUESTS_MAX} wait");
    }
    begins
}

/// Takes a request about the tokens of accounts.
fn take_claims(server: &Arc<Server>, account: &Arc<Account>, request: Claims, message: &Publish<'_>) -> bool {
    if !begins(server) {
        return true;
    }
    let body: Box<[u8]> = message.message.get(message.header_len..).unwrap_or_default().into();
    let reply: Option<Box<[u8]>> = message.reply.map(Into::into);
    let (server, account) = (server.clone(), account.clone());
    account.shared.runtime.clone().spawn_blocking(move || {
        if let Some(operator) = &server.operator {
            operator.serve(&server, &account, &request, &body, reply.as_deref());
        }
        server.monitor.under_way.fetch_sub(1, Ordering::AcqRel);
    });
    true
}
