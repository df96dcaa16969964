//! Who may do what: users, what proves who they are, and their permissions, on every way a message can take.
//!
//! Each test starts its own server with a configuration file. What a test expects was seen of nats-server 2.15.1 as well,
//! but for what `docs/compatibility.md` names.

mod login;
mod permissions;
mod reload;
mod secrets;

use sublog_tests::{Configured, TestServer};

fn start(text: &str) -> Configured {
    start_with(text, &[])
}

fn start_with(text: &str, args: &[&str]) -> Configured {
    Configured::start(env!("CARGO_BIN_EXE_sublog-under-test"), hello, text, args)
}

/// The CONNECT of a user, with headers; its password is its name and `p`.
fn hello(name: &str) -> String {
    format!(r#"{{"verbose":false,"headers":true,"no_responders":true,"user":"{name}","pass":"{name}p"}}"#)
}

/// What the server says to a CONNECT with a PING behind it.
fn answer(server: &TestServer, connect: &str) -> String {
    let mut client = server.raw();
    client.send(format!("CONNECT {connect}\r\nPING\r\n"));
    match client.next() {
        sublog_tests::Seen::Pong => "PONG".to_owned(),
        sublog_tests::Seen::Err(text) => {
            client.expect_closed();
            text
        }
        other => format!("{other:?}"),
    }
}
