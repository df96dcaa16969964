//! Streams of accounts that an operator signed.

use serde_json::{Value, json};
use sublog_tests::{RawClient, TestServer, jwt};

use crate::{BINARY, ask, other_program, user_in};

fn api(client: &mut RawClient, what: &str, body: &Value) -> Value {
    let answer = ask(client, &format!("$JS.API.{what}"), &body.to_string());
    assert_ne!(answer.status(), Some(503), "{what}");
    serde_json::from_slice(&answer.payload).unwrap()
}

fn with_limits(name: &str, limits: Value) -> (&str, String) {
    (name, jwt::account_token(name, json!({"nats": {"limits": limits}})))
}

fn start(accounts: &[(&str, String)]) -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.conf");
    let text = jwt::in_memory(&jwt::operator_token(json!({})), accounts);
    std::fs::write(&path, format!("{text}\njetstream: enabled\n")).unwrap();
    (TestServer::start(BINARY, &["-c", path.to_str().unwrap(), "-m", "-1"]), folder)
}

#[test]
fn streams_are_their_accounts_and_outlive_a_kill() {
    let open = json!({"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let (mut server, _folder) =
        start(&[with_limits("A", open.clone()), with_limits("B", open), with_limits("N", json!({}))]);
    let mut a = user_in(&server, "A", "u", json!({}));
    let mut b = user_in(&server, "B", "u", json!({}));
    for (client, text) in [(&mut a, "of a"), (&mut b, "of b")] {
        let made = api(client, "STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s"]}));
        assert_eq!(made["config"]["name"], "S", "{made}");
        assert!(ask(client, "s", text).text().contains("\"seq\":1"));
        let consumer = json!({"stream_name": "S", "config": {"durable_name": "D", "ack_policy": "explicit"}});
        let made = api(client, "CONSUMER.DURABLE.CREATE.S.D", &consumer);
        assert_eq!(made["name"], "D", "{made}");
    }
    let mut none = user_in(&server, "N", "u", json!({}));
    let answer = ask(&mut none, "$JS.API.INFO", "");
    assert!(answer.status() == Some(503) || answer.text().contains("10039"), "{answer:?}");
    let page = server.monitor(&format!("/accountz?acc={}", jwt::account("A").public_key()));
    assert_eq!(page["account_detail"]["jetstream_enabled"], true);
    server.kill9();
    server.restart();
    // Before anybody is there: consumers and streams are at work from the start.
    let mut a = user_in(&server, "A", "u", json!({}));
    let got = api(&mut a, "STREAM.MSG.GET.S", &json!({"seq": 1}));
    assert_eq!(got["message"]["data"], data_encoding::BASE64.encode(b"of a"), "{got}");
    let found = api(&mut a, "CONSUMER.INFO.S.D", &json!({}));
    assert_eq!(found["num_pending"], 1, "{found}");
    if !other_program() {
        // There: streams are opened as accounts are needed.
        assert!(server.monitor("/jsz")["streams"].as_u64().unwrap() >= 2);
    }
}

#[test]
fn bounds_on_streams() {
    let bounded = json!({
        "disk_storage": 1_000_000, "mem_storage": 0, "streams": 1, "consumer": 1, "disk_max_stream_bytes": 5000,
        "max_bytes_required": true
    });
    let tiers = json!({"tiered_limits": {"R1": {"disk_storage": -1, "streams": 1, "consumer": -1}, "R3": {"disk_storage": -1}}});
    let (server, _folder) = start(&[with_limits("A", bounded), with_limits("T", tiers)]);
    let mut a = user_in(&server, "A", "u", json!({}));
    let create = |client: &mut RawClient, name: &str, more: Value| {
        let mut config = json!({"name": name, "subjects": [name]});
        jwt::merge(&mut config, more);
        let answer = api(client, &format!("STREAM.CREATE.{name}"), &config);
        answer["error"]["err_code"].as_u64().unwrap_or(0)
    };
    assert_eq!(create(&mut a, "X", json!({})), 10113);
    assert_eq!(create(&mut a, "X", json!({"max_bytes": 6000})), 10122);
    assert_eq!(create(&mut a, "X", json!({"max_bytes": 1000, "storage": "memory"})), 10028);
    assert_eq!(create(&mut a, "X", json!({"max_bytes": 1000})), 0);
    assert_eq!(create(&mut a, "Y", json!({"max_bytes": 1000})), 10027);
    let mut t = user_in(&server, "T", "u", json!({}));
    assert_eq!(create(&mut t, "X", json!({})), 0);
    assert_eq!(create(&mut t, "Y", json!({})), 10027);
}

/// Whoever may have no streams for a while finds them as they were.
#[test]
fn streams_that_are_taken_away_and_given_back() {
    let text = |limits: Value| {
        let (name, token) = with_limits("A", limits);
        let operator = jwt::operator_token(json!({"iat": 5}));
        let sys = jwt::account_token("SYS", json!({"iat": 5}));
        format!("{}\njetstream: enabled\n", jwt::in_memory(&operator, &[("SYS", sys), (name, token)]))
    };
    let open = json!({"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let mut configured = crate::start(&text(open.clone()));
    let mut client = user_in(&configured.server, "A", "u", json!({}));
    for (name, storage) in [("F", "file"), ("M", "memory")] {
        let made = api(
            &mut client,
            &format!("STREAM.CREATE.{name}"),
            &json!({"name": name, "subjects": [name], "storage": storage}),
        );
        assert_eq!(made["config"]["name"], name, "{made}");
        assert!(ask(&mut client, name, "first").text().contains("\"seq\":1"));
    }
    configured.reload(&text(json!({})));
    let closed = ask(&mut client, "$JS.API.STREAM.INFO.F", "");
    assert!(closed.status() == Some(503) || closed.text().contains("10039"), "{closed:?}");
    configured.reload(&text(open));
    // There: what was in memory is gone.
    for name in if other_program() { &["F"][..] } else { &["F", "M"] } {
        crate::until("the streams", || {
            ask(&mut client, &format!("$JS.API.STREAM.INFO.{name}"), "").status() != Some(503)
        });
        let found = api(&mut client, &format!("STREAM.INFO.{name}"), &json!({}));
        assert_eq!(found["state"]["messages"], 1, "{name}: {found}");
        assert!(ask(&mut client, name, "second").text().contains("\"seq\":2"), "{name}");
    }
}
