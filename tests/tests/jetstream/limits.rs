//! How much a stream keeps, and what gives way.

use serde_json::{Value, json};
use sublog_tests::clock;

use crate::{Asking, server};

#[test]
fn the_oldest_give_way() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "M", "subjects": ["m.*"], "max_msgs": 3 }));
    js.create(json!({ "name": "P", "subjects": ["p.*"], "max_msgs_per_subject": 2 }));
    for n in 1..=5_u64 {
        js.stored(&format!("m.{n}"), &[], "x", n);
        js.stored("p.a", &[], "x", n);
    }
    js.stored("p.b", &[], "x", 6);
    let state = js.state("M");
    assert_eq!((&state["messages"], &state["first_seq"]), (&json!(3), &json!(3)));
    assert_eq!(js.state("P")["subjects"], json!({ "p.a": 2, "p.b": 1 }));
    js.api("STREAM.UPDATE.M", json!({ "name": "M", "subjects": ["m.*"], "max_msgs": 1 }));
    clock::until("the new limit", || (js.state("M")["messages"] == json!(1)).then_some(()));
}

#[test]
fn new_ones_are_refused_each_by_itself() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "N", "subjects": ["n.*"], "max_msgs": 3, "discard": "new" }));
    js.create(json!({ "name": "K", "subjects": ["k.*"], "max_msgs_per_subject": 1, "discard": "new",
        "discard_new_per_subject": true }));
    js.create(json!({ "name": "Z", "subjects": ["z"], "max_msg_size": 10 }));
    // In one write, of which some fit.
    for n in 0..5 {
        js.send(&format!("n.{n}"), &[], b"x");
    }
    let answers = js.raw.messages(5);
    let full = answers.iter().filter(|answer| answer.text().contains("maximum messages exceeded")).count();
    assert_eq!(full, 2, "{answers:?}");
    js.send("k.a", &[], b"1");
    js.send("k.a", &[], b"2");
    let answers = js.raw.messages(2);
    let full = answers.iter().filter(|answer| answer.text().contains("maximum messages per subject exceeded")).count();
    assert_eq!(full, 1, "{answers:?}");
    js.stored("k.b", &[], "x", 2);
    js.stored("z", &[], "0123456789", 1);
    js.refused("z", &[], "0123456789x", 10054, "message size exceeds maximum allowed");
}

#[test]
fn a_full_bucket_can_be_updated() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "B", "subjects": ["b.*"], "max_msgs": 2, "max_bytes": 100, "max_msgs_per_subject": 1,
        "discard": "new" }));
    js.stored("b.1", &[], "0123456789", 1);
    js.stored("b.2", &[], "0123456789", 2);
    js.refused("b.3", &[], "x", 10077, "maximum messages exceeded");
    for round in 0..5 {
        js.stored("b.1", &[], "9876543210", 3 + 2 * round);
        js.stored("b.2", &[], "9876543210", 4 + 2 * round);
    }
    js.refused("b.1", &[], &"x".repeat(60), 10077, "maximum messages exceeded");
    js.refused("b.3", &[], "x", 10077, "maximum messages exceeded");
    assert_eq!(js.state("B")["subjects"], json!({ "b.1": 1, "b.2": 1 }));
}

#[test]
fn messages_expire() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "A", "subjects": ["a"], "max_age": 300_000_000, "duplicate_window": 100_000_000 }));
    js.stored("a", &[], "x", 1);
    assert_eq!(js.state("A")["messages"], json!(1));
    clock::until("expiry", || (js.state("A")["messages"] == json!(0)).then_some(()));
    // And again, after there was nothing.
    js.stored("a", &[], "x", 2);
    clock::until("expiry", || (js.state("A")["messages"] == json!(0)).then_some(()));
}

#[test]
fn a_sealed_stream_is_only_read() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"] }));
    js.stored("s", &[], "x", 1);
    let sealed = js.api("STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["s"], "sealed": true }));
    assert_eq!(sealed["config"]["deny_purge"], json!(true), "{sealed}");
    js.refused("s", &[], "x", 10109, "invalid operation on sealed stream");
    assert_eq!(crate::error(&js.api("STREAM.PURGE.S", json!(null))).0, 10109);
    assert_eq!(js.api("STREAM.MSG.GET.S", json!({ "seq": 1 }))["message"]["data"], "eA==");
}

#[test]
fn bytes_are_counted_as_nats_server_counts_them() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    for (storage, each) in [("file", 30), ("memory", 16)] {
        let subject = format!("b.{storage}");
        let most = 3 * (each + subject.len() + 10);
        let config = |discard: &str| {
            let subjects = json!([subject]);
            json!({ "name": "B", "subjects": subjects, "storage": storage, "max_bytes": most, "discard": discard })
        };
        js.create(config("old"));
        for n in 1..=3_u64 {
            js.stored(&subject, &[], "ten bytes.", n);
            let bytes = js.api("STREAM.INFO.B", Value::Null)["state"]["bytes"].as_u64();
            assert_eq!(bytes, Some(n * (each + subject.len() + 10) as u64), "{storage}");
        }
        // The limit is reached, to the byte: the oldest goes for one more.
        js.stored(&subject, &[], "ten bytes.", 4);
        let state = js.api("STREAM.INFO.B", Value::Null)["state"].take();
        assert_eq!((&state["first_seq"], &state["bytes"]), (&json!(2), &json!(most)), "{storage}");
        js.api("STREAM.UPDATE.B", config("new"));
        js.refused(&subject, &[], "ten bytes.", 10077, "maximum bytes exceeded");
        js.api("STREAM.DELETE.B", Value::Null);
    }
}
