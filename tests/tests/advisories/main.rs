//! Every published advisory about nats-server that could have been about this server: a test of what went wrong there.
//!
//! `SECURITY.md` has the table of them, with the names of the tests, of which some stand elsewhere; `document` holds it to that.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod document;
mod identity;
mod model;
mod names;
mod numbers;
mod permissions;
mod secrets;
mod strings;
mod tokens;

use sublog_tests::{Configured, RawClient};

const BINARY: &str = env!("CARGO_BIN_EXE_sublog-under-test");

fn start(text: &str) -> Configured {
    start_with(text, &[])
}

fn start_with(text: &str, args: &[&str]) -> Configured {
    Configured::start(BINARY, hello, text, args)
}

/// The CONNECT of a user, with headers; its password is its name and `p`.
fn hello(name: &str) -> String {
    format!(
        r#"{{"verbose":false,"headers":true,"no_responders":true,"sublog_replay_status":true,"user":"{name}","pass":"{name}p"}}"#
    )
}

/// The answer to a request; messages for others are passed over.
fn request(client: &mut RawClient, inbox: &str, subject: &str, body: &[u8]) -> sublog_tests::Message {
    client.subscribe(inbox, "request");
    client.send(format!("PUB {subject} {inbox} {}\r\n", body.len()));
    client.send(body);
    client.send("\r\n");
    loop {
        match client.next() {
            sublog_tests::Seen::Message(message) if message.sid == "request" => {
                client.send("UNSUB request\r\n");
                return message;
            }
            sublog_tests::Seen::Message(_) => {}
            other => panic!("{other:?} instead of an answer to {subject}"),
        }
    }
}
