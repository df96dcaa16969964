//! The monitoring endpoints as tools see them: pages, parameters, what connections leave behind.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod closed;
mod connections;
mod pages;
mod streams;

use serde_json::Value;
use sublog_tests::{RawClient, TestServer, clock, http};

/// A server with its monitoring port and these flags.
fn server(args: &[&str]) -> TestServer {
    let args: Vec<&str> = ["-m", "-1"].iter().chain(args).copied().collect();
    TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &args)
}

/// A client of that name.
fn named(server: &TestServer, name: &str) -> RawClient {
    let mut client = server.raw();
    client.hello(&format!(r#"{{"verbose":false,"pedantic":false,"headers":true,"name":"{name}","lang":"test"}}"#));
    client
}

/// The names of the connections on a page, in its order.
fn names(page: &Value) -> Vec<&str> {
    page["connections"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap_or_default()).collect()
}

/// Waits until so many connections have ended.
fn until_closed(server: &TestServer, count: usize) -> Value {
    clock::until("closed connections", || {
        let page = server.monitor("/connz?state=closed");
        (page["total"] == count).then_some(page)
    })
}

/// What a request is refused with.
fn refused(server: &TestServer, path: &str) -> String {
    let (status, text) = http::get(server.monitor_address(), path);
    assert_eq!(status, 400, "{path}: {text}");
    text
}
