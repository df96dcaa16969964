//! Monitoring over HTTPS: the same pages, behind the certificate that clients see. Nobody is asked for one of his own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::Server;

/// Handshakes at once; more callers wait.
const HANDSHAKES_MAX: usize = 64;
/// First and longest pause after a failed accept.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A listening socket whose connections are encrypted.
pub(super) struct SecureListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl SecureListener {
    pub(super) fn new(server: &Arc<Server>, listener: TcpListener) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(HANDSHAKES_MAX);
        tokio::spawn(accept(server.clone(), listener, done));
        Ok(Self { ready, address })
    }
}

async fn accept(server: Arc<Server>, listener: TcpListener, done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    let turns = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut pause = BACK_OFF.0;
    loop {
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF.1);
                continue;
            }
        };
        pause = BACK_OFF.0;
        let Some(tls) = server.tls() else { continue };
        let done = done.clone();
        tokio::spawn(async move {
            let shaking = TlsAcceptor::from(tls.anonymous.clone()).accept(stream);
            match tokio::time::timeout(tls.options.timeout, shaking).await {
                // Nobody takes it only when the server ends.
                Ok(Ok(stream)) => drop(done.send((stream, remote)).await),
                Ok(Err(error)) => tracing::debug!("{remote} - TLS handshake error of a monitoring connection: {error}"),
                Err(_) => tracing::debug!("{remote} - TLS handshake timeout of a monitoring connection"),
            }
            drop(turn);
        });
    }
}

impl axum::serve::Listener for SecureListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
