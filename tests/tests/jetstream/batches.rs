//! Messages that are published several at once, all of them or none.

use serde_json::{Value, json};
use sublog_tests::clock;

use crate::{Asking, server};

/// One message of a batch; what is answered.
fn add(js: &mut Asking, subject: &str, id: &str, seq: u64, more: &[(&str, &str)], body: &str) -> String {
    let seq = seq.to_string();
    let mut headers = vec![("Nats-Batch-Id", id), ("Nats-Batch-Sequence", &seq)];
    headers.extend_from_slice(more);
    js.request(subject, &headers, body.as_bytes()).text().to_owned()
}

fn staged(js: &mut Asking, subject: &str, id: &str, seq: u64, more: &[(&str, &str)]) {
    let answer = add(js, subject, id, seq, more, "x");
    assert_eq!(answer, "", "no message is acknowledged before all are");
}

fn committed(js: &mut Asking, subject: &str, id: &str, seq: u64) -> Value {
    serde_json::from_str(&add(js, subject, id, seq, &[("Nats-Batch-Commit", "1")], "x")).unwrap()
}

fn code(answer: &str) -> u64 {
    crate::error(&serde_json::from_str(answer).unwrap_or(Value::Null)).0
}

fn stream(js: &mut Asking) {
    js.create(json!({ "name": "S", "subjects": ["s.*"], "allow_atomic": true, "allow_direct": true,
        "allow_rollup_hdrs": true, "allow_msg_ttl": true }));
}

#[test]
fn all_of_a_batch_is_stored_at_once() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        stream(&mut js);
        js.stored("s.a", &[], "before", 1);
        staged(&mut js, "s.a", "one", 1, &[("Nats-Msg-Id", "m1")]);
        staged(&mut js, "s.b", "one", 2, &[]);
        js.stored("s.a", &[], "between", 2);
        assert_eq!(js.state("S")["messages"], json!(2));
        let ack = committed(&mut js, "s.c", "one", 3);
        assert_eq!(ack, json!({ "stream": "S", "seq": 5, "batch": "one", "count": 3 }));
        assert_eq!(js.state("S")["subjects"], json!({ "s.a": 3, "s.b": 1, "s.c": 1 }));
        // One that only ends it is not stored.
        staged(&mut js, "s.a", "two", 1, &[]);
        let ack = add(&mut js, "s.nothing", "two", 2, &[("Nats-Batch-Commit", "eob")], "");
        assert_eq!(serde_json::from_str::<Value>(&ack).unwrap()["count"], json!(1), "{ack}");
        let last = js.request("$JS.API.DIRECT.GET.S.s.a", &[], b"");
        assert_eq!(last.header("Nats-Batch-Commit").as_deref(), Some("1"), "{last:?}");
        // A batch of one, and a message id that was stored with a batch.
        assert_eq!(committed(&mut js, "s.a", "three", 1)["seq"], json!(7));
        assert_eq!(js.publish("s.a", &[("Nats-Msg-Id", "m1")], "")["duplicate"], json!(true));
        staged(&mut js, "s.lost", "open", 1, &[]);
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    assert_eq!(js.state("S")["messages"], json!(7), "nothing of a batch that was not committed");
    assert_eq!(code(&add(&mut js, "s.lost", "open", 2, &[("Nats-Batch-Commit", "1")], "")), 10176);
}

#[test]
fn a_batch_that_does_not_hold_is_not_stored() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js);
    js.create(json!({ "name": "P", "subjects": ["p"] }));
    let mut ear = server.client();
    ear.subscribe("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.S", "1");
    ear.sync();
    js.stored("s.a", &[("Nats-Msg-Id", "taken")], "", 1);
    let commit = [("Nats-Batch-Commit", "1")];
    assert_eq!(code(&add(&mut js, "p", "x", 1, &[], "")), 10174);
    assert_eq!(code(&add(&mut js, "s.a", &"i".repeat(65), 1, &[], "")), 10179);
    assert_eq!(js.publish("s.a", &[("Nats-Batch-Id", "x")], "")["error"]["err_code"], json!(10175));
    assert_eq!(code(&add(&mut js, "s.a", "x", 2, &[], "")), 10176);
    assert_eq!(code(&add(&mut js, "s.a", "x", 1001, &[], "")), 10199);
    assert_eq!(code(&add(&mut js, "s.a", "x", 1, &[("Nats-Batch-Commit", "yes")], "")), 10200);
    // A number is missing: the batch is over.
    staged(&mut js, "s.a", "gap", 1, &[]);
    assert_eq!(code(&add(&mut js, "s.a", "gap", 3, &commit, "")), 10176);
    let told: Value = serde_json::from_str(ear.message().text()).unwrap();
    assert_eq!((&told["batch"], &told["reason"], &told["stream"]), (&json!("gap"), &json!("incomplete"), &json!("S")));
    assert_eq!(code(&add(&mut js, "s.a", "gap", 2, &commit, "")), 10176);
    // What one of them asks for decides about all.
    for (headers, expected) in [
        (("Nats-Expected-Last-Sequence", "7"), 10071),
        (("Nats-Expected-Last-Subject-Sequence", "7"), 10071),
        (("Nats-Expected-Last-Msg-Id", "taken"), 10177),
        (("Nats-Msg-Id", "taken"), 10201),
        (("Nats-Rollup", "some"), 10111),
        (("Nats-TTL", "soon"), 10165),
    ] {
        staged(&mut js, "s.a", "bad", 1, &[headers]);
        assert_eq!(code(&add(&mut js, "s.b", "bad", 2, &commit, "")), expected, "{headers:?}");
    }
    // What depends on another message of the same batch.
    for (headers, expected) in [
        (("Nats-Expected-Last-Sequence", "2"), 10164),
        (("Nats-Expected-Last-Subject-Sequence", "1"), 10164),
        (("Nats-Rollup", "sub"), 10111),
        (("Nats-Rollup", "all"), 10111),
        (("Nats-Msg-Id", "first"), 10201),
    ] {
        staged(&mut js, "s.a", "bad", 1, &[("Nats-Msg-Id", "first")]);
        assert_eq!(code(&add(&mut js, "s.a", "bad", 2, &[headers, commit[0]], "")), expected, "{headers:?}");
    }
    assert_eq!(js.state("S")["messages"], json!(1));
    staged(&mut js, "s.a", "good", 1, &[("Nats-Expected-Last-Sequence", "1"), ("Nats-Rollup", "all")]);
    assert_eq!(committed(&mut js, "s.b", "good", 2)["seq"], json!(3));
    assert_eq!(js.state("S")["subjects"], json!({ "s.a": 1, "s.b": 1 }));
}

#[test]
fn there_is_an_end_to_batches() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js);
    for n in 0..50 {
        staged(&mut js, "s.a", &format!("b{n}"), 1, &[]);
    }
    assert_eq!(code(&add(&mut js, "s.a", "one-more", 1, &[], "")), 10210);
    for n in 2..=1000 {
        js.send("s.a", &[("Nats-Batch-Id", "b0"), ("Nats-Batch-Sequence", &n.to_string())], b"x");
    }
    assert!(js.raw.messages(999).iter().all(|answer| answer.text().is_empty()));
    assert_eq!(code(&add(&mut js, "s.a", "b0", 1001, &[("Nats-Batch-Commit", "1")], "")), 10199);
    // It made room for another, which waits for ten seconds.
    let mut ear = server.client();
    ear.subscribe("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.S", "1");
    ear.sync();
    staged(&mut js, "s.a", "one-more", 1, &[]);
    let reasons: Vec<Value> = ear.messages(50).iter().map(|it| serde_json::from_str(it.text()).unwrap()).collect();
    assert!(reasons.iter().all(|told| told["reason"] == json!("timeout")), "{reasons:?}");
    assert_eq!(js.state("S")["messages"], json!(0));
}

#[test]
fn a_kill_leaves_whole_batches() {
    let mut server = server(&[]);
    stream(&mut Asking::new(&server));
    for round in 0..5_u64 {
        let mut raw = server.client();
        let publishing = std::thread::spawn(move || {
            for n in 0_u64.. {
                for seq in 1..=20 {
                    let commit = if seq == 20 { "Nats-Batch-Commit: 1\r\n" } else { "" };
                    let head =
                        format!("NATS/1.0\r\nNats-Batch-Id: {round}-{n}\r\nNats-Batch-Sequence: {seq}\r\n{commit}\r\n");
                    let message =
                        format!("HPUB s.a {0} {1}\r\n{head}{2}\r\n", head.len(), head.len() + 400, "x".repeat(400));
                    if raw.try_send(message.as_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
        let mut js = Asking::new(&server);
        let before = js.state("S")["messages"].as_u64().unwrap();
        clock::until("some batches", || (js.state("S")["messages"].as_u64().unwrap() > before + 200).then_some(()));
        server.kill9();
        publishing.join().unwrap();
        server.restart();
        let found = Asking::new(&server).state("S")["messages"].as_u64().unwrap();
        assert!(found > before && found.is_multiple_of(20), "{found} messages are not whole batches of 20");
    }
}
