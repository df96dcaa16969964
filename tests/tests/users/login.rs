//! What proves who a client is.

use std::time::Duration;

use sublog_tests::clock;

use crate::{answer, start};

const VIOLATION: &str = "Authorization Violation";

fn connect(user: &str, password: &str) -> String {
    format!(r#"{{"verbose":false,"user":"{user}","pass":"{password}"}}"#)
}

#[test]
fn passwords_as_bcrypt_hashes() {
    let hash = bcrypt::hash("right", 4).unwrap();
    let tail = &hash[4..];
    let configured = start(&format!(
        r#"authorization {{
             timeout: 10
             users: [
               {{ user: a, password: $2a${tail} }}
               {{ user: b, password: "$2b${tail}" }},
               {{ username: y, pass: '$2y${tail}' }},
               {{ user: plain, password: right }},
             ],
           }}"#
    ));
    for name in ["a", "b", "y", "plain"] {
        for _ in 0..2 {
            assert_eq!(answer(&configured.server, &connect(name, "right")), "PONG", "{name}");
        }
        for wrong in ["Right", "", &hash] {
            assert_eq!(answer(&configured.server, &connect(name, wrong)), VIOLATION, "{name} {wrong}");
        }
        assert_eq!(answer(&configured.server, &format!(r#"{{"user":"{name}"}}"#)), VIOLATION);
    }
    assert!(configured.server.log_has("authentication error - User \"a\"").is_some());
}

/// A hash that takes most of a second, in the way of nobody else: one user with a password is hashed as well.
#[test]
fn a_connection_a_message_is_cheap_once_the_password_is_known() {
    let hash = bcrypt::hash("right", 12).unwrap();
    let configured = start(&format!("authorization {{ user: u, password: '{hash}', timeout: 60 }}"));
    let start = clock::now();
    assert_eq!(answer(&configured.server, &connect("u", "right")), "PONG");
    let first = start.elapsed();
    // Whoever guesses does not keep those waiting who are known.
    let mut guesser = configured.server.raw();
    guesser.send(format!("CONNECT {}\r\nPING\r\n", connect("u", "wrong")));
    let start = clock::now();
    for _ in 0..20 {
        assert_eq!(answer(&configured.server, &connect("u", "right")), "PONG");
    }
    let rest = start.elapsed();
    assert!(rest < first * 10, "{first:?} for the first, {rest:?} for twenty more");
    guesser.expect_err(VIOLATION);
    guesser.expect_closed();
}

/// What follows CONNECT in the same write waits until the password has been checked, and is in order then.
#[test]
fn nothing_is_done_before_the_password_is_checked() {
    let hash = bcrypt::hash("right", 8).unwrap();
    let text = format!(
        "authorization {{ users: [ {{ user: u, password: '{hash}' }}, {{ user: w, password: wp }} ], timeout: 10 }}"
    );
    let configured = start(&text);
    let mut witness = configured.user("w");
    witness.subscribe("x", "1");
    witness.sync();
    let mut client = configured.server.raw();
    client.send(format!("CONNECT {}\r\nPUB x 1\r\na\r\nPING\r\n", connect("u", "wrong")));
    client.expect_err(VIOLATION);
    client.expect_closed();
    witness.expect_nothing();
    let mut client = configured.server.raw();
    let pass = connect("u", "right").replace("\"verbose\":false,", "");
    client.send(format!("CONNECT {pass}\r\nPUB x 1\r\na\r\nSUB x 1\r\nPUB x 1\r\nb\r\nPING\r\n"));
    let seen: Vec<String> = (0..6).map(|_| format!("{:?}", client.next())).collect();
    assert!(seen[0] == "Ok" && seen[5] == "Pong" && seen.iter().any(|seen| seen.starts_with("Message")), "{seen:?}");
    assert_eq!(witness.messages(2).iter().map(|m| m.text().to_owned()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn signatures_of_a_nonce() {
    let key = nkeys::KeyPair::new_user();
    let name = key.public_key();
    let configured = start(&format!("authorization {{ users: [ {{ nkey: {name} }}, {{ user: u, password: up }} ] }}"));
    let sign = |nonce: &str, standard: bool| {
        use data_encoding::{BASE64, BASE64URL_NOPAD};
        let signature = key.sign(nonce.as_bytes()).unwrap();
        if standard { BASE64.encode(&signature) } else { BASE64URL_NOPAD.encode(&signature) }
    };
    let hello = |sig: &str| format!(r#"{{"verbose":false,"nkey":"{name}","sig":"{sig}"}}"#);
    for standard in [false, true] {
        let mut client = configured.server.raw();
        let nonce = client.info["nonce"].as_str().unwrap().to_owned();
        client.hello(&hello(&sign(&nonce, standard)));
        // It is good for this connection alone.
        let mut other = configured.server.raw();
        assert_ne!(other.info["nonce"].as_str(), Some(&*nonce));
        other.send(format!("CONNECT {}\r\nPING\r\n", hello(&sign(&nonce, standard))));
        other.expect_err(VIOLATION);
    }
    for wrong in [hello(""), hello("AAAA"), format!(r#"{{"nkey":"{name}"}}"#), connect(&name, ""), connect("u", &name)]
    {
        assert_eq!(answer(&configured.server, &wrong), VIOLATION, "{wrong}");
    }
    assert_eq!(answer(&configured.server, &connect("u", "up")), "PONG");
    // Nobody else is given anything to sign.
    let plain = start("authorization { users: [ {user: u, password: up} ] }");
    assert!(plain.server.raw().info.get("nonce").is_none());
}

#[test]
fn who_does_not_say_who_it_is() {
    let configured = start(
        r#"no_auth_user: open
           authorization { users: [
             { user: open, password: hidden, permissions { publish: "in", subscribe: "out" } }
             { user: u, password: up }
           ] }"#,
    );
    let mut witness = configured.user("u");
    witness.subscribe(">", "1");
    witness.sync();
    let mut client = configured.server.raw();
    assert!(client.info.get("auth_required").is_none());
    // Without CONNECT, with the defaults of one.
    client.send("PUB in 1\r\na\r\nPUB out 1\r\nb\r\nPING\r\n");
    assert_eq!(format!("{:?}", client.next()), "Ok");
    client.expect_err("Permissions Violation for Publish to \"out\"");
    assert_eq!(format!("{:?}", client.next()), "Pong");
    assert_eq!(witness.message().text(), "a");
    let mut client = configured.server.raw();
    client.hello(r#"{"verbose":false}"#);
    client.send("SUB in 1\r\n");
    client.expect_err("Permissions Violation for Subscription to \"in\"");
    for wrong in [r#"{"user":"nobody"}"#, r#"{"auth_token":"x"}"#, r#"{"user":"open"}"#, r#"{"pass":"up"}"#] {
        assert_eq!(answer(&configured.server, wrong), VIOLATION, "{wrong}");
    }
    witness.expect_nothing();
}

/// Of all ways to configure users, those that should let nobody in without credentials do not.
#[test]
fn kinds_of_connections_and_empty_lists() {
    for text in [
        "authorization { users: [] }",
        "authorization { users: [ {user: w, password: wp, allowed_connection_types: [WEBSOCKET, MQTT]} ] }",
        "authorization { users: [ {user: w, password: wp, connection_types: WEBSOCKET} ] }\nno_auth_user: w",
    ] {
        let configured = start(text);
        assert_eq!(answer(&configured.server, "{}"), VIOLATION, "{text}");
        assert_eq!(answer(&configured.server, &connect("w", "wp")), VIOLATION, "{text}");
        let mut client = configured.server.raw();
        assert_eq!(client.info["auth_required"], true);
        client.send("PUB a 1\r\nx\r\n");
        client.expect_err(VIOLATION);
        client.expect_closed();
    }
    let configured =
        start("authorization { users: [ {user: w, password: wp, connection_types: [WEBSOCKET, STANDARD]} ] }");
    assert_eq!(answer(&configured.server, &connect("w", "wp")), "PONG");
}

#[test]
fn the_account_is_nothing_a_client_chooses() {
    let configured = start("authorization { users: [ {user: u, password: up} ] }");
    for more in [r#""account":"$SYS""#, r#""new_account":true"#] {
        let connect = format!(r#"{{"user":"u","pass":"up",{more}}}"#);
        assert_eq!(answer(&configured.server, &connect), VIOLATION, "{connect}");
    }
}

#[test]
fn time_to_say_who_one_is() {
    let configured = start("authorization { users: [ {user: u, password: up} ], timeout: 0.3 }");
    let mut client = configured.server.raw();
    let start = clock::now();
    client.expect_err("Authentication Timeout");
    client.expect_closed();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
