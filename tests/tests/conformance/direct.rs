//! Every field of a direct get, and every header of its answers.

use serde_json::{Value, json};
use sublog_tests::Message;

use crate::Shown::There;
use crate::asking::Asking;

/// A stream with three messages on subjects `.1`, `.2`, `.3`, and what a request of it gets.
fn get(c: &mut Asking, body: Value) -> Message {
    c.stream(json!({ "allow_direct": true }), 3);
    ask(c, &body)
}

fn ask(c: &mut Asking, body: &Value) -> Message {
    c.request(&format!("$JS.API.DIRECT.GET.{}", c.name), &[], body.to_string().as_bytes())
}

/// The messages of a batch and what ends it.
fn batch(c: &mut Asking, body: &Value) -> (Vec<Message>, Message) {
    c.send(&format!("$JS.API.DIRECT.GET.{}", c.name), Some(&c.inbox.clone()), &[], body.to_string().as_bytes());
    let mut all = Vec::new();
    loop {
        let message = c.next();
        if message.status().is_some() {
            return (all, message);
        }
        all.push(message);
    }
}

fn three(c: &mut Asking, body: &Value) -> (Vec<Message>, Message) {
    c.stream(json!({ "allow_direct": true }), 3);
    batch(c, body)
}

fn header(message: &Message, key: &str) -> String {
    message.header(key).unwrap_or_else(|| panic!("no {key}: {message:?}"))
}

pub(crate) const ROWS: &[crate::Row] = &[
    ("seq", |c| {
        assert_eq!(get(c, json!({ "seq": 2 })).text(), "message 2");
        There
    }),
    ("last_by_subj", |c| {
        let subject = format!("{}.1", c.subject);
        assert_eq!(get(c, json!({ "last_by_subj": subject })).text(), "message 1");
        There
    }),
    ("next_by_subj", |c| {
        let subject = format!("{}.3", c.subject);
        assert_eq!(get(c, json!({ "next_by_subj": subject, "seq": 1 })).text(), "message 3");
        There
    }),
    ("start_time", |c| {
        let first = get(c, json!({ "seq": 1 }));
        let time = header(&first, "Nats-Time-Stamp");
        assert_eq!(ask(c, &json!({ "start_time": time })).text(), "message 1");
        There
    }),
    ("batch", |c| {
        let (got, _) = three(c, &json!({ "seq": 1, "batch": 2 }));
        assert_eq!(got.iter().map(Message::sequence).collect::<Vec<_>>(), [1, 2]);
        There
    }),
    ("max_bytes", |c| {
        let (got, _) = three(c, &json!({ "seq": 1, "batch": 3, "max_bytes": 1 }));
        assert_eq!(got.len(), 1);
        There
    }),
    ("multi_last", |c| {
        let wild = format!("{}.*", c.subject);
        assert_eq!(three(c, &json!({ "multi_last": [wild] })).0.len(), 3);
        There
    }),
    ("up_to_seq", |c| {
        let wild = format!("{}.*", c.subject);
        assert_eq!(three(c, &json!({ "multi_last": [wild], "up_to_seq": 2 })).0.len(), 2);
        There
    }),
    ("up_to_time", |c| {
        let second = get(c, json!({ "seq": 2 }));
        let body =
            json!({ "multi_last": [format!("{}.*", c.subject)], "up_to_time": header(&second, "Nats-Time-Stamp") });
        let (got, _) = batch(c, &body);
        assert!(got.len() < 3, "{got:?}");
        There
    }),
    ("no_hdr", |c| {
        c.stream(json!({ "allow_direct": true }), 0);
        c.publish("1", &[("Tenant", "cms")], "x");
        let got = ask(c, &json!({ "seq": 1, "no_hdr": true }));
        assert_eq!(got.header("Tenant"), None);
        There
    }),
    ("Nats-Stream", |c| {
        assert_eq!(header(&get(c, json!({ "seq": 1 })), "Nats-Stream"), c.name);
        There
    }),
    ("Nats-Subject", |c| {
        assert_eq!(header(&get(c, json!({ "seq": 1 })), "Nats-Subject"), format!("{}.1", c.subject));
        There
    }),
    ("Nats-Sequence", |c| {
        assert_eq!(header(&get(c, json!({ "seq": 3 })), "Nats-Sequence"), "3");
        There
    }),
    ("Nats-Time-Stamp", |c| {
        let time = header(&get(c, json!({ "seq": 1 })), "Nats-Time-Stamp");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        There
    }),
    ("Nats-Num-Pending", |c| {
        let (got, end) = three(c, &json!({ "seq": 1, "batch": 2 }));
        assert_eq!(
            (header(&got[0], "Nats-Num-Pending").as_str(), header(&end, "Nats-Num-Pending").as_str()),
            ("2", "1")
        );
        There
    }),
    ("Nats-Last-Sequence", |c| {
        let (got, end) = three(c, &json!({ "seq": 1, "batch": 2 }));
        assert_eq!(
            (header(&got[1], "Nats-Last-Sequence").as_str(), header(&end, "Nats-Last-Sequence").as_str()),
            ("1", "2")
        );
        There
    }),
    ("Nats-UpTo-Sequence", |c| {
        let wild = format!("{}.*", c.subject);
        let (_, end) = three(c, &json!({ "multi_last": [wild], "up_to_seq": 2 }));
        assert_eq!(header(&end, "Nats-UpTo-Sequence"), "2");
        There
    }),
];
