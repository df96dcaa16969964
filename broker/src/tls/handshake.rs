//! The handshake of one connection, from the server's side.
//!
//! It runs on threads of its own (`sublog-tls`): what a signature costs is a third of a millisecond and more, and a
//! crowd of clients that connect must not stand between a message and its readers. How many run at once is bounded
//! by those threads; how long one may take, by its listener; how much memory it holds, by the largest message that a
//! handshake may have (64 KiB).

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Tls, suite_name};

/// First byte of whatever begins a handshake.
pub const HANDSHAKE_RECORD: u8 = 0x16;
/// Read at once; the rest stays with the system.
const READ_BYTES: usize = 16 * 1024;

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum HandshakeError {
    #[error("timeout")]
    Timeout,
    #[error("the client went away")]
    Gone,
    #[error("first record does not look like a TLS handshake")]
    NotTls,
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Refused(String),
}

impl HandshakeError {
    /// Whether it is what probes and wrong clients look like, and not worth a line in the log.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        matches!(self, Self::Timeout | Self::Gone | Self::NotTls)
    }

    /// Whether the client may still understand words that are not encrypted.
    #[must_use]
    pub fn is_plain(&self, heard: bool) -> bool {
        matches!(self, Self::NotTls) || (matches!(self, Self::Timeout) && !heard)
    }
}

/// What a handshake came to, for logs, monitoring and authorization.
#[derive(Debug, Clone)]
pub struct Secured {
    /// As `1.3`.
    pub version: &'static str,
    /// As `TLS_AES_128_GCM_SHA256`.
    pub suite: String,
    /// The client's certificates, its own first.
    pub peer: Vec<CertificateDer<'static>>,
    /// An earlier session went on.
    pub resumed: bool,
    /// It was the first thing on the connection.
    pub first: bool,
}

/// A session that can carry data.
pub struct Session {
    /// Its state.
    pub tls: ServerConnection,
    /// Bytes that came and are not decrypted yet.
    pub unread: Vec<u8>,
    /// What is to be told of it.
    pub secured: Secured,
}

/// Carries a handshake out. `heard` becomes true with the first byte of it that came.
///
/// # Errors
/// Why there is no session. What TLS says of that was sent.
pub async fn accept(
    tls: &Tls,
    reader: &mut OwnedReadHalf,
    writer: &OwnedWriteHalf,
    heard: &mut bool,
) -> Result<Session, HandshakeError> {
    let timeout = tls.options.timeout;
    let shaking = shake(tls, reader, writer, heard);
    tokio::time::timeout(timeout, shaking).await.unwrap_or(Err(HandshakeError::Timeout))
}

async fn shake(
    tls: &Tls,
    reader: &mut OwnedReadHalf,
    writer: &OwnedWriteHalf,
    heard: &mut bool,
) -> Result<Session, HandshakeError> {
    // Before anything is allocated for it: the client says something at all, and it is a handshake.
    let mut first = [0];
    match reader.peek(&mut first).await {
        Ok(1) if first == [HANDSHAKE_RECORD] => *heard = true,
        Ok(1) => {
            *heard = true;
            return Err(HandshakeError::NotTls);
        }
        _ => return Err(HandshakeError::Gone),
    }
    let mut session = ServerConnection::new(tls.config.clone())?;
    let mut unread = Vec::new();
    while session.is_handshaking() {
        if unread.is_empty() {
            unread.reserve(READ_BYTES);
            if !matches!(reader.read_buf(&mut unread).await, Ok(n) if n > 0) {
                return Err(HandshakeError::Gone);
            }
        }
        let fed =
            session.read_tls(&mut unread.as_slice()).map_err(|error| HandshakeError::Refused(error.to_string()))?;
        if fed == 0 {
            // It said that it closes, in the middle of its handshake.
            return Err(HandshakeError::Gone);
        }
        unread.drain(..fed);
        let progress = session.process_new_packets();
        // Where it failed, this is what tells the client.
        write_out(&mut session, writer).await?;
        progress?;
        // Each step is work; others have a turn.
        tokio::task::yield_now().await;
    }
    let peer: Vec<_> =
        session.peer_certificates().unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    tls.approve(&peer, resumed).map_err(HandshakeError::Refused)?;
    let secured = Secured {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "unknown",
        },
        suite: session.negotiated_cipher_suite().map(|suite| suite_name(suite.suite())).unwrap_or_default(),
        peer,
        resumed,
        first: false,
    };
    unread.shrink_to_fit();
    Ok(Session { tls: session, unread, secured })
}

async fn write_out(session: &mut ServerConnection, writer: &OwnedWriteHalf) -> Result<(), HandshakeError> {
    let mut out = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut out).map_err(|_| HandshakeError::Gone)?;
    }
    let mut rest = out.as_slice();
    while !rest.is_empty() {
        match writer.try_write(rest) {
            Ok(n) if n > 0 => rest = rest.get(n..).unwrap_or_default(),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                writer.writable().await.map_err(|_| HandshakeError::Gone)?;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            _ => return Err(HandshakeError::Gone),
        }
    }
    Ok(())
}

/// Waits for the first byte of a client, which stays to be read. `None` when none came in time, or none will.
pub async fn first_byte(reader: &mut OwnedReadHalf, within: Duration) -> Option<u8> {
    let mut first = [0];
    match tokio::time::timeout(within, reader.peek(&mut first)).await {
        Ok(Ok(1)) => first.first().copied(),
        _ => None,
    }
}

/// Runs handshakes on threads of their own.
#[derive(Debug, Clone)]
pub struct Shaker(tokio::runtime::Handle);

impl Shaker {
    /// Of a runtime whose threads do nothing else.
    #[must_use]
    pub fn new(runtime: tokio::runtime::Handle) -> Self {
        Self(runtime)
    }

    /// [`accept`] there; the first half of the answer is the reader, and whether anything was heard.
    pub async fn accept(
        &self,
        tls: Arc<Tls>,
        mut reader: OwnedReadHalf,
        writer: Arc<OwnedWriteHalf>,
    ) -> (Option<OwnedReadHalf>, bool, Result<Session, HandshakeError>) {
        let task = self.0.spawn(async move {
            let mut heard = false;
            let result = accept(&tls, &mut reader, &writer, &mut heard).await;
            (reader, heard, result)
        });
        let ending = Ending(task.abort_handle());
        let done = task.await;
        drop(ending);
        match done {
            Ok((reader, heard, result)) => (Some(reader), heard, result),
            Err(_) => (None, true, Err(HandshakeError::Gone)),
        }
    }
}

/// Ends the handshake of a connection that ends.
struct Ending(tokio::task::AbortHandle);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}
