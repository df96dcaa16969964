//! Who may connect.

use std::time::Duration;

use sublog_tests::{RawClient, TestServer, clock};

use crate::server;

fn refused(server: &TestServer, first_bytes: &str) {
    let mut client = server.raw();
    client.send(first_bytes);
    client.expect_err("Authorization Violation");
    client.expect_closed();
}

fn works(client: &mut RawClient) {
    client.send("SUB a 1\r\nPUB a 1\r\nx\r\n");
    assert_eq!(client.message().text(), "x");
}

#[test]
fn user_and_password() {
    let server = server(&["--user", "u", "--pass", "s3cret"]);
    let mut client = server.raw();
    assert_eq!(client.info["auth_required"], true);
    client.hello(r#"{"verbose":false,"user":"u","pass":"s3cret"}"#);
    works(&mut client);
    for wrong in [
        r#"{"user":"u","pass":"s3cre"}"#,
        r#"{"user":"u","pass":"s3cret "}"#,
        r#"{"user":"v","pass":"s3cret"}"#,
        r#"{"user":"u"}"#,
        r#"{"pass":"s3cret"}"#,
        r#"{"auth_token":"s3cret"}"#,
        r#"{"user":"u","pass":""}"#,
        "{}",
    ] {
        refused(&server, &format!("CONNECT {wrong}\r\nPING\r\n"));
    }
    assert!(server.log().iter().all(|line| !line.contains("s3cret")), "the password is in the log");
}

#[test]
fn token() {
    let server = server(&["--auth", "t0ken"]);
    let mut client = server.raw();
    client.hello(r#"{"verbose":false,"auth_token":"t0ken"}"#);
    works(&mut client);
    for wrong in [r#"{"auth_token":"t0keN"}"#, r#"{"user":"t0ken"}"#, r#"{"user":"t0ken","pass":"t0ken"}"#, "{}"] {
        refused(&server, &format!("CONNECT {wrong}\r\nPING\r\n"));
    }
}

#[test]
fn nothing_is_done_before_connect_where_credentials_are_needed() {
    let server = server(&["--user", "u", "--pass", "p"]);
    let mut witness = server.raw();
    witness.hello(r#"{"verbose":false,"user":"u","pass":"p"}"#);
    witness.send("SUB > 1\r\n");
    witness.sync();
    for first in ["PING\r\n", "SUB a 1\r\n", "PUB a 1\r\nx\r\n", "UNSUB 1\r\n"] {
        refused(&server, first);
    }
    witness.expect_nothing();
}

#[test]
fn a_client_that_never_authenticates_is_cut_off() {
    let server = server(&["--user", "u", "--pass", "p"]);
    let start = clock::now();
    let mut client = server.raw();
    client.expect_err("Authentication Timeout");
    client.expect_closed();
    let took = start.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[test]
fn where_nobody_needs_credentials_they_are_not_looked_at() {
    let server = server(&[]);
    let mut client = server.raw();
    client.hello(r#"{"verbose":false,"user":"any","pass":"thing"}"#);
    works(&mut client);
}
