//! The port for WebSockets: upgrades, frames in both directions, and what is refused.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod carrier;
mod frames;
#[allow(dead_code, reason = "shared with the tests of TLS, which use more of it")]
#[path = "../tls/support.rs"]
mod support;
mod upgrade;

use std::net::SocketAddr;

use sublog_tests::TestServer;
use sublog_tests::client::CONNECT;

use carrier::Socket;

/// A server with a port for WebSockets that has these keys besides, and where that is.
fn server(block: &str, rest: &str) -> (TestServer, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::TempDir::with_prefix("sublog-ws-").unwrap();
    let conf = folder.path().join("server.conf");
    let text = format!("{rest}\nwebsocket {{\n listen: '127.0.0.1:-1'\n no_tls: true\n {block}\n}}\n");
    std::fs::write(&conf, text).unwrap();
    let mut server =
        TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &["-c", conf.to_str().unwrap(), "-m", "-1"]);
    let address = port_of(&mut server, "ws");
    (server, address, folder)
}

/// Where the log says that the port is.
fn port_of(server: &mut TestServer, scheme: &str) -> SocketAddr {
    let line = server.log_line(&format!("Listening for websocket clients on {scheme}://"));
    line.rsplit("://").next().unwrap().parse().unwrap()
}

/// A client that has said CONNECT by way of frames.
fn client(address: SocketAddr) -> sublog_tests::RawClient {
    let mut client = Socket::connect(address, "").unwrap().client();
    client.hello(CONNECT);
    client
}
