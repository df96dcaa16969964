//! Operators: accounts that an operator signed, and users that an account signed, instead of a configuration of them.
//!
//! Tokens are made by the tests. What a test expects was seen of nats-server 2.15.1 as well (`SUBLOG_BINARY` names another
//! program to ask), but for what `docs/compatibility.md` names.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod changes;
mod client;
mod folder;
mod links;
mod login;
mod pages;
mod refused;
mod rights;
mod streams;

use nkeys::KeyPair;
use serde_json::{Value, json};
use sublog_tests::{Configured, RawClient, Seen, TestServer, ask, clock, jwt};

const BINARY: &str = env!("CARGO_BIN_EXE_sublog-under-test");

/// Whether another program than ours is asked.
fn other_program() -> bool {
    std::env::var_os("SUBLOG_BINARY").is_some()
}

fn start(text: &str) -> Configured {
    Configured::start(BINARY, |_| String::new(), text, &["-m", "-1", "-D"])
}

/// A server with accounts in memory.
fn with_accounts(accounts: &[(&str, String)]) -> Configured {
    start(&jwt::in_memory(&jwt::operator_token(json!({})), accounts))
}

/// Says CONNECT with a token, and returns the first thing that is answered.
fn try_in(server: &TestServer, token: &str, key: &KeyPair) -> (RawClient, Seen) {
    let mut client = server.raw();
    let connect = jwt::connect(&client.info, token, key);
    client.send(format!("CONNECT {connect}\r\nPING\r\n"));
    let seen = client.next();
    (client, seen)
}

/// A client that is let in.
fn log_in(server: &TestServer, token: &str, key: &KeyPair) -> RawClient {
    let (mut client, seen) = try_in(server, token, key);
    assert_eq!(seen, Seen::Pong, "not let in");
    // The INFO that follows the first PONG.
    client.info = match client.next() {
        Seen::Info(info) => info,
        other => panic!("{other:?}"),
    };
    client
}

/// A client of a user of this name, with a token that is signed by its account.
fn user_in(server: &TestServer, account: &str, name: &str, more: Value) -> RawClient {
    log_in(server, &jwt::user_token(account, name, more), &jwt::user(name))
}

/// A client that watches the server.
fn system(server: &TestServer) -> RawClient {
    user_in(server, "SYS", "sys", json!({}))
}

/// Whether a client with this token is refused.
fn is_refused(server: &TestServer, token: &str, key: &KeyPair) -> bool {
    match try_in(server, token, key) {
        (mut client, Seen::Err(text)) if text == "Authorization Violation" => {
            client.expect_closed();
            true
        }
        (_, Seen::Pong) => false,
        (_, other) => panic!("{other:?}"),
    }
}

/// The next `-ERR`, and then the end of the connection.
fn ended_with(client: &mut RawClient) -> String {
    let text = loop {
        match client.next() {
            Seen::Err(text) => break text,
            Seen::Info(_) | Seen::Pong => {}
            other => panic!("{other:?}"),
        }
    };
    client.expect_closed();
    text
}

fn asked(client: &mut RawClient, subject: &str, payload: &str) -> Value {
    let answer = ask(client, subject, payload);
    assert_ne!(answer.status(), Some(503), "{subject}");
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Waits until the server is so.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    clock::until(what, || is().then_some(()));
}
