//! Streams come, are shown, change and go.

use serde_json::{Value, json};

use crate::{Asking, error, server};

#[test]
fn a_stream_is_made_once_shown_changed_and_deleted() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    assert_eq!(js.raw.info["jetstream"], json!(true));
    let config = json!({ "name": "S", "subjects": ["s.>"], "max_msgs": 5 });
    let made = js.create(config.clone());
    assert_eq!(made["type"], "io.nats.jetstream.api.v1.stream_create_response");
    assert_eq!(made["did_create"], json!(true));
    assert_eq!((&made["config"]["max_bytes"], &made["config"]["retention"]), (&json!(-1), &json!("limits")));
    // A single nats-server says so too.
    assert_eq!(js.create(config)["did_create"], json!(true));
    let other = js.api("STREAM.CREATE.S", json!({ "name": "S", "subjects": ["s.x"] }));
    assert_eq!(error(&other).0, 10058);
    assert_eq!(error(&js.api("STREAM.CREATE.T", json!({ "name": "S" }))).0, 10056);
    assert_eq!(error(&js.api("STREAM.CREATE.T", json!({ "name": "T", "subjects": ["s.*.y"] }))).0, 10065);
    assert_eq!(error(&js.api("STREAM.UPDATE.T", json!({ "name": "T" }))).0, 10059);
    js.stored("s.a", &[], "1", 1);
    let changed = js.api("STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["t.>"], "max_msgs": 5 }));
    assert_eq!(changed["config"]["subjects"], json!(["t.>"]), "{changed}");
    js.stored("t.a", &[], "2", 2);
    assert_eq!(js.request("s.a", &[], b"nobody's now").status(), Some(503));
    assert_eq!(error(&js.api("STREAM.DELETE.S", json!({ "x": 1 }))).0, 10038);
    assert_eq!(js.api("STREAM.DELETE.S", Value::Null)["success"], json!(true));
    assert_eq!(js.request("t.a", &[], b"nobody's now").status(), Some(503));
    assert_eq!(error(&js.api("STREAM.INFO.S", Value::Null)).0, 10059);
    // A new one begins anew.
    js.create(json!({ "name": "S", "subjects": ["t.>"] }));
    js.stored("t.a", &[], "again", 1);
    assert_eq!(js.state("S")["messages"], json!(1));
}

#[test]
fn names_and_lists_come_in_pages_and_by_subject() {
    let server = server(&["--capture=off"]);
    let mut js = Asking::new(&server);
    for n in 0..300 {
        js.create(json!({ "name": format!("S{n:03}"), "subjects": [format!("s.{n}.*")] }));
    }
    let list = js.api("STREAM.LIST", Value::Null);
    assert_eq!((&list["total"], list["streams"].as_array().unwrap().len()), (&json!(300), 256));
    let rest = js.api("STREAM.LIST", json!({ "offset": 256 }));
    assert_eq!(rest["streams"].as_array().unwrap().len(), 44);
    assert_eq!(rest["streams"][0]["config"]["name"], "S256");
    assert_eq!(js.api("STREAM.NAMES", json!({ "subject": "s.7.x" }))["streams"], json!(["S007"]));
    assert_eq!(js.api("STREAM.NAMES", json!({ "subject": "none" }))["streams"], json!([]));
    assert_eq!(js.api("INFO", Value::Null)["streams"], json!(300));
}

#[test]
fn what_cannot_be_done_is_not_promised() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    let mut refused = |config: Value| {
        let name = config["name"].as_str().unwrap().to_owned();
        let answer = js.api(&format!("STREAM.CREATE.{name}"), config);
        assert!(answer["error"].is_object(), "{answer}");
        error(&answer).0
    };
    for (option, value) in [
        ("subject_delete_marker_ttl", json!(999_999_999)),
        ("republish", json!({ "src": ">", "dest": "S" })),
        ("max_age", json!(5)),
        ("sealed", json!(true)),
        ("subjects", json!(["a..b"])),
        ("subjects", json!(["a.*", "*.b"])),
        ("subjects", json!(["$JS.API.>"])),
        ("subjects", json!([">"])),
        ("discard_new_per_subject", json!(true)),
    ] {
        assert_eq!(refused(json!({ "name": "S", option: value })), 10052, "{option}");
    }
    let by_consumer = |to: &str| json!({ "name": "O", "consumer": { "name": "C", "deliver_subject": to } });
    assert_eq!(refused(json!({ "name": "S", "sources": [by_consumer("d.*")] })), 10215);
    assert_eq!(refused(json!({ "name": "S", "mirror": by_consumer("") })), 10213);
    assert_eq!(refused(json!({ "name": "S", "num_replicas": 3 })), 10074);
    assert_eq!(refused(json!({ "name": "CAPTURE" })), 10052);
    for (name, code) in [("a/b", 10128), ("a\\b", 10128), ("a>", 10052), (&*"x".repeat(256), 10052)] {
        assert_eq!(refused(json!({ "name": name })), code, "{name}");
    }
    assert_eq!(std::fs::read_dir(server.data().join("streams")).unwrap().count(), 1, "only CAPTURE has a folder");
}

#[test]
fn purge_takes_what_it_is_asked_for() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s.>"] }));
    for n in 1..=10_u64 {
        js.stored(&format!("s.{}", n % 2), &[], "x", n);
    }
    let mut purge = |body: Value| js.api("STREAM.PURGE.S", body);
    assert_eq!(error(&purge(json!({ "keep": 1, "seq": 2 }))).0, 10003);
    assert_eq!(purge(json!({ "filter": "s.1", "keep": 2 }))["purged"], json!(3));
    assert_eq!(purge(json!({ "filter": "s.0", "seq": 5 }))["purged"], json!(2));
    assert_eq!(purge(json!({ "keep": 4 }))["purged"], json!(1));
    assert_eq!(purge(json!({ "seq": 8 }))["purged"], json!(1));
    let state = js.state("S");
    assert_eq!((&state["messages"], &state["first_seq"], &state["last_seq"]), (&json!(3), &json!(8), &json!(10)));
    assert_eq!(state["subjects"], json!({ "s.0": 2, "s.1": 1 }));
    assert_eq!(js.api("STREAM.MSG.DELETE.S", json!({ "seq": 9 }))["success"], json!(true));
    assert_eq!(error(&js.api("STREAM.MSG.DELETE.S", json!({ "seq": 9 }))).0, 10043);
    assert_eq!(js.state("S")["deleted"], json!([9]));
    assert_eq!(js.api("STREAM.PURGE.S", Value::Null)["purged"], json!(2));
    assert_eq!(js.state("S")["messages"], json!(0));
    js.stored("s.1", &[], "x", 11);
}

#[test]
fn what_is_not_offered_has_no_responders() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    for operation in
        ["CONSUMER.MSG.NEXT.S.C", "CONSUMER.NAMES", "CONSUMER.INFO.S", "STREAM.NOTHING.S", "NOTHING", "INFO.more"]
    {
        assert_eq!(js.request(&format!("$JS.API.{operation}"), &[], b"{}").status(), Some(503), "{operation}");
    }
}

#[test]
fn requests_are_counted_as_nats_server_counts_them() {
    let server = server(&["--capture=off"]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"] }));
    js.api("CONSUMER.CREATE.S.C", json!({ "stream_name": "S", "config": { "name": "C" } }));
    js.stored("s", &[], "1", 1);
    let mut counted = |operation: &str, body: Value| {
        let counts = |js: &mut Asking| {
            let api = js.api("INFO", Value::Null)["api"].clone();
            (api["total"].as_u64().unwrap(), api["errors"].as_u64().unwrap())
        };
        let before = counts(&mut js);
        js.api(operation, body);
        let after = counts(&mut js);
        // The question itself counts.
        (after.0 - before.0 - 1, after.1 - before.1)
    };
    assert_eq!(counted("STREAM.INFO.S", Value::Null), (1, 0));
    assert_eq!(counted("STREAM.INFO.T", Value::Null), (1, 1));
    assert_eq!(counted("STREAM.MSG.GET.S", json!({ "seq": 1 })), (0, 0), "found");
    assert_eq!(counted("STREAM.MSG.GET.S", json!({ "seq": 2 })), (1, 1), "not found");
    assert_eq!(counted("STREAM.MSG.DELETE.S", json!({ "seq": 2 })), (1, 0));
    assert_eq!(counted("CONSUMER.RESET.S.C", json!({})), (0, 0));
    assert_eq!(counted("STREAM.LEADER.STEPDOWN.S", Value::Null), (1, 1));
}

#[test]
fn what_only_a_cluster_can_do_is_answered() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    for operation in ["STREAM.LEADER.STEPDOWN.S", "STREAM.PEER.REMOVE.S", "CONSUMER.LEADER.STEPDOWN.S.C"] {
        assert_eq!(error(&js.api(operation, Value::Null)).0, 10010, "{operation}");
    }
}

#[test]
fn a_purged_stream_still_says_when_it_was_last_written() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"] }));
    assert_eq!(js.state("S")["last_ts"], json!("0001-01-01T00:00:00Z"));
    js.stored("s", &[], "1", 1);
    let written = js.state("S")["last_ts"].clone();
    js.api("STREAM.PURGE.S", Value::Null);
    let state = js.state("S");
    assert_eq!((&state["messages"], &state["last_ts"]), (&json!(0), &written));
    assert_eq!(state["first_ts"], json!("0001-01-01T00:00:00Z"));
}

#[test]
fn a_message_that_cannot_be_deleted_is_refused_as_nats_server_refuses_it() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"] }));
    for n in 1..=4 {
        js.stored("s", &[], "x", n);
    }
    let mut refused = |seq: u64| {
        let answer = js.api("STREAM.MSG.DELETE.S", json!({ "seq": seq }));
        if answer["success"] == json!(true) { (0, String::new()) } else { error(&answer) }
    };
    assert_eq!(refused(3).0, 0);
    assert_eq!(refused(3), (10043, "sequence 3 not found".to_owned()), "in the middle");
    assert_eq!(refused(1).0, 0);
    assert_eq!(refused(1), (10057, "no message found".to_owned()), "before the first");
    assert_eq!(refused(9), (10057, "stream store EOF".to_owned()), "after the last");
}
