//! What the system account is told of: who comes and goes, and how the server does. What nobody hears is not written.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::About;
use crate::account::Account;
use crate::client::Client;
use crate::clock;
use crate::jetstream::advisories;
use crate::jetstream::consumer::setup;
use crate::monitor::system::{self, Page};
use crate::rfc3339;
use crate::server::Server;

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    timestamp: String,
    server: About<'a>,
    client: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<Count>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

#[derive(Serialize)]
struct Count {
    msgs: u64,
    bytes: u64,
}

/// The system account, if somebody there listens to `subject`.
fn listener(server: &Server, subject: &str) -> Option<Arc<Account>> {
    server.accounts.system().filter(|system| system.router.has_interest(subject.as_bytes()))
}

fn tell(server: &Arc<Server>, client: &Client, subject: &str, kind: &'static str, reason: Option<&str>) {
    let Some(system) = listener(server, subject) else { return };
    let Some(account) = server.accounts.get(&client.account()) else { return };
    let mut info = advisories::client_info(&account, client);
    let now = rfc3339::format(clock::unix_ns());
    if let Some(fields) = info.as_object_mut() {
        let tag = account.options().name_tag.clone().unwrap_or_else(|| account.name.clone());
        fields.insert("name_tag".to_owned(), tag.to_string().into());
        if let Some(token) = client.access.grant().user.as_ref().and_then(|user| user.by_token.as_ref()) {
            let issuer = token.signing_key.as_ref().unwrap_or(&account.name);
            fields.insert("issuer_key".to_owned(), issuer.to_string().into());
            fields.insert("tags".to_owned(), token.tags.to_vec().into());
        }
        if reason.is_some() {
            fields.insert("stop".to_owned(), now.clone().into());
        }
    }
    let stats = &client.stats;
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let id: String = (0..3).map(|_| setup::random_name()).collect();
    let event = Event {
        kind,
        id: id.chars().take(22).collect(),
        timestamp: now,
        server: About::of(server),
        client: info,
        // From the client's side.
        sent: reason.map(|_| Count { msgs: load(&stats.in_msgs), bytes: load(&stats.in_bytes) }),
        received: reason.map(|_| Count { msgs: load(&stats.out_msgs), bytes: load(&stats.out_bytes) }),
        reason: reason.unwrap_or_default(),
    };
    // Plain structs of text and numbers: that does not fail.
    let json = serde_json::to_vec(&event).unwrap_or_default();
    system.send(|sender| sender.publish(&system, subject.as_bytes(), None, 0, &json));
}

const DISCONNECT: &str = "io.nats.server.advisory.v1.client_disconnect";

/// Somebody is there.
pub fn connected(server: &Arc<Server>, client: &Client) {
    let subject = format!("$SYS.ACCOUNT.{}.CONNECT", client.account());
    tell(server, client, &subject, "io.nats.server.advisory.v1.client_connect", None);
}

/// Somebody is gone.
pub fn disconnected(server: &Arc<Server>, client: &Client) {
    let subject = format!("$SYS.ACCOUNT.{}.DISCONNECT", client.account());
    tell(server, client, &subject, DISCONNECT, Some(client.close_reason().as_str()));
}

/// Somebody was not let in.
pub fn refused(server: &Arc<Server>, client: &Client) {
    let subject = format!("$SYS.SERVER.{}.CLIENT.AUTH.ERR", server.id);
    tell(server, client, &subject, DISCONNECT, Some("Authentication Failure"));
}

/// How the server does. May wait.
pub fn statistics(server: &Arc<Server>) {
    let subject = format!("$SYS.SERVER.{}.STATSZ", server.id);
    let Some(system) = listener(server, &subject) else { return };
    if let Some(json) = system::answer(server, Page::Statsz, "", b"") {
        system.send(|sender| sender.publish(&system, subject.as_bytes(), None, 0, &json));
    }
}
