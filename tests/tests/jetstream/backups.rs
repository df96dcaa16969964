//! `STREAM.SNAPSHOT` and `STREAM.RESTORE`.

use serde_json::{Value, json};
use sublog_tests::{RawClient, TestServer};

use crate::{Asking, PATIENCE, error, server};

const INBOX: &str = "_INBOX.backup";

/// A backup as a client takes it, each chunk acked: its bytes, and the status of its last message.
fn backup(server: &TestServer, js: &mut Asking, stream: &str, options: Value) -> (Vec<u8>, u16) {
    let mut chunks = server.client();
    chunks.subscribe(INBOX, "1");
    chunks.sync();
    let mut request = json!({ "deliver_subject": INBOX });
    for (key, value) in options.as_object().unwrap() {
        request[key] = value.clone();
    }
    let begun = js.api(&format!("STREAM.SNAPSHOT.{stream}"), request);
    assert!(begun["error"].is_null(), "{begun}");
    assert_eq!(begun["config"]["name"], json!(stream));
    let mut bytes = Vec::new();
    loop {
        let chunk = chunks.message();
        if chunk.payload.is_empty() {
            return (bytes, chunk.status().unwrap());
        }
        bytes.extend_from_slice(&chunk.payload);
        if let Some(reply) = &chunk.reply {
            let tokens: Vec<&str> = reply.split('.').collect();
            assert_eq!((tokens[..4].join("."), tokens.len()), (format!("$JS.SNAPSHOT.ACK.{stream}"), 7), "{reply}");
            assert_eq!(tokens[5], chunk.payload.len().to_string());
            chunks.publish(reply, "");
        }
    }
}

/// Sends a backup: the answer to the last chunk, or the first that is an error.
fn restore(js: &mut Asking, config: &Value, bytes: &[u8]) -> Value {
    let name = config["name"].as_str().unwrap();
    let begun = js.api(&format!("STREAM.RESTORE.{name}"), json!({ "config": config, "state": {} }));
    let Some(to) = begun["deliver_subject"].as_str().filter(|to| !to.is_empty()) else { return begun };
    for chunk in bytes.chunks(700) {
        let answer = js.request(to, &[], chunk);
        if !answer.payload.is_empty() {
            return serde_json::from_str(answer.text()).unwrap();
        }
    }
    serde_json::from_str(js.request(to, &[], b"").text()).unwrap()
}

/// Everything that can be seen of a stream.
fn look(js: &mut Asking, stream: &str) -> Value {
    let info = js.api(&format!("STREAM.INFO.{stream}"), json!({ "deleted_details": true, "subjects_filter": ">" }));
    let last = info["state"]["last_seq"].as_u64().unwrap();
    let first = info["state"]["first_seq"].as_u64().unwrap();
    let messages: Vec<Value> = (first..=last)
        .map(|seq| js.api(&format!("STREAM.MSG.GET.{stream}"), json!({ "seq": seq }))["message"].take())
        .collect();
    let mut consumers = js.api(&format!("CONSUMER.LIST.{stream}"), Value::Null)["consumers"].take();
    for consumer in consumers.as_array_mut().unwrap() {
        consumer["ts"].take();
        // When it last did something is not kept, also over a restart.
        for place in ["delivered", "ack_floor"] {
            consumer[place].as_object_mut().unwrap().remove("last_active");
        }
    }
    json!([info["config"], info["created"], info["state"], messages, consumers])
}

fn folders(server: &TestServer) -> Vec<String> {
    let entries = std::fs::read_dir(server.data().join("streams")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A stream with gaps of all kinds, headers, and a consumer in the middle of its work.
fn fill(js: &mut Asking) {
    js.create(json!({ "name": "S", "subjects": ["s.>"], "description": "to be kept" }));
    js.api("STREAM.PURGE.S", json!({ "seq": 1000 }));
    for n in 0..60 {
        let headers: &[(&str, &str)] = if n % 2 == 0 { &[("Nats-Msg-Id", "x"), ("K", "v")] } else { &[] };
        let headers = if n == 0 { headers } else { headers.get(1..).unwrap_or_default() };
        js.publish(&format!("s.{}", n % 7), headers, &"payload ".repeat(n));
    }
    for seq in [1000, 1003, 1004, 1059] {
        assert_eq!(js.api("STREAM.MSG.DELETE.S", json!({ "seq": seq }))["success"], json!(true));
    }
    let config = json!({ "durable_name": "C", "name": "C", "ack_policy": "explicit" });
    js.api("CONSUMER.CREATE.S.C", json!({ "stream_name": "S", "config": config }));
    let ack = next(js).1;
    assert!(js.request(&ack, &[], b"+ACK").payload.is_empty());
}

/// Subject and ack subject of the next message of consumer `C`.
fn next(js: &mut Asking) -> (String, String) {
    js.send("$JS.API.CONSUMER.MSG.NEXT.S.C", &[], b"1");
    let message = js.raw.message();
    (message.subject, message.reply.unwrap())
}

#[test]
fn a_stream_comes_back_as_it_was() {
    let mut server = server(&[]);
    let mut js = Asking::new(&server);
    fill(&mut js);
    let before = look(&mut js, "S");
    let config = before[0].clone();
    let (bytes, status) = backup(&server, &mut js, "S", json!({ "chunk_size": 1024 }));
    assert_eq!(status, 204);

    assert_eq!(error(&restore(&mut js, &config, &bytes)).0, 10130, "it is there still");
    js.api("STREAM.DELETE.S", Value::Null);
    let restored = restore(&mut js, &config, &bytes);
    assert_eq!(restored["type"], json!("io.nats.jetstream.api.v1.stream_create_response"));
    assert!(restored["error"].is_null(), "{restored}");
    assert_eq!(restored["state"]["messages"], before[2]["messages"]);
    assert_eq!(look(&mut js, "S"), before);
    assert_eq!(folders(&server), ["CAPTURE", "S"]);
    // It goes on: with its next number, and with what its consumer has not had.
    js.stored("s.new", &[], "x", 1060);
    assert_eq!(next(&mut js).0, "s.2");
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    assert_eq!(js.state("S")["messages"], json!(57));
    js.stored("s.new", &[], "x", 1061);
}

#[test]
fn what_is_no_backup_leaves_nothing_behind() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    fill(&mut js);
    let before = look(&mut js, "S");
    let config = before[0].clone();
    let (bytes, _) = backup(&server, &mut js, "S", json!({}));
    js.api("STREAM.DELETE.S", Value::Null);

    // A bit of what says where a repetition was before may name another place with the same bytes: then nothing is damaged.
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let answer = restore(&mut js, &config, &flipped);
    if answer["error"].is_null() {
        assert_eq!(look(&mut js, "S"), before);
        js.api("STREAM.DELETE.S", Value::Null);
    } else {
        assert_eq!(error(&answer).0, 10062, "{answer}");
    }
    // The checksum of the first piece.
    let mut damaged = bytes.clone();
    damaged[14] ^= 0x10;
    let mut longer = bytes.clone();
    longer.extend_from_slice(&bytes);
    let other = json!({ "name": "T", "subjects": ["t"] });
    // A tar that would leave its folder, as other servers have met it.
    let mut tar = vec![0_u8; 1024];
    tar[..20].copy_from_slice(b"../../../etc/passwd\0");
    for (what, config, bytes) in [
        ("nothing", &config, &[][..]),
        ("the beginning", &config, &bytes[..bytes.len() - 30]),
        ("half", &config, &bytes[..bytes.len() / 2]),
        ("a flipped bit", &config, &damaged),
        ("more than one", &config, &longer),
        ("another stream's", &other, &bytes),
        ("a tar", &config, &tar),
    ] {
        let answer = restore(&mut js, config, bytes);
        assert_eq!(error(&answer).0, 10062, "{what}: {answer}");
        assert!(error(&answer).1.starts_with("restore failed: "), "{what}: {answer}");
    }
    assert_eq!(js.api("STREAM.NAMES", Value::Null)["streams"], json!(["CAPTURE"]));
    assert_eq!(folders(&server), ["CAPTURE"]);
    assert!(restore(&mut js, &config, &bytes)["error"].is_null());
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.>"] }));
    let long = "x".repeat(256);
    for (operation, body, code) in [
        ("STREAM.SNAPSHOT.S", Value::Null, 10003),
        ("STREAM.SNAPSHOT.S", json!({}), 10003),
        ("STREAM.SNAPSHOT.NONE", json!({ "deliver_subject": "x" }), 10059),
        ("STREAM.SNAPSHOT.S", json!({ "deliver_subject": "" }), 10015),
        ("STREAM.SNAPSHOT.S", json!({ "deliver_subject": "a.*" }), 10015),
        ("STREAM.SNAPSHOT.S", json!({ "deliver_subject": "a b" }), 10015),
        ("STREAM.SNAPSHOT.S", json!({ "deliver_subject": "$JS.API.STREAM.DELETE.S" }), 10015),
        ("STREAM.SNAPSHOT.S", json!({ "deliver_subject": "s.itself" }), 10015),
        ("STREAM.RESTORE.R", Value::Null, 10003),
        ("STREAM.RESTORE.R", json!({ "config": { "name": "Q" } }), 10056),
        ("STREAM.RESTORE.S", json!({ "config": { "name": "S", "subjects": ["s.>"] } }), 10130),
        ("STREAM.RESTORE.R", json!({ "config": { "name": "R", "subjects": ["s.x"] } }), 10065),
        ("STREAM.RESTORE.R", json!({ "config": { "name": "R", "subjects": ["r"], "num_replicas": 3 } }), 10074),
        ("STREAM.RESTORE.R", json!({ "config": { "name": "R", "subjects": ["r"], "max_msgs": i64::MIN } }), 0),
        (&format!("STREAM.RESTORE.{long}"), json!({ "config": { "name": long } }), 10052),
    ] {
        let answer = js.api(operation, body.clone());
        assert_eq!(error(&answer).0, code, "{operation} {body}: {answer}");
    }
    assert_eq!(folders(&server), ["CAPTURE", "S"]);
}

#[test]
fn a_client_that_falls_silent_is_given_up() {
    let mut server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"] }));
    // Nothing that can be made small.
    for n in 0..200_u64 {
        let payload: String =
            (0..100).map(|i| format!("{:x}", (n * 7919 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        js.publish("s", &[], &payload);
    }
    let mut listening = server.client();
    for (sid, subject) in
        ["$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_COMPLETE.S", "$JS.EVENT.ADVISORY.STREAM.RESTORE_CREATE.R"]
            .iter()
            .enumerate()
    {
        listening.subscribe(subject, &sid.to_string());
    }
    listening.sync();
    let mut chunks: RawClient = server.client();
    chunks.subscribe(INBOX, "1");
    chunks.sync();
    js.api("STREAM.SNAPSHOT.S", json!({ "deliver_subject": INBOX, "chunk_size": 1024, "window_size": 4096 }));
    // A window without an ack, and then the last word.
    let begun = sublog_tests::clock::now();
    assert!(chunks.messages(4).iter().all(|chunk| chunk.payload.len() == 1024));
    let last = chunks.message();
    assert_eq!((last.payload.len(), last.status()), (0, Some(408)));
    assert!(begun.elapsed() < PATIENCE);
    let told: Value = serde_json::from_str(listening.message().text()).unwrap();
    assert_eq!(told["error"], json!("No Flow Response"));
    assert_eq!(told["client"]["acc"], json!("$G"), "{told}");

    let begun = js.api("STREAM.RESTORE.R", json!({ "config": { "name": "R", "subjects": ["r"] } }));
    let to = begun["deliver_subject"].as_str().unwrap().to_owned();
    assert_eq!(listening.message().subject, "$JS.EVENT.ADVISORY.STREAM.RESTORE_CREATE.R");
    server.log_line("A stream is not restored");
    // As soon as it is given up there is nobody on its subject.
    js.send(&to, &[], b"");
    assert_eq!(js.raw.message().status(), Some(503));
    assert_eq!(js.api("STREAM.NAMES", Value::Null)["streams"], json!(["CAPTURE", "S"]));
}

#[test]
fn every_request_is_told_of() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    let mut listening = server.client();
    listening.subscribe("$JS.EVENT.ADVISORY.API", "1");
    listening.sync();
    let answer = js.api("STREAM.CREATE.S", json!({ "name": "S", "subjects": ["s"] }));
    let told: Value = serde_json::from_str(listening.message().text()).unwrap();
    assert_eq!(told["type"], json!("io.nats.jetstream.advisory.v1.api_audit"));
    assert_eq!(told["subject"], json!("$JS.API.STREAM.CREATE.S"));
    assert_eq!(serde_json::from_str::<Value>(told["response"].as_str().unwrap()).unwrap(), answer);
    assert_eq!(told["request"], json!(r#"{"name":"S","subjects":["s"]}"#));
    assert_eq!((&told["client"]["kind"], &told["client"]["host"]), (&json!("Client"), &json!("127.0.0.1")));
    assert_eq!(js.api("STREAM.INFO.NONE", Value::Null)["error"]["err_code"], json!(10059));
    let told: Value = serde_json::from_str(listening.message().text()).unwrap();
    assert!(told["request"].is_null() && told["response"].as_str().unwrap().contains("10059"), "{told}");
    let api = js.api("INFO", Value::Null)["api"].take();
    assert_eq!((&api["total"], &api["errors"], &api["inflight"]), (&json!(2), &json!(1), &Value::Null), "{api}");
}
