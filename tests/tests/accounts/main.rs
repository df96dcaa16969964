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

use sublog_tests::{Configured, ask};

fn start(text: &str) -> Configured {
    Configured::start(env!("CARGO_BIN_EXE_sublog-under-test"), hello, text, &["-m", "-1"])
}

/// The CONNECT of a user, whose password is its name.
fn hello(name: &str) -> String {
    format!(r#"{{"verbose":false,"headers":true,"no_responders":true,"user":"{name}","pass":"{name}"}}"#)
}

/// Whether a request was answered with 503.
fn is_nobody(answer: &sublog_tests::Message) -> bool {
    answer.headers.as_deref().is_some_and(|block| block.starts_with(b"NATS/1.0 503"))
}
