//! Damage under a running server: what is gone is told, everything else is served, and the server lives.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod compressed;
mod declared;
mod scrub;
mod shrunk;

use std::path::PathBuf;

use sublog_tests::{RawClient, TestServer};

/// A server with these flags, and its monitoring pages.
fn server(args: &[&str]) -> TestServer {
    let args = [&["-m", "-1", "--max-age", "off", "--disk-reserve", "0"], args].concat();
    TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &args)
}

const PAYLOAD_BYTES: usize = 50_000;

/// The payload of message `n`: no two are alike anywhere.
fn payload(n: usize) -> Vec<u8> {
    format!("{n:08} ").into_bytes().into_iter().cycle().take(PAYLOAD_BYTES).collect()
}

/// Publishes messages `from..to` and waits until they are on disk.
fn publish(client: &mut RawClient, from: usize, to: usize) {
    for n in from..to {
        client.publish("damage.a", payload(n));
    }
    client.sync();
}

/// The segment files, oldest first.
fn segments(server: &TestServer) -> Vec<PathBuf> {
    let dir = server.data().join("streams").join("CAPTURE");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// The number of a segment's first message, which is its name.
fn first_seq(path: &std::path::Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// The sequences of what a reader gets up to `last`. Every message is whole.
fn read_up_to(client: &mut RawClient, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let message = client.message();
        let seq = message.sequence();
        assert!(
            message.payload == payload(usize::try_from(seq).unwrap() - 1),
            "message {seq} is not what was published"
        );
        seen.push(seq);
    }
    seen
}
