//! The capture stream beside declared ones.

use serde_json::{Value, json};

use crate::{Asking, error, server};

#[test]
fn a_declared_stream_takes_its_subjects_away_from_capture() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    let mut publisher = server.client();
    publisher.publish("s.a", "before");
    publisher.sync();
    js.create(json!({ "name": "S", "subjects": ["s.>"] }));
    // The same connection, which knows the subject's way from before.
    publisher.publish("s.a", "declared");
    publisher.publish("t.a", "captured");
    publisher.sync();
    assert_eq!(js.state("S")["messages"], json!(1));
    assert_eq!(js.state("CAPTURE")["subjects"], json!({ "s.a": 1, "t.a": 1 }));
    js.api("STREAM.DELETE.S", Value::Null);
    publisher.publish("s.a", "after");
    publisher.sync();
    assert_eq!(js.state("CAPTURE")["subjects"], json!({ "s.a": 2, "t.a": 1 }));
}

#[test]
fn it_is_shown_and_read_but_not_touched() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.raw.publish("x.y", "hello");
    js.raw.sync();
    assert_eq!(js.api("STREAM.NAMES", Value::Null)["streams"], json!(["CAPTURE"]));
    let info = js.api("STREAM.INFO.CAPTURE", Value::Null);
    assert_eq!((&info["config"]["subjects"], &info["config"]["no_ack"]), (&json!([">"]), &json!(true)));
    assert_eq!(js.request("$JS.API.DIRECT.GET.CAPTURE.x.y", &[], b"").text(), "hello");
    assert_eq!(error(&js.api("STREAM.PURGE.CAPTURE", Value::Null)).0, 10110);
    assert_eq!(error(&js.api("STREAM.MSG.DELETE.CAPTURE", json!({ "seq": 1 }))).0, 10057);
    assert_eq!(error(&js.api("STREAM.DELETE.CAPTURE", Value::Null)).0, 10050);
    assert_eq!(error(&js.api("STREAM.UPDATE.CAPTURE", json!({ "name": "CAPTURE", "subjects": ["x"] }))).0, 10052);
    // A request that only the capture stream takes has no responder.
    assert_eq!(js.request("x.y", &[], b"").status(), Some(503));
    js.create(json!({ "name": "X", "subjects": ["x.>"] }));
    assert_eq!(js.api("STREAM.NAMES", json!({ "subject": "x.y" }))["streams"], json!(["X"]));
}
