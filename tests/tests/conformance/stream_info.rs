//! Every field of what is told about a stream.

use serde_json::{Value, json};

use crate::Shown::{Differs, There};
use crate::asking::Asking;

/// What is told about this row's stream.
fn info(c: &mut Asking) -> Value {
    let name = c.name.clone();
    c.api(&format!("STREAM.INFO.{name}"), json!({ "deleted_details": true, "subjects_filter": ">" }))
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("20") && text.ends_with('Z'))
}

pub(crate) const ROWS: &[crate::Row] = &[
    ("config", |c| {
        c.stream(json!({ "description": "d" }), 0);
        assert_eq!(info(c)["config"]["description"], json!("d"));
        There
    }),
    ("created", |c| {
        let made = c.stream(json!({}), 0)["created"].take();
        assert!(is_time(&made));
        assert_eq!(info(c)["created"], made);
        There
    }),
    ("state.messages", |c| {
        c.stream(json!({}), 3);
        assert_eq!(c.state()["messages"], json!(3));
        There
    }),
    ("state.bytes", |c| {
        c.stream(json!({}), 1);
        let one = c.state()["bytes"].as_u64().unwrap();
        c.publish("1", &[], "message 1");
        assert!(one > 0 && c.state()["bytes"].as_u64().unwrap() == 2 * one);
        There
    }),
    ("state.first_seq", |c| {
        c.stream(json!({ "max_msgs": 1 }), 3);
        assert_eq!(c.state()["first_seq"], json!(3));
        There
    }),
    ("state.first_ts", |c| {
        c.stream(json!({}), 2);
        let state = c.state();
        assert!(is_time(&state["first_ts"]) && state["first_ts"].as_str() <= state["last_ts"].as_str(), "{state}");
        There
    }),
    ("state.last_seq", |c| {
        c.stream(json!({}), 3);
        assert_eq!(c.state()["last_seq"], json!(3));
        There
    }),
    ("state.last_ts", |c| {
        c.stream(json!({}), 1);
        let before = c.state()["last_ts"].take();
        c.publish("1", &[], "x");
        let after = c.state()["last_ts"].take();
        assert!(is_time(&after) && before.as_str() < after.as_str(), "{before} {after}");
        There
    }),
    ("state.num_subjects", |c| {
        c.stream(json!({}), 2);
        c.publish("1", &[], "x");
        assert_eq!(c.state()["num_subjects"], json!(2));
        There
    }),
    ("state.subjects", |c| {
        c.stream(json!({}), 2);
        c.publish("1", &[], "x");
        let (one, two) = (format!("{}.1", c.subject), format!("{}.2", c.subject));
        assert_eq!(c.state()["subjects"], json!({ one: 2, two: 1 }));
        There
    }),
    ("state.num_deleted", |c| {
        c.stream(json!({}), 3);
        c.api(&format!("STREAM.MSG.DELETE.{}", c.name), json!({ "seq": 2 }));
        assert_eq!(c.state()["num_deleted"], json!(1));
        There
    }),
    ("state.deleted", |c| {
        c.stream(json!({}), 3);
        c.api(&format!("STREAM.MSG.DELETE.{}", c.name), json!({ "seq": 2 }));
        assert_eq!(c.state()["deleted"], json!([2]));
        There
    }),
    ("state.lost", |c| {
        c.stream(json!({}), 1);
        assert!(c.state()["lost"].is_null(), "a sound stream has lost something");
        Differs("shown once something is damaged; the rows of `tests/tests/damage` look at that through `/healthz`")
    }),
    ("state.consumer_count", |c| {
        c.stream(json!({}), 0);
        c.consumer(json!({}));
        assert_eq!(c.state()["consumer_count"], json!(1));
        There
    }),
    ("domain", |c| {
        c.stream(json!({}), 0);
        assert!(info(c)["domain"].is_null());
        Differs("absent: no configuration names a domain")
    }),
    ("cluster", |c| {
        c.stream(json!({}), 0);
        if info(c)["cluster"].is_null() { Differs("absent: there is no cluster") } else { There }
    }),
    ("alternates", |c| {
        c.stream(json!({}), 0);
        if info(c)["alternates"].is_null() { Differs("absent: mirrors are not named to their stream") } else { There }
    }),
    ("ts", |c| {
        c.stream(json!({}), 0);
        let first = info(c)["ts"].take();
        let second = info(c)["ts"].take();
        assert!(is_time(&first) && first.as_str() < second.as_str(), "{first} {second}");
        There
    }),
    ("did_create", |c| {
        assert_eq!(c.stream(json!({}), 0)["did_create"], json!(true));
        assert!(info(c)["did_create"].is_null());
        There
    }),
    ("total, offset, limit of subjects", |c| {
        c.stream(json!({}), 3);
        let name = c.name.clone();
        let told = c.api(&format!("STREAM.INFO.{name}"), json!({ "subjects_filter": ">", "offset": 2 }));
        assert_eq!((&told["total"], &told["offset"]), (&json!(3), &json!(2)));
        assert_eq!(told["state"]["subjects"].as_object().unwrap().len(), 1, "{told}");
        There
    }),
];
