//! What a connection reads from and writes to: a socket, or TLS over it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::clock::now;
use crate::error::{BenchError, During as _, Result};
use crate::tls;

/// A stream of bytes in both directions.
#[derive(Debug)]
pub(super) enum Transport {
    /// The socket itself.
    Plain(TcpStream),
    /// TLS over it. Boxed: a session is large, and most connections have none.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// The same connection behind a TLS handshake, which has ended by then.
    ///
    /// # Errors
    /// The server shows no certificate of this run, or is silent for `stall`.
    pub(super) fn encrypted(&self, stall: Duration) -> Result<Self> {
        let Self::Plain(socket) = self else { return Err(BenchError::Setup("TLS inside of TLS".into())) };
        let mut socket = socket.try_clone().during("beginning TLS")?;
        let mut session = tls::session()?;
        let begun = now();
        while session.is_handshaking() {
            match session.complete_io(&mut socket) {
                Ok(_) => {}
                // The socket's timeout is how often other readers look around: no reason to give up.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if begun.elapsed() > stall {
                        return Err(BenchError::Stalled { seconds: stall.as_secs(), doing: "waiting for a handshake" });
                    }
                }
                Err(error) => return Err(error).during("shaking hands"),
            }
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
    }
}

impl Read for Transport {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(room),
            Self::Tls(stream) => stream.read(room),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            // A socket holds nothing back.
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
