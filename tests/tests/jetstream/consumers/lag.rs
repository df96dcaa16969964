//! How far consumers are behind, and why.

use std::time::Duration;

use serde_json::{Value, json};
use sublog_tests::clock;

use super::INBOX;
use crate::{Asking, server};

/// What Sublog tells of a consumer beyond NATS.
fn standing(js: &mut Asking, consumer: &str) -> (u64, f64, Value) {
    // Clients that refuse what they do not know are not told.
    assert_eq!(js.consumer_info(consumer)["sublog"], Value::Null);
    assert_eq!(js.api("CONSUMER.LIST.S", Value::Null)["consumers"][0]["sublog"], Value::Null);
    let asks = [("Sublog-Info", "1")];
    let answer = js.request(&format!("$JS.API.CONSUMER.INFO.S.{consumer}"), &asks, b"");
    let info: Value = serde_json::from_str(answer.text()).unwrap();
    let answer = js.request("$JS.API.CONSUMER.LIST.S", &asks, b"");
    let listed: Value = serde_json::from_str(answer.text()).unwrap();
    let named = |one: &&Value| one["name"] == json!(consumer);
    let same = listed["consumers"].as_array().unwrap().iter().find(named).unwrap();
    assert_eq!(same["sublog"]["lag_messages"], info["sublog"]["lag_messages"]);
    let told = &info["sublog"];
    (told["lag_messages"].as_u64().unwrap(), told["lag_seconds"].as_f64().unwrap(), told["stalled"].clone())
}

#[test]
fn the_lag_is_what_is_not_settled_and_the_age_of_its_oldest() {
    let server = server(&["-m", "-1"]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({}), 6);
    js.consumer("C", json!({ "filter_subject": "s.1" }));
    js.consumer("DONE", json!({ "deliver_policy": "new" }));
    let stored = |js: &mut Asking, seq: u64| {
        let message = js.api("STREAM.MSG.GET.S", json!({ "seq": seq }))["message"].take();
        message["time"].as_str().unwrap().to_owned()
    };
    // 2 and 5 are on `s.1`. The age is that of the oldest one, which only grows.
    let (messages, before, _) = standing(&mut js, "C");
    std::thread::sleep(Duration::from_millis(50));
    let (_, after, stalled) = standing(&mut js, "C");
    assert_eq!((messages, stalled), (2, json!("no_requests")));
    assert!(after >= before + 0.05 && after < before + 20.0, "{before} {after} {}", stored(&mut js, 2));
    let got = js.there("C", 1);
    assert_eq!(standing(&mut js, "C").0, 2, "what is out is not settled");
    js.ack(&got[0], "");
    let (messages, younger, _) = standing(&mut js, "C");
    assert_eq!(messages, 1);
    assert!(younger <= standing(&mut js, "C").1);
    let (messages, seconds, stalled) = standing(&mut js, "DONE");
    assert_eq!((messages, stalled), (0, Value::Null));
    assert!(seconds.abs() < f64::EPSILON);
    // The same for people who look at all of it.
    for shown in [server.monitor("/streamz"), js.state_of_all()] {
        let streams = shown["streams"].as_array().unwrap();
        let stream = streams.iter().find(|stream| stream["name"] == json!("S")).unwrap();
        assert_eq!(stream["consumer_count"], json!(2));
        let names: Vec<_> = stream["consumers"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
        assert_eq!(names, [json!("C"), json!("DONE")]);
        assert_eq!(stream["consumers"][0]["lag_messages"], json!(1), "{stream}");
        assert_eq!(stream["consumers"][0]["stalled"], json!("no_requests"));
    }
}

#[test]
fn a_consumer_that_is_held_up_says_why() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    js.stream_of(json!({}), 3);
    let why = |js: &mut Asking, name: &str| standing(js, name).2;

    js.consumer("FULL", json!({ "max_ack_pending": 1 }));
    assert_eq!(js.there("FULL", 1).len(), 1);
    js.pull("FULL", json!({ "batch": 1, "expires": 60_000_000_000_u64 }));
    // The request is there from the consumer's next turn on.
    clock::until("why it is sent nothing", || (why(&mut js, "FULL") == json!("max_ack_pending")).then_some(()));

    js.consumer("PAUSED", json!({ "pause_until": "2099-01-01T00:00:00Z" }));
    assert_eq!(why(&mut js, "PAUSED"), json!("paused"));

    js.consumer("PUSH", json!({ "deliver_subject": "nobody.listens" }));
    assert_eq!(why(&mut js, "PUSH"), json!("no_interest"));
    js.raw.subscribe("nobody.listens", "3");
    let got = js.raw.messages(3);
    assert_eq!(why(&mut js, "PUSH"), Value::Null, "all of it is out: {got:?}");
}

impl Asking {
    /// What `$SUBLOG.STATE` says.
    fn state_of_all(&mut self) -> Value {
        serde_json::from_str(self.request("$SUBLOG.STATE", &[], b"").text()).unwrap()
    }
}

#[test]
fn a_consumer_starts_over_at_a_time_and_that_outlives_a_kill() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        js.raw.subscribe(INBOX, "2");
        js.stream_of(json!({}), 2);
        std::thread::sleep(Duration::from_millis(20));
        js.publish("s.0", &[], "message 3");
        js.publish("s.0", &[], "message 4");
        js.consumer("C", json!({}));
        for message in js.there("C", 4) {
            js.ack(&message, "");
        }
        let third = js.api("STREAM.MSG.GET.S", json!({ "seq": 3 }))["message"]["time"].take();
        let both = js.api("CONSUMER.RESET.S.C", json!({ "time": third, "seq": 1 }));
        assert_eq!(crate::error(&both), (10204, "invalid reset: sequence and time".to_owned()));
        let future = js.api("CONSUMER.RESET.S.C", json!({ "time": "2099-01-01T00:00:00Z" }));
        assert_eq!((&future["reset_seq"], &future["num_pending"]), (&json!(5), &json!(0)), "{future}");
        let reset = js.api("CONSUMER.RESET.S.C", json!({ "time": third }));
        assert_eq!((&reset["reset_seq"], &reset["num_pending"]), (&json!(3), &json!(2)), "{reset}");
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    js.raw.subscribe(INBOX, "2");
    assert_eq!(super::seqs(&js.there("C", 5)), [3, 4]);
}
