//! The contract with NATS clients, on the wire: what a server must say, in which order, and when it must hang up.
//!
//! Each test starts its own server. Most of them hold for nats-server as well, and can be run against it with
//! `SUBLOG_BINARY=nats-server` (those with our own flags excepted, and those that count
//! subscriptions, of which it has some itself).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod access;
mod delivery;
mod fairness;
mod handshake;
mod headers;
mod lifecycle;
mod limits;
mod slow;
mod subscriptions;
mod syntax;

use sublog_tests::TestServer;

/// A server with these flags.
fn server(args: &[&str]) -> TestServer {
    TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), args)
}
