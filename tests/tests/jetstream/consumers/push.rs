//! Messages that are pushed: to whom, how fast, and what is said in between.

use serde_json::{Value, json};

use super::seqs;
use crate::{Asking, server};

#[test]
fn messages_are_pushed_while_somebody_listens() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.stream_of(json!({}), 3);
    let created = js.consumer("C", json!({ "deliver_subject": "to.me" }));
    assert_eq!((&created["num_pending"], &created["push_bound"]), (&json!(3), &Value::Null), "{created}");
    js.raw.subscribe("to.me", "2");
    let first = js.raw.messages(3);
    assert_eq!(seqs(&first), [1, 2, 3]);
    assert_eq!((first[0].subject.as_str(), first[0].text()), ("s.0", "message 1"));
    assert_eq!(js.consumer_info("C")["push_bound"], json!(true));
    for message in &first {
        js.ack(message, "");
    }
    js.raw.send("UNSUB 2\r\n");
    js.raw.sync();
    js.publish("s.0", &[], "message 4");
    js.raw.expect_nothing();
    let info = js.consumer_info("C");
    assert_eq!((&info["push_bound"], &info["num_pending"]), (&Value::Null, &json!(1)), "{info}");
    js.raw.subscribe("to.*", "3");
    assert_eq!(js.raw.message().text(), "message 4");
}

#[test]
fn heartbeats_and_flow_control() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.*"] }));
    let large = "x".repeat(300_000);
    for _ in 0..20 {
        js.publish("s.0", &[], &large);
    }
    js.consumer("C", json!({ "deliver_subject": "to.me", "flow_control": true, "idle_heartbeat": 100_000_000 }));
    js.raw.subscribe("to.me", "2");
    let (mut got, mut question) = (0, None);
    let stalled = loop {
        let message = js.raw.message();
        match message.status() {
            None => got += 1,
            Some(100) if message.reply.is_some() => question = message.reply,
            Some(_) => {
                if let Some(stalled) = message.header("Nats-Consumer-Stalled") {
                    assert_eq!(message.header("Nats-Last-Consumer"), Some(got.to_string()));
                    break stalled;
                }
            }
        }
    };
    assert!((5..20).contains(&got), "{got} before it stops");
    assert_eq!(question.as_ref(), Some(&stalled));
    assert!(stalled.starts_with("$JS.FC.S.C."));
    js.raw.publish(&stalled, "");
    while got < 20 {
        let message = js.raw.message();
        match (message.status(), message.reply) {
            (None, _) => got += 1,
            (Some(_), Some(reply)) => js.raw.publish(&reply, ""),
            (Some(_), None) => {}
        }
    }
}

#[test]
fn headers_only_tells_how_large_a_message_is() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.*"] }));
    js.publish("s.0", &[], "12345");
    js.publish("s.0", &[("Key", "value")], "1234567");
    js.consumer("C", json!({ "deliver_subject": "to.me", "headers_only": true, "ack_policy": "none" }));
    js.raw.subscribe("to.me", "2");
    let got = js.raw.messages(2);
    let sizes: Vec<_> = got.iter().map(|message| (message.text(), message.header("Nats-Msg-Size"))).collect();
    assert_eq!(sizes, [("", Some("5".to_owned())), ("", Some("7".to_owned()))]);
    assert_eq!(got[1].header("Key"), Some("value".to_owned()));
}

#[test]
fn a_queue_group_shares_and_another_stream_records() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.stream_of(json!({}), 50);
    js.create(json!({ "name": "COPY", "subjects": ["copy"] }));
    let (mut a, mut b) = (server.client(), server.client());
    for client in [&mut a, &mut b] {
        client.send("SUB to.us group 1\r\n");
        client.sync();
    }
    js.consumer("G", json!({ "deliver_subject": "to.us", "deliver_group": "group", "ack_policy": "none" }));
    js.consumer("R", json!({ "deliver_subject": "copy", "ack_policy": "none" }));
    js.wait_for_state(|_| true);
    let begun = sublog_tests::clock::now();
    while js.state("COPY")["messages"] != json!(50) || js.consumer_info("G")["num_pending"] != json!(0) {
        assert!(begun.elapsed() < crate::PATIENCE);
    }
    let (a, b) = (a.flush().len(), b.flush().len());
    assert!(a + b == 50 && a > 0 && b > 0, "{a} and {b}");
}
