//! What stands between a connection's protocol and its socket: encryption, for connections that have it.
//!
//! Shared by whoever writes (through [`super::outbound`]) and the connection's own task, which reads. The lock is held while
//! bytes are encrypted or decrypted, never during a call on the socket.

use std::io::{BufRead as _, ErrorKind, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rustls::ServerConnection;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

use super::CloseReason;

/// What one record adds to the bytes in it, at most; and how many bytes it holds.
const RECORD: (usize, usize) = (64, 16 * 1024);
/// Encrypted bytes that are read at once.
const READ_BYTES: (usize, usize) = (4 * 1024, 64 * 1024);

/// See the module.
pub struct Layers {
    tls: Mutex<ServerConnection>,
}

impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layers")
    }
}

impl Layers {
    /// A session whose handshake is done.
    #[must_use]
    pub fn new(mut tls: ServerConnection) -> Self {
        // What is given to it is taken out again before anything else is: there is nothing to bound.
        tls.set_buffer_limit(None);
        Self { tls: Mutex::new(tls) }
    }

    /// Appends to `out` what the layers have to say by themselves and what `pieces` become.
    ///
    /// # Errors
    /// The session has ended.
    pub fn seal(&self, pieces: &[Bytes], out: &mut Vec<u8>) -> Result<(), CloseReason> {
        let total: usize = pieces.iter().map(Bytes::len).sum();
        out.reserve_exact(total + RECORD.0 * (1 + total / RECORD.1));
        let mut tls = self.tls.lock();
        let mut joined = Vec::new();
        let plain = match pieces {
            [one] => one.as_ref(),
            many => {
                joined.reserve_exact(total);
                many.iter().for_each(|piece| joined.extend_from_slice(piece));
                joined.as_slice()
            }
        };
        tls.writer().write_all(plain).map_err(|_| CloseReason::WriteError)?;
        while tls.wants_write() {
            tls.write_tls(out).map_err(|_| CloseReason::WriteError)?;
        }
        Ok(())
    }

    /// Says that nothing more comes, the next time something is sealed.
    pub fn close(&self) {
        self.tls.lock().send_close_notify();
    }
}

/// The reading end of a connection with layers.
pub struct Opener {
    socket: OwnedReadHalf,
    layers: Arc<Layers>,
    /// What was read; `at` of it was decrypted.
    raw: Vec<u8>,
    at: usize,
    want: usize,
    ended: bool,
    /// The session has something to say.
    pub(super) must_speak: bool,
}

impl Opener {
    /// Goes on where the handshake ended, with what it read too much.
    #[must_use]
    pub fn new(socket: OwnedReadHalf, layers: Arc<Layers>, unread: Vec<u8>) -> Self {
        Self { socket, layers, raw: unread, at: 0, want: READ_BYTES.0, ended: false, must_speak: false }
    }

    /// The socket, where nothing is to be decrypted any more.
    pub(super) fn socket(&mut self) -> &mut OwnedReadHalf {
        &mut self.socket
    }

    /// As `AsyncReadExt::read_buf`: appends at least one byte, as many as there is room for; 0 at the end. May be dropped
    /// while it waits.
    pub(super) async fn read_buf(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(READ_BYTES.0);
        }
        loop {
            let read = self.open(buffer)?;
            if read > 0 || self.ended {
                return Ok(read);
            }
            self.raw.clear();
            self.at = 0;
            self.raw.reserve(self.want);
            let space = self.raw.capacity();
            match self.socket.read_buf(&mut self.raw).await? {
                // Without the words for it, as many clients end: whole operations that came before it count.
                0 => self.ended = true,
                read if read == space => self.want = (self.want * 2).min(READ_BYTES.1),
                _ => {}
            }
        }
    }

    /// Waits until there may be something, with as little memory as can be.
    pub(super) async fn readable(&mut self) -> std::io::Result<()> {
        if self.at == self.raw.len() {
            self.raw = Vec::new();
            self.at = 0;
            self.want = READ_BYTES.0;
        }
        self.socket.readable().await
    }

    /// Decrypts as much as is there and `buffer` has room for.
    fn open(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
        let before = buffer.len();
        let mut tls = self.layers.tls.lock();
        loop {
            loop {
                let room = buffer.capacity() - buffer.len();
                if room == 0 {
                    return Ok(buffer.len() - before);
                }
                let mut reader = tls.reader();
                match reader.fill_buf() {
                    Ok([]) => {
                        self.ended = true;
                        return Ok(buffer.len() - before);
                    }
                    Ok(chunk) => {
                        let take = chunk.len().min(room);
                        buffer.extend_from_slice(chunk.get(..take).unwrap_or_default());
                        reader.consume(take);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            let mut rest = self.raw.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(buffer.len() - before);
            }
            self.at += tls.read_tls(&mut rest)?;
            let progress = tls.process_new_packets();
            self.must_speak |= tls.wants_write();
            if let Err(error) = progress {
                // What it has to say of that may still reach the client.
                return Err(std::io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }
}
