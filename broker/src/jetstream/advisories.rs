//! Advisories: what happens to streams and consumers, told to whoever listens to `$JS.EVENT.ADVISORY.>`.

mod audit;
mod transfers;
mod who;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use audit::api_request;
pub use transfers::{restore_began, restore_ended, snapshot_began, snapshot_ended};
pub(crate) use who::{client_info, request_info};

use super::config::Time;
use super::consumer::machine::{AckNumbers, Advisory};
use super::consumer::{Consumer, setup};
use crate::account::Account;
use crate::clock;

/// What all of them have.
#[derive(Serialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    timestamp: Time,
    #[serde(skip_serializing_if = "String::is_empty")]
    domain: String,
}

#[derive(Serialize)]
struct OfStream<'a> {
    #[serde(flatten)]
    head: Head,
    stream: &'a str,
    action: &'a str,
}

#[derive(Serialize)]
struct OfConsumer<'a, T> {
    #[serde(flatten)]
    head: Head,
    stream: &'a str,
    consumer: &'a str,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Grouped<T> {
    #[serde(flatten)]
    head: Head,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Acted {
    action: &'static str,
}

#[derive(Serialize)]
struct MaxDeliveries {
    stream_seq: u64,
    deliveries: u64,
}

#[derive(Serialize)]
struct Delivered<'a> {
    consumer_seq: u64,
    stream_seq: u64,
    deliveries: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

#[derive(Serialize)]
struct Sample {
    consumer_seq: u64,
    stream_seq: u64,
    /// Nanoseconds.
    ack_time: i64,
    deliveries: u64,
}

#[derive(Serialize)]
struct Paused {
    paused: bool,
    pause_until: Time,
}

#[derive(Serialize)]
struct Pinned<'a> {
    account: &'a str,
    stream: &'a str,
    consumer: &'a str,
    group: &'a str,
    pinned_id: &'a str,
}

#[derive(Serialize)]
struct Unpinned<'a> {
    account: &'a str,
    stream: &'a str,
    consumer: &'a str,
    group: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Abandoned<'a> {
    stream: &'a str,
    batch: &'a str,
    reason: &'a str,
}

fn head(account: &Account, kind: &str) -> Head {
    let id: String = (0..3).map(|_| setup::random_name()).collect();
    Head {
        kind: format!("io.nats.jetstream.{kind}"),
        id: id.chars().take(22).collect(),
        timestamp: Time::from_ns(clock::unix_ns()),
        domain: account.shared.domain.name().to_owned(),
    }
}

/// Tells it, if anybody listens. What nobody hears is not written.
fn tell<T: Serialize>(account: &Arc<Account>, subject: &str, what: impl FnOnce() -> T) {
    let subject = subject.as_bytes();
    if !account.router.has_interest(subject) && account.router.sinks.of(subject).is_none() {
        return;
    }
    // All keys are strings: there is nothing in an advisory that cannot be written.
    let Ok(json) = serde_json::to_vec(&what()) else { return };
    account.send(|sender| sender.publish(account, subject, None, 0, &json));
}

/// A stream was created, updated or deleted.
pub fn stream_action(account: &Arc<Account>, stream: &str, event: &str, action: &str) {
    tell(account, &format!("$JS.EVENT.ADVISORY.STREAM.{event}.{stream}"), || OfStream {
        head: head(account, "advisory.v1.stream_action"),
        stream,
        action,
    });
}

/// A batch of a stream was given up.
pub fn batch_abandoned(account: &Arc<Account>, stream: &str, id: &[u8], reason: &str) {
    let batch = String::from_utf8_lossy(id);
    tell(account, &format!("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.{stream}"), || Grouped {
        head: head(account, "advisory.v1.stream_batch_abandoned"),
        what: Abandoned { stream, batch: &batch, reason },
    });
}

fn about<T: Serialize>(account: &Arc<Account>, consumer: &Consumer, event: &str, kind: &str, what: impl FnOnce() -> T) {
    let (stream, name) = (&*consumer.stream, &*consumer.name);
    tell(account, &format!("$JS.EVENT.{event}.{stream}.{name}"), || OfConsumer {
        head: head(account, kind),
        stream,
        consumer: name,
        what: what(),
    });
}

/// A consumer was created.
pub fn consumer_created(account: &Arc<Account>, consumer: &Consumer) {
    about(account, consumer, "ADVISORY.CONSUMER.CREATED", "advisory.v1.consumer_action", || Acted { action: "create" });
}

/// A consumer was deleted.
pub fn consumer_deleted(account: &Arc<Account>, consumer: &Consumer) {
    about(account, consumer, "ADVISORY.CONSUMER.DELETED", "advisory.v1.consumer_action", || Acted { action: "delete" });
}

/// A message was acked, so long after it was sent.
pub fn acked(account: &Arc<Account>, consumer: &Consumer, numbers: &AckNumbers, took: Duration) {
    about(account, consumer, "METRIC.CONSUMER.ACK", "metric.v1.consumer_ack", || Sample {
        consumer_seq: numbers.consumer_seq,
        stream_seq: numbers.stream_seq,
        ack_time: i64::try_from(took.as_nanos()).unwrap_or(i64::MAX),
        deliveries: numbers.deliveries,
    });
}

/// About a group: alone among the advisories these name the account.
fn grouped<T: Serialize>(account: &Arc<Account>, consumer: &Consumer, event: &str, kind: &str, what: T) {
    let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.{event}.{}.{}", consumer.stream, consumer.name);
    let kind = format!("advisory.v1.consumer_group_{kind}");
    tell(account, &subject, || Grouped { head: head(account, &kind), what });
}

/// Something that a consumer's machine wants told.
pub fn of_consumer(account: &Arc<Account>, consumer: &Consumer, advisory: &Advisory) {
    let to = |event: &str| format!("ADVISORY.CONSUMER.{event}");
    let (stream, name) = (&*consumer.stream, &*consumer.name);
    match advisory {
        Advisory::MaxDeliveries { stream_seq, deliveries } => {
            let what = || MaxDeliveries { stream_seq: *stream_seq, deliveries: *deliveries };
            about(account, consumer, &to("MAX_DELIVERIES"), "advisory.v1.max_deliver", what);
        }
        Advisory::Terminated { stream_seq, consumer_seq, deliveries, reason } => {
            let what =
                || Delivered { consumer_seq: *consumer_seq, stream_seq: *stream_seq, deliveries: *deliveries, reason };
            about(account, consumer, &to("MSG_TERMINATED"), "advisory.v1.terminated", what);
        }
        Advisory::Nak { stream_seq, consumer_seq, deliveries } => {
            let what = || Delivered {
                consumer_seq: *consumer_seq,
                stream_seq: *stream_seq,
                deliveries: *deliveries,
                reason: "",
            };
            about(account, consumer, &to("MSG_NAKED"), "advisory.v1.nak", what);
        }
        Advisory::Paused { paused, until } => {
            let what = || Paused { paused: *paused, pause_until: until.map_or(Time::NEVER, Time::from_ns) };
            about(account, consumer, &to("PAUSE"), "advisory.v1.consumer_pause", what);
        }
        Advisory::Pinned { group, id } => {
            grouped(
                account,
                consumer,
                "PINNED",
                "pinned",
                Pinned { account: &account.name, stream, consumer: name, group, pinned_id: id },
            );
        }
        Advisory::Unpinned { group, reason } => {
            grouped(
                account,
                consumer,
                "UNPINNED",
                "unpinned",
                Unpinned { account: &account.name, stream, consumer: name, group, reason },
            );
        }
    }
}
