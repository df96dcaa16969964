//! Clients that mean no good, or are many: memory stays bounded, and others are served.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

mod before;
mod floods;
mod slow;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sublog_tests::{RawClient, TestServer, clock};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn server(args: &[&str]) -> TestServer {
    TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), args)
}

/// A socket that nobody speaks for.
fn socket(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(clock::PATIENCE)).unwrap();
    stream.set_write_timeout(Some(clock::PATIENCE)).unwrap();
    stream
}

/// Sends what can be sent; the other side may have hung up.
fn push(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Whether the other side has closed by now, or does within the patience of the socket.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Somebody who is served all the while.
struct Bystander(RawClient);

impl Bystander {
    fn new(server: &TestServer, connect: &str) -> Self {
        let mut client = server.raw();
        client.hello(connect);
        client.subscribe("bystander", "1");
        client.sync();
        Self(client)
    }

    /// A message to oneself, within a time that a person would still not notice on a busy machine.
    fn is_served(&mut self) {
        let begun = clock::now();
        self.0.publish("bystander", "x");
        assert_eq!(self.0.message().text(), "x");
        self.0.sync();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(3), "a message took {took:?}");
    }
}
