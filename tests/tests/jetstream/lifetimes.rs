//! Messages that say how long they stay, the markers that others leave behind, and where a stream's numbers begin.

use serde_json::json;
use sublog_tests::clock;

use crate::{Asking, server};

const SECOND: i64 = 1_000_000_000;

/// A stored message: its number, headers and body.
fn last(js: &mut Asking, stream: &str, subject: &str) -> Option<(u64, String, String)> {
    let found = js.request(&format!("$JS.API.DIRECT.GET.{stream}.{subject}"), &[], b"");
    let seq = found.header("Nats-Sequence")?.parse().unwrap();
    let headers = ["Nats-Marker-Reason", "Nats-TTL", "Nats-Rollup"];
    let headers = headers.map(|key| found.header(key).unwrap_or_default()).join("|");
    Some((seq, headers, found.text().to_owned()))
}

#[test]
fn numbers_begin_where_it_is_said() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "S", "subjects": ["s"], "first_seq": 100 }));
        js.create(json!({ "name": "M", "subjects": ["m"], "first_seq": 7, "storage": "memory" }));
        let state = js.state("S");
        assert_eq!((&state["first_seq"], &state["last_seq"]), (&json!(100), &json!(99)), "{state}");
        js.stored("m", &[], "", 7);
        let consumer = js.api(
            "CONSUMER.CREATE.S.D",
            json!({ "stream_name": "S",
            "config": { "name": "D", "durable_name": "D", "ack_policy": "explicit" } }),
        );
        assert_eq!(consumer["delivered"]["stream_seq"], json!(99), "{consumer}");
    }
    server.kill9();
    server.restart();
    {
        let mut js = Asking::new(&server);
        js.refused("s", &[("Nats-Expected-Last-Sequence", "0")], "", 10071, "wrong last sequence: 99");
        js.stored("s", &[("Nats-Expected-Last-Sequence", "99")], "x", 100);
        js.stored("m", &[], "", 7);
        assert_eq!(js.api("STREAM.PURGE.S", json!(null))["purged"], json!(1));
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    let state = js.state("S");
    assert_eq!((&state["first_seq"], &state["last_seq"], &state["messages"]), (&json!(101), &json!(100), &json!(0)));
    js.stored("s", &[], "y", 101);
    let consumer = js.api("CONSUMER.CREATE.S.C", json!({ "stream_name": "S", "config": { "name": "C" } }));
    assert_eq!(consumer["num_pending"], json!(1), "{consumer}");
}

#[test]
fn messages_go_when_they_said() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "S", "subjects": ["s.*"], "allow_msg_ttl": true, "allow_direct": true }));
        for text in ["0", "500ms", "-1", "soon", "-5s"] {
            js.refused("s.a", &[("Nats-TTL", text)], "", 10165, "invalid per-message TTL");
        }
        js.stored("s.short", &[("Nats-TTL", "1")], "x", 1);
        js.stored("s.long", &[("Nats-TTL", "1h")], "x", 2);
        js.stored("s.never", &[("Nats-TTL", "never")], "x", 3);
        js.stored("s.plain", &[], "x", 4);
        assert_eq!(js.state("S")["messages"], json!(4));
        clock::until("the first one's end", || (js.state("S")["messages"] == json!(3)).then_some(()));
        assert_eq!(last(&mut js, "S", "s.short"), None);
        assert_eq!(js.state("S")["first_seq"], json!(2));
        js.stored("s.short", &[("Nats-TTL", "2s")], "x", 5);
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    clock::until("an end after a restart", || (js.state("S")["messages"] == json!(3)).then_some(()));
    assert_eq!(js.state("S")["subjects"], json!({ "s.long": 1, "s.never": 1, "s.plain": 1 }));
    js.create(json!({ "name": "N", "subjects": ["n"] }));
    js.refused("n", &[("Nats-TTL", "5")], "", 10166, "per-message TTL is disabled");
    js.refused("n", &[("Nats-TTL", "soon")], "", 10165, "invalid per-message TTL");
}

#[test]
fn an_age_limit_spares_what_stays() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "S", "subjects": ["s.*"], "allow_msg_ttl": true, "max_age": SECOND,
            "duplicate_window": SECOND }));
        js.stored("s.a", &[("Nats-TTL", "never")], "x", 1);
        js.stored("s.b", &[], "x", 2);
        js.stored("s.c", &[("Nats-TTL", "1h")], "x", 3);
        clock::until("the age limit", || (js.state("S")["messages"] == json!(1)).then_some(()));
        assert_eq!(js.state("S")["subjects"], json!({ "s.a": 1 }));
        // And again, behind the one that stays.
        js.stored("s.d", &[], "x", 4);
        clock::until("the age limit", || (js.state("S")["messages"] == json!(1)).then_some(()));
        js.stored("s.e", &[], "x", 5);
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    clock::until("the age limit", || (js.state("S")["messages"] == json!(1)).then_some(()));
    assert_eq!(js.state("S")["subjects"], json!({ "s.a": 1 }));
}

#[test]
fn the_last_message_of_a_subject_leaves_a_marker() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    let marker_ns = 30 * SECOND;
    let made = js.create(json!({ "name": "S", "subjects": ["s.*"], "subject_delete_marker_ttl": marker_ns,
        "max_age": SECOND, "duplicate_window": SECOND, "allow_direct": true, "max_msgs_per_subject": 5 }));
    assert_eq!((&made["config"]["allow_msg_ttl"], &made["config"]["allow_rollup_hdrs"]), (&json!(true), &json!(true)));
    js.stored("s.a", &[], "1", 1);
    js.stored("s.a", &[], "2", 2);
    js.stored("s.stays", &[("Nats-TTL", "never")], "x", 3);
    // One whose last message is a marker already leaves none.
    js.stored("s.purged", &[("KV-Operation", "PURGE")], "", 4);
    let marker = clock::until("a marker", || last(&mut js, "S", "s.a").filter(|(seq, ..)| *seq > 4));
    assert_eq!(marker, (5, "MaxAge|30s|sub".to_owned(), String::new()));
    clock::until("the marked to go", || (js.state("S")["subjects"] == json!({ "s.a": 1, "s.stays": 1 })).then_some(()));
    // Of two that go one after the other only the second one is its subject's last.
    js.stored("s.b", &[("Nats-TTL", "1s")], "1", 6);
    let kept = last(&mut js, "S", "s.b").unwrap();
    assert_eq!(kept, (6, "|30|".to_owned(), "1".to_owned()), "it stays as long as a marker would");
}

#[test]
fn a_bucket_with_short_keys() {
    let mut server = server(&[]);
    let bucket = json!({ "name": "KV_B", "subjects": ["$KV.B.>"], "max_msgs_per_subject": 1, "discard": "new",
        "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true, "allow_msg_ttl": true,
        "subject_delete_marker_ttl": 2 * SECOND });
    {
        let mut js = Asking::new(&server);
        js.create(bucket);
        js.stored("$KV.B.a", &[("Nats-TTL", "1s")], "1", 1);
        js.stored("$KV.B.b", &[], "1", 2);
        let marker = clock::until("a marker", || last(&mut js, "KV_B", "$KV.B.a").filter(|(seq, ..)| *seq > 1));
        assert_eq!(marker, (3, "MaxAge|2s|sub".to_owned(), String::new()));
        // A key whose marker stands can be made again.
        let new = [("Nats-Expected-Last-Subject-Sequence", "3"), ("Nats-TTL", "1s")];
        js.stored("$KV.B.a", &new, "2", 4);
    }
    // The end comes while nobody serves.
    server.kill9();
    let ended = clock::now() + std::time::Duration::from_millis(1100);
    clock::until("the key's end", || (clock::now() >= ended).then_some(()));
    server.restart();
    let mut js = Asking::new(&server);
    let marker =
        clock::until("a marker after the restart", || last(&mut js, "KV_B", "$KV.B.a").filter(|(seq, ..)| *seq > 4));
    assert_eq!((marker.0, &*marker.1), (5, "MaxAge|2s|sub"));
    clock::until("the marker's end", || (js.state("KV_B")["subjects"] == json!({ "$KV.B.b": 1 })).then_some(()));
}
