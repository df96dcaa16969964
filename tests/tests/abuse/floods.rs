//! Clients that are somebody, and ask for very much.

use std::time::Duration;

use serde_json::json;
use sublog_tests::{Seen, clock};

use crate::{Bystander, MIB, server};

const QUIET: &str = r#"{"verbose":false,"headers":true,"no_responders":true}"#;

/// A million subscriptions of one client: memory for each is bounded, others are served, and all of it comes back.
#[test]
fn a_million_subscriptions() {
    const COUNT: u64 = 1_000_000;
    let server = server(&["--capture", "off", "-js=false", "-m", "-1"]);
    let mut bystander = Bystander::new(&server, QUIET);
    let before = server.resident_bytes();
    let mut client = server.client();
    for block in 0..COUNT / 10_000 {
        let lines: String = (0..10_000).map(|n| format!("SUB many.{block}.{n} {block}-{n}\r\n")).collect();
        client.send(lines);
        if block % 10 == 0 {
            client.sync();
            bystander.is_served();
        }
    }
    client.sync();
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{} bytes a subscription", grown / COUNT);
    assert!(grown < COUNT * 1024, "{grown} bytes for {COUNT} subscriptions");
    client.publish("many.7.77", "x");
    assert_eq!(client.message().sid, "7-77");
    drop(client);
    // Ending them takes as long as making them did; nobody waits for it.
    let begun = clock::now();
    while server.monitor("/varz")["subscriptions"] != 1 {
        bystander.is_served();
        assert!(begun.elapsed() < Duration::from_secs(120), "{}", server.monitor("/varz")["subscriptions"]);
    }
    println!(
        "all of them ended after {:?}, {} bytes more than before",
        begun.elapsed(),
        server.resident_bytes().saturating_sub(before)
    );
    // What they took serves others: as many again do not double it.
    let mut client = server.client();
    for block in 0..COUNT / 10_000 {
        client.send((0..10_000).map(|n| format!("SUB again.{block}.{n} {block}-{n}\r\n")).collect::<String>());
    }
    client.sync();
    let again = server.resident_bytes().saturating_sub(before);
    assert!(again < grown / 4 * 7, "{grown}, then {again}");
}

/// `max_subscriptions` is what keeps a client from that.
#[test]
fn no_more_subscriptions_than_are_allowed() {
    let server = server(&["--max_subscriptions", "1000", "--capture", "off"]);
    let mut client = server.client();
    let before = server.resident_bytes();
    for block in 0..20 {
        client.send((0..5000).map(|n| format!("SUB many.{block}.{n} {block}-{n}\r\n")).collect::<String>());
        let (_, errors) = client.flush_with_errors();
        let expected = if block == 0 { 4000 } else { 5000 };
        assert_eq!(errors.len(), expected);
        assert!(errors.iter().all(|error| error == "maximum subscriptions exceeded"));
    }
    assert!(server.resident_bytes().saturating_sub(before) < 16 * MIB);
}

/// Documents of the API that are deep, wide or long.
#[test]
fn documents_of_the_api_without_measure() {
    let server = server(&["--sync", "os"]);
    let mut bystander = Bystander::new(&server, QUIET);
    let before = server.resident_bytes();
    let mut client = server.client();
    client.subscribe("_INBOX.a", "1");
    let half = 500_000;
    let bombs = [
        "[".repeat(1_000_000),
        format!("{{\"name\":{}{}}}", "[".repeat(half), "]".repeat(half)),
        format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(150_000), "}".repeat(150_000)),
        format!("{{\"name\":\"A\",\"subjects\":[{}\"a\"]}}", "\"a\",".repeat(200_000)),
        format!("{{\"name\":\"A\",\"sources\":[{}{{}}]}}", "{},".repeat(300_000)),
        format!(
            "{{\"name\":\"A\",\"metadata\":{{{}\"z\":\"\"}}}}",
            (0..80_000).map(|n| format!("\"{n}\":\"\",")).collect::<String>()
        ),
        format!("{{\"name\":\"{}\"}}", "\\u0000".repeat(160_000)),
        format!(
            "{{\"stream_name\":\"S\",\"config\":{{\"name\":\"c\",\"filter_subjects\":[{}\"s.z\"]}}}}",
            (0..80_000).map(|n| format!("\"s.{n}\",")).collect::<String>()
        ),
        format!("{{\"stream_name\":\"S\",\"config\":{{\"name\":\"c\",\"backoff\":[{}1]}}}}", "1,".repeat(400_000)),
        format!("{{\"multi_last\":[{}\"s\"]}}", "\"s\",".repeat(200_000)),
        format!("{}1", "1".repeat(1_000_000)),
    ];
    let stream = json!({ "name": "S", "subjects": ["s.>"], "allow_direct": true }).to_string();
    client.send(format!("PUB $JS.API.STREAM.CREATE.S _INBOX.a {}\r\n{stream}\r\n", stream.len()));
    client.message();
    for operation in [
        "STREAM.CREATE.A",
        "STREAM.UPDATE.S",
        "STREAM.PURGE.S",
        "STREAM.NAMES",
        "CONSUMER.CREATE.S.c",
        "STREAM.MSG.GET.S",
        "DIRECT.GET.S",
        "STREAM.RESTORE.A",
        "STREAM.SNAPSHOT.S",
    ] {
        for bomb in &bombs {
            client.send(format!("PUB $JS.API.{operation} _INBOX.a {}\r\n{bomb}\r\n", bomb.len()));
            let seen = client.next();
            assert!(matches!(seen, Seen::Message(_)), "{operation}: {seen:?}");
            client.send("PUB $JS.API.STREAM.DELETE.A _INBOX.a 0\r\n\r\n");
            client.message();
        }
        bystander.is_served();
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{grown} bytes more");
    assert!(grown < 128 * MIB, "{grown}");
}

/// Header blocks of a million lines, of one long one, and of none.
#[test]
fn header_blocks_without_measure() {
    let server = server(&["--sync", "os"]);
    let mut bystander = Bystander::new(&server, QUIET);
    let mut client = server.client();
    client.subscribe("_INBOX.a", "1");
    let stream = json!({ "name": "S", "subjects": ["s.>"] }).to_string();
    client.send(format!("PUB $JS.API.STREAM.CREATE.S _INBOX.a {}\r\n{stream}\r\n", stream.len()));
    client.message();
    let before = server.resident_bytes();
    for block in [
        format!("NATS/1.0\r\n{}\r\n", "a:b\r\n".repeat(200_000)),
        format!("NATS/1.0\r\n{}\r\n", "Nats-Msg-Id: x\r\n".repeat(60_000)),
        format!("NATS/1.0\r\n{}: x\r\n\r\n", "k".repeat(1_000_000)),
        format!("NATS/1.0\r\nk: {}\r\n\r\n", "v".repeat(1_000_000)),
        format!("NATS/1.0\r\n{}\r\n", ":\r\n".repeat(300_000)),
        format!("NATS/1.0{}\r\n\r\n", " ".repeat(1_000_000)),
        format!("NATS/1.0\r\nk: v\r\n{}\r\n", " folded\r\n".repeat(100_000)),
    ] {
        for subject in ["s.1", "plain", "$JS.API.STREAM.INFO.S", "$JS.API.DIRECT.GET.S"] {
            for _ in 0..3 {
                client.send(format!("HPUB {subject} _INBOX.b {0} {0}\r\n{block}\r\n", block.len()));
            }
            client.flush_with_errors();
        }
        bystander.is_served();
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{grown} bytes more");
    assert!(grown < 96 * MIB, "{grown}");
}
