//! Streams of one account are not those of another.

use serde_json::{Value, json};
use sublog_tests::RawClient;

use crate::{ask, is_nobody, start};

const TWO: &str = r#"
jetstream: enabled
accounts {
  A { users: [ { user: a, password: a } ], jetstream: enabled, exports: [ { service: "$JS.API.>", response_type: stream } ] }
  B { users: [ { user: b, password: b } ], jetstream { max_streams: 2 } }
  C { users: [ { user: c, password: c } ] }
  D { users: [ { user: d, password: d } ], imports: [ { service: { account: A, subject: "$JS.API.>" } } ] }
}
"#;

fn api(client: &mut RawClient, operation: &str, body: &Value) -> Value {
    let answer = ask(client, &format!("$JS.API.{operation}"), &body.to_string());
    assert!(!is_nobody(&answer), "{operation}");
    serde_json::from_slice(&answer.payload).unwrap()
}

#[test]
fn streams_of_equal_names_hold_what_their_accounts_hold() {
    let mut configured = start(TWO);
    let (mut a, mut b) = (configured.user("a"), configured.user("b"));
    for (client, text) in [(&mut a, "of a"), (&mut b, "of b")] {
        let made = api(client, "STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s.>"]}));
        assert!(made.get("error").is_none(), "{made}");
        let made = api(
            client,
            "CONSUMER.CREATE.S.C",
            &json!({"stream_name": "S", "config": {"name": "C", "durable_name": "C", "ack_policy": "explicit"}}),
        );
        assert!(made.get("error").is_none(), "{made}");
        let ack: Value = serde_json::from_slice(&ask(client, "s.x", text).payload).unwrap();
        assert_eq!(ack["seq"], 1, "{ack}");
    }
    assert_eq!(api(&mut a, "STREAM.INFO.S", &json!({}))["state"]["messages"], 1);
    assert_eq!(ask(&mut a, "$JS.API.CONSUMER.MSG.NEXT.S.C", "").text(), "of a");
    // After a crash each is where it was.
    configured.server.kill9();
    configured.server.restart();
    let (mut a, mut b) = (configured.user("a"), configured.user("b"));
    assert_eq!(ask(&mut b, "$JS.API.CONSUMER.MSG.NEXT.S.C", "").text(), "of b");
    assert_eq!(api(&mut a, "CONSUMER.INFO.S.C", &json!({}))["name"], "C");
    assert_eq!(api(&mut b, "STREAM.DELETE.S", &json!({}))["success"], true);
    assert_eq!(api(&mut a, "STREAM.INFO.S", &json!({}))["state"]["messages"], 1);
    assert_eq!(api(&mut a, "STREAM.NAMES", &json!({}))["streams"], json!(["S"]));
    assert_eq!(api(&mut b, "STREAM.INFO.S", &json!({}))["error"]["err_code"], 10059);
}

#[test]
fn an_account_without_streams_says_so() {
    let configured = start(TWO);
    let mut c = configured.user("c");
    for operation in [
        "INFO",
        "STREAM.NAMES",
        "STREAM.LIST",
        "STREAM.INFO.S",
        "STREAM.CREATE.S",
        "STREAM.PURGE.S",
        "STREAM.MSG.GET.S",
        "CONSUMER.NAMES.S",
        "CONSUMER.LIST.S",
    ] {
        let body = if operation.contains("CREATE") { json!({"name": "S"}) } else { json!({}) };
        assert_eq!(api(&mut c, operation, &body)["error"]["err_code"], 10039, "{operation}");
    }
    for operation in ["DIRECT.GET.S", "CONSUMER.MSG.NEXT.S.C"] {
        assert!(is_nobody(&ask(&mut c, &format!("$JS.API.{operation}"), "")), "{operation}");
    }
    let mut b = configured.user("b");
    for n in 0..2 {
        let made = api(&mut b, &format!("STREAM.CREATE.S{n}"), &json!({"name": format!("S{n}")}));
        assert!(made.get("error").is_none(), "{made}");
    }
    assert_eq!(api(&mut b, "STREAM.CREATE.S3", &json!({"name": "S3"}))["error"]["err_code"], 10027);
}

#[test]
fn the_api_can_be_imported() {
    let configured = start(TWO);
    let (mut a, mut d) = (configured.user("a"), configured.user("d"));
    let made = api(&mut d, "STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s.>"]}));
    assert!(made.get("error").is_none(), "{made}");
    let ack: Value = serde_json::from_slice(&ask(&mut a, "s.x", "1").payload).unwrap();
    assert_eq!(ack["stream"], "S");
    assert_eq!(api(&mut d, "STREAM.INFO.S", &json!({}))["state"]["messages"], 1);
    // What is published in the one that imports is not stored there.
    assert!(is_nobody(&ask(&mut d, "s.x", "2")));
    let made = api(
        &mut d,
        "CONSUMER.CREATE.S.C",
        &json!({"stream_name": "S", "config": {"name": "C", "durable_name": "C", "ack_policy": "none"}}),
    );
    assert!(made.get("error").is_none(), "{made}");
    assert_eq!(ask(&mut d, "$JS.API.CONSUMER.MSG.NEXT.S.C", "").text(), "1");
}

/// Sublog's own: what an account had is kept while no configuration speaks of it.
#[test]
fn streams_wait_for_their_account() {
    if std::env::var_os("SUBLOG_BINARY").is_some() {
        return;
    }
    let mut configured = start(TWO);
    let mut a = configured.user("a");
    let made = api(&mut a, "STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s.>"]}));
    assert!(made.get("error").is_none(), "{made}");
    assert_eq!(serde_json::from_slice::<Value>(&ask(&mut a, "s.x", "1").payload).unwrap()["seq"], 1);
    configured.server.stop();
    std::fs::write(&configured.path, "accounts { OTHER { users: [ { user: a, password: a } ], jetstream: enabled } }")
        .unwrap();
    configured.server.restart();
    let said = configured.server.log_has("are not served").unwrap();
    assert!(said.contains("accounts/a-"), "{said}");
    let mut other = configured.user("a");
    assert_eq!(api(&mut other, "STREAM.INFO.S", &json!({}))["error"]["err_code"], 10059);
    configured.server.stop();
    std::fs::write(&configured.path, TWO).unwrap();
    configured.server.restart();
    assert!(configured.server.log_has("are not served").is_none());
    let mut a = configured.user("a");
    assert_eq!(api(&mut a, "STREAM.INFO.S", &json!({}))["state"]["messages"], 1);
}
