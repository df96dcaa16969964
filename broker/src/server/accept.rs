//! The listening sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use parking_lot::RwLock;

use super::{ServeError, Server};
use crate::client::connection;
use crate::config::ServerOptions;
use crate::tls::Tls;
use crate::websocket::WebSocket;

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
pub(super) async fn accept_loop(server: Arc<Server>, listener: &TcpListener, websocket: Option<Arc<WebSocket>>) {
    let mut pause = BACK_OFF.0;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                pause = BACK_OFF.0;
                tokio::spawn(connection::serve(server.clone(), stream, remote, websocket.clone()));
            }
            Err(error) => {
                tracing::warn!("Accept failed, trying again in {pause:?}: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Where connections come from, until this is dropped.
pub(super) struct Listeners {
    pub(super) clients: TcpListener,
    websocket: Option<tokio::task::JoinHandle<()>>,
}

impl Listeners {
    pub(super) fn new(server: &Arc<Server>, clients: TcpListener, websocket: Option<TcpListener>) -> Self {
        let server = server.clone();
        let websocket = websocket.map(|listener| {
            tokio::spawn(async move { accept_loop(server.clone(), &listener, server.websocket.clone()).await })
        });
        Self { clients, websocket }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(accepting) = &self.websocket {
            accepting.abort();
        }
    }
}

/// Opens the port for WebSockets, if there is to be one.
pub(super) async fn open_websocket(options: &ServerOptions) -> Result<Option<(TcpListener, WebSocket)>, ServeError> {
    let Some(port) = &options.websocket else { return Ok(None) };
    let host = port.host.as_ref().unwrap_or(&options.host);
    let failed = |source| ServeError::Listen { host: host.clone(), port: port.port, source };
    let tls = port.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
    let listener = bind(host, port.port).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, WebSocket { address, options: port.clone(), tls: RwLock::new(tls) })))
}

pub(super) fn tell_websocket(server: &Server) {
    let Some(port) = &server.websocket else { return };
    let scheme = if port.options.tls.is_some() { "wss" } else { "ws" };
    let host = port.options.host.as_ref().unwrap_or(&server.options.host);
    tracing::info!("Listening for websocket clients on {scheme}://{host}:{}", port.address.port());
    if port.options.tls.is_none() {
        tracing::warn!("Websocket connections are not encrypted (no_tls)");
    }
}
