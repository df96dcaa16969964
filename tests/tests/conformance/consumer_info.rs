//! Every field of what is told about a consumer.

use serde_json::{Value, json};

use crate::Shown::{Differs, There};
use crate::asking::Asking;

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("20") && text.ends_with('Z'))
}

/// What is told beyond NATS of a consumer at work.
fn standing(c: &mut Asking) -> Value {
    assert_eq!(at_work(c)["sublog"], Value::Null);
    let subject = format!("$JS.API.CONSUMER.INFO.{}.C", c.name);
    let answer = c.request(&subject, &[("Sublog-Info", "1")], b"");
    serde_json::from_str::<Value>(answer.text()).unwrap()["sublog"].take()
}

/// A stream with three messages and a consumer that has delivered the first two, one of them acked.
fn at_work(c: &mut Asking) -> Value {
    c.stream(json!({}), 3);
    c.consumer(json!({}));
    let (got, _) = c.there(2);
    c.ack(&got[0], "");
    c.consumer_info()
}

pub(crate) const ROWS: &[crate::Row] = &[
    ("stream_name", |c| {
        assert_eq!(at_work(c)["stream_name"], json!(c.name));
        There
    }),
    ("name", |c| {
        assert_eq!(at_work(c)["name"], json!("C"));
        There
    }),
    ("created", |c| {
        assert!(is_time(&at_work(c)["created"]));
        There
    }),
    ("config", |c| {
        assert_eq!(at_work(c)["config"]["durable_name"], json!("C"));
        There
    }),
    ("delivered.consumer_seq", |c| {
        assert_eq!(at_work(c)["delivered"]["consumer_seq"], json!(2));
        There
    }),
    ("delivered.stream_seq", |c| {
        assert_eq!(at_work(c)["delivered"]["stream_seq"], json!(2));
        There
    }),
    ("delivered.last_active", |c| {
        assert!(is_time(&at_work(c)["delivered"]["last_active"]));
        There
    }),
    ("ack_floor.consumer_seq", |c| {
        assert_eq!(at_work(c)["ack_floor"]["consumer_seq"], json!(1));
        There
    }),
    ("ack_floor.stream_seq", |c| {
        assert_eq!(at_work(c)["ack_floor"]["stream_seq"], json!(1));
        There
    }),
    ("ack_floor.last_active", |c| {
        assert!(is_time(&at_work(c)["ack_floor"]["last_active"]));
        There
    }),
    ("num_ack_pending", |c| {
        assert_eq!(at_work(c)["num_ack_pending"], json!(1));
        There
    }),
    ("num_redelivered", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({}));
        let (got, _) = c.there(1);
        c.ack(&got[0], "-NAK");
        assert_eq!(c.there(1).0.len(), 1);
        assert_eq!(c.consumer_info()["num_redelivered"], json!(1));
        There
    }),
    ("num_waiting", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({}));
        c.pull(json!({ "batch": 1, "expires": 60_000_000_000_u64 }));
        c.wait("the request", |c| c.consumer_info()["num_waiting"] == json!(1));
        There
    }),
    ("num_pending", |c| {
        assert_eq!(at_work(c)["num_pending"], json!(1));
        There
    }),
    ("cluster", |c| if at_work(c)["cluster"].is_null() { Differs("absent: there is no cluster") } else { There }),
    ("push_bound", |c| {
        c.stream(json!({}), 0);
        let to = format!("to.{}", c.subject);
        c.consumer(json!({ "deliver_subject": to }));
        assert!(c.consumer_info()["push_bound"].is_null());
        c.subscribe(&to);
        c.wait("the subscriber", |c| c.consumer_info()["push_bound"] == json!(true));
        There
    }),
    ("paused", |c| {
        c.stream(json!({}), 0);
        assert_eq!(c.consumer(json!({ "pause_until": "2099-01-01T00:00:00Z" }))["paused"], json!(true));
        There
    }),
    ("pause_remaining", |c| {
        c.stream(json!({}), 0);
        let made = c.consumer(json!({ "pause_until": "2099-01-01T00:00:00Z" }));
        assert!(made["pause_remaining"].as_u64().unwrap() > 1_000_000_000, "{made}");
        There
    }),
    ("ts", |c| {
        let first = at_work(c)["ts"].take();
        let second = c.consumer_info()["ts"].take();
        assert!(is_time(&first) && first.as_str() < second.as_str());
        There
    }),
    ("priority_groups", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "pinned_client" }));
        c.pull(json!({ "batch": 2, "group": "g" }));
        let pin = c.next().header("Nats-Pin-Id").unwrap();
        let group = c.consumer_info()["priority_groups"][0].take();
        assert_eq!((&group["group"], &group["pinned_client_id"]), (&json!("g"), &json!(pin)));
        assert!(is_time(&group["pinned_ts"]), "{group}");
        There
    }),
    ("sublog.lag_messages", |c| {
        assert_eq!(standing(c)["lag_messages"], json!(2));
        Differs("beyond NATS, told to who asks with a header `Sublog-Info`: messages that are not settled")
    }),
    ("sublog.lag_seconds", |c| {
        assert!(standing(c)["lag_seconds"].as_f64().unwrap() >= 0.0);
        Differs("the same: age of the oldest of them")
    }),
    ("sublog.stalled", |c| {
        assert_eq!(standing(c)["stalled"], json!("no_requests"));
        Differs("the same: why nothing is sent though there is something")
    }),
];
