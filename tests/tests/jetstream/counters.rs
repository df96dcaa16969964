//! Streams of counters.

use std::time::Duration;

use serde_json::json;
use sublog_tests::clock;

use crate::{Asking, error, server};

fn add(js: &mut Asking, subject: &str, increment: &str, expected: &str) {
    let ack = js.publish(subject, &[("Nats-Incr", increment)], "");
    assert_eq!(ack["val"], json!(expected), "{ack}");
}

#[test]
fn what_is_added_is_summed_up() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.create(json!({ "name": "C", "subjects": ["c.*"], "allow_msg_counter": true, "allow_direct": true }));
        add(&mut js, "c.a", "5", "5");
        add(&mut js, "c.a", "-7", "-2");
        add(&mut js, "c.b", "+1", "1");
        add(&mut js, "c.a", "100000000000000000000000000000", "99999999999999999999999999998");
        // Without waiting: each finds what the one before it came to.
        for _ in 0..50 {
            js.send("c.b", &[("Nats-Incr", "2")], b"");
        }
        let last = js.raw.messages(50).pop().unwrap();
        assert!(last.text().ends_with(",\"val\":\"101\"}"), "{last:?}");
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    add(&mut js, "c.b", "0", "101");
    let stored = js.request("$JS.API.DIRECT.GET.C.c.b", &[], b"");
    assert_eq!((stored.text(), stored.header("Nats-Incr").as_deref()), ("{\"val\":\"101\"}", Some("0")));
    // What is removed does not count any more.
    js.api("STREAM.PURGE.C", json!({ "filter": "c.b" }));
    add(&mut js, "c.b", "3", "3");
}

#[test]
fn what_is_no_increment_is_refused() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "C", "subjects": ["c.*"], "allow_msg_counter": true }));
    js.create(json!({ "name": "P", "subjects": ["p.*"] }));
    js.refused("c.a", &[], "", 10169, "message counter increment is missing");
    js.refused("c.a", &[("Nats-Incr", "1")], "x", 10170, "message counter has payload");
    for text in ["x", "1.5", "1_0", "0x1"] {
        js.refused("c.a", &[("Nats-Incr", text)], "", 10171, "message counter increment is invalid");
    }
    for (key, value) in [("Nats-Rollup", "sub"), ("Nats-Expected-Last-Sequence", "0"), ("Nats-Expected-Stream", "C")] {
        js.refused("c.a", &[("Nats-Incr", "1"), (key, value)], "", 10171, "message counter increment is invalid");
    }
    js.refused("p.a", &[("Nats-Incr", "1")], "", 10168, "message counters is disabled");
    js.refused("p.a", &[("Nats-Incr", "x")], "", 10171, "message counter increment is invalid");
    assert_eq!(js.state("C")["messages"], json!(0));
    // Messages that were there before do not make a counter.
    js.stored("p.b", &[], "text", 1);
    let update = js.api("STREAM.UPDATE.P", json!({ "name": "P", "subjects": ["p.*"], "allow_msg_counter": true }));
    assert_eq!(crate::error(&update).0, 10052, "{update}");
}

#[test]
fn nobody_waits_for_a_number_that_is_too_long() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "C", "subjects": ["c.*"], "allow_msg_counter": true }));
    js.create(json!({ "name": "P", "subjects": ["p.*"] }));
    // To read it takes seconds.
    let long = "9".repeat(900_000);
    let begun = clock::now();
    js.refused("p.a", &[("Nats-Incr", &long)], "", 10168, "message counters is disabled");
    let refused = js.publish("c.a", &[("Nats-Incr", &long)], "");
    assert_eq!(error(&refused).0, 10097, "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
