//! What a handshake is, and what is none.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use sublog_tests::client::CONNECT;
use sublog_tests::{Seen, clock};

use crate::support::{Secure, TLS12, TLS13, connect, connect_to, forgetful, read_info, tcp};

/// Everything until the end.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut out = Vec::new();
    match stream.read_to_end(&mut out) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: the server goes on"),
    }
    out
}

#[test]
fn old_and_new_clients() {
    let secure = Secure::start("", "http: '127.0.0.1:-1'");
    for (versions, version, suite) in
        [(TLS12, "1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), (TLS13, "1.3", "TLS_AES_128_GCM_SHA256")]
    {
        let mut client = connect(secure.address(), secure.config_of(versions, None)).unwrap();
        assert_eq!(client.info["tls_required"], true);
        assert!(client.info.get("tls_available").is_none() && client.info.get("tls_verify").is_none());
        client.hello(CONNECT);
        client.subscribe("a", "1");
        client.publish("a", "first");
        assert_eq!(client.message().text(), "first");
        let connections = secure.server.monitor("/connz")["connections"].clone();
        let shown = connections.as_array().unwrap().last().unwrap().clone();
        assert_eq!((&shown["tls_version"], &shown["tls_cipher_suite"]), (&version.into(), &suite.into()));
        assert!(shown.get("tls_first").is_none());
    }
}

#[test]
fn connect_in_the_same_write_as_the_end_of_the_handshake() {
    // A client of version 1.3 may speak with its last message; what it says is read with that.
    let secure = Secure::start("", "");
    for _ in 0..20 {
        let mut client = connect(secure.address(), forgetful(secure.config())).unwrap();
        client.send(format!("CONNECT {CONNECT}\r\nPUB a 1\r\nx\r\nPING\r\n"));
        assert_eq!(client.next(), Seen::Pong);
    }
}

#[test]
fn plain_words_to_a_port_that_encrypts() {
    let secure = Secure::start("timeout: 0.5", "");
    for words in ["CONNECT {}\r\nPING\r\n", "GET / HTTP/1.1\r\n\r\n", "\r\n", "PUB a 1\r\nx\r\n"] {
        let mut stream = tcp(secure.address());
        read_info(&mut stream);
        stream.write_all(words.as_bytes()).unwrap();
        assert_eq!(rest(&stream), b"-ERR 'Secure Connection - TLS Required'\r\n", "{words:?}");
    }
    assert!(secure.server.log_has("[ERR]").is_none());
}

#[test]
fn silence_ends_with_the_handshake_timeout() {
    let secure = Secure::start("timeout: 0.3", "http: '127.0.0.1:-1'");
    let mut stream = tcp(secure.address());
    read_info(&mut stream);
    let begin = clock::now();
    assert_eq!(rest(&stream), b"-ERR 'Secure Connection - TLS Required'\r\n");
    let took = clock::now().duration_since(begin);
    assert!(took >= Duration::from_millis(250), "{took:?}");
    // Half a handshake: no words that could be taken for a part of it.
    let mut stream = tcp(secure.address());
    read_info(&mut stream);
    stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
    assert_eq!(rest(&stream), b"");
    clock::until("no connections", || (secure.server.monitor("/varz")["connections"] == 0).then_some(()));
}

#[test]
fn whatever_is_no_handshake_ends_the_connection_alone() {
    let secure = Secure::start("", "http: '127.0.0.1:-1'");
    let mut healthy = secure.client();
    let cases: &[&[u8]] = &[
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 1, 0],
        &[0x16, 3, 1, 0, 0],
        &[0x16, 0, 0, 0, 4, 1, 2, 3, 4],
        // An alert that closes, in the middle.
        &[0x16, 3, 1, 0, 1, 1, 0x15, 3, 1, 0, 2, 1, 0],
        // A change of cipher and data before there is a session.
        &[0x16, 3, 1, 0, 1, 1, 0x17, 3, 3, 0, 1, 0],
        &[0x16; 40_000],
    ];
    for case in cases {
        let mut stream = tcp(secure.address());
        read_info(&mut stream);
        // The server may close before it has read all.
        let _ = stream.write_all(case);
        let _ = stream.shutdown(Shutdown::Write);
        let answer = rest(&stream);
        assert!(!answer.starts_with(b"-ERR"), "{case:?}");
    }
    healthy.expect_nothing();
    clock::until("one connection", || (secure.server.monitor("/varz")["connections"] == 1).then_some(()));
}

#[test]
fn a_record_that_was_changed_on_its_way_ends_the_connection() {
    let secure = Secure::start("", "");
    let client = connect(secure.address(), secure.config()).unwrap();
    drop(client);
    let mut stream = tcp(secure.address());
    read_info(&mut stream);
    let mut encrypted = crate::support::encrypt(stream, secure.config().into(), "127.0.0.1").unwrap();
    // Behind the session's back: a record of the right form that nobody sealed.
    encrypted.0.sock.write_all(&[0x17, 3, 3, 0, 32]).unwrap();
    encrypted.0.sock.write_all(&[7; 32]).unwrap();
    let mut out = Vec::new();
    let error = encrypted.0.read_to_end(&mut out).map(|_| out);
    // An alert says what was wrong.
    assert!(error.is_err(), "{error:?}");
    secure.client().expect_nothing();
}

#[test]
fn words_after_the_end_of_a_session_are_not_read() {
    let secure = Secure::start("", "");
    let mut reader = secure.client();
    reader.subscribe("a", "1");
    reader.sync();
    let mut stream = tcp(secure.address());
    read_info(&mut stream);
    let mut encrypted = crate::support::encrypt(stream, secure.config().into(), "127.0.0.1").unwrap();
    encrypted.write_all(b"CONNECT {\"verbose\":false}\r\nPUB a 1\r\nx\r\n").unwrap();
    encrypted.0.conn.send_close_notify();
    encrypted.flush().unwrap();
    encrypted.0.sock.write_all(b"PUB a 1\r\ny\r\n").unwrap();
    assert_eq!(reader.message().text(), "x");
    reader.expect_nothing();
}

#[test]
fn the_name_does_not_matter() {
    let secure = Secure::start("", "");
    for name in ["localhost", "127.0.0.1"] {
        let (mut client, _) = connect_to(secure.address(), secure.config(), name).unwrap();
        client.hello(CONNECT);
    }
}

#[test]
fn too_many_connections_are_told_in_clear() {
    let secure = Secure::start("", "max_connections: 1");
    let mut first = secure.client();
    let mut stream = tcp(secure.address());
    read_info(&mut stream);
    assert_eq!(rest(&stream), b"-ERR 'maximum connections exceeded'\r\n");
    first.expect_nothing();
}

#[test]
fn who_does_not_say_who_it_is_has_its_time_after_the_handshake() {
    let secure =
        Secure::start("timeout: 5", "authorization { user: u, password: p, timeout: 0.5 }\nhttp: '127.0.0.1:-1'");
    let mut stream = tcp(secure.address());
    assert_eq!(read_info(&mut stream)["auth_required"], true);
    // Longer than the time to say who it is.
    std::thread::sleep(Duration::from_millis(900));
    let encrypted = crate::support::encrypt(stream, secure.config().into(), "127.0.0.1").unwrap();
    let mut client = sublog_tests::RawClient::speaking(Box::new(encrypted), serde_json::Value::Null);
    client.hello(r#"{"verbose":false,"user":"u","pass":"p"}"#);
    let mut silent = connect(secure.address(), secure.config()).unwrap();
    silent.expect_err("Authentication Timeout");
    silent.expect_closed();
}
