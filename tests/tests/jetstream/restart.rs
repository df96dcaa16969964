//! What is there after the server ended, well or not.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sublog_tests::clock;

use crate::{Asking, error, server};

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut server = server(&[]);
    let mut acknowledged = 0;
    for round in 0..5_u64 {
        let mut js = Asking::new(&server);
        if round == 0 {
            js.create(json!({ "name": "S", "subjects": ["s.*"] }));
        }
        for n in 0..200 {
            // Every third asks for something, and goes another way.
            let headers: &[(&str, &str)] = if n % 3 == 0 { &[("Nats-Expected-Stream", "S")] } else { &[] };
            js.send("s.x", headers, format!("{round}.{n}").as_bytes());
        }
        // In the middle of the acknowledgements.
        for message in js.raw.messages(100) {
            let ack: Value = serde_json::from_str(message.text()).unwrap();
            acknowledged = acknowledged.max(ack["seq"].as_u64().unwrap());
        }
        server.kill9();
        server.restart();
        let mut js = Asking::new(&server);
        let last = js.state("S")["last_seq"].as_u64().unwrap();
        assert!(last >= acknowledged, "{acknowledged} was acknowledged, {last} is the last");
        for seq in [1, acknowledged / 2, acknowledged] {
            assert_eq!(js.api("STREAM.MSG.GET.S", json!({ "seq": seq }))["message"]["seq"], json!(seq));
        }
    }
}

#[test]
fn a_flush_waits_for_every_stream() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        for n in 0..10 {
            js.create(json!({ "name": format!("S{n}"), "subjects": [format!("s.{n}")] }));
        }
    }
    for round in 1..=3_u64 {
        let mut client = server.client();
        for n in 0..10 {
            client.publish(&format!("s.{n}"), "no reply wanted");
            client.publish("captured", "x");
        }
        client.sync();
        server.kill9();
        server.restart();
        let mut js = Asking::new(&server);
        for n in 0..10 {
            assert_eq!(js.state(&format!("S{n}"))["messages"], json!(round), "stream {n}");
        }
        assert_eq!(js.state("CAPTURE")["messages"], json!(10 * round));
    }
}

#[test]
fn definitions_outlive_the_server_and_deletions_too() {
    let mut server = server(&[]);
    let before = {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "A", "subjects": ["a"], "metadata": { "k": "v" }, "description": "d" }));
        js.create(json!({ "name": "B", "subjects": ["b"] }));
        js.create(json!({ "name": "M", "subjects": ["m"], "storage": "memory" }));
        js.stored("a", &[], "x", 1);
        js.stored("m", &[], "x", 1);
        js.api("STREAM.DELETE.B", Value::Null);
        js.api("STREAM.INFO.A", Value::Null)
    };
    server.stop();
    server.restart();
    let mut js = Asking::new(&server);
    let after = js.api("STREAM.INFO.A", Value::Null);
    assert_eq!((&after["config"], &after["created"]), (&before["config"], &before["created"]));
    assert_eq!(after["state"]["messages"], json!(1));
    assert_eq!(js.api("STREAM.NAMES", Value::Null)["streams"], json!(["A", "CAPTURE", "M"]));
    assert_eq!(js.state("M")["messages"], json!(0));
    js.create(json!({ "name": "B", "subjects": ["b"] }));
    assert_eq!(js.state("B")["messages"], json!(0));
}

#[test]
fn a_stream_that_cannot_be_opened_is_offline_and_the_server_serves() {
    let mut server = server(&["-m", "-1"]);
    {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "A", "subjects": ["a"] }));
        js.create(json!({ "name": "B", "subjects": ["b"] }));
        js.stored("a", &[], "x", 1);
    }
    server.stop();
    let folder = server.data().join("streams").join("A");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
    server.restart();
    let mut js = Asking::new(&server);
    assert_eq!(error(&js.api("STREAM.INFO.A", Value::Null)).0, 10118);
    assert!(js.api("STREAM.LIST", Value::Null)["offline"]["A"].is_string());
    let refused = js.publish("a", &[], "x");
    assert_eq!(refused["error"]["code"], json!(503), "{refused}");
    js.stored("b", &[], "x", 1);
    let streams = server.monitor("/streamz")["streams"].take();
    let shown: Vec<_> = streams.as_array().unwrap().iter().map(|s| (&s["name"], &s["health"])).collect();
    let expected =
        [("CAPTURE", "ok"), ("A", "offline"), ("B", "ok")].map(|(name, health)| (json!(name), json!(health)));
    assert!(shown.iter().copied().eq(expected.iter().map(|(name, health)| (name, health))), "{shown:?}");
}

#[test]
fn a_message_id_is_known_after_a_kill_although_its_message_is_gone() {
    let mut server = server(&[]);
    let id = |n: u64| format!("id-{n}");
    let sent = 6_000_u64;
    {
        let mut js = Asking::new(&server);
        let window = 600_000_000_000_u64;
        js.create(json!({ "name": "S", "subjects": ["s"], "retention": "workqueue", "duplicate_window": window }));
        // More than one file of the log has.
        for n in 1..=sent {
            js.send("s", &[("Nats-Msg-Id", &id(n))], &[b'x'; 8_000]);
            if n % 100 == 0 {
                assert_eq!(js.raw.messages(100).len(), 100);
            }
        }
        js.api("STREAM.PURGE.S", json!({ "keep": 1 }));
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    for n in [1, 2, sent / 2, sent - 1, sent] {
        let ack = js.publish("s", &[("Nats-Msg-Id", &id(n))], "again");
        assert_eq!((&ack["duplicate"], &ack["seq"]), (&json!(true), &json!(n)), "{ack}");
    }
    let info = js.api("STREAM.INFO.S", json!({ "deleted_details": true, "subjects_filter": ">" }));
    assert_eq!(info["state"]["messages"], json!(1), "{info}");
    // The last message had an id, whatever became of those before it.
    let ack = js.publish("s", &[("Nats-Expected-Last-Msg-Id", &id(sent))], "next");
    assert_eq!(ack["seq"], json!(sent + 1), "{ack}");
}

#[test]
fn space_that_was_held_for_message_ids_is_given_back_after_their_window() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"], "duplicate_window": 1_000_000_000 }));
    for round in 0..60 {
        for n in 0..100 {
            js.send("s", &[("Nats-Msg-Id", &format!("{round}-{n}"))], &[b'x'; 8_000]);
        }
        js.raw.messages(100);
    }
    let before = segments(&server.data().join("streams/S"));
    assert!(before > 3, "{before}");
    js.api("STREAM.PURGE.S", Value::Null);
    let files = || segments(&server.data().join("streams/S"));
    // Of 48 MB the open file and those that wait for the journal are left.
    clock::until("the space", || (files() <= 2).then_some(()));
    assert!(js.publish("s", &[("Nats-Msg-Id", "59-99")], "").get("duplicate").is_none());
}

fn segments(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name.ends_with(".seg")).count()
}
