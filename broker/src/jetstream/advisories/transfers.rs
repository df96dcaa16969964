//! What is told of backups.

use std::sync::Arc;

use serde::Serialize;

use super::who::ClientInfo;
use super::{Head, head, tell};
use crate::account::Account;
use crate::client::Client;
use crate::clock;
use crate::jetstream::config::Time;
use crate::jetstream::wire::info::StreamState;

#[derive(Serialize)]
struct Began<'a> {
    #[serde(flatten)]
    head: Head,
    stream: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a StreamState>,
    client: Option<ClientInfo>,
}

#[derive(Serialize)]
struct Ended<'a> {
    #[serde(flatten)]
    head: Head,
    stream: &'a str,
    start: Time,
    end: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    client: Option<ClientInfo>,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

fn who(account: &Account, client: Option<&Client>) -> Option<ClientInfo> {
    client.map(|client| ClientInfo::of(account, client))
}

/// A backup is about to be sent.
pub fn snapshot_began(account: &Arc<Account>, stream: &str, client: Option<&Client>, state: &StreamState) {
    tell(account, &format!("$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_CREATE.{stream}"), || Began {
        head: head(account, "advisory.v1.snapshot_create"),
        stream,
        state: Some(state),
        client: who(account, client),
    });
}

/// A backup was sent, or not all of it.
pub fn snapshot_ended(account: &Arc<Account>, stream: &str, client: Option<&Client>, start_ns: i64, error: &str) {
    tell(account, &format!("$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_COMPLETE.{stream}"), || Ended {
        head: head(account, "advisory.v1.snapshot_complete"),
        stream,
        start: Time::from_ns(start_ns),
        end: Time::from_ns(clock::unix_ns()),
        bytes: None,
        client: who(account, client),
        error,
    });
}

/// A stream is about to be restored.
pub fn restore_began(account: &Arc<Account>, stream: &str, client: Option<&Client>) {
    tell(account, &format!("$JS.EVENT.ADVISORY.STREAM.RESTORE_CREATE.{stream}"), || Began {
        head: head(account, "advisory.v1.restore_create"),
        stream,
        state: None,
        client: who(account, client),
    });
}

/// A stream was restored, or was not.
pub fn restore_ended(account: &Arc<Account>, stream: &str, client: Option<&Client>, start_ns: i64, bytes: u64) {
    tell(account, &format!("$JS.EVENT.ADVISORY.STREAM.RESTORE_COMPLETE.{stream}"), || Ended {
        head: head(account, "advisory.v1.restore_complete"),
        stream,
        start: Time::from_ns(start_ns),
        end: Time::from_ns(clock::unix_ns()),
        bytes: Some(bytes),
        client: who(account, client),
        error: "",
    });
}
