//! Streams and consumers, and the health of their logs.

use serde_json::{Value, json};
use sublog_tests::{RawClient, TestServer, http};

use crate::{named, server};

/// A request to the API, and its answer.
fn api(client: &mut RawClient, operation: &str, body: &Value) -> Value {
    let body = body.to_string();
    client.send(format!("PUB $JS.API.{operation} _INBOX.a {}\r\n{body}\r\n", body.len()));
    serde_json::from_str(client.message().text()).unwrap()
}

/// Two streams, five messages, a consumer with one message to be acked.
fn fill(server: &TestServer) -> RawClient {
    let mut client = named(server, "streams");
    client.subscribe("_INBOX.>", "1");
    client.sync();
    api(&mut client, "STREAM.CREATE.ONE", &json!({"name": "ONE", "subjects": ["one.>"], "max_bytes": 1_000_000}));
    api(&mut client, "STREAM.CREATE.TWO", &json!({"name": "TWO", "subjects": ["two"], "storage": "memory"}));
    for n in 0..5 {
        client.send(format!("PUB one.{} _INBOX.p 4\r\ndata\r\n", n % 2));
        client.message();
    }
    let config = json!({"durable_name": "C", "ack_policy": "explicit"});
    api(&mut client, "CONSUMER.DURABLE.CREATE.ONE.C", &json!({"stream_name": "ONE", "config": config}));
    client.send("PUB $JS.API.CONSUMER.MSG.NEXT.ONE.C _INBOX.n 0\r\n\r\n");
    client.message();
    client
}

#[test]
fn streams_are_shown_as_far_as_they_are_asked_for() {
    let server = server(&["--capture", "off"]);
    let mut client = fill(&server);
    api(&mut client, "STREAM.INFO.NONE", &json!({}));
    let page = server.monitor("/jsz");
    let counts = ["streams", "consumers", "messages", "accounts", "total", "reserved_storage"];
    assert_eq!(counts.map(|name| page[name].as_u64().unwrap()), [2, 1, 5, 1, 1, 1_000_000], "{page}");
    assert_eq!((&page["api"]["total"], &page["api"]["errors"]), (&json!(4), &json!(1)), "{page}");
    assert_eq!(page["bytes"], page["storage"], "the stream in memory is empty: {page}");
    assert!(page["account_details"].is_null() && page["streams_leader"].is_null());

    let page = server.monitor("/jsz?streams=1");
    let account = &page["account_details"][0];
    assert_eq!((&account["name"], &account["id"]), (&json!("$G"), &json!("$G")));
    let streams = account["stream_detail"].as_array().unwrap();
    assert_eq!(streams.iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>(), ["ONE", "TWO"]);
    let state = &streams[0]["state"];
    assert_eq!(
        (&state["messages"], &state["num_subjects"], &state["consumer_count"]),
        (&json!(5), &json!(2), &json!(1))
    );
    assert!(streams[0]["config"].is_null() && streams[0]["consumer_detail"].is_null());

    let page = server.monitor("/jsz?consumers=1&config=1&raft=1");
    let stream = &page["account_details"][0]["stream_detail"][0];
    assert_eq!(stream["config"]["max_bytes"], 1_000_000);
    let consumer = &stream["consumer_detail"][0];
    assert_eq!((&consumer["name"], &consumer["config"]["ack_policy"]), (&json!("C"), &json!("explicit")));
    assert_eq!((&consumer["num_ack_pending"], &consumer["num_pending"]), (&json!(1), &json!(4)));
    assert_eq!((&page["streams_leader"], &page["consumers_leader"]), (&json!(2), &json!(1)));
    assert!(
        server.monitor("/jsz?consumers=1")["account_details"][0]["stream_detail"][0]["consumer_detail"][0]["config"]
            .is_null()
    );

    for (asked, shown) in [
        ("accounts=1", true),
        ("acc=$G", true),
        ("acc=other", false),
        ("acc=other&streams=1", false),
        ("accounts=1&offset=1", false),
        ("accounts=1&offset=9223372036854775807&limit=9223372036854775807", false),
        ("accounts=1&offset=-9223372036854775808&limit=9223372036854775807", true),
        ("accounts=1&offset=1&limit=-1", true),
    ] {
        assert_eq!(server.monitor(&format!("/jsz?{asked}"))["account_details"].is_array(), shown, "{asked}");
    }
}

#[test]
fn the_capture_stream_is_one_of_them() {
    let server = server(&[]);
    let mut client = named(&server, "publisher");
    client.publish("captured", "hello");
    client.sync();
    let page = server.monitor("/jsz?streams=1&config=1");
    let stream = &page["account_details"][0]["stream_detail"][0];
    assert_eq!((&stream["name"], &stream["state"]["messages"]), (&json!("CAPTURE"), &json!(1)), "{page}");
    assert_eq!((&page["streams"], &page["messages"]), (&json!(1), &json!(1)));
    let varz = server.monitor("/varz");
    assert_eq!(varz["jetstream"]["stats"]["storage"], page["storage"]);
    assert_eq!(varz["jetstream"]["config"]["sync_always"], true);
}

#[test]
fn health_can_be_asked_of_one_stream_or_consumer() {
    let server = server(&[]);
    let client = fill(&server);
    let ask = |query: &str| {
        let (status, body) = http::get(server.monitor_address(), &format!("/healthz?{query}"));
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let (status, all) = ask("");
    assert_eq!((status, &all["status"], all["streams"].as_array().unwrap().len()), (200, &json!("ok"), 3));
    assert_eq!(all["streams"][1]["damaged_ranges"], 0);
    assert_eq!(ask("js-server-only=1").1, json!({"status": "ok"}));
    assert_eq!(ask("js-enabled-only=1&details=1").1, json!({"status": "ok"}));
    let (status, one) = ask("account=$G&stream=ONE&consumer=C");
    assert_eq!((status, one["streams"].as_array().unwrap().len()), (200, 1));
    for (query, status, kind) in [
        ("stream=ONE", 400, "BAD_REQUEST"),
        ("account=$G&consumer=C", 400, "BAD_REQUEST"),
        ("account=other", 404, "ACCOUNT"),
        ("account=$G&stream=NONE", 404, "STREAM"),
        ("account=$G&stream=ONE&consumer=D", 404, "CONSUMER"),
    ] {
        let (seen, plain) = ask(query);
        let (detailed, details) = ask(&format!("{query}&details=1"));
        assert_eq!((seen, detailed), (status, status), "{query}");
        assert_eq!((&details["status"], &details["errors"][0]["type"]), (&json!("error"), &json!(kind)), "{query}");
        assert_eq!(plain["error"], details["errors"][0]["error"], "{query}");
    }
    drop(client);
}

#[test]
fn queues_are_named_and_empty() {
    let server = server(&[]);
    assert_eq!(server.monitor("/ipqueuesz"), json!({}));
    let all = server.monitor("/ipqueuesz?all=1");
    assert_eq!(all, json!({"JetStream API queue": {"pending": 0}, "JetStream direct gets": {"pending": 0}}));
    assert_eq!(server.monitor("/ipqueuesz?all=1&queues=direct").as_object().unwrap().len(), 1);
}
