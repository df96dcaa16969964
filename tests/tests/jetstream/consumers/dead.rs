//! Dead letters: what a consumer does not deliver again goes to a subject of the user's choice.

use serde_json::{Value, json};
use sublog_tests::{Message, clock};

use super::INBOX;
use crate::{Asking, error, server};

/// The copy that was stored under this number.
fn letter(js: &mut Asking, stream: &str, seq: u64) -> Message {
    clock::until("dead letter", || {
        let message = js.request(&format!("$JS.API.DIRECT.GET.{stream}"), &[], format!("{{\"seq\":{seq}}}").as_bytes());
        (message.status() != Some(404)).then_some(message)
    })
}

fn letters(js: &mut Asking, name: &str, subject: &str) {
    js.create(json!({ "name": name, "subjects": [subject], "allow_direct": true }));
}

fn header(message: &Message, key: &str) -> String {
    message.header(key).unwrap_or_else(|| panic!("no {key} in {message:?}"))
}

#[test]
fn a_message_out_of_deliveries_is_stored_elsewhere_with_its_story() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    letters(&mut js, "DLQ", "dlq.>");
    js.stream_of(json!({}), 0);
    js.publish("s.1", &[("Tenant", "cms"), ("Nats-Msg-Id", "one")], "payload");
    js.consumer("C", json!({ "max_deliver": 2, "metadata": { "sublog.dead_letter": "dlq.s" } }));
    let mut live = server.client();
    live.subscribe("dlq.s", "1");
    live.sync();
    for _ in 0..2 {
        js.pull("C", json!({ "batch": 1, "expires": 20_000_000_000_u64 }));
        let delivery = js.raw.message();
        js.ack(&delivery, "-NAK");
    }
    let letter = letter(&mut js, "DLQ", 1);
    assert_eq!((header(&letter, "Nats-Subject").as_str(), letter.text()), ("dlq.s", "payload"));
    for (key, value) in [
        ("Tenant", "cms"),
        ("Sublog-Dead-Nats-Msg-Id", "one"),
        ("Sublog-Dead-Stream", "S"),
        ("Sublog-Dead-Consumer", "C"),
        ("Sublog-Dead-Sequence", "1"),
        ("Sublog-Dead-Subject", "s.1"),
        ("Sublog-Dead-Deliveries", "2"),
        ("Sublog-Dead-Reason", "max_deliver"),
        ("Sublog-Dead-Path", "S"),
    ] {
        assert_eq!(header(&letter, key), value, "{key}");
    }
    assert_eq!(letter.header("Nats-Msg-Id"), None, "it asked that of another stream");
    let seen = live.message();
    assert_eq!((seen.subject.as_str(), seen.text()), ("dlq.s", "payload"));
    // Once is enough.
    js.raw.sync();
    assert_eq!(js.state("DLQ")["messages"], json!(1));
    assert_eq!(js.state("S")["messages"], json!(1), "a stream with limits keeps what it has");
}

#[test]
fn a_terminated_message_leaves_a_work_queue_when_its_copy_is_stored() {
    let mut server = server(&["--capture", "off"]);
    {
        let mut js = Asking::new(&server);
        js.raw.subscribe(INBOX, "2");
        // The stream says it for all its consumers.
        js.stream_of(json!({ "retention": "workqueue", "metadata": { "sublog.dead_letter": "dlq.s" } }), 2);
        js.consumer("C", json!({}));
        let got = js.there("C", 2);
        js.ack(&got[0], "+TERM no such user\r\nSublog-Dead-Stream: forged");
        js.ack(&got[1], "");
        // Nobody takes it yet: it stays where it is.
        js.wait_for_state(|state| state["messages"] == json!(1));
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    assert_eq!(js.state("S")["messages"], json!(1));
    letters(&mut js, "DLQ", "dlq.>");
    let letter = letter(&mut js, "DLQ", 1);
    assert_eq!((letter.text(), header(&letter, "Sublog-Dead-Reason").as_str()), ("message 1", "terminated"));
    js.wait_for_state(|state| state["messages"] == json!(0));
}

#[test]
fn the_reason_of_a_client_is_kept_and_cannot_forge_headers() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    letters(&mut js, "DLQ", "dlq.>");
    js.stream_of(json!({}), 1);
    js.consumer("C", json!({ "metadata": { "sublog.dead_letter": "dlq.s" } }));
    let got = js.there("C", 1);
    js.ack(&got[0], "+TERM no such user\r\nSublog-Dead-Stream: forged");
    let letter = letter(&mut js, "DLQ", 1);
    assert_eq!(header(&letter, "Sublog-Dead-Text"), "no such user  Sublog-Dead-Stream: forged");
    assert_eq!(header(&letter, "Sublog-Dead-Stream"), "S");
}

#[test]
fn without_a_stream_for_them_letters_are_captured() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({}), 1);
    js.consumer("C", json!({ "metadata": { "sublog.dead_letter": "dead.s" } }));
    let got = js.there("C", 1);
    js.ack(&got[0], "+TERM");
    let captured = clock::until("captured letter", || {
        let answer = js.api("STREAM.MSG.GET.CAPTURE", json!({ "last_by_subj": "dead.s" }));
        answer["error"].is_null().then_some(answer)
    });
    assert_eq!(captured["message"]["subject"], json!("dead.s"));
}

#[test]
fn letters_that_would_come_back_are_refused_or_stay() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({}), 1);
    for (subject, text) in [
        ("s.9", "dead letters on \"s.9\" would come back to the consumer"),
        ("dlq.*", "dead letter subject \"dlq.*\" is not one to publish to"),
        ("$JS.API.INFO", "dead letter subject \"$JS.API.INFO\" is not one to publish to"),
    ] {
        let refused = js.consumer("C", json!({ "metadata": { "sublog.dead_letter": subject } }));
        assert_eq!(error(&refused), (10012, text.to_owned()));
    }
    // Round a corner: what dies of the letters would go back to the stream it came from.
    letters(&mut js, "DLQ", "dlq.>");
    js.consumer("C", json!({ "filter_subject": "s.0", "metadata": { "sublog.dead_letter": "dlq.s" } }));
    let config = json!({ "name": "D", "durable_name": "D", "ack_policy": "explicit",
        "metadata": { "sublog.dead_letter": "s.0" } });
    let made = js.api("CONSUMER.CREATE.DLQ.D", json!({ "stream_name": "DLQ", "config": config }));
    assert!(made["error"].is_null(), "{made}");
    let got = js.there("C", 1);
    js.ack(&got[0], "+TERM");
    letter(&mut js, "DLQ", 1);
    let body = json!({ "batch": 1, "expires": 20_000_000_000_u64 }).to_string();
    js.raw.send(format!("PUB $JS.API.CONSUMER.MSG.NEXT.DLQ.D {INBOX} {}\r\n{body}\r\n", body.len()));
    let got = js.raw.message();
    js.ack(&got, "+TERM");
    // It is tried, and tried again; nothing comes.
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(js.state("S")["messages"], json!(1));
    let left = js.api("CONSUMER.INFO.DLQ.D", Value::Null);
    assert_eq!(left["num_redelivered"], json!(1), "it stays with its consumer: {left}");
}
