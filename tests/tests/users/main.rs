//! Who may do what: users, what proves who they are, and their permissions, on every way a message can take.
//!
//! Each test starts its own server with a configuration file. What a test expects was seen of nats-server 2.15.1 as well,
//! but for what `docs/compatibility.md` names.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

mod login;
mod permissions;
mod reload;
mod secrets;

use std::path::PathBuf;

use sublog_tests::{RawClient, TestServer};
use tempfile::TempDir;

/// A server with a configuration file that a test may change.
struct Configured {
    server: TestServer,
    path: PathBuf,
    _folder: TempDir,
}

impl Configured {
    fn start(text: &str) -> Self {
        Self::start_with(text, &[])
    }

    fn start_with(text: &str, args: &[&str]) -> Self {
        let folder = TempDir::with_prefix("sublog-users-").unwrap();
        let path = folder.path().join("server.conf");
        std::fs::write(&path, text).unwrap();
        let mut all = vec!["-c", path.to_str().unwrap()];
        all.extend(args);
        let server = TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &all);
        Self { server, path, _folder: folder }
    }

    /// HUP, up to what the server says of it.
    fn reload(&mut self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
        let count = |server: &TestServer| {
            server.log().iter().filter(|line| line.contains("Reloaded server configuration")).count()
        };
        let before = count(&self.server);
        self.server.signal(rustix::process::Signal::HUP);
        sublog_tests::clock::until("the reload", || (count(&self.server) > before).then_some(()));
    }

    /// A quiet client with headers, as this user (with its name as password, plus `p`).
    fn user(&self, name: &str) -> RawClient {
        let mut client = self.server.raw();
        client.hello(&hello(name));
        client
    }
}

/// The CONNECT of a user.
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
