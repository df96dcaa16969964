//! What is left of consumers after the server ended, well or not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{INBOX, seq, seqs};
use crate::{Asking, server};

/// A consumer may be behind where it was after a kill, never ahead: what was not acked comes again, what was acked for
/// sure does not.
#[test]
fn after_a_kill_nothing_is_lost_and_kept_acks_are_kept() {
    let mut server = server(&[]);
    let (mut published, mut surely_acked, mut maybe_acked) = (0, BTreeSet::new(), BTreeSet::new());
    for round in 0..4_u64 {
        let mut js = Asking::new(&server);
        js.raw.subscribe(INBOX, "2");
        if round == 0 {
            js.create(json!({ "name": "S", "subjects": ["s.*"] }));
            js.consumer("C", json!({ "ack_wait": 60_000_000_000_u64, "max_ack_pending": 10_000 }));
            js.create(json!({ "name": "W", "subjects": ["w"], "retention": "workqueue" }));
        }
        for _ in 0..100 {
            published += 1;
            js.stored("s.x", &[], &published.to_string(), published);
        }
        let got = js.there("C", 60);
        for (n, message) in got.iter().enumerate() {
            assert!(!surely_acked.contains(&seq(message)), "{} was acked for sure", seq(message));
            match n % 3 {
                0 => {
                    js.ack(message, "+ACK");
                    surely_acked.insert(seq(message));
                }
                1 => {
                    js.raw.publish(&super::reply(message), "+ACK");
                    maybe_acked.insert(seq(message));
                }
                _ => {}
            }
        }
        server.kill9();
        server.restart();
    }
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    // What is out comes again when its time is over; a reset to the ack floor need not wait for that.
    let info = js.consumer_info("C");
    let floor = info["ack_floor"]["stream_seq"].as_u64().unwrap();
    assert!((1..=floor).all(|seq| surely_acked.contains(&seq) || maybe_acked.contains(&seq)), "{floor} is too high");
    let out = info["num_ack_pending"].as_u64().unwrap() + info["num_pending"].as_u64().unwrap();
    assert!(out <= published - surely_acked.len() as u64, "what was acked for sure is waited for: {info}");
    assert!(out >= published - (surely_acked.len() + maybe_acked.len()) as u64, "messages are lost: {info}");
}

#[test]
fn consumers_outlive_the_server_and_deletions_too() {
    let mut server = server(&[]);
    let before = {
        let mut js = Asking::new(&server);
        js.raw.subscribe(INBOX, "2");
        js.stream_of(json!({}), 6);
        js.consumer("KEPT", json!({ "filter_subject": "s.1", "description": "d", "metadata": { "k": "v" } }));
        js.consumer("LIST", json!({ "deliver_policy": "last_per_subject", "filter_subject": "s.*" }));
        js.consumer("GONE", json!({}));
        js.consumer("MEMORY", json!({ "mem_storage": true }));
        js.api("CONSUMER.PAUSE.S.GONE", json!({ "pause_until": "2099-01-01T00:00:00Z" }));
        js.api("CONSUMER.DELETE.S.GONE", Value::Null);
        let got = js.there("KEPT", 1);
        js.ack(&got[0], "");
        assert_eq!(seqs(&js.there("LIST", 1)), [4]);
        // Another stream of that name had one of this name.
        js.create(json!({ "name": "T", "subjects": ["t"] }));
        js.api(
            "CONSUMER.CREATE.T.OLD",
            json!({ "stream_name": "T", "config": { "name": "OLD", "durable_name": "OLD" } }),
        );
        js.api("STREAM.DELETE.T", Value::Null);
        js.create(json!({ "name": "T", "subjects": ["t"] }));
        js.consumer_info("KEPT")
    };
    server.stop();
    server.restart();
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    assert_eq!(js.api("CONSUMER.NAMES.S", Value::Null)["consumers"], json!(["KEPT", "LIST"]));
    assert_eq!(js.api("CONSUMER.NAMES.T", Value::Null)["consumers"], json!([]));
    let after = js.consumer_info("KEPT");
    assert_eq!((&after["config"], &after["created"]), (&before["config"], &before["created"]));
    for key in ["num_pending", "num_ack_pending"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["ack_floor"]["consumer_seq"], before["ack_floor"]["consumer_seq"]);
    assert_eq!(seqs(&js.there("KEPT", 5)), [5]);
    assert_eq!(seqs(&js.there("LIST", 5)), [5, 6]);
}

#[test]
fn what_was_done_of_a_work_queue_stays_done() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.raw.subscribe(INBOX, "2");
        js.stream_of(json!({ "retention": "workqueue" }), 20);
        js.consumer("C", json!({ "ack_wait": 500_000_000 }));
        for message in js.there("C", 12) {
            if seq(&message).is_multiple_of(2) {
                js.ack(&message, "");
            }
        }
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.wait_for_state(|state| state["messages"] == json!(14));
    js.pull("C", json!({ "batch": 14, "expires": 20_000_000_000_u64 }));
    let mut left = seqs(&js.raw.messages(14));
    left.sort_unstable();
    assert_eq!(left, [1, 3, 5, 7, 9, 11, 13, 14, 15, 16, 17, 18, 19, 20]);
}
