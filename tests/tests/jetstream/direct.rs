//! Messages read one by one and in batches.

use serde_json::{Value, json};
use sublog_tests::client::Message;

use crate::{Asking, error, server};

fn filled(js: &mut Asking) {
    js.create(json!({ "name": "S", "subjects": ["s.>"], "allow_direct": true }));
    for n in 1..=6_u64 {
        js.stored(["s.a", "s.b", "s.c"][(n % 3) as usize], &[("N", &n.to_string())], &n.to_string(), n);
    }
}

/// A batch: numbers with what is pending behind each, and the last status.
fn batch(js: &mut Asking, body: &Value) -> (Vec<(u64, u64)>, Message) {
    js.send("$JS.API.DIRECT.GET.S", &[], body.to_string().as_bytes());
    let mut found = Vec::new();
    loop {
        let message = js.raw.message();
        if message.status().is_some() {
            return (found, message);
        }
        let number = |key: &str| message.header(key).unwrap().parse::<u64>().unwrap();
        assert_eq!(message.text(), message.header("N").unwrap());
        assert_eq!(message.header("Nats-Stream").as_deref(), Some("S"));
        found.push((number("Nats-Sequence"), number("Nats-Num-Pending")));
    }
}

#[test]
fn one_message_with_where_it_comes_from() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    filled(&mut js);
    let mut get = |suffix: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        js.request(&format!("$JS.API.DIRECT.GET.S{suffix}"), &[], body.as_bytes())
    };
    let found = get("", json!({ "seq": 4 }));
    assert_eq!((found.text(), found.header("Nats-Subject").as_deref()), ("4", Some("s.b")));
    assert_eq!((found.header("N").as_deref(), found.header("Nats-Sequence").as_deref()), (Some("4"), Some("4")));
    assert!(found.header("Nats-Time-Stamp").unwrap().ends_with('Z'));
    assert_eq!(get(".s.a", Value::Null).text(), "6");
    assert_eq!(get("", json!({ "last_by_subj": "s.*" })).text(), "6");
    assert_eq!(get("", json!({ "next_by_subj": "s.c", "seq": 3 })).text(), "5");
    assert_eq!(get("", json!({ "start_time": "2020-01-01T00:00:00Z" })).text(), "1");
    assert_eq!(get("", json!({ "seq": 4, "no_hdr": true })).headers, None);
    for (body, status) in [
        (json!({ "seq": 7 }), 404),
        (json!({ "last_by_subj": "none" }), 404),
        (json!({ "start_time": "2090-01-01T00:00:00Z" }), 404),
        (json!({}), 408),
        (json!({ "batch": 2 }), 408),
        (json!({ "seq": 1, "last_by_subj": "s.a" }), 408),
        (json!({ "seq": 1, "start_time": "no time" }), 408),
        (Value::Null, 408),
    ] {
        assert_eq!(get("", body.clone()).status(), Some(status), "{body}");
    }
}

#[test]
fn batches_say_what_is_behind_them() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    filled(&mut js);
    let (found, end) = batch(&mut js, &json!({ "seq": 2, "batch": 3 }));
    assert_eq!(found, [(2, 4), (3, 3), (4, 2)]);
    assert_eq!((end.status(), end.header("Nats-Num-Pending").as_deref()), (Some(204), Some("2")));
    assert_eq!(end.header("Nats-Last-Sequence").as_deref(), Some("4"));
    let (found, _) = batch(&mut js, &json!({ "seq": 1, "batch": 10, "next_by_subj": "s.c" }));
    assert_eq!(found, [(2, 1), (5, 0)]);
    let (found, _) = batch(&mut js, &json!({ "seq": 1, "batch": 10, "max_bytes": 30 }));
    assert_eq!(found.len(), 2, "one message has 23 bytes");
    assert_eq!(batch(&mut js, &json!({ "seq": 7, "batch": 3 })).1.status(), Some(404));
}

#[test]
fn the_last_of_each_subject() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    filled(&mut js);
    let (found, end) = batch(&mut js, &json!({ "multi_last": ["s.>"] }));
    assert_eq!(found, [(4, 2), (5, 1), (6, 0)]);
    assert_eq!(end.header("Nats-UpTo-Sequence").as_deref(), Some("6"));
    let (found, _) = batch(&mut js, &json!({ "multi_last": ["s.a", "s.c"], "up_to_seq": 4 }));
    assert_eq!(found, [(2, 1), (3, 0)]);
    assert_eq!(batch(&mut js, &json!({ "multi_last": ["none"] })).1.status(), Some(404));
    for n in 0..1025 {
        js.send(&format!("s.many.{n}"), &[], b"x");
    }
    js.raw.messages(1025);
    assert_eq!(batch(&mut js, &json!({ "multi_last": ["s.many.*"] })).1.status(), Some(413));
}

#[test]
fn without_direct_gets_nobody_answers_them() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"] }));
    js.stored("s", &[("A", "b")], "x", 1);
    assert_eq!(js.request("$JS.API.DIRECT.GET.S", &[], b"{\"seq\":1}").status(), Some(503));
    let message = js.api("STREAM.MSG.GET.S", json!({ "last_by_subj": "s" }))["message"].take();
    assert_eq!(message["hdrs"], "TkFUUy8xLjANCkE6IGINCg0K");
    assert_eq!((&message["data"], &message["seq"]), (&json!("eA=="), &json!(1)));
    assert_eq!(error(&js.api("STREAM.MSG.GET.S", json!({ "seq": 9 }))).0, 10037);
    assert_eq!(error(&js.api("STREAM.MSG.GET.S", json!({}))).0, 10003);
}
