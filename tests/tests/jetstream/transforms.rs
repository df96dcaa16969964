//! Messages that are stored under other subjects, and messages that are published once more.

use serde_json::json;
use sublog_tests::Message;

use crate::{Asking, server};

fn header(message: &Message, key: &str) -> String {
    message.header(key).unwrap_or_default()
}

#[test]
fn messages_are_stored_under_another_subject() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "S", "subjects": ["in.>"], "allow_rollup_hdrs": true,
            "subject_transform": { "src": "in.*.*", "dest": "out.$2.$1" } }));
        js.stored("in.a.b", &[], "x", 1);
        js.stored("in.other", &[], "x", 2);
        assert_eq!(js.state("S")["subjects"], json!({ "out.b.a": 1, "in.other": 1 }));
        // What is expected, and what is replaced, is about the subject that is stored.
        js.stored("in.a.b", &[("Nats-Expected-Last-Subject-Sequence", "1")], "x", 3);
        js.stored("in.a.b", &[("Nats-Rollup", "sub")], "x", 4);
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    js.stored("in.c.d", &[], "x", 5);
    assert_eq!(js.state("S")["subjects"], json!({ "out.b.a": 1, "in.other": 1, "out.d.c": 1 }));
    // A stream that is told otherwise does otherwise from then on.
    js.api("STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["in.>"], "allow_rollup_hdrs": true }));
    js.stored("in.e.f", &[], "x", 6);
    assert_eq!(js.state("S")["subjects"]["in.e.f"], json!(1));
}

#[test]
fn what_is_stored_is_published_once_more() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.>"], "republish": { "src": "s.*", "dest": "copy.$1" } }));
    js.create(json!({ "name": "H", "subjects": ["h"], "republish": { "dest": "heads.>", "headers_only": true } }));
    let mut ear = server.client();
    ear.subscribe("copy.>", "1");
    ear.subscribe("heads.>", "2");
    ear.sync();
    js.stored("s.a", &[("My-Key", "v")], "one", 1);
    js.stored("s.too.deep", &[], "x", 2);
    js.stored("s.a", &[], "two", 3);
    js.refused("s.a", &[("Nats-Expected-Last-Sequence", "9")], "no", 10071, "wrong last sequence: 3");
    js.stored("h", &[], "12345", 1);
    let heard = ear.messages(3);
    let of = |message: &Message| {
        let keys = ["Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Last-Sequence", "Nats-Msg-Size", "My-Key"];
        (message.subject.clone(), keys.map(|key| header(message, key)).join("|"), message.text().to_owned())
    };
    let expected = [("copy.a", "S|s.a|1|0||v", "one"), ("copy.a", "S|s.a|3|1||", "two"), ("heads.h", "H|h|1|0|5|", "")];
    let expected = expected.map(|(subject, keys, text)| (subject.to_owned(), keys.to_owned(), text.to_owned()));
    assert_eq!(heard.iter().map(of).collect::<Vec<_>>(), expected);
    assert!(header(&heard[0], "Nats-Time-Stamp").ends_with('Z'), "{:?}", heard[0]);
}

#[test]
fn copies_go_out_in_the_order_of_their_numbers() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.*"], "republish": { "src": "s.*", "dest": "copy.$1" } }));
    // What is published once more can be stored elsewhere.
    js.create(json!({ "name": "COPY", "subjects": ["copy.*"] }));
    let mut ear = server.client();
    ear.subscribe("copy.>", "1");
    ear.sync();
    let publishers: Vec<_> = (0..4)
        .map(|n| {
            let mut raw = server.client();
            std::thread::spawn(move || {
                for _ in 0..200 {
                    raw.publish(&format!("s.{n}"), "x");
                }
                raw.sync();
            })
        })
        .collect();
    let heard: Vec<u64> = ear.messages(800).iter().map(|it| header(it, "Nats-Sequence").parse().unwrap()).collect();
    assert_eq!(heard, (1..=800).collect::<Vec<_>>());
    for publisher in publishers {
        publisher.join().unwrap();
    }
    sublog_tests::clock::until("the copies", || (js.state("COPY")["messages"] == json!(800)).then_some(()));
}
