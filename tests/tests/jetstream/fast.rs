//! Fast batches: many messages with few acknowledgements.

use serde_json::{Value, json};
use sublog_tests::{RawClient, TestServer, clock};

use crate::{Asking, server};

/// Somebody who publishes a fast batch by hand.
struct Publisher {
    raw: RawClient,
    flow: u16,
    gap: &'static str,
}

impl Publisher {
    fn new(server: &TestServer, flow: u16, gap: &'static str) -> Self {
        let mut raw = server.client();
        raw.subscribe("fast.>", "1");
        raw.sync();
        Self { raw, flow, gap }
    }

    /// Sends a message: `operation` is 0 for the first, 1, 2 for the last, 3 for one that only ends, 4 for a ping.
    fn send(&mut self, subject: &str, id: &str, seq: u64, operation: u8, headers: &str) {
        let message = message(subject, &format!("fast.{id}.{}.{}", self.flow, self.gap), seq, operation, headers);
        self.raw.send(message);
    }

    /// Sends messages from the first on.
    fn add(&mut self, id: &str, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            self.send("s.a", id, seq, u8::from(seq > 1), "");
        }
    }

    /// What is said next.
    fn hear(&mut self) -> Value {
        serde_json::from_str(self.raw.message().text()).unwrap()
    }

    /// The acknowledgement of a batch, and what was told before it.
    fn end(&mut self) -> (Value, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            let said = self.hear();
            if said["type"].is_null() {
                return (said, before);
            }
            before.push(said);
        }
    }
}

fn message(subject: &str, prefix: &str, seq: u64, operation: u8, headers: &str) -> String {
    let reply = format!("{prefix}.{seq}.{operation}.$FI");
    let body = format!("{seq:05}");
    if headers.is_empty() {
        return format!("PUB {subject} {reply} {}\r\n{body}\r\n", body.len());
    }
    let head = format!("NATS/1.0\r\n{headers}\r\n\r\n");
    format!("HPUB {subject} {reply} {} {}\r\n{head}{body}\r\n", head.len(), head.len() + body.len())
}

fn stream(js: &mut Asking, more: &Value) {
    let mut config = json!({ "name": "S", "subjects": ["s.*"], "allow_batched": true, "allow_rollup_hdrs": true,
        "allow_direct": true });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = js.create(config);
    assert_eq!(made["config"]["metadata"]["_nats.req.level"], json!("4"), "{made}");
}

fn code(said: &Value) -> u64 {
    crate::error(said).0
}

#[test]
fn many_messages_and_few_acknowledgements() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js, &json!({}));
    let mut fast = Publisher::new(&server, 100, "fail");
    fast.add("one", 1..=1);
    assert_eq!(fast.hear(), json!({ "type": "ack", "seq": 0, "msgs": 100 }));
    fast.add("one", 2..=999);
    fast.send("s.b", "one", 1000, 2, "");
    let (ack, before) = fast.end();
    assert_eq!(ack, json!({ "stream": "S", "seq": 1000, "batch": "one", "count": 1000 }));
    let told: Vec<u64> = before.iter().map(|said| said["seq"].as_u64().unwrap()).collect();
    assert!(told.is_sorted() && told.iter().all(|seq| seq % 100 == 0) && told.len() < 11, "{told:?}");
    assert_eq!(js.state("S")["messages"], json!(1000));
    // One that only ends it is not stored.
    fast.add("two", 1..=2);
    fast.send("s.b", "two", 3, 3, "");
    let (ack, before) = fast.end();
    assert_eq!((&ack["seq"], &ack["count"], before.len()), (&json!(1002), &json!(2), 1), "{ack} {before:?}");
    fast.add("two", 3..=3);
    assert_eq!(code(&fast.hear()), 10208);
    // A message is in the stream as it would be otherwise, and one that replaces others does.
    fast.send("s.b", "three", 1, 2, "Nats-Rollup: sub\r\nNats-Required-Api-Level: 4\r\nNats-Msg-Id: once");
    assert_eq!(fast.hear(), json!({ "stream": "S", "seq": 1003, "batch": "three", "count": 1 }));
    assert_eq!(js.state("S")["subjects"], json!({ "s.a": 1001, "s.b": 1 }));
    let stored = js.request("$JS.API.DIRECT.GET.S.s.b", &[], b"");
    let header = |key: &str| stored.header(key);
    assert_eq!((header("Nats-Msg-Id").as_deref(), header("Nats-Required-Api-Level")), (Some("once"), None));
    fast.send("s.b", "three", 1, 2, "Nats-Msg-Id: once");
    let again = json!({ "stream": "S", "seq": 1003, "duplicate": true, "batch": "three", "count": 1 });
    assert_eq!(fast.hear(), again);
}

#[test]
fn gaps_and_errors_are_told() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js, &json!({ "max_msg_size": 200 }));
    js.create(json!({ "name": "P", "subjects": ["p"] }));
    let mut fast = Publisher::new(&server, 10, "fail");
    fast.add("a", 1..=2);
    fast.add("a", 4..=4);
    let (ack, before) = fast.end();
    assert_eq!((&ack["seq"], &ack["count"]), (&json!(2), &json!(2)));
    assert_eq!(before[1], json!({ "type": "gap", "last_seq": 3, "seq": 4 }));
    fast.add("b", 1..=1);
    fast.send("s.a", "b", 2, 1, "Nats-Expected-Last-Sequence: 99");
    let (ack, before) = fast.end();
    assert_eq!((&ack["seq"], &ack["count"]), (&json!(3), &json!(1)));
    assert_eq!((&before[1]["type"], &before[1]["seq"], code(&before[1])), (&json!("err"), &json!(2), 10071));
    // Where gaps are no harm it goes on.
    fast.gap = "ok";
    fast.add("c", 1..=1);
    fast.send("s.a", "c", 5, 1, "Nats-Expected-Last-Sequence: 99");
    fast.send("s.a", "c", 6, 2, "");
    let (ack, before) = fast.end();
    assert_eq!((&ack["seq"], &ack["count"]), (&json!(5), &json!(6)));
    let told: Vec<&Value> = before.iter().map(|said| &said["type"]).collect();
    assert_eq!(told, ["ack", "gap", "err"]);
    // Those that belong to no batch.
    let long = "i".repeat(65);
    for (subject, id, seq, operation, headers, expected) in [
        ("s.a", "d", 1, 1, String::new(), 10206),
        ("s.a", "d", 2, 1, String::new(), 10208),
        ("s.a", "d", 1, 4, String::new(), 10208),
        ("s.a", &long, 1, 0, String::new(), 10207),
        ("p", "d", 1, 0, String::new(), 10205),
        ("s.a", "d", 1, 2, "Nats-Required-Api-Level: 1000".to_owned(), 10185),
        ("s.a", "d", 1, 2, format!("X: {}", "y".repeat(200)), 10054),
    ] {
        fast.send(subject, id, seq, operation, &headers);
        let said = fast.hear();
        assert_eq!(code(&said), expected, "{said}");
    }
    assert_eq!(js.state("S")["messages"], json!(5));
    // Turned off, all of them are forgotten.
    fast.add("e", 1..=1);
    fast.hear();
    let off = js.api("STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["s.*"], "max_msg_size": 200 }));
    assert!(off["error"].is_null(), "{off}");
    fast.add("e", 2..=2);
    assert_eq!(code(&fast.hear()), 10205);
}

#[test]
fn there_is_an_end_to_fast_batches() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js, &json!({}));
    let mut fast = Publisher::new(&server, 1000, "fail");
    for n in 0..1000 {
        fast.add(&format!("b{n}"), 1..=1);
    }
    // Each alone could go on for 500 messages, all together cannot.
    let first = fast.hear();
    assert_eq!(first["msgs"], json!(500), "{first}");
    // The first of the others was told twice: what it is, and that it may have one more.
    let told: Vec<Value> = (0..1998).map(|_| fast.hear()).collect();
    assert!(told.iter().all(|said| said["type"] == json!("ack") && said["msgs"].as_u64() < Some(300)), "{told:?}");
    fast.add("one-more", 1..=1);
    assert_eq!(code(&fast.hear()), 10211);
    // They wait for ten seconds, but for those that are heard of.
    clock::until("an end to their patience", || {
        fast.send("s.a", "b7", 1, 4, "");
        let said = fast.hear();
        assert_eq!(said["type"], json!("ack"), "{said}");
        fast.add("one-more", 1..=1);
        (code(&fast.hear()) == 0).then_some(())
    });
    // The oldest is gone when any is.
    fast.send("s.a", "b0", 2, 3, "");
    let (unknown, _) = fast.end();
    assert_eq!(code(&unknown), 10208);
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut server = server(&[]);
    stream(&mut Asking::new(&server), &json!({}));
    let mut stored = 0;
    for round in 0..8_u64 {
        let id = format!("r{round}");
        let before = Asking::new(&server).state("S")["last_seq"].as_u64().unwrap();
        assert!(before >= stored, "{before} messages of {stored}");
        let mut fast = Publisher::new(&server, 50, "fail");
        let mut seq = 0;
        let mut acked = 0;
        // As a client does: so many messages behind the last acknowledgement.
        while acked < 300 + 100 * round {
            while seq < acked + 100 {
                seq += 1;
                fast.send("s.a", &id, seq, u8::from(seq > 1), "");
            }
            let said = fast.hear();
            assert_eq!(said["type"], json!("ack"), "{said}");
            acked = acked.max(said["seq"].as_u64().unwrap());
        }
        for more in seq + 1..seq + 200 {
            let rest = message("s.a", &format!("fast.{id}.50.fail"), more, 1, "");
            if fast.raw.try_send(rest.as_bytes()).is_err() {
                break;
            }
        }
        server.kill9();
        server.restart();
        let mut js = Asking::new(&server);
        let last = js.state("S")["last_seq"].as_u64().unwrap();
        assert!(last >= before + acked, "{last} is less than {before} and {acked}");
        // They are all there, in their order.
        for n in [1, acked / 2, acked] {
            let asked = json!({ "seq": before + n }).to_string();
            let found = js.request("$JS.API.DIRECT.GET.S", &[], asked.as_bytes());
            assert_eq!(found.text(), format!("{n:05}"));
        }
        stored = before + acked;
        // Nobody knows the batch any more.
        let mut fast = Publisher::new(&server, 50, "fail");
        fast.add(&id, seq + 200..=seq + 200);
        assert_eq!(code(&fast.hear()), 10208);
    }
}

#[test]
fn a_message_that_replaces_others_holds_up_no_batch() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js, &json!({}));
    let mut publisher = Publisher::new(&server, 10, "ok");
    for round in 0..20 {
        let prefix = format!("fast.r{round}.10.ok");
        // In one write, so that the server looks at all of it together.
        let all = [
            message("s.a", &prefix, 1, 0, ""),
            message("s.a", &prefix, 2, 1, "Nats-Rollup: sub"),
            message("s.b", &prefix, 3, 1, ""),
            message("s.a", &prefix, 4, 1, "Nats-Rollup: sub"),
            message("s.c", &prefix, 5, 2, ""),
        ];
        publisher.raw.send(all.concat());
        let (ack, _) = publisher.end();
        assert_eq!((&ack["count"], &ack["seq"]), (&json!(5), &json!(5 * (round + 1))), "{ack}");
    }
    assert_eq!(js.state("S")["subjects"], json!({ "s.a": 1, "s.b": 20, "s.c": 20 }));
}

#[test]
fn an_id_is_free_as_soon_as_its_batch_has_ended() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js, &json!({}));
    let mut publisher = Publisher::new(&server, 10, "ok");
    let send = |operation: u8, seq: u64| message("s.a", "fast.A.10.ok", seq, operation, "");
    // Before anything of it can be on the disk.
    publisher.raw.send([send(2, 1), send(2, 1), send(0, 1), send(2, 2), send(0, 1), send(2, 2), send(1, 3)].concat());
    let (mut ends, mut unknown) = (Vec::new(), 0);
    while ends.len() < 4 || unknown < 1 {
        let (said, _) = publisher.end();
        if said["error"].is_object() {
            assert_eq!(code(&said), 10208, "{said}");
            unknown += 1;
        } else {
            ends.push((said["seq"].as_u64().unwrap(), said["count"].as_u64().unwrap()));
        }
    }
    assert_eq!(ends, [(1, 1), (2, 1), (4, 2), (6, 2)]);
    assert_eq!(js.state("S")["messages"], json!(6));
}
