//! Streams that keep messages for their consumers, and consumers whose messages are removed.

use serde_json::{Value, json};

use super::{INBOX, seqs};
use crate::{Asking, error, server};

#[test]
fn a_work_queue_keeps_what_is_not_done() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({ "retention": "workqueue" }), 6);
    let codes = [
        (json!({ "ack_policy": "none" }), 10084),
        (json!({ "ack_policy": "all" }), 10098),
        (json!({ "deliver_policy": "new" }), 10101),
    ];
    for (config, code) in codes {
        assert_eq!(error(&js.consumer("X", config.clone())).0, code, "{config}");
    }
    js.consumer("A", json!({ "filter_subject": "s.0" }));
    assert_eq!(error(&js.consumer("B", json!({ "filter_subject": "s.*" }))).0, 10100);
    assert_eq!(error(&js.consumer("B", json!({}))).0, 10099);
    let got = js.there("A", 5);
    assert_eq!(seqs(&got), [1, 4]);
    js.ack(&got[0], "+ACK");
    js.wait_for_state(|state| state["messages"] == json!(5) && state["first_seq"] == json!(2));
    js.ack(&got[1], "+TERM");
    js.wait_for_state(|state| state["messages"] == json!(4));
    js.consumer("B", json!({ "filter_subject": "s.1" }));
    for message in js.there("B", 5) {
        js.ack(&message, "");
    }
    js.wait_for_state(|state| state["messages"] == json!(2));
    js.api("CONSUMER.DELETE.S.A", Value::Null);
    assert_eq!(js.state("S")["messages"], json!(2), "work waits for a worker");
}

#[test]
fn by_interest_only_what_somebody_wants_is_kept() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({ "retention": "interest" }), 3);
    let state = js.state("S");
    assert_eq!((&state["messages"], &state["last_seq"]), (&json!(0), &json!(3)), "nobody wants them");
    js.consumer("ONE", json!({ "filter_subject": "s.1" }));
    js.publish("s.0", &[], "for nobody");
    assert_eq!(js.state("S")["messages"], json!(0));
    js.consumer("ALL", json!({}));
    js.publish("s.0", &[], "for ALL");
    js.publish("s.1", &[], "for both");
    let all = js.there("ALL", 5);
    assert_eq!(seqs(&all), [5, 6]);
    for message in &all {
        js.ack(message, "");
    }
    js.wait_for_state(|state| state["messages"] == json!(1));
    let one = js.there("ONE", 5);
    js.ack(&one[0], "");
    js.wait_for_state(|state| state["messages"] == json!(0));
    js.publish("s.2", &[], "for ALL");
    js.api("CONSUMER.DELETE.S.ALL", Value::Null);
    js.wait_for_state(|state| state["messages"] == json!(0));
}

#[test]
fn what_is_removed_is_not_waited_for() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({}), 9);
    js.consumer("A", json!({}));
    js.consumer("F", json!({ "filter_subject": "s.1" }));
    assert_eq!(js.there("A", 4).len(), 4);
    for seq in [2, 8] {
        assert_eq!(js.api("STREAM.MSG.DELETE.S", json!({ "seq": seq }))["success"], json!(true));
    }
    let numbers = |js: &mut Asking, consumer: &str| {
        let info = js.consumer_info(consumer);
        (info["num_ack_pending"].as_u64().unwrap(), info["num_pending"].as_u64().unwrap())
    };
    js.wait_for_state(|_| true);
    let begun = sublog_tests::clock::now();
    while numbers(&mut js, "A") != (3, 4) || numbers(&mut js, "F") != (0, 1) {
        assert!(begun.elapsed() < crate::PATIENCE, "{:?}", (numbers(&mut js, "A"), numbers(&mut js, "F")));
    }
    js.api("STREAM.PURGE.S", json!({ "seq": 7 }));
    while numbers(&mut js, "A") != (0, 2) || numbers(&mut js, "F") != (0, 0) {
        assert!(begun.elapsed() < crate::PATIENCE, "{:?}", (numbers(&mut js, "A"), numbers(&mut js, "F")));
    }
    assert_eq!(seqs(&js.there("A", 5)), [7, 9]);
    // Limits take away what is out, and what is still to come.
    js.api("STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["s.*"], "max_msgs": 2 }));
    for n in 10..=15 {
        js.stored("s.1", &[], "x", n);
    }
    js.wait_for_state(|state| state["messages"] == json!(2));
    assert_eq!(seqs(&js.there("F", 5)), [14, 15]);
    assert_eq!(seqs(&js.there("A", 5)), [14, 15]);
}
