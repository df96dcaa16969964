//! Requests about consumers: answers, errors, where a consumer begins.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{INBOX, seqs};
use crate::{Asking, error, server};

#[test]
fn a_consumer_is_asked_for_in_three_ways() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.stream_of(json!({}), 3);
    let create = |js: &mut Asking, operation: &str, config: Value, action: &str| {
        js.api(operation, json!({ "stream_name": "S", "config": config, "action": action }))
    };
    let unnamed = create(&mut js, "CONSUMER.CREATE.S", json!({}), "");
    let name = unnamed["name"].as_str().unwrap().to_owned();
    assert_eq!((name.len(), &unnamed["config"]["inactive_threshold"]), (8, &json!(5_000_000_000_u64)), "{unnamed}");
    let filtered = json!({ "name": "F", "durable_name": "F", "filter_subject": "s.1" });
    let answer = create(&mut js, "CONSUMER.CREATE.S.F.s.1", filtered.clone(), "create");
    assert_eq!(answer["num_pending"], json!(1), "{answer}");
    assert!(error(&create(&mut js, "CONSUMER.CREATE.S.F.s.1", filtered, "create")).0 == 0, "it is there, just so");
    create(&mut js, "CONSUMER.DURABLE.CREATE.S.D", json!({ "durable_name": "D" }), "");
    let mut names = vec!["D".to_owned(), "F".to_owned(), name.clone()];
    names.sort();
    assert_eq!(js.api("CONSUMER.NAMES.S", Value::Null)["consumers"], json!(names));
    assert_eq!(js.api("CONSUMER.LIST.S", Value::Null)["consumers"][0]["stream_name"], json!("S"));
    assert_eq!(js.state("S")["consumer_count"], json!(3));
    let errors = [
        (
            "CONSUMER.CREATE.S.F",
            json!({ "name": "F", "filter_subject": "s.2" }),
            "create",
            10148,
            "consumer already exists",
        ),
        ("CONSUMER.CREATE.S.X", json!({ "name": "X" }), "update", 10149, "consumer does not exist"),
        (
            "CONSUMER.CREATE.S.X",
            json!({ "name": "X", "deliver_subject": "s.9" }),
            "",
            10081,
            "consumer deliver subject forms a cycle",
        ),
        ("CONSUMER.CREATE.T.X", json!({ "name": "X" }), "", 10056, "stream name in subject does not match request"),
    ];
    for (operation, config, action, code, text) in errors {
        assert_eq!(error(&create(&mut js, operation, config, action)), (code, text.to_owned()), "{operation}");
    }
    let not_found = (10014, "consumer not found".to_owned());
    for operation in ["CONSUMER.INFO.S.X", "CONSUMER.DELETE.S.X"] {
        assert_eq!(error(&js.api(operation, Value::Null)), not_found);
    }
    assert_eq!(error(&js.api("CONSUMER.INFO.T.X", Value::Null)), (10059, "stream not found".to_owned()));
    assert_eq!(js.api("CONSUMER.DELETE.S.F", Value::Null)["success"], json!(true));
    assert_eq!(error(&js.api("CONSUMER.INFO.S.F", Value::Null)), not_found);
}

#[test]
fn consumers_begin_where_they_are_told_to() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({}), 9);
    let time = js.api("STREAM.MSG.GET.S", json!({ "seq": 5 }))["message"]["time"].clone();
    let cases = [
        (json!({}), (1..=10).collect::<Vec<u64>>()),
        (json!({ "deliver_policy": "new" }), vec![10]),
        (json!({ "deliver_policy": "last" }), vec![9, 10]),
        (json!({ "deliver_policy": "last", "filter_subject": "s.1" }), vec![8, 10]),
        (json!({ "deliver_policy": "by_start_sequence", "opt_start_seq": 7, "filter_subject": "s.1" }), vec![8, 10]),
        (json!({ "deliver_policy": "by_start_time", "opt_start_time": time }), vec![5, 6, 7, 8, 9, 10]),
        (json!({ "deliver_policy": "last_per_subject", "filter_subject": "s.*" }), vec![7, 8, 9, 10]),
        (json!({ "filter_subjects": ["s.0", "s.2"] }), vec![1, 3, 4, 6, 7, 9]),
        (json!({ "filter_subject": "s.x" }), vec![]),
    ];
    let mut counts = Vec::new();
    for (n, (config, _)) in cases.iter().enumerate() {
        let created = js.consumer(&format!("C{n}"), config.clone());
        counts.push(created["num_pending"].as_u64().unwrap_or_else(|| panic!("{created}")));
    }
    js.stored("s.1", &[], "message 10", 10);
    for (n, (config, wanted)) in cases.into_iter().enumerate() {
        let got = js.there(&format!("C{n}"), 20);
        assert_eq!(seqs(&got), wanted, "{config}");
        let before = wanted.iter().filter(|seq| **seq < 10).count() as u64;
        assert_eq!(counts[n], before, "{config}");
        let left: Vec<u64> = (0..wanted.len() as u64).rev().collect();
        assert_eq!(got.iter().map(super::pending).collect::<Vec<_>>(), left, "{config}");
    }
}

#[test]
fn pauses_and_resets() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({}), 4);
    js.consumer("C", json!({}));
    let paused = js.api("CONSUMER.PAUSE.S.C", json!({ "pause_until": "2099-01-01T00:00:00Z" }));
    assert_eq!((&paused["paused"], &paused["pause_until"]), (&json!(true), &json!("2099-01-01T00:00:00Z")), "{paused}");
    js.pull("C", json!({ "batch": 2, "expires": 100_000_000 }));
    assert_eq!(js.raw.message().status(), Some(408), "nothing is delivered");
    assert_eq!(js.consumer_info("C")["paused"], json!(true));
    assert_eq!(js.api("CONSUMER.PAUSE.S.C", Value::Null)["paused"], json!(false));
    let got = js.there("C", 3);
    js.ack(&got[0], "");
    assert_eq!(js.api("CONSUMER.RESET.S.C", Value::Null)["reset_seq"], json!(2));
    assert_eq!(seqs(&js.there("C", 2)), [2, 3]);
    assert_eq!(js.api("CONSUMER.RESET.S.C", json!({ "seq": 4 }))["reset_seq"], json!(4));
    assert_eq!(seqs(&js.there("C", 2)), [4]);
    js.consumer("N", json!({ "deliver_policy": "new" }));
    let refused = js.api("CONSUMER.RESET.S.N", json!({ "seq": 1 }));
    assert_eq!(error(&refused), (10204, "invalid reset: not allowed".to_owned()));
}

#[test]
fn a_consumer_that_nobody_uses_goes() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.stream_of(json!({ "max_consumers": 2 }), 1);
    js.raw.subscribe("to.me", "2");
    let ephemeral = |name: &str, more: Value| {
        let mut config = json!({ "name": name, "inactive_threshold": 200_000_000 });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        json!({ "stream_name": "S", "config": config })
    };
    js.api("CONSUMER.CREATE.S.PULL", ephemeral("PULL", json!({})));
    js.send(
        "$JS.API.CONSUMER.CREATE.S.PUSH",
        &[],
        ephemeral("PUSH", json!({ "deliver_subject": "to.me" })).to_string().as_bytes(),
    );
    js.raw.messages(2);
    assert_eq!(error(&js.api("CONSUMER.CREATE.S.MORE", ephemeral("MORE", json!({})))).0, 10026);
    js.wait_for_state(|state| state["consumer_count"] == json!(1));
    assert_eq!(js.api("CONSUMER.NAMES.S", Value::Null)["consumers"], json!(["PUSH"]), "somebody listens");
    js.raw.send("UNSUB 2\r\n");
    js.wait_for_state(|state| state["consumer_count"] == json!(0));
}

#[test]
fn the_capture_stream_has_consumers_too() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    for n in 0..5 {
        js.raw.publish("captured", n.to_string());
    }
    js.raw.sync();
    js.raw.subscribe("to.me", "2");
    js.send(
        "$JS.API.CONSUMER.CREATE.CAPTURE",
        &[],
        br#"{"stream_name":"CAPTURE","config":{"deliver_subject":"to.me"}}"#,
    );
    let got = js.raw.messages(6);
    assert_eq!(got.iter().filter(|message| message.subject == "captured").count(), 5, "{got:?}");
    assert_eq!(js.state("CAPTURE")["messages"], json!(5), "deliveries are not captured");
}

#[test]
fn what_is_delivered_asks_nothing_of_the_server() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.stream_of(json!({}), 3);
    js.consumer("C", json!({ "deliver_subject": "$JS.API.STREAM.DELETE.S" }));
    js.raw.subscribe("$JS.API.STREAM.DELETE.S", "2");
    assert_eq!(seqs(&js.raw.messages(3)), [1, 2, 3]);
    assert_eq!(js.state("S")["messages"], json!(3));
}

/// Whoever asks while a consumer ends is told that it has ended, or finds nobody; nobody waits.
#[test]
fn a_request_that_meets_the_end_of_its_consumer_is_answered() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.stream_of(json!({}), 0);
    let mut asking = server.client();
    asking.send("CONNECT {\"headers\":true,\"no_responders\":true}\r\n");
    asking.subscribe("ended.*", "1");
    let body = json!({ "batch": 1, "expires": 600_000_000_000_u64 }).to_string();
    for round in 0..60 {
        let by_stream = round % 3 == 2;
        if by_stream {
            js.api("STREAM.DELETE.S", Value::Null);
            js.stream_of(json!({}), 0);
        }
        js.consumer("C", json!({}));
        let done = AtomicBool::new(false);
        let mut sent = 0;
        std::thread::scope(|scope| {
            let ending = scope.spawn(|| {
                // At a moment among the requests.
                std::thread::sleep(Duration::from_micros(100 * (round % 10)));
                js.api(if by_stream { "STREAM.DELETE.S" } else { "CONSUMER.DELETE.S.C" }, Value::Null);
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) && sent < 400 {
                let subject = "$JS.API.CONSUMER.MSG.NEXT.S.C";
                asking.send(format!("PUB {subject} ended.{sent} {}\r\n{body}\r\n", body.len()));
                sent += 1;
            }
            ending.join().unwrap();
        });
        let mut told = vec![0; sent];
        for message in asking.messages(sent) {
            assert!(matches!(message.status(), Some(503 | 409)), "{message:?}");
            told[message.subject["ended.".len()..].parse::<usize>().unwrap()] += 1;
        }
        assert!(told.iter().all(|count| *count == 1), "round {round}: {told:?}");
        if by_stream {
            js.stream_of(json!({}), 0);
        }
    }
}
