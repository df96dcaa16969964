//! Pull requests: what they get, how they end, whom they hold up.

use serde_json::json;

use super::{INBOX, pending, seq, seqs};
use crate::{Asking, server};

/// A client that gets what it pulls.
fn pulling(server: &sublog_tests::TestServer) -> Asking {
    let mut js = Asking::new(server);
    js.raw.subscribe(INBOX, "2");
    js.raw.sync();
    js
}

#[test]
fn messages_come_with_where_to_ack_them() {
    let server = server(&[]);
    let mut js = pulling(&server);
    js.stream_of(json!({}), 5);
    js.consumer("C", json!({}));
    for (request, wanted) in [(json!(2), vec![1, 2]), (json!({ "batch": 2 }), vec![3, 4]), (json!(""), vec![5])] {
        js.pull("C", request);
        let got = js.raw.messages(wanted.len());
        assert_eq!(seqs(&got), wanted);
        for message in &got {
            assert_eq!(message.text(), format!("message {}", seq(message)));
            assert_eq!(message.subject, format!("s.{}", (seq(message) - 1) % 3));
            assert_eq!(pending(message), 5 - seq(message));
            js.ack(message, "+ACK");
        }
    }
    let info = js.consumer_info("C");
    assert_eq!((&info["num_pending"], &info["num_ack_pending"]), (&json!(0), &json!(0)), "{info}");
    assert_eq!(
        (&info["ack_floor"]["stream_seq"], &info["delivered"]["consumer_seq"]),
        (&json!(5), &json!(5)),
        "{info}"
    );
}

#[test]
fn requests_end_as_they_ask() {
    let server = server(&[]);
    let mut js = pulling(&server);
    js.stream_of(json!({}), 1);
    js.consumer("C", json!({ "max_waiting": 1, "max_batch": 10 }));
    let status = |js: &mut Asking, request| {
        js.pull("C", request);
        let message = js.raw.message();
        (message.status().unwrap_or(0), String::from_utf8(message.headers.unwrap_or_default()).unwrap())
    };
    assert_eq!(js.there("C", 5).len(), 1);
    assert_eq!(status(&mut js, json!({ "no_wait": true })), (404, "NATS/1.0 404 No Messages\r\n\r\n".to_owned()));
    let timeout = "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\nNats-Pending-Bytes: 0\r\n\r\n";
    assert_eq!(status(&mut js, json!({ "batch": 3, "expires": 50_000_000 })), (408, timeout.to_owned()));
    assert_eq!(status(&mut js, json!({ "batch": 11 })).1, "NATS/1.0 409 Exceeded MaxRequestBatch of 10\r\n\r\n");
    let beats = json!({ "batch": 1, "expires": 300_000_000, "idle_heartbeat": 100_000_000 });
    let (code, head) = status(&mut js, beats);
    assert!(code == 100 && head.contains("Idle Heartbeat"), "{head}");
    while js.raw.message().status() != Some(408) {}
    // One that waits is told when the consumer ends.
    js.pull("C", json!({ "batch": 1 }));
    js.pull("C", json!({ "batch": 1 }));
    assert_eq!(js.raw.message().status(), Some(409), "one may wait");
    js.send("$JS.API.CONSUMER.DELETE.S.C", &[], b"");
    let (a, b) = (js.raw.message(), js.raw.message());
    let told = if a.subject == INBOX { a } else { b };
    assert!(String::from_utf8(told.headers.unwrap()).unwrap().starts_with("NATS/1.0 409 Consumer Deleted"));
    for subject in ["$JS.API.CONSUMER.MSG.NEXT.S.C", "$JS.ACK.S.C.1.1.1.1.1", "$JS.FC.S.C.abcd"] {
        assert_eq!(js.request(subject, &[], b"").status(), Some(503), "{subject}");
    }
}

#[test]
fn a_waiting_request_gets_what_is_stored_later() {
    let server = server(&[]);
    let mut js = pulling(&server);
    js.stream_of(json!({}), 0);
    js.consumer("C", json!({ "filter_subject": "s.1" }));
    js.pull("C", json!({ "batch": 2, "expires": 20_000_000_000_u64 }));
    js.raw.publish("s.0", "not this");
    js.raw.publish("s.1", "this");
    js.raw.publish("s.1", "and this");
    let got = js.raw.messages(2);
    assert_eq!((seqs(&got), got[0].text()), (vec![2, 3], "this"));
}

#[test]
fn acks_decide_what_comes_again() {
    let server = server(&[]);
    let mut js = pulling(&server);
    js.stream_of(json!({}), 4);
    js.consumer("C", json!({ "ack_wait": 300_000_000, "max_deliver": 2 }));
    js.raw.subscribe("$JS.EVENT.ADVISORY.CONSUMER.*.S.C", "3");
    let first = js.there("C", 4);
    js.ack(&first[0], "+ACK");
    js.raw.publish(&super::reply(&first[1]), "+TERM it is broken");
    let told = |js: &mut Asking, event: &str| {
        let message = js.raw.message();
        assert_eq!(message.subject, format!("$JS.EVENT.ADVISORY.CONSUMER.{event}.S.C"));
        serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap()
    };
    let terminated = told(&mut js, "MSG_TERMINATED");
    assert_eq!((&terminated["stream_seq"], &terminated["reason"]), (&json!(2), &json!("it is broken")), "{terminated}");
    js.raw.publish(&super::reply(&first[2]), "-NAK");
    assert_eq!(told(&mut js, "MSG_NAKED")["type"], json!("io.nats.jetstream.advisory.v1.nak"));
    js.pull("C", json!({ "batch": 2, "expires": 20_000_000_000_u64 }));
    let again = js.raw.messages(2);
    assert_eq!(seqs(&again), [3, 4], "the refused one at once, the forgotten one when its time is over");
    assert!(again.iter().all(|message| super::deliveries(message) == 2));
    js.raw.publish(&super::reply(&again[0]), "+ACK");
    assert_eq!(told(&mut js, "MAX_DELIVERIES")["stream_seq"], json!(4));
    // An ack that asks for the next one.
    js.publish("s.0", &[], "message 5");
    js.pull("C", json!(1));
    let last = js.raw.message();
    js.raw.send(format!("PUB {} {INBOX} 4\r\n+NXT\r\n", super::reply(&last)));
    js.publish("s.0", &[], "message 6");
    assert_eq!(js.raw.message().text(), "message 6");
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_but_itself() {
    let server = server(&[]);
    let mut js = pulling(&server);
    js.create(json!({ "name": "S", "subjects": ["s.*"] }));
    let large = "x".repeat(500_000);
    for _ in 0..60 {
        js.publish("s.0", &[], &large);
    }
    js.consumer("C", json!({}));
    let mut slow = server.client();
    slow.subscribe("_INBOX.slow", "1");
    slow.sync();
    let body = json!({ "batch": 60 }).to_string();
    slow.send(format!("PUB $JS.API.CONSUMER.MSG.NEXT.S.C _INBOX.slow {}\r\n{body}\r\n", body.len()));
    // It got all that its socket and the server keep for it.
    let begun = sublog_tests::clock::now();
    let mut out = 0;
    loop {
        let now = js.consumer_info("C")["num_ack_pending"].as_u64().unwrap();
        if now == out && now > 0 {
            break;
        }
        out = now;
        assert!(begun.elapsed() < crate::PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(out < 60, "nothing holds it back");
    js.pull("C", json!({ "batch": 3 }));
    let got = js.raw.messages(3);
    assert!(got.iter().all(|message| seq(message) > out), "{:?}", seqs(&got));
    // When it reads it gets the rest, whatever else happened meanwhile.
    js.consumer_info("C");
    assert_eq!(slow.messages(57).len(), 57);
}
