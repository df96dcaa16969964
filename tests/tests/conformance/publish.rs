//! Every header that means something to a stream.

use serde_json::json;

use crate::Shown::{self, There};
use crate::asking::{Asking, code};

/// A message with this header is refused, with this error.
fn refused(c: &mut Asking, head: &[(&str, &str)]) -> Shown {
    c.stream(json!({}), 1);
    Shown::Refused(code(&c.publish("1", head, "x")))
}

pub(crate) const ROWS: &[crate::Row] = &[
    ("Nats-Msg-Id", |c| {
        c.stream(json!({}), 0);
        assert_eq!(c.publish("1", &[("Nats-Msg-Id", "a")], "x")["seq"], json!(1));
        let again = c.publish("1", &[("Nats-Msg-Id", "a")], "x");
        assert_eq!((&again["seq"], &again["duplicate"]), (&json!(1), &json!(true)));
        There
    }),
    ("Nats-Expected-Stream", |c| {
        c.stream(json!({}), 0);
        let name = c.name.clone();
        assert_eq!(c.publish("1", &[("Nats-Expected-Stream", &name)], "x")["seq"], json!(1));
        assert_eq!(code(&c.publish("1", &[("Nats-Expected-Stream", "OTHER")], "x")), 10060);
        There
    }),
    ("Nats-Expected-Last-Sequence", |c| {
        c.stream(json!({}), 1);
        assert_eq!(code(&c.publish("1", &[("Nats-Expected-Last-Sequence", "5")], "x")), 10071);
        assert_eq!(c.publish("1", &[("Nats-Expected-Last-Sequence", "1")], "x")["seq"], json!(2));
        There
    }),
    ("Nats-Expected-Last-Subject-Sequence", |c| {
        c.stream(json!({}), 2);
        let expected = "Nats-Expected-Last-Subject-Sequence";
        assert_eq!(code(&c.publish("1", &[(expected, "2")], "x")), 10071);
        assert_eq!(c.publish("1", &[(expected, "1")], "x")["seq"], json!(3));
        There
    }),
    ("Nats-Expected-Last-Subject-Sequence-Subject", |c| {
        c.stream(json!({}), 2);
        let filter = format!("{}.*", c.subject);
        let head = |seq| {
            [
                ("Nats-Expected-Last-Subject-Sequence", seq),
                ("Nats-Expected-Last-Subject-Sequence-Subject", filter.as_str()),
            ]
        };
        assert_eq!(code(&c.publish("1", &head("1"), "x")), 10071);
        assert_eq!(c.publish("1", &head("2"), "x")["seq"], json!(3));
        There
    }),
    ("Nats-Expected-Last-Msg-Id", |c| {
        c.stream(json!({}), 0);
        c.publish("1", &[("Nats-Msg-Id", "a")], "x");
        assert_eq!(code(&c.publish("1", &[("Nats-Expected-Last-Msg-Id", "b")], "x")), 10070);
        assert_eq!(c.publish("1", &[("Nats-Expected-Last-Msg-Id", "a")], "x")["seq"], json!(2));
        There
    }),
    ("Nats-Rollup: sub", |c| {
        c.stream(json!({ "allow_rollup_hdrs": true }), 2);
        c.publish("1", &[("Nats-Rollup", "sub")], "x");
        assert_eq!((&c.state()["messages"], &c.state()["first_seq"]), (&json!(2), &json!(2)));
        There
    }),
    ("Nats-Rollup: all", |c| {
        c.stream(json!({ "allow_rollup_hdrs": true }), 2);
        c.publish("1", &[("Nats-Rollup", "all")], "x");
        assert_eq!((&c.state()["messages"], &c.state()["first_seq"]), (&json!(1), &json!(3)));
        There
    }),
    ("Nats-TTL (off)", |c| refused(c, &[("Nats-TTL", "10s")])),
    ("Nats-Incr (off)", |c| refused(c, &[("Nats-Incr", "1")])),
    ("Nats-Batch-Id (off)", |c| refused(c, &[("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1")])),
    ("Nats-Schedule (off)", |c| {
        refused(c, &[("Nats-Schedule", "@at 2099-01-01T00:00:00Z"), ("Nats-Schedule-Target", "x")])
    }),
    ("Nats-Required-Api-Level", |c| {
        c.stream(json!({}), 0);
        let subject = format!("$JS.API.STREAM.INFO.{}", c.name);
        let answer = c.request(&subject, &[("Nats-Required-Api-Level", "99")], b"");
        assert_eq!(code(&serde_json::from_str(answer.text()).unwrap()), 10185);
        There
    }),
    ("other headers", |c| {
        c.stream(json!({ "allow_direct": true }), 0);
        c.publish("1", &[("Tenant", "cms")], "x");
        let got = c.request(&format!("$JS.API.DIRECT.GET.{}", c.name), &[], b"{\"seq\":1}");
        assert_eq!(got.header("Tenant").as_deref(), Some("cms"));
        There
    }),
    ("PubAck: stream, seq", |c| {
        c.stream(json!({}), 0);
        let ack = c.publish("1", &[], "x");
        assert_eq!(ack, json!({ "stream": c.name, "seq": 1 }));
        There
    }),
];
