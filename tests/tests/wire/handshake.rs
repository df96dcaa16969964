//! From the accepted socket to the first PONG, and the pings that follow.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::time::Duration;

use sublog_tests::clock::{self, PATIENCE};
use sublog_tests::{Seen, http};

use crate::server;

#[test]
fn info_holds_what_clients_read_and_fits_old_parsers() {
    let server = server(&["-n", "unit"]);
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert!(line.starts_with("INFO {") && line.ends_with("}\r\n") || line.ends_with("} \r\n"), "{line:?}");
    assert!(line.len() < 1024, "{} bytes", line.len());

    let first = server.raw().info;
    let id = first["server_id"].as_str().unwrap();
    assert!(id.len() == 56 && id.starts_with('N'), "{id}");
    assert_eq!(first["server_name"], "unit");
    let version: Vec<u32> = first["version"].as_str().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version.len() == 3 && version >= vec![2, 10, 0], "{version:?}");
    assert_eq!(first["proto"], 1);
    assert_eq!(first["headers"], true);
    assert_eq!(first["jetstream"], true);
    assert_eq!(first["api_lvl"], 4);
    assert_eq!(first["max_payload"], 1_048_576);
    assert_eq!(first["port"], server.address().port());
    assert_eq!(first["client_ip"], "127.0.0.1");
    for absent in ["auth_required", "tls_required", "tls_available", "nonce", "connect_urls", "ldm"] {
        assert!(first.get(absent).is_none(), "{absent} in {first}");
    }
    let second = server.raw().info;
    assert!(second["client_id"].as_u64().unwrap() > first["client_id"].as_u64().unwrap());
}

#[test]
fn pong_comes_before_any_other_info() {
    let server = server(&[]);
    let mut client = server.raw();
    client.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n");
    assert_eq!(client.next(), Seen::Pong);
    let Seen::Info(info) = client.next() else { panic!("no INFO after the first PONG") };
    assert_eq!(info["connect_info"], true);
    assert_eq!(info["client_id"], client.info["client_id"]);
    client.send("PING\r\nPING\r\n");
    assert_eq!((client.next(), client.next()), (Seen::Pong, Seen::Pong));
    client.expect_nothing();

    let mut old = server.raw();
    old.send("CONNECT {\"verbose\":false}\r\nPING\r\nPING\r\n");
    assert_eq!((old.next(), old.next()), (Seen::Pong, Seen::Pong));
    old.expect_nothing();
}

#[test]
fn verbose_is_the_default_and_acknowledges_each_operation() {
    let server = server(&[]);
    let mut client = server.raw();
    client.send("PUB a 1\r\nx\r\nPING\r\n");
    assert_eq!((client.next(), client.next()), (Seen::Ok, Seen::Pong));
    client.send("CONNECT {\"headers\":true}\r\nSUB a 1\r\nUNSUB 1\r\nHPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\nPING\r\n");
    for _ in 0..4 {
        assert_eq!(client.next(), Seen::Ok);
    }
    assert_eq!(client.next(), Seen::Pong);
}

#[test]
fn pedantic_is_the_default_and_reports_bad_subjects() {
    let server = server(&[]);
    let mut client = server.raw();
    client.send("CONNECT {\"verbose\":false}\r\n");
    for bad in ["a.*", "a.>", ">", "a..b", ".a", "a."] {
        client.send(format!("PUB {bad} 1\r\nx\r\nPING\r\n"));
        client.expect_err("Invalid Publish Subject");
        assert_eq!(client.next(), Seen::Pong, "after {bad}");
    }
    client.send("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPUB a.* 1\r\nx\r\n");
    client.expect_nothing();
}

#[test]
fn refused_connects_say_why_and_close() {
    let server = server(&[]);
    for (connect, text) in [
        (r#"{"protocol":2}"#, "invalid client protocol"),
        (r#"{"protocol":-1}"#, "invalid client protocol"),
        (r#"{"no_responders":true}"#, "no responders requires headers support"),
        (r#"{"account":"A"}"#, "Authorization Violation"),
        (r#"{"account":"A","new_account":true}"#, "Authorization Violation"),
    ] {
        let mut client = server.raw();
        client.send(format!("CONNECT {connect}\r\nPING\r\n"));
        client.expect_err(text);
        client.expect_closed();
    }
}

#[test]
fn connect_that_is_no_json_closes() {
    let server = server(&[]);
    for bad in ["", "x", "{\"verbose\":", "{\"verbose\":\"yes\"}"] {
        let mut client = server.raw();
        client.send(format!("CONNECT {bad}\r\nPING\r\n"));
        let closed = match client.next() {
            Seen::Err(_) => client.next(),
            other => other,
        };
        assert_eq!(closed, Seen::Closed, "after CONNECT {bad}");
    }
    // A line of brackets as deep as it may be ends one connection, not the server.
    let mut deep = server.raw();
    deep.send(format!("CONNECT {}\r\n", "{\"a\":[".repeat(600)));
    deep.expect_closed();
    server.client().expect_nothing();
}

#[test]
fn a_second_connect_changes_the_options() {
    let server = server(&[]);
    let mut client = server.raw();
    client.hello(r#"{"verbose":false,"pedantic":false,"echo":false}"#);
    client.send("SUB a 1\r\nPUB a 1\r\nx\r\n");
    client.expect_nothing();
    client.send("CONNECT {\"verbose\":true,\"pedantic\":false,\"echo\":true,\"headers\":true}\r\n");
    assert_eq!(client.next(), Seen::Ok);
    // With a subscription made since: what becomes of older ones, servers see differently.
    client.send("SUB b 2\r\n");
    assert_eq!(client.next(), Seen::Ok);
    client.send("HPUB b 12 13\r\nNATS/1.0\r\n\r\ny\r\n");
    let mut seen = vec![client.next(), client.next()];
    seen.sort_by_key(|seen| matches!(seen, Seen::Ok));
    let Seen::Message(message) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!((message.text(), message.headers.as_deref()), ("y", Some(&b"NATS/1.0\r\n\r\n"[..])));
    assert_eq!(seen[1], Seen::Ok);
}

#[test]
fn the_server_pings_within_two_seconds_of_the_connection() {
    let server = server(&["-m", "-1"]);
    let mut client = server.raw();
    client.answers_pings = false;
    let start = clock::now();
    client.hello(sublog_tests::client::CONNECT);
    assert_eq!(client.next(), Seen::Ping);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(2600), "{took:?}");
    client.send("PONG\r\n");
    client.sync();
    let connz = http::json(server.monitor_address(), "/connz");
    let rtt = connz["connections"][0]["rtt"].as_str().unwrap();
    assert!(rtt.chars().next().is_some_and(|c| c.is_ascii_digit()) && !rtt.starts_with("0µs"), "{rtt}");
}

#[test]
fn clients_that_leave_pings_unanswered_are_stale() {
    let server = server(&["-m", "-1", "--ping_interval", "200ms", "--ping_max", "2"]);
    let mut silent = server.raw();
    silent.answers_pings = false;
    silent.hello(sublog_tests::client::CONNECT);
    let mut alive = server.raw();
    alive.answers_pings = false;
    alive.hello(sublog_tests::client::CONNECT);
    // Outlives the other by many intervals because it answers.
    for _ in 0..8 {
        assert_eq!(alive.next(), Seen::Ping);
        alive.send("PONG\r\n");
    }
    assert_eq!((silent.next(), silent.next()), (Seen::Ping, Seen::Ping));
    silent.expect_err("Stale Connection");
    silent.expect_closed();
    clock::until("stale connection in varz", || (server.monitor("/varz")["stale_connections"] == 1).then_some(()));
    alive.expect_nothing();
}
