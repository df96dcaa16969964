//! Every field of a consumer's configuration.

use std::time::Duration;

use serde_json::{Value, json};
use sublog_tests::clock;

use crate::Shown::{self, Refused, There};
use crate::asking::{Asking, code, number, seqs, status};

/// A stream with three messages and a consumer with this field, which is shown as it was set.
fn with(c: &mut Asking, field: &str, value: Value) {
    c.stream(json!({}), 3);
    let made = c.consumer(json!({ field: value }));
    assert_eq!(made["config"][field], value, "{made}");
}

/// What a consumer with this configuration delivers of messages 1, 2 and 3.
fn delivers(c: &mut Asking, config: Value) -> Vec<u64> {
    c.stream(json!({}), 3);
    c.consumer(config);
    seqs(&c.there(10).0)
}

/// A consumer with this ack policy is refused by that name.
fn no_policy(c: &mut Asking, config: Value) -> Shown {
    c.stream(json!({}), 0);
    let made = c.try_consumer(config);
    if made.get("error").is_some() { Refused(code(&made)) } else { There }
}

const SECOND: u64 = 1_000_000_000;

pub(crate) const ROWS: &[crate::Row] = &[
    ("name", |c| {
        c.stream(json!({}), 0);
        let body = json!({ "stream_name": c.name, "config": { "name": "C", "inactive_threshold": 60 * SECOND } });
        let made = c.api(&format!("CONSUMER.CREATE.{}.C", c.name), body);
        assert_eq!((&made["name"], &made["config"]["durable_name"]), (&json!("C"), &Value::Null));
        There
    }),
    ("durable_name", |c| {
        with(c, "durable_name", json!("C"));
        There
    }),
    ("description", |c| {
        with(c, "description", json!("what it is for"));
        There
    }),
    ("deliver_policy: all", |c| {
        assert_eq!(delivers(c, json!({ "deliver_policy": "all" })), [1, 2, 3]);
        There
    }),
    ("deliver_policy: last", |c| {
        assert_eq!(delivers(c, json!({ "deliver_policy": "last" })), [3]);
        There
    }),
    ("deliver_policy: new", |c| {
        assert_eq!(delivers(c, json!({ "deliver_policy": "new" })), [] as [u64; 0]);
        c.publish("1", &[], "x");
        assert_eq!(seqs(&c.there(10).0), [4]);
        There
    }),
    ("deliver_policy: by_start_sequence", |c| {
        assert_eq!(delivers(c, json!({ "deliver_policy": "by_start_sequence", "opt_start_seq": 2 })), [2, 3]);
        There
    }),
    ("deliver_policy: by_start_time", |c| {
        c.stream(json!({}), 2);
        std::thread::sleep(Duration::from_millis(5));
        c.publish("3", &[], "x");
        let third = c.api(&format!("STREAM.MSG.GET.{}", c.name), json!({ "seq": 3 }))["message"]["time"].take();
        c.consumer(json!({ "deliver_policy": "by_start_time", "opt_start_time": third }));
        assert_eq!(seqs(&c.there(10).0), [3]);
        There
    }),
    ("deliver_policy: last_per_subject", |c| {
        c.stream(json!({}), 2);
        c.publish("1", &[], "newer");
        c.consumer(json!({ "deliver_policy": "last_per_subject", "filter_subject": format!("{}.*", c.subject) }));
        assert_eq!(seqs(&c.there(10).0), [2, 3]);
        There
    }),
    ("ack_policy: none", |c| {
        assert_eq!(delivers(c, json!({ "ack_policy": "none" })), [1, 2, 3]);
        assert_eq!(c.consumer_info()["num_ack_pending"], json!(0));
        There
    }),
    ("ack_policy: all", |c| {
        c.stream(json!({}), 3);
        c.consumer(json!({ "ack_policy": "all" }));
        let (got, _) = c.there(3);
        c.ack(&got[1], "");
        assert_eq!(c.consumer_info()["num_ack_pending"], json!(1));
        There
    }),
    ("ack_policy: explicit", |c| {
        c.stream(json!({}), 3);
        c.consumer(json!({}));
        let (got, _) = c.there(3);
        c.ack(&got[1], "");
        assert_eq!(c.consumer_info()["num_ack_pending"], json!(2));
        There
    }),
    ("ack_policy: flow_control", |c| {
        let made = c.stream(json!({}), 3);
        assert!(made["error"].is_null(), "{made}");
        let to = format!("to.{}", c.subject);
        c.subscribe(&to);
        c.consumer(json!({ "ack_policy": "flow_control", "deliver_subject": to, "max_ack_pending": 2 }));
        let asks = c.until(|message| message.status() == Some(100));
        let kept_up = [("Nats-Last-Consumer", "2"), ("Nats-Last-Stream", "2")];
        c.send(asks.reply.as_deref().unwrap(), None, &kept_up, b"");
        c.wait("what was settled so", |c| c.consumer_info()["ack_floor"]["stream_seq"] == json!(2));
        There
    }),
    ("ack_wait", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "ack_wait": SECOND / 5 }));
        assert_eq!(c.there(1).0.len(), 1);
        c.pull(json!({ "batch": 1 }));
        assert_eq!(number(&c.until(|message| message.sid == "2"), 4), 2);
        There
    }),
    ("max_deliver", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "max_deliver": 1 }));
        let (got, _) = c.there(1);
        c.ack(&got[0], "-NAK");
        assert_eq!(c.there(1).0.len(), 0);
        There
    }),
    ("backoff", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "backoff": [SECOND / 5, 60 * SECOND], "max_deliver": 3 }));
        assert_eq!(c.there(1).0.len(), 1);
        c.pull(json!({ "batch": 2 }));
        assert_eq!(number(&c.until(|message| message.sid == "2"), 4), 2);
        assert!(c.silent(), "the second wait is longer");
        There
    }),
    ("filter_subject", |c| {
        let filter = format!("{}.2", c.subject);
        assert_eq!(delivers(c, json!({ "filter_subject": filter })), [2]);
        There
    }),
    ("filter_subjects", |c| {
        let filters = [format!("{}.1", c.subject), format!("{}.3", c.subject)];
        assert_eq!(delivers(c, json!({ "filter_subjects": filters })), [1, 3]);
        There
    }),
    ("replay_policy", |c| {
        c.stream(json!({}), 1);
        std::thread::sleep(Duration::from_millis(300));
        c.publish("2", &[], "x");
        c.consumer(json!({ "replay_policy": "original" }));
        let begun = clock::now();
        c.pull(json!({ "batch": 2 }));
        c.until(|message| message.sid == "2");
        c.until(|message| message.sid == "2");
        assert!(begun.elapsed() >= Duration::from_millis(250), "it came after {:?}", begun.elapsed());
        There
    }),
    ("max_ack_pending", |c| {
        c.stream(json!({}), 3);
        c.consumer(json!({ "max_ack_pending": 2 }));
        c.pull(json!({ "batch": 3, "expires": 60 * SECOND }));
        c.next();
        c.next();
        assert!(c.silent());
        There
    }),
    ("max_waiting", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({ "max_waiting": 1 }));
        c.pull(json!({ "batch": 1, "expires": 60 * SECOND }));
        c.pull(json!({ "batch": 1, "expires": 60 * SECOND }));
        assert_eq!(status(&c.next()), "409 Exceeded MaxWaiting");
        There
    }),
    ("deliver_subject", |c| {
        c.stream(json!({}), 1);
        let to = format!("to.{}", c.subject);
        c.subscribe(&to);
        c.consumer(json!({ "deliver_subject": to }));
        assert_eq!(c.until(|message| message.sid == "9").text(), "message 1");
        There
    }),
    ("deliver_group", |c| {
        c.stream(json!({}), 1);
        let to = format!("to.{}", c.subject);
        // One of two members gets it.
        c.subscribe_as(&format!("{to} g"), "8");
        c.subscribe_as(&format!("{to} g"), "9");
        c.consumer(json!({ "deliver_subject": to, "deliver_group": "g" }));
        assert_eq!(c.until(|message| message.subject.ends_with(".1")).text(), "message 1");
        assert!(c.silent());
        There
    }),
    ("idle_heartbeat", |c| {
        c.stream(json!({}), 0);
        let to = format!("to.{}", c.subject);
        c.subscribe(&to);
        c.consumer(json!({ "deliver_subject": to, "idle_heartbeat": SECOND / 5 }));
        assert_eq!(status(&c.until(|message| message.sid == "9")), "100 Idle Heartbeat");
        There
    }),
    ("flow_control", |c| {
        c.stream(json!({}), 0);
        for n in 0..10 {
            c.publish(&n.to_string(), &[], &"x".repeat(200_000));
        }
        let to = format!("to.{}", c.subject);
        c.subscribe(&to);
        c.consumer(json!({ "deliver_subject": to, "flow_control": true, "idle_heartbeat": 5 * SECOND }));
        let asks = c.until(|message| message.status() == Some(100));
        assert!(asks.reply.as_deref().unwrap().starts_with("$JS.FC."), "{asks:?}");
        There
    }),
    ("rate_limit_bps", |c| {
        c.stream(json!({ "max_msg_size": 1000 }), 0);
        for n in 0..3 {
            c.publish(&n.to_string(), &[], &"x".repeat(900));
        }
        let to = format!("to.{}", c.subject);
        c.subscribe(&to);
        let begun = clock::now();
        // A thousand bytes a second, of which the first thousand may come at once.
        c.consumer(json!({ "deliver_subject": to, "rate_limit_bps": 8000 }));
        for _ in 0..3 {
            c.until(|message| message.sid == "9");
        }
        assert!(begun.elapsed() >= Duration::from_millis(700), "it came after {:?}", begun.elapsed());
        There
    }),
    ("sample_freq", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "sample_freq": "100%" }));
        c.subscribe(&format!("$JS.EVENT.METRIC.CONSUMER.ACK.{}.C", c.name));
        let (got, _) = c.there(1);
        c.ack(&got[0], "");
        c.until(|message| message.sid == "9");
        There
    }),
    ("headers_only", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "headers_only": true }));
        let (got, _) = c.there(1);
        assert_eq!((got[0].text(), got[0].header("Nats-Msg-Size").as_deref()), ("", Some("9")));
        There
    }),
    ("max_batch", |c| {
        with(c, "max_batch", json!(2));
        c.pull(json!({ "batch": 3 }));
        assert_eq!(status(&c.next()), "409 Exceeded MaxRequestBatch of 2");
        There
    }),
    ("max_expires", |c| {
        with(c, "max_expires", json!(SECOND));
        c.pull(json!({ "batch": 1, "expires": 2 * SECOND }));
        assert_eq!(status(&c.next()), "409 Exceeded MaxRequestExpires of 1s");
        There
    }),
    ("max_bytes", |c| {
        with(c, "max_bytes", json!(100));
        c.pull(json!({ "batch": 1, "max_bytes": 101 }));
        assert_eq!(status(&c.next()), "409 Exceeded MaxRequestMaxBytes of 100");
        There
    }),
    ("inactive_threshold", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({ "inactive_threshold": SECOND / 5 }));
        c.wait("the end of an unused consumer", |c| c.consumer_info()["error"]["err_code"] == json!(10014));
        There
    }),
    ("num_replicas", |c| {
        with(c, "num_replicas", json!(1));
        There
    }),
    ("mem_storage", |c| {
        with(c, "mem_storage", json!(true));
        There
    }),
    ("metadata", |c| {
        c.stream(json!({}), 0);
        assert_eq!(c.consumer(json!({ "metadata": { "k": "v" } }))["config"]["metadata"]["k"], json!("v"));
        There
    }),
    ("direct", |c| no_policy(c, json!({ "direct": true, "ack_policy": "none" }))),
    ("sourcing", |c| no_policy(c, json!({ "sourcing": true }))),
    ("pause_until", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "pause_until": "2099-01-01T00:00:00Z" }));
        c.pull(json!({ "batch": 1 }));
        assert!(c.silent());
        There
    }),
    ("priority_groups", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "overflow" }));
        c.pull(json!({ "batch": 1 }));
        assert_eq!(status(&c.next()), "400 Bad Request - Priority Group missing");
        There
    }),
    ("priority_policy: overflow", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "overflow" }));
        c.pull(json!({ "batch": 1, "group": "g", "min_pending": 2 }));
        assert!(c.silent());
        c.publish("2", &[], "x");
        c.until(|message| message.sid == "2");
        There
    }),
    ("priority_policy: pinned_client", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "pinned_client" }));
        c.pull(json!({ "batch": 1, "group": "g" }));
        assert!(c.next().header("Nats-Pin-Id").is_some());
        There
    }),
    ("priority_policy: prioritized", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "prioritized" }));
        for (sid, priority) in [("8", 5), ("7", 1)] {
            let to = format!("_INBOX.{}.{sid}", c.subject);
            c.subscribe_as(&to, sid);
            let body = json!({ "batch": 1, "group": "g", "priority": priority, "expires": 60 * SECOND }).to_string();
            c.send(&format!("$JS.API.CONSUMER.MSG.NEXT.{}.C", c.name), Some(&to), &[], body.as_bytes());
        }
        c.wait("both requests", |c| c.consumer_info()["num_waiting"] == json!(2));
        c.publish("1", &[], "for the second");
        assert_eq!(c.until(|message| message.text() == "for the second").sid, "7");
        There
    }),
    ("priority_timeout", |c| {
        c.stream(json!({}), 0);
        let config =
            json!({ "priority_groups": ["g"], "priority_policy": "pinned_client", "priority_timeout": SECOND });
        assert_eq!(c.consumer(config)["config"]["priority_timeout"], json!(SECOND));
        There
    }),
    ("action", |c| {
        c.stream(json!({}), 0);
        let name = c.name.clone();
        let ask = |c: &mut Asking, action: &str, more: Value| {
            let mut config = json!({ "durable_name": "C", "ack_policy": "explicit" });
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let body = json!({ "stream_name": name, "config": config, "action": action });
            c.api(&format!("CONSUMER.DURABLE.CREATE.{name}.C"), body)
        };
        assert_eq!(code(&ask(c, "update", json!({}))), 10149);
        assert!(ask(c, "create", json!({}))["error"].is_null());
        assert_eq!(code(&ask(c, "create", json!({ "description": "other" }))), 10148);
        There
    }),
];
