//! Every advisory and metric.

use serde_json::{Value, json};

use crate::Shown::{Differs, There};
use crate::asking::Asking;

/// What is told on a subject when something happens; `{S}` is this row's stream.
fn told(c: &mut Asking, subject: &str, kind: &str, happens: fn(&mut Asking)) -> Value {
    let subject = format!("$JS.EVENT.{}", subject.replace("{S}", &c.name));
    c.subscribe(&subject);
    happens(c);
    let message = c.until(|message| message.sid == "9");
    let advisory: Value = serde_json::from_str(message.text()).unwrap();
    assert_eq!(advisory["type"], json!(format!("io.nats.jetstream.{kind}")), "{advisory}");
    assert!(advisory["id"].is_string() && advisory["timestamp"].is_string(), "{advisory}");
    advisory
}

/// Somebody has one message of a consumer, and says this of it.
fn answered(c: &mut Asking, config: Value, body: &str) {
    c.stream(json!({}), 1);
    c.consumer(config);
    let (got, _) = c.there(1);
    c.ack(&got[0], body);
}

pub(crate) const ROWS: &[crate::Row] = &[
    ("ADVISORY.STREAM.CREATED.S", |c| {
        let told =
            told(c, "ADVISORY.STREAM.CREATED.{S}", "advisory.v1.stream_action", |c| drop(c.stream(json!({}), 0)));
        assert_eq!((&told["stream"], &told["action"]), (&json!(c.name), &json!("create")));
        There
    }),
    ("ADVISORY.STREAM.UPDATED.S", |c| {
        told(c, "ADVISORY.STREAM.UPDATED.{S}", "advisory.v1.stream_action", |c| {
            let mut config = c.stream(json!({}), 0)["config"].take();
            config["description"] = json!("other");
            c.api(&format!("STREAM.UPDATE.{}", c.name), config);
        });
        There
    }),
    ("ADVISORY.STREAM.DELETED.S", |c| {
        told(c, "ADVISORY.STREAM.DELETED.{S}", "advisory.v1.stream_action", |c| {
            c.stream(json!({}), 0);
            c.api(&format!("STREAM.DELETE.{}", c.name), Value::Null);
        });
        There
    }),
    ("ADVISORY.CONSUMER.CREATED.S.C", |c| {
        told(c, "ADVISORY.CONSUMER.CREATED.{S}.C", "advisory.v1.consumer_action", |c| {
            c.stream(json!({}), 0);
            c.consumer(json!({}));
        });
        There
    }),
    ("ADVISORY.CONSUMER.DELETED.S.C", |c| {
        told(c, "ADVISORY.CONSUMER.DELETED.{S}.C", "advisory.v1.consumer_action", |c| {
            c.stream(json!({}), 0);
            c.consumer(json!({}));
            c.api(&format!("CONSUMER.DELETE.{}.C", c.name), Value::Null);
        });
        There
    }),
    ("ADVISORY.CONSUMER.MAX_DELIVERIES.S.C", |c| {
        let told = told(c, "ADVISORY.CONSUMER.MAX_DELIVERIES.{S}.C", "advisory.v1.max_deliver", |c| {
            answered(c, json!({ "max_deliver": 1 }), "-NAK");
        });
        assert_eq!((&told["stream_seq"], &told["deliveries"]), (&json!(1), &json!(1)));
        There
    }),
    ("ADVISORY.CONSUMER.MSG_NAKED.S.C", |c| {
        told(c, "ADVISORY.CONSUMER.MSG_NAKED.{S}.C", "advisory.v1.nak", |c| answered(c, json!({}), "-NAK"));
        There
    }),
    ("ADVISORY.CONSUMER.MSG_TERMINATED.S.C", |c| {
        let told = told(c, "ADVISORY.CONSUMER.MSG_TERMINATED.{S}.C", "advisory.v1.terminated", |c| {
            answered(c, json!({}), "+TERM because");
        });
        assert_eq!(told["reason"], json!("because"));
        There
    }),
    ("ADVISORY.CONSUMER.PAUSE.S.C", |c| {
        let told = told(c, "ADVISORY.CONSUMER.PAUSE.{S}.C", "advisory.v1.consumer_pause", |c| {
            c.stream(json!({}), 0);
            c.consumer(json!({}));
            c.api(&format!("CONSUMER.PAUSE.{}.C", c.name), json!({ "pause_until": "2099-01-01T00:00:00Z" }));
        });
        assert_eq!(told["paused"], json!(true));
        There
    }),
    ("ADVISORY.CONSUMER.PINNED.S.C", |c| {
        told(c, "ADVISORY.CONSUMER.PINNED.{S}.C", "advisory.v1.consumer_group_pinned", |c| {
            c.stream(json!({}), 1);
            c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "pinned_client" }));
            c.pull(json!({ "batch": 1, "group": "g" }));
        });
        There
    }),
    ("ADVISORY.CONSUMER.UNPINNED.S.C", |c| {
        told(c, "ADVISORY.CONSUMER.UNPINNED.{S}.C", "advisory.v1.consumer_group_unpinned", |c| {
            c.stream(json!({}), 1);
            c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "pinned_client" }));
            c.pull(json!({ "batch": 1, "group": "g" }));
            c.until(|message| message.sid == "2");
            let name = c.name.clone();
            c.api(&format!("CONSUMER.UNPIN.{name}.C"), json!({ "group": "g" }));
        });
        There
    }),
    ("METRIC.CONSUMER.ACK.S.C", |c| {
        let told = told(c, "METRIC.CONSUMER.ACK.{S}.C", "metric.v1.consumer_ack", |c| {
            c.stream(json!({}), 1);
            c.consumer(json!({ "sample_freq": "100" }));
            let (got, _) = c.there(1);
            let reply = got[0].reply.clone().unwrap();
            c.send(&reply, None, &[], b"");
        });
        assert!(told["ack_time"].as_u64().unwrap() > 0);
        There
    }),
    ("ADVISORY.API", |c| {
        c.subscribe("$JS.EVENT.ADVISORY.API");
        c.api("INFO", Value::Null);
        if c.silent() { Differs("not told: the audit of every request") } else { There }
    }),
];
