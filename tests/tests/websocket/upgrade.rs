//! Upgrades: who may, what is said with them, and encryption below them.

use std::io::{Read as _, Write as _};

use serde_json::json;
use sublog_tests::client::CONNECT;
use sublog_tests::{Seen, TestServer, clock, jwt};

use crate::carrier::Socket;
use crate::support::{Authority, encrypt, tcp, write_pair};
use crate::{client, port_of, server};

#[test]
fn pages_of_others_are_refused() {
    let (_server, address, _folder) =
        server("allowed_origins: ['http://page.example']\n headers { X-Mine: 'mine' }", "");
    for origin in ["", "Origin: http://page.example\r\n"] {
        let socket = Socket::connect(address, origin).unwrap();
        assert!(socket.answer.contains("X-Mine: mine\r\n"));
    }
    let answer = Socket::connect(address, "Origin: http://other.example\r\n").unwrap_err();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("not in the allowed list\n"), "{answer}");
    let (_server, address, _folder) = crate::server("same_origin: true", "");
    Socket::connect(address, "Origin: http://server\r\n").unwrap();
    let answer = Socket::connect(address, "Origin: https://server\r\n").unwrap_err();
    assert!(answer.ends_with("not same origin\n"), "{answer}");
}

#[test]
fn cookies_say_what_connect_leaves_out() {
    let (_server, address, _folder) =
        server("user_cookie: u\n pass_cookie: p", "authorization { user: me, password: secret }");
    let mut known = Socket::connect(address, "Cookie: u=me; p=secret\r\n").unwrap().client();
    assert_eq!(known.info["auth_required"], true);
    known.hello(CONNECT);
    let mut unknown = Socket::connect(address, "Cookie: u=me; p=wrong\r\n").unwrap().client();
    assert!(unknown.try_hello(CONNECT).is_err());
    let mut none = Socket::connect(address, "").unwrap().client();
    assert!(none.try_hello(CONNECT).is_err());
    let mut both = Socket::connect(address, "Cookie: u=me; p=wrong\r\n").unwrap().client();
    both.hello(r#"{"verbose":false,"user":"me","pass":"secret"}"#);
}

#[test]
fn bearers_have_their_token_in_a_cookie() {
    let types = |types: serde_json::Value| {
        let claims = json!({"nats": {"bearer_token": true, "allowed_connection_types": types}});
        jwt::user_token("A", "u", claims)
    };
    let accounts = [("A", jwt::account_token("A", json!({})))];
    let (server, address, _folder) =
        server("jwt_cookie: j", &jwt::in_memory(&jwt::operator_token(json!({})), &accounts));
    for (kinds, plain, frames) in
        [(json!(["WEBSOCKET"]), false, true), (json!(["STANDARD"]), true, false), (json!([]), true, true)]
    {
        let token = types(kinds.clone());
        let mut known = Socket::connect(address, &format!("Cookie: j={token}\r\n")).unwrap().client();
        assert_eq!(known.try_hello(CONNECT).is_ok(), frames, "{kinds}");
        let line = json!({"verbose": false, "protocol": 0, "jwt": token}).to_string();
        assert_eq!(server.raw().try_hello(&line).is_ok(), plain, "{kinds}");
        // What CONNECT says counts more.
        let mut other = Socket::connect(address, "Cookie: j=x\r\n").unwrap().client();
        assert_eq!(other.try_hello(&line).is_ok(), frames, "{kinds}");
    }
    assert!(Socket::connect(address, "").unwrap().client().try_hello(CONNECT).is_err());
}

#[test]
fn users_come_by_the_ports_they_may() {
    let users = r#"authorization { users: [
        { user: "w", password: "wp", allowed_connection_types: ["WEBSOCKET"] }
        { user: "s", password: "sp", allowed_connection_types: ["STANDARD"] }
        { user: "b", password: "bp" }
    ] }"#;
    let (server, address, _folder) = server("user_cookie: u\n pass_cookie: p", users);
    for (name, plain, frames) in [("w", false, true), ("s", true, false), ("b", true, true)] {
        let line = format!(r#"{{"verbose":false,"user":"{name}","pass":"{name}p"}}"#);
        assert_eq!(server.raw().try_hello(&line).is_ok(), plain, "{name}");
        let mut client = Socket::connect(address, "").unwrap().client();
        assert_eq!(client.try_hello(&line).is_ok(), frames, "{name}");
        let mut known = Socket::connect(address, &format!("Cookie: u={name}; p={name}p\r\n")).unwrap().client();
        assert_eq!(known.try_hello(CONNECT).is_ok(), frames, "{name}");
    }
}

#[test]
fn what_is_no_upgrade_is_answered_in_http() {
    let (server, address, _folder) = server("handshake_timeout: 0.3", "");
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 "),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 "),
        ("CONNECT {}\r\nPING\r\n\r\n", "HTTP/1.1 400 "),
        ("GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 "),
    ] {
        let mut stream = tcp(address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(status), "{request}: {answer}");
    }
    // Silence, and a request without end.
    let mut silent = tcp(address);
    let mut rest = Vec::new();
    assert_eq!(silent.read_to_end(&mut rest).unwrap(), 0);
    let mut endless = tcp(address);
    endless.write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000)).as_bytes()).unwrap();
    let mut answer = String::new();
    // A reset may overtake the answer, since not all was read.
    let _ = endless.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    clock::until("no connections", || (server.monitor("/varz")["connections"] == 0).then_some(()));
    client(address).expect_nothing();
}

#[test]
fn the_ports_file_and_pings_of_its_own() {
    let ports = tempfile::TempDir::new().unwrap();
    let (server, address, _folder) =
        server("ping_interval: 0.3", &format!("ports_file_dir: '{}'\nping_interval: '1h'", ports.path().display()));
    let file = ports.path().join(format!("sublog_{}.ports", server.pid()));
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(file["websocket"][0], format!("ws://{address}"));
    let mut client = client(address);
    client.answers_pings = false;
    assert_eq!(client.next(), Seen::Ping);
    assert_eq!(client.next(), Seen::Ping);
}

#[test]
fn encrypted_frames() {
    let authority = Authority::new("authority");
    let folder = tempfile::TempDir::new().unwrap();
    write_pair(folder.path(), "server", &authority.server(&["localhost"]));
    let at = folder.path().join("server").display().to_string();
    let conf = folder.path().join("server.conf");
    let text = format!(
        "websocket {{ listen: '127.0.0.1:-1', compression: true, tls {{ cert_file: '{at}.pem', key_file: '{at}.key' }} }}"
    );
    std::fs::write(&conf, text).unwrap();
    let mut server =
        TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &["-c", conf.to_str().unwrap(), "-m", "-1"]);
    let address = port_of(&mut server, "wss");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = std::sync::Arc::new(config);
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let stream = encrypt(tcp(address), config.clone(), "localhost").unwrap();
            let headers = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
            let mut client = Socket::over(Box::new(stream), headers).unwrap().client();
            assert_eq!(client.info["tls_required"], true);
            client.hello(CONNECT);
            client.subscribe("a", "1");
            client.sync();
            client
        })
        .collect();
    let text = "some text that repeats ".repeat(4000);
    for n in 0..50 {
        clients[0].publish("a", format!("{n} {text}"));
    }
    for client in &mut clients {
        for n in 0..50 {
            assert_eq!(client.message().text(), format!("{n} {text}"));
        }
    }
    assert_eq!(server.monitor("/connz")["connections"][0]["tls_version"], "1.3");
    // The other port is as plain as it was.
    assert!(server.client().info.get("tls_required").is_none());
}
