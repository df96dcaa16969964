//! Accounts: what is published in one is in no other, unless one exports and the other imports it.
//!
//! Each test starts its own server with a configuration file. What a test expects was seen of nats-server 2.15.1 as well
//! (`SUBLOG_BINARY` names another program to ask), but for what `docs/compatibility.md` names and what only Sublog has.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

mod apart;
mod limits;
mod links;
mod random;
mod refused;
mod reload;
mod streams;
mod system;

use sublog_tests::{Configured, RawClient};

fn start(text: &str) -> Configured {
    Configured::start(env!("CARGO_BIN_EXE_sublog-under-test"), hello, text, &["-m", "-1"])
}

/// The CONNECT of a user, whose password is its name.
fn hello(name: &str) -> String {
    format!(r#"{{"verbose":false,"headers":true,"no_responders":true,"user":"{name}","pass":"{name}"}}"#)
}

/// A request and the first answer to it, on an inbox of its own.
fn ask(client: &mut RawClient, subject: &str, payload: &str) -> sublog_tests::Message {
    client.send(format!("SUB _INBOX.ask 99\r\nPUB {subject} _INBOX.ask {}\r\n{payload}\r\n", payload.len()));
    let answer = loop {
        let message = client.message();
        if message.sid == "99" {
            break message;
        }
    };
    client.send("UNSUB 99\r\n");
    answer
}

/// Whether a request was answered with 503.
fn is_nobody(answer: &sublog_tests::Message) -> bool {
    answer.headers.as_deref().is_some_and(|block| block.starts_with(b"NATS/1.0 503"))
}
