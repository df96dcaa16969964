//! Every status that a client may meet.

use serde_json::{Value, json};

use crate::Shown::There;
use crate::asking::{Asking, status};

const SECOND: u64 = 1_000_000_000;

/// What a pull request of a consumer with three messages comes to; messages are passed over.
fn pulled(c: &mut Asking, consumer: Value, request: Value) -> String {
    c.stream(json!({}), 3);
    c.consumer(consumer);
    c.pull(request);
    status(&c.until(|message| message.status().is_some()))
}

/// What a direct get comes to.
fn direct(c: &mut Asking, body: &str) -> String {
    c.stream(json!({ "allow_direct": true }), 3);
    status(&c.request(&format!("$JS.API.DIRECT.GET.{}", c.name), &[], body.as_bytes()))
}

pub(crate) const ROWS: &[crate::Row] = &[
    ("503 (no responders)", |c| {
        let nobody = format!("nobody.{}", c.subject);
        let answer = c.request(&format!("$JS.API.{nobody}"), &[], b"");
        assert_eq!(answer.status(), Some(503));
        assert_eq!(answer.header("Nats-Subject"), Some(format!("$JS.API.{nobody}")));
        There
    }),
    ("404 No Messages", |c| {
        assert_eq!(pulled(c, json!({}), json!({ "batch": 5, "no_wait": true })), "404 No Messages");
        There
    }),
    ("404 Message Not Found", |c| {
        assert_eq!(direct(c, "{\"seq\":9}"), "404 Message Not Found");
        There
    }),
    ("404 No Results", |c| {
        assert_eq!(direct(c, "{\"multi_last\":[\"nothing.like.it\"]}"), "404 No Results");
        There
    }),
    ("408 Request Timeout", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({}));
        c.pull(json!({ "batch": 2, "expires": SECOND / 5 }));
        let ended = c.next();
        assert_eq!(status(&ended), "408 Request Timeout");
        assert_eq!(ended.header("Nats-Pending-Messages").as_deref(), Some("2"));
        assert_eq!(ended.header("Nats-Pending-Bytes").as_deref(), Some("0"));
        There
    }),
    ("408 Requests Pending", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({ "max_ack_pending": 1 }));
        c.publish("1", &[], "x");
        c.publish("2", &[], "x");
        c.pull(json!({ "batch": 9, "expires": 60 * SECOND }));
        c.until(|message| message.sid == "2");
        c.pull(json!({ "batch": 1, "no_wait": true }));
        assert_eq!(status(&c.until(|message| message.sid == "2")), "408 Requests Pending");
        There
    }),
    ("408 Empty Request", |c| {
        assert_eq!(direct(c, ""), "408 Empty Request");
        There
    }),
    ("408 Malformed Request", |c| {
        assert_eq!(direct(c, "junk"), "408 Malformed Request");
        There
    }),
    ("408 Bad Request", |c| {
        assert_eq!(
            direct(c, "{\"multi_last\":[\">\"],\"seq\":1,\"up_to_seq\":1,\"up_to_time\":\"2020-01-01T00:00:00Z\"}"),
            "408 Bad Request"
        );
        There
    }),
    ("409 Message Size Exceeds MaxBytes", |c| {
        assert_eq!(pulled(c, json!({}), json!({ "batch": 5, "max_bytes": 1 })), "409 Message Size Exceeds MaxBytes");
        There
    }),
    ("409 Batch Completed", |c| {
        assert_eq!(pulled(c, json!({}), json!({ "batch": 1, "max_bytes": 100_000 })), "409 Batch Completed");
        There
    }),
    ("409 Consumer Deleted", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({}));
        c.pull(json!({ "batch": 1 }));
        c.api(&format!("CONSUMER.DELETE.{}.C", c.name), Value::Null);
        assert_eq!(status(&c.until(|message| message.sid == "2")), "409 Consumer Deleted");
        There
    }),
    ("409 Consumer is push based", |c| {
        let push = json!({ "deliver_subject": "to.nobody" });
        assert_eq!(pulled(c, push, json!({ "batch": 1 })), "409 Consumer is push based");
        There
    }),
    ("409 Exceeded MaxRequestBatch", |c| {
        assert_eq!(pulled(c, json!({ "max_batch": 1 }), json!({ "batch": 2 })), "409 Exceeded MaxRequestBatch of 1");
        There
    }),
    ("409 Exceeded MaxWaiting", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({ "max_waiting": 1 }));
        c.pull(json!({ "batch": 1 }));
        c.pull(json!({ "batch": 1 }));
        assert_eq!(status(&c.next()), "409 Exceeded MaxWaiting");
        There
    }),
    ("412", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({}));
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.C", c.name);
        c.send(&subject, Some(&c.inbox.clone()), &[("Nats-Required-Api-Level", "99")], b"");
        assert_eq!(c.next().status(), Some(412));
        There
    }),
    ("413 Too Many Results", |c| {
        c.stream(json!({ "allow_direct": true }), 0);
        for n in 0..1100 {
            c.send(&format!("{}.{n}", c.subject), None, &[], b"x");
        }
        c.wait("the messages", |c| c.state()["messages"] == json!(1100));
        let body = json!({ "multi_last": [format!("{}.*", c.subject)] }).to_string();
        let answer = c.request(&format!("$JS.API.DIRECT.GET.{}", c.name), &[], body.as_bytes());
        assert_eq!(status(&answer), "413 Too Many Results");
        There
    }),
    ("423", |c| {
        c.stream(json!({}), 2);
        c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "pinned_client" }));
        c.pull(json!({ "batch": 1, "group": "g" }));
        assert!(c.next().header("Nats-Pin-Id").is_some());
        c.pull(json!({ "batch": 1, "group": "g", "id": "somebody else" }));
        assert_eq!(c.next().status(), Some(423));
        There
    }),
    ("400 Bad Request", |c| {
        assert_eq!(pulled(c, json!({}), json!({ "batch": "x" })).get(..15), Some("400 Bad Request"));
        There
    }),
    ("204 EOB", |c| {
        c.stream(json!({ "allow_direct": true }), 2);
        let subject = format!("$JS.API.DIRECT.GET.{}", c.name);
        c.send(&subject, Some(&c.inbox.clone()), &[], b"{\"seq\":1,\"batch\":2}");
        assert_eq!(status(&c.until(|message| message.status().is_some())), "204 EOB");
        There
    }),
    ("100 Idle Heartbeat", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({}));
        c.pull(json!({ "batch": 1, "expires": 10 * SECOND, "idle_heartbeat": SECOND / 5 }));
        let beat = c.next();
        assert_eq!(status(&beat), "100 Idle Heartbeat");
        assert_eq!(beat.header("Nats-Last-Consumer").as_deref(), Some("0"));
        assert_eq!(beat.header("Nats-Last-Stream").as_deref(), Some("0"));
        There
    }),
    ("100 FlowControl Request", |c| {
        c.stream(json!({}), 0);
        for n in 0..10 {
            c.publish(&n.to_string(), &[], &"x".repeat(200_000));
        }
        let to = format!("to.{}", c.subject);
        c.subscribe(&to);
        c.consumer(json!({ "deliver_subject": to, "flow_control": true, "idle_heartbeat": 5 * SECOND }));
        assert_eq!(status(&c.until(|message| message.status() == Some(100))), "100 FlowControl Request");
        There
    }),
];
