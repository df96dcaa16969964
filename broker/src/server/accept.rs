//! The listening socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::Server;
use crate::client::connection;

/// Connections the kernel holds for us until they are accepted.
const BACKLOG: i32 = 4096;
/// First and longest pause after a failed accept, as when the process is out of file descriptors.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Binds `host:port`.
///
/// # Errors
/// The address cannot be resolved or taken.
pub(super) async fn bind(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let mut last = std::io::Error::new(std::io::ErrorKind::AddrNotAvailable, "the host has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server takes its port back from connections that are still closing.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the listener is dropped by the caller.
pub(super) async fn accept_loop(server: Arc<Server>, listener: &TcpListener) {
    let mut pause = BACK_OFF.0;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                pause = BACK_OFF.0;
                tokio::spawn(connection::serve(server.clone(), stream, remote));
            }
            Err(error) => {
                tracing::warn!("Accept failed, trying again in {pause:?}: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}
