//! Who asked for something, as advisories tell it.

use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::account::Account;
use crate::client::Client;
use crate::jetstream::config::Time;
use crate::jetstream::config::json::absent;

/// A client, as it was when it asked.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ClientInfo {
    start: Time,
    host: String,
    id: u64,
    acc: String,
    #[serde(skip_serializing_if = "absent")]
    user: String,
    #[serde(skip_serializing_if = "absent")]
    name: String,
    #[serde(skip_serializing_if = "absent")]
    lang: String,
    #[serde(skip_serializing_if = "absent")]
    ver: String,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "absent")]
    rtt: u64,
    server: String,
    kind: &'static str,
    client_type: &'static str,
}

/// All that is known of a client.
pub(crate) fn client_info(account: &Account, client: &Client) -> serde_json::Value {
    serde_json::to_value(ClientInfo::of(account, client)).unwrap_or_default()
}

/// What a service is told of who asks: the account, and all of `client` if that is shared.
pub(crate) fn request_info(account: &Account, shared: Option<&Client>, client: Option<&Client>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Brief<'a> {
        acc: &'a str,
        #[serde(skip_serializing_if = "absent")]
        rtt: u64,
    }
    let rtt = client.map_or(0, |client| client.rtt_us.load(Ordering::Relaxed).saturating_mul(1000));
    let json = match shared {
        Some(client) => serde_json::to_vec(&ClientInfo::of(account, client)),
        None => serde_json::to_vec(&Brief { acc: &account.name, rtt }),
    };
    // Text and numbers: that does not fail.
    json.unwrap_or_default()
}

impl ClientInfo {
    /// What is known of a client.
    pub(super) fn of(account: &Account, client: &Client) -> Self {
        let identity = client.identity.lock().clone();
        let since = client.start.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Time::from_ns(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
            host: client.remote.ip().to_string(),
            id: client.id,
            acc: account.name.to_string(),
            user: client.access.grant().name.clone().unwrap_or_default(),
            name: identity.name.unwrap_or_default(),
            lang: identity.lang.unwrap_or_default(),
            ver: identity.version.unwrap_or_default(),
            rtt: client.rtt_us.load(Ordering::Relaxed).saturating_mul(1000),
            server: account.shared.server_name.clone(),
            kind: "Client",
            client_type: "nats",
        }
    }
}
