//! Replay with nothing but a subscription: where it begins, what it sends, and that it goes over into live without a
//! gap, a duplicate or a change of order.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod content;
mod grammar;
mod pace;
mod seam;

use sublog_tests::{RawClient, TestServer};

/// A server with these flags.
fn server(args: &[&str]) -> TestServer {
    TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), args)
}

/// A client that publishes `count` numbered messages on `subject` and waits until they are on disk.
fn fill(server: &TestServer, subject: &str, count: usize) {
    let mut client = server.client();
    for n in 0..count {
        client.publish(subject, n.to_string());
    }
    client.sync();
}

/// The payloads of all that `filter` replays, as far as the log goes now. `end` is a subject `filter` matches.
fn replayed(client: &mut RawClient, filter: &str, end: &str) -> Vec<String> {
    let end_text = format!("the end of {filter}");
    client.subscribe(filter, "replay");
    client.publish(end, &end_text);
    let mut seen = Vec::new();
    loop {
        let message = client.message();
        if message.text() == end_text {
            client.send("UNSUB replay\r\n");
            client.sync();
            return seen;
        }
        seen.push(message.text().to_owned());
    }
}
