//! Who asked for something, as advisories tell it.

use std::sync::atomic::Ordering;

use serde::Serialize;

use super::ACCOUNT;
use crate::client::Client;
use crate::jetstream::config::Time;
use crate::jetstream::config::json::absent;
use crate::server::Server;

/// A client, as it was when it asked.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ClientInfo {
    start: Time,
    host: String,
    id: u64,
    acc: &'static str,
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

impl ClientInfo {
    /// What is known of a client.
    pub(super) fn of(server: &Server, client: &Client) -> Self {
        let identity = client.identity.lock().clone();
        let since = client.start.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Time::from_ns(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
            host: client.remote.ip().to_string(),
            id: client.id,
            acc: ACCOUNT,
            user: client.access.grant().name.clone().unwrap_or_default(),
            name: identity.name.unwrap_or_default(),
            lang: identity.lang.unwrap_or_default(),
            ver: identity.version.unwrap_or_default(),
            rtt: client.rtt_us.load(Ordering::Relaxed).saturating_mul(1000),
            server: server.name().to_owned(),
            kind: "Client",
            client_type: "nats",
        }
    }
}
