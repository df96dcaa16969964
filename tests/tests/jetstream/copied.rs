//! What a stream makes of messages that come from another one: sums of counters, what is published once more.

use serde_json::{Value, json};
use sublog_tests::clock;

use crate::{Asking, server};

/// The last message of a subject: body, and two headers.
fn last(js: &mut Asking, stream: &str, subject: &str) -> (String, Option<String>, Option<String>) {
    let found = js.request(&format!("$JS.API.DIRECT.GET.{stream}.{subject}"), &[], b"");
    (found.text().to_owned(), found.header("Nats-Incr"), found.header("Nats-Counter-Sources"))
}

fn until(js: &mut Asking, stream: &str, subject: &str, value: &str) -> (String, Option<String>, Option<String>) {
    let expected = format!("{{\"val\":\"{value}\"}}");
    clock::until(&format!("{subject} to be {value}"), || {
        let found = last(js, stream, subject);
        (found.0 == expected).then_some(found)
    })
}

fn add(js: &mut Asking, subject: &str, increment: &str) {
    let ack = js.publish(subject, &[("Nats-Incr", increment)], "");
    assert!(ack["error"].is_null(), "{ack}");
}

fn counter(js: &mut Asking, name: &str, more: Value) {
    let mut config = json!({ "name": name, "allow_msg_counter": true, "allow_direct": true });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    js.create(config);
}

fn source(name: &str) -> Value {
    let to = json!([{ "src": format!("{}.>", name.to_lowercase()), "dest": "all.>" }]);
    json!({ "name": name, "subject_transforms": to })
}

#[test]
fn counters_of_several_streams_are_summed_up() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        counter(&mut js, "A", json!({ "subjects": ["a.>"] }));
        counter(&mut js, "B", json!({ "subjects": ["b.>"], "max_msgs_per_subject": 1 }));
        add(&mut js, "a.x", "5");
        add(&mut js, "a.x", "-2");
        for _ in 0..100 {
            add(&mut js, "b.x", "1000000000000000000000");
        }
        counter(&mut js, "C", json!({ "subjects": ["all.>"], "sources": [source("A"), source("B")] }));
        let found = until(&mut js, "C", "all.x", "100000000000000000000003");
        let expected = json!({ "A": { "a.x": "3" }, "B": { "b.x": "100000000000000000000000" } });
        assert_eq!(serde_json::from_str::<Value>(&found.2.unwrap()).unwrap(), expected);
        // What B does not hold any more was not lost: its last message says what it comes to.
        assert!(js.state("C")["messages"].as_u64().unwrap() <= 103);
        // What is added here stays beside what comes from there.
        add(&mut js, "all.x", "-3");
        add(&mut js, "a.x", "7");
        let found = until(&mut js, "C", "all.x", "100000000000000000000007");
        assert_eq!(found.1.as_deref(), Some("7"));
        // One more that follows the sum.
        counter(&mut js, "D", json!({ "sources": [{ "name": "C" }] }));
        let found = until(&mut js, "D", "all.x", "100000000000000000000007");
        let expected = json!({ "C": { "all.x": "100000000000000000000007" } });
        assert_eq!(serde_json::from_str::<Value>(&found.2.unwrap()).unwrap(), expected);
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    add(&mut js, "a.x", "100");
    let found = until(&mut js, "C", "all.x", "100000000000000000000107");
    assert_eq!(found.1.as_deref(), Some("100"), "what was there before the kill is not added again");
    until(&mut js, "D", "all.x", "100000000000000000000107");
    // A stream whose messages are no counters is told so, and does not break the sum.
    js.create(json!({ "name": "P", "subjects": ["p.>"] }));
    js.stored("p.x", &[], "text", 1);
    counter(&mut js, "E", json!({ "sources": [{ "name": "P" }] }));
    let why = clock::until("an error", || {
        let info = js.api("STREAM.INFO.E", Value::Null);
        info["sources"][0]["error"]["err_code"].as_u64()
    });
    assert_eq!(why, 10169);
    assert_eq!(js.state("E")["messages"], json!(0));
}

#[test]
fn what_comes_from_elsewhere_is_published_once_more() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "O", "subjects": ["o.*"] }));
    for n in 1..=3 {
        js.stored("o.a", &[("X", "y")], &format!("old {n}"), n);
    }
    let mut ear = server.client();
    ear.subscribe("mirrored.>", "1");
    ear.subscribe("sourced.>", "2");
    ear.sync();
    let republish = |dest: &str| json!({ "src": "o.>", "dest": dest });
    js.create(json!({ "name": "M", "mirror": { "name": "O" }, "republish": republish("mirrored.>") }));
    let heard = ear.messages(3);
    for (n, message) in (1..).zip(&heard) {
        assert_eq!((message.subject.as_str(), message.text()), ("mirrored.a", format!("old {n}").as_str()));
        let header = |key: &str| message.header(key).unwrap_or_default();
        let (seq, last) = (n.to_string(), (n - 1).to_string());
        let seen = ["Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Last-Sequence", "X"].map(header);
        assert_eq!(seen, ["M", "o.a", &seq, &last, "y"]);
    }
    js.create(json!({ "name": "S", "subjects": ["o2.*"], "sources": [{ "name": "O", "opt_start_seq": 3 }],
        "republish": { "src": ">", "dest": "sourced.>", "headers_only": true } }));
    let message = ear.message();
    let header = |key: &str| message.header(key).unwrap_or_default();
    assert_eq!((message.subject.as_str(), message.text()), ("sourced.o.a", ""));
    assert_eq!((header("Nats-Sequence"), header("Nats-Msg-Size")), ("1".to_owned(), "5".to_owned()));
    assert!(header("Nats-Stream-Source").starts_with("O 3 > > o.a "), "{message:?}");
    // What is published here goes the same way, in the order of its numbers.
    js.stored("o2.b", &[], "own", 2);
    let message = ear.message();
    assert_eq!((message.subject.as_str(), message.header("Nats-Sequence").as_deref()), ("sourced.o2.b", Some("2")));
    for n in 4..=300 {
        js.send("o.a", &[], format!("new {n}").as_bytes());
    }
    js.raw.messages(297);
    let heard = ear.messages(594);
    for (subject, first) in [("mirrored.a", 4), ("sourced.o.a", 3)] {
        let seqs: Vec<u64> = heard
            .iter()
            .filter(|message| message.subject == subject)
            .map(|message| message.header("Nats-Sequence").unwrap().parse().unwrap())
            .collect();
        assert_eq!(seqs, (first..first + 297).collect::<Vec<u64>>(), "{subject}");
    }
}

/// A consumer for copies of a stream.
fn consumer(js: &mut Asking, stream: &str, name: &str, more: Value) {
    let mut config = json!({ "durable_name": name, "ack_policy": "flow_control", "deliver_subject": "copies" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made =
        js.api(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), json!({ "stream_name": stream, "config": config }));
    assert!(made["error"].is_null(), "{made}");
}

fn by_consumer(stream: &str, name: &str) -> Value {
    json!({ "name": stream, "consumer": { "name": name, "deliver_subject": "copies" } })
}

#[test]
fn a_work_queue_lets_go_of_what_is_stored_elsewhere() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "W", "subjects": ["w.*"], "retention": "workqueue" }));
        consumer(&mut js, "W", "B", json!({ "filter_subject": "w.a" }));
        for n in 1..=50 {
            js.stored("w.a", &[], &format!("a {n}"), 2 * n - 1);
            js.stored("w.b", &[], "b", 2 * n);
        }
        js.create(json!({ "name": "T", "sources": [by_consumer("W", "B")], "allow_direct": true }));
        clock::until("all of them", || (js.state("T")["messages"] == json!(50)).then_some(()));
        clock::until("the others alone", || (js.state("W")["messages"] == json!(50)).then_some(()));
        assert_eq!(js.state("W")["subjects"], json!({ "w.b": 50 }));
        let info = clock::until("what was copied to be acknowledged", || {
            let info = js.api("CONSUMER.INFO.W.B", Value::Null);
            (info["ack_floor"]["stream_seq"] == json!(99)).then_some(info)
        });
        let numbers = ["num_ack_pending", "num_pending", "push_bound"].map(|field| info[field].clone());
        assert_eq!(numbers, [json!(0), json!(0), json!(true)], "{info}");
        assert_eq!(info["delivered"]["consumer_seq"], json!(50), "{info}");
        let told = js.request("$JS.API.CONSUMER.INFO.W.B", &[("Sublog-Info", "1")], b"");
        let told: Value = serde_json::from_str(told.text()).unwrap();
        assert_eq!((&told["sublog"]["lag_messages"], &told["sublog"]["stalled"]), (&json!(0), &Value::Null), "{told}");
        let first = js.request("$JS.API.DIRECT.GET.T", &[], br#"{"seq":2}"#);
        let header = first.header("Nats-Stream-Source").unwrap();
        assert!(header.starts_with("W:C=b2oh2L6w 3 > > w.a "), "{header}");
    }
    // Nothing is lost or doubled by kills.
    let mut sent = 50;
    for _ in 0..4 {
        let mut raw = server.client();
        for _ in 0..300 {
            sent += 1;
            raw.publish("w.a", format!("a {sent}"));
        }
        raw.sync();
        let mut js = Asking::new(&server);
        let before = js.state("T")["messages"].as_u64().unwrap();
        clock::until("some copies", || {
            (js.state("T")["messages"].as_u64().unwrap() >= before.min(sent - 1)).then_some(())
        });
        server.kill9();
        server.restart();
    }
    let mut js = Asking::new(&server);
    clock::until("all of them", || (js.state("T")["messages"] == json!(sent)).then_some(()));
    clock::until("the others alone", || (js.state("W")["messages"] == json!(50)).then_some(()));
    for n in [1, 51, 777, sent] {
        let found = js.request("$JS.API.DIRECT.GET.T", &[], json!({ "seq": n }).to_string().as_bytes());
        assert_eq!(found.text(), format!("a {n}"), "{found:?}");
    }
    assert_eq!(js.state("T")["last_seq"], json!(sent));
}

#[test]
fn a_consumer_that_is_copied_is_of_the_right_kind() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "O", "subjects": ["o.*"] }));
    for n in 1..=3 {
        js.stored(if n == 2 { "o.b" } else { "o.a" }, &[], "x", n);
    }
    let error = |js: &mut Asking, name: &str| {
        let info = js.api(&format!("STREAM.INFO.{name}"), Value::Null);
        let about = if info["mirror"].is_null() { &info["sources"][0] } else { &info["mirror"] };
        about["error"]["err_code"].as_u64()
    };
    consumer(&mut js, "O", "E", json!({ "ack_policy": "explicit" }));
    js.create(json!({ "name": "S", "sources": [by_consumer("O", "E")] }));
    assert_eq!(clock::until("an error", || error(&mut js, "S")), 10217);
    js.create(json!({ "name": "M", "mirror": by_consumer("O", "E") }));
    assert_eq!(clock::until("an error", || error(&mut js, "M")), 10214);
    js.create(json!({ "name": "N", "mirror": by_consumer("O", "later") }));
    assert_eq!(clock::until("an error", || error(&mut js, "N")), 10014);
    // It may come later, and what it is about is what comes.
    consumer(&mut js, "O", "later", json!({ "filter_subject": "o.a" }));
    clock::until("what it selects", || (js.state("N")["messages"] == json!(2)).then_some(()));
    assert_eq!((&js.state("N")["last_seq"], error(&mut js, "N")), (&json!(3), None));
    // Paused, nothing comes.
    let until = json!({ "pause_until": "2100-01-01T00:00:00Z" });
    assert_eq!(js.api("CONSUMER.PAUSE.O.later", until)["paused"], json!(true));
    js.stored("o.a", &[], "x", 4);
    js.create(json!({ "name": "P", "sources": [by_consumer("O", "later")] }));
    js.create(json!({ "name": "R", "sources": [{ "name": "O" }] }));
    clock::until("copies for nobody", || (js.state("R")["messages"] == json!(4)).then_some(()));
    assert_eq!((&js.state("P")["messages"], &js.state("N")["messages"]), (&json!(0), &json!(2)));
    js.api("CONSUMER.PAUSE.O.later", json!({}));
    clock::until("what came meanwhile", || (js.state("N")["messages"] == json!(3)).then_some(()));
    // A second use of it in one stream is none.
    let transform = json!([{ "src": "o.a", "dest": "p.a" }]);
    let mut again = by_consumer("O", "later");
    again["subject_transforms"] = transform;
    let twice = json!({ "name": "Q", "sources": [by_consumer("O", "later"), again] });
    assert_eq!(crate::error(&js.api("STREAM.CREATE.Q", twice)).0, 10216);
    js.api("CONSUMER.DELETE.O.later", Value::Null);
    assert_eq!(clock::until("an error", || error(&mut js, "N")), 10014);
}
