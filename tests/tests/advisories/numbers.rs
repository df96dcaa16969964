//! Numbers at their ends: rows 1, 6 and 29.

use serde_json::{Value, json};
use sublog_tests::{Seen, http};

use crate::{request, start_with};

/// 1: sizes that do not fit, that are negative, that contradict each other.
#[test]
fn sizes_of_messages_at_the_ends_of_numbers() {
    let configured = start_with("", &["--capture", "off"]);
    let mut bystander = configured.server.client();
    let sizes = [
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "-1",
        "-9223372036854775808",
        "+1",
        "1.0",
        "1e3",
        "0x10",
        "",
        "a",
    ];
    for size in sizes {
        for line in [
            format!("PUB a {size}"),
            format!("PUB a b {size}"),
            format!("HPUB a 12 {size}"),
            format!("HPUB a {size} 20"),
            format!("HPUB a {size} {size}"),
        ] {
            let mut client = configured.server.client();
            client.send(format!("{line}\r\n"));
            // It is told or not, but it is gone.
            loop {
                match client.receive(sublog_tests::clock::PATIENCE).unwrap() {
                    Some(Seen::Err(_)) => {}
                    Some(Seen::Closed) => break,
                    other => panic!("{line:?}: {other:?}"),
                }
            }
        }
    }
    // Headers that are longer than the message.
    for line in ["HPUB a 13 12", "HPUB a 1 0"] {
        let mut client = configured.server.client();
        client.send(format!("{line}\r\n"));
        while client.next() != Seen::Closed {}
    }
    bystander.send("SUB a 1\r\nPUB a 0005\r\nhello\r\n");
    assert_eq!(bystander.message().text(), "hello");
}

/// 6: pages of the monitoring endpoints.
#[test]
fn pages_of_monitoring_at_the_ends_of_numbers() {
    let configured = start_with("http: '127.0.0.1:-1'", &[]);
    let mut client = configured.server.client();
    client.subscribe("a", "1");
    client.sync();
    let ends =
        ["9223372036854775807", "-9223372036854775808", "9223372036854775806", "-1", "0", "1", "9223372036854775808"];
    let address = configured.server.monitor_address();
    for page in [
        "connz",
        "connz?state=closed",
        "connz?subs=1",
        "subsz?subs=1",
        "jsz?accounts=1&streams=1",
        "accountz",
        "routez",
    ] {
        for offset in ends {
            for limit in ends {
                let join = if page.contains('?') { '&' } else { '?' };
                let (status, body) = http::get(address, &format!("/{page}{join}offset={offset}&limit={limit}"));
                assert!(matches!(status, 200 | 400), "{page} {offset} {limit}: {status} {body}");
            }
        }
    }
    client.sync();
}

fn api(client: &mut sublog_tests::RawClient, operation: &str, body: &Value) -> Value {
    let answer = request(client, "_INBOX.n", &format!("$JS.API.{operation}"), body.to_string().as_bytes());
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Numbers at their ends, and values of other kinds in their place.
fn values() -> Vec<Value> {
    vec![
        json!(-1),
        json!(0),
        json!(1),
        json!(i32::MAX),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e30),
        json!(null),
        json!([]),
        json!({}),
        json!("x"),
        json!([null]),
    ]
}

/// 29: every number of a stream's configuration.
#[test]
fn configurations_at_the_ends_of_numbers() {
    let configured = start_with("", &["--sync", "os"]);
    let mut client = configured.server.client();
    let values = values();
    let stream = [
        "max_consumers",
        "max_msgs",
        "max_bytes",
        "max_age",
        "max_msgs_per_subject",
        "max_msg_size",
        "num_replicas",
        "duplicate_window",
        "first_seq",
        "subject_delete_marker_ttl",
        "consumer_limits",
        "placement",
        "mirror",
        "sources",
        "republish",
        "subject_transform",
        "metadata",
        "subjects",
    ];
    let mut made = 0;
    for field in stream {
        for value in &values {
            let mut config = json!({ "name": "N", "subjects": ["n.>"] });
            config[field] = value.clone();
            let answer = api(&mut client, "STREAM.CREATE.N", &config);
            assert!(answer["error"].is_object() || answer["config"].is_object(), "{field} {value}: {answer}");
            if answer["config"].is_object() {
                made += 1;
                api(&mut client, "STREAM.UPDATE.N", &config);
                client.publish("n.1", "x");
                client.sync();
                api(&mut client, "STREAM.INFO.N", &json!({ "subjects_filter": ">", "offset": i64::MAX }));
                api(&mut client, "STREAM.PURGE.N", &json!({ "keep": u64::MAX }));
                api(&mut client, "STREAM.DELETE.N", &json!({}));
            }
        }
    }
    assert!(made > 40, "{made}");
}

/// 29: the same of consumers, and of requests for messages.
#[test]
fn consumers_at_the_ends_of_numbers() {
    let configured = start_with("", &["--sync", "os"]);
    let mut client = configured.server.client();
    let values = values();
    api(&mut client, "STREAM.CREATE.N", &json!({ "name": "N", "subjects": ["n.>"], "max_msgs": 100 }));
    let consumer = [
        "ack_wait",
        "max_deliver",
        "opt_start_seq",
        "max_ack_pending",
        "max_waiting",
        "idle_heartbeat",
        "rate_limit_bps",
        "max_batch",
        "max_expires",
        "max_bytes",
        "inactive_threshold",
        "num_replicas",
        "priority_timeout",
        "backoff",
        "filter_subjects",
        "priority_groups",
        "metadata",
        "opt_start_time",
        "pause_until",
    ];
    for field in consumer {
        for value in &values {
            let mut config = json!({ "name": "C", "ack_policy": "explicit" });
            if field == "opt_start_seq" {
                config["deliver_policy"] = json!("by_start_sequence");
            }
            config[field] = value.clone();
            let answer = api(&mut client, "CONSUMER.CREATE.N.C", &json!({ "stream_name": "N", "config": config }));
            assert!(answer["error"].is_object() || answer["config"].is_object(), "{field} {value}: {answer}");
            client.publish("n.1", "x");
            request(&mut client, "_INBOX.n", "$JS.API.CONSUMER.MSG.NEXT.N.C", br#"{"batch":1,"no_wait":true}"#);
            api(&mut client, "CONSUMER.DELETE.N.C", &json!({}));
        }
    }
    for body in [
        r#"{"batch":-1}"#,
        r#"{"batch":9223372036854775807,"no_wait":true}"#,
        r#"{"batch":1,"expires":-1}"#,
        r#"{"max_bytes":-9223372036854775808,"batch":1,"no_wait":true}"#,
        r#"{"batch":1e40}"#,
        "[[[",
    ] {
        api(
            &mut client,
            "CONSUMER.CREATE.N.C",
            &json!({ "stream_name": "N", "config": { "name": "C", "ack_policy": "explicit", "deliver_policy": "new" } }),
        );
        client.send(format!("PUB $JS.API.CONSUMER.MSG.NEXT.N.C _INBOX.pull {}\r\n{body}\r\n", body.len()));
        client.sync();
    }
}

/// Any words behind the name of a page: each is answered, and the next one as well.
#[test]
fn pages_of_monitoring_with_any_words() {
    use std::io::{Read as _, Write as _};
    let configured = start_with("http: '127.0.0.1:-1'", &[]);
    let address = configured.server.monitor_address();
    let mut random = sublog_tests::Random::new(20_261_130);
    let words: &[&[u8]] = &[
        b"offset=",
        b"limit=",
        b"subs=",
        b"acc=",
        b"cid=",
        b"state=",
        b"sort=",
        b"auth=",
        b"user=",
        b"mqtt_client=",
        b"filter_subject=",
        b"test=",
        b"&",
        b"=",
        b"%",
        b"%zz",
        b"%00",
        b"%ff",
        b"%2e%2e",
        b"+",
        b"1",
        b"-1",
        b"true",
        b"detail",
        b"99999999999999999999",
        b"$G",
        b"a.>",
        b"\xc3\xa4",
        b"\xff",
        b"\"",
        b"<script>",
        b"//",
        b"..",
        b"?",
    ];
    let pages = [
        "varz",
        "connz",
        "subsz",
        "jsz",
        "accountz",
        "accstatz",
        "healthz",
        "streamz",
        "ipqueuesz",
        "raftz",
        "",
        "../x",
        "connz/connz",
    ];
    for _ in 0..1000 {
        let mut pick = |len: usize| usize::try_from(random.below(len as u64)).unwrap();
        let mut request = format!("GET /{}?", pages[pick(pages.len())]).into_bytes();
        for _ in 0..pick(12) {
            request.extend_from_slice(words[pick(words.len())]);
        }
        request.extend_from_slice(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(sublog_tests::clock::PATIENCE)).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        let known =
            ["200", "301", "307", "400", "404"].iter().any(|status| line.starts_with(&format!("HTTP/1.1 {status}")));
        assert!(known, "{:?}: {line}", request.escape_ascii().to_string());
    }
    assert_eq!(http::get(address, "/healthz").0, 200);
}
