//! What publishers ask for with headers.

use serde_json::json;

use crate::{Asking, server};

const LAST: &str = "Nats-Expected-Last-Sequence";
const LAST_OF_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence";

#[test]
fn expectations_are_checked() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.>"] }));
    js.stored("s.a", &[], "1", 1);
    js.stored("s.b", &[(LAST, "1")], "2", 2);
    js.refused("s.a", &[(LAST, "1")], "", 10071, "wrong last sequence: 2");
    js.refused("s.a", &[(LAST_OF_SUBJECT, "2")], "", 10071, "wrong last sequence: 1");
    js.stored("s.a", &[(LAST_OF_SUBJECT, "1")], "3", 3);
    js.refused("s.a", &[(LAST_OF_SUBJECT, "0")], "", 10071, "wrong last sequence: 3");
    js.stored("s.new", &[(LAST_OF_SUBJECT, "0")], "4", 4);
    let of_filter = [(LAST_OF_SUBJECT, "4"), ("Nats-Expected-Last-Subject-Sequence-Subject", "s.*")];
    js.stored("s.a", &of_filter, "5", 5);
    js.refused("s.a", &of_filter, "", 10071, "wrong last sequence: 5");
    js.refused("s.a", &[("Nats-Expected-Stream", "T")], "", 10060, "expected stream does not match");
    js.stored("s.a", &[("Nats-Msg-Id", "one")], "6", 6);
    js.refused("s.a", &[("Nats-Expected-Last-Msg-Id", "two")], "", 10070, "wrong last msg ID: one");
    js.stored("s.a", &[("Nats-Expected-Last-Msg-Id", "one")], "7", 7);
    js.refused("s.a", &[("Nats-TTL", "1s")], "", 10166, "per-message TTL is disabled");
    js.refused("s.a", &[("Nats-Rollup", "all")], "", 10111, "rollup not permitted");
    assert_eq!(js.state("S")["messages"], json!(7));
}

#[test]
fn of_many_at_once_one_wins() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.>"] }));
    // Without waiting (the stream was request 1): later ones are checked while earlier ones are not on disk yet. Plain ones lie between.
    for round in 0..50 {
        js.send("s.key", &[(LAST_OF_SUBJECT, if round == 0 { "0" } else { "1" })], b"x");
        js.send("s.other", &[], b"x");
    }
    let answers = js.raw.messages(100);
    let wins: Vec<&str> = answers
        .iter()
        .filter(|answer| answer.text().contains("\"seq\":") && !answer.text().contains("error"))
        .map(|answer| answer.subject.rsplit('.').next().unwrap())
        .filter(|n| n.parse::<u64>().unwrap() % 2 == 0)
        .collect();
    assert_eq!(wins, ["2", "4"], "the first, and the one that knew of it");
    assert_eq!(js.state("S")["subjects"], json!({ "s.key": 2, "s.other": 50 }));
}

#[test]
fn a_message_that_comes_again_is_stored_once() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "S", "subjects": ["s.>"] }));
        js.stored("s.a", &[("Nats-Msg-Id", "m1")], "1", 1);
        let again = js.publish("s.b", &[("Nats-Msg-Id", "m1")], "1");
        assert_eq!(again, json!({ "stream": "S", "seq": 1, "duplicate": true }));
        // In one go: the second one finds the first one in flight.
        js.send("s.a", &[("Nats-Msg-Id", "m2")], b"2");
        js.send("s.a", &[("Nats-Msg-Id", "m2")], b"2");
        let texts: Vec<String> = js.raw.messages(2).iter().map(|answer| answer.text().to_owned()).collect();
        assert!(texts.iter().all(|text| text.contains("\"seq\":2")), "{texts:?}");
        assert_eq!(texts.iter().filter(|text| text.contains("duplicate")).count(), 1, "{texts:?}");
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    let again = js.publish("s.b", &[("Nats-Msg-Id", "m2")], "2");
    assert_eq!(again["duplicate"], json!(true), "the window outlives the server");
    assert_eq!(js.state("S")["messages"], json!(2));
}

#[test]
fn the_window_ends() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"], "duplicate_window": 100_000_000 }));
    js.stored("s", &[("Nats-Msg-Id", "m")], "", 1);
    let seq = sublog_tests::clock::until("end of the window", || {
        let ack = js.publish("s", &[("Nats-Msg-Id", "m")], "");
        ack["duplicate"].is_null().then(|| ack["seq"].as_u64().unwrap())
    });
    assert_eq!(seq, 2);
}

#[test]
fn a_rollup_replaces_what_was_before() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.>"], "allow_rollup_hdrs": true }));
    for n in 1..=6_u64 {
        js.stored(if n % 2 == 0 { "s.even" } else { "s.odd" }, &[], "x", n);
    }
    js.stored("s.odd", &[("Nats-Rollup", "sub")], "roll", 7);
    assert_eq!(js.state("S")["subjects"], json!({ "s.even": 3, "s.odd": 1 }));
    js.stored("s.new", &[("Nats-Rollup", "all")], "roll", 8);
    assert_eq!(js.state("S")["subjects"], json!({ "s.new": 1 }));
    for n in 9..=10_u64 {
        js.stored(&format!("s.key.{n}"), &[], "x", n);
    }
    // A subject that is a filter replaces what it selects.
    js.stored("s.key.*", &[("Nats-Rollup", "sub")], "roll", 11);
    assert_eq!(js.state("S")["subjects"], json!({ "s.new": 1, "s.key.*": 1 }));
    js.refused("s.new", &[("Nats-Rollup", "some")], "", 10111, "rollup value invalid: \"some\"");
}
