//! The reading end of a connection with layers.

use std::io::{BufRead as _, ErrorKind};
use std::sync::Arc;

use rustls::ServerConnection;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

use super::{Layers, inflated_max};
use crate::websocket::frames::{Control, Reader};

/// Bytes that are read at once, at first and at most.
const READ_BYTES: (usize, usize) = (4 * 1024, 64 * 1024);
/// Decrypted bytes whose frames are opened at once.
const FRAMED_BYTES: usize = 16 * 1024;

/// Bytes, of which some are used.
#[derive(Default)]
struct Unread {
    bytes: Vec<u8>,
    at: usize,
}

impl Unread {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }
}

/// See the module.
pub struct Opener {
    socket: OwnedReadHalf,
    layers: Arc<Layers>,
    /// From the socket.
    raw: Unread,
    /// Decrypted, where frames are still to be opened.
    framed: Unread,
    frames: Option<Reader>,
    want: usize,
    ended: bool,
    /// The layers have something to say.
    pub(in super::super) must_speak: bool,
}

impl Opener {
    /// Goes on where the handshake ended, with what it read too much.
    #[must_use]
    pub fn new(socket: OwnedReadHalf, layers: Arc<Layers>, unread: Vec<u8>) -> Self {
        Self {
            socket,
            layers,
            raw: Unread { bytes: unread, at: 0 },
            framed: Unread::default(),
            frames: None,
            want: READ_BYTES.0,
            ended: false,
            must_speak: false,
        }
    }

    /// From here on bytes come in frames.
    pub fn begin_frames(&mut self, masked: bool, compression: bool, max_payload: usize) {
        self.frames = Some(Reader::new(masked, compression, inflated_max(max_payload)));
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> Arc<Layers> {
        self.layers.clone()
    }

    /// The socket, where nothing is to be opened any more.
    pub(in super::super) fn socket(&mut self) -> &mut OwnedReadHalf {
        &mut self.socket
    }

    /// The socket for good.
    pub(in super::super) fn into_socket(self) -> OwnedReadHalf {
        self.socket
    }

    /// As `AsyncReadExt::read_buf`: appends at least one byte, as many as there is room for; 0 at the end. May be dropped
    /// while it waits.
    pub(in super::super) async fn read_buf(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(READ_BYTES.0);
        }
        loop {
            let read = if self.frames.is_some() {
                self.open_frames(buffer)?
            } else {
                open(&self.layers, &mut self.raw, buffer, &mut self.ended, &mut self.must_speak)?
            };
            if read > 0 || self.ended {
                return Ok(read);
            }
            if self.must_speak {
                // An answer must not wait for what the client says next.
                return Err(ErrorKind::Interrupted.into());
            }
            if !self.raw.is_empty() {
                continue;
            }
            self.raw.clear();
            self.raw.bytes.reserve(self.want);
            let space = self.raw.bytes.capacity();
            match self.socket.read_buf(&mut self.raw.bytes).await? {
                // Without the words for it, as many clients end: whole operations that came before it count.
                0 => self.ended = true,
                read if read == space => self.want = (self.want * 2).min(READ_BYTES.1),
                _ => {}
            }
        }
    }

    /// Waits until there may be something, with as little memory as can be.
    pub(in super::super) async fn readable(&mut self) -> std::io::Result<()> {
        for unread in [&mut self.raw, &mut self.framed] {
            if unread.is_empty() {
                *unread = Unread::default();
            }
        }
        self.want = READ_BYTES.0;
        if let Some(frames) = &mut self.frames {
            frames.shrink();
        }
        self.socket.readable().await
    }

    /// Appends what is in frames that are there, as much as `buffer` has room for.
    fn open_frames(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
        let Self { layers, raw, framed, frames: Some(frames), ended, must_speak, .. } = self else { return Ok(0) };
        let before = buffer.len();
        let encrypted = layers.tls.is_some();
        loop {
            let source = if encrypted { &mut *framed } else { &mut *raw };
            let (taken, control) = match frames.read(source.rest(), buffer) {
                Ok(read) => read,
                Err(error) => {
                    if let Some(writer) = layers.frames.get() {
                        writer.lock().close(Some(error.code), error.text);
                    }
                    *must_speak = true;
                    return Err(std::io::Error::new(ErrorKind::InvalidData, error.text));
                }
            };
            source.at += taken;
            match (control, layers.frames.get()) {
                (Some(Control::Ping(content)), Some(writer)) => {
                    writer.lock().pong(content);
                    *must_speak = true;
                    // The pong leaves before more is read.
                    return Ok(buffer.len() - before);
                }
                (Some(Control::Close(code)), Some(writer)) => {
                    writer.lock().close(code, "");
                    (*must_speak, *ended) = (true, true);
                    return Ok(buffer.len() - before);
                }
                _ => {}
            }
            if buffer.len() > before || !source.is_empty() {
                // Something came, or there is no room for more.
                return Ok(buffer.len() - before);
            }
            if !encrypted {
                return Ok(0);
            }
            framed.clear();
            framed.bytes.reserve(FRAMED_BYTES);
            if open(layers, raw, &mut framed.bytes, ended, must_speak)? == 0 {
                return Ok(0);
            }
        }
    }
}

/// Decrypts as much as is there and `buffer` has room for; without encryption moves it.
fn open(
    layers: &Layers,
    raw: &mut Unread,
    buffer: &mut Vec<u8>,
    ended: &mut bool,
    must_speak: &mut bool,
) -> std::io::Result<usize> {
    let before = buffer.len();
    let Some(tls) = &layers.tls else {
        let take = raw.rest().len().min(buffer.capacity() - before);
        buffer.extend_from_slice(raw.rest().get(..take).unwrap_or_default());
        raw.at += take;
        return Ok(take);
    };
    let mut tls = tls.lock();
    loop {
        if take_plain(&mut tls, buffer)? {
            *ended = true;
            return Ok(buffer.len() - before);
        }
        let mut rest = raw.rest();
        if rest.is_empty() || buffer.len() == buffer.capacity() {
            return Ok(buffer.len() - before);
        }
        let used = tls.read_tls(&mut rest)?;
        raw.at += used;
        let progress = tls.process_new_packets();
        *must_speak |= tls.wants_write();
        if let Err(error) = progress {
            // What it has to say of that may still reach the client.
            return Err(std::io::Error::new(ErrorKind::InvalidData, error));
        }
    }
}

/// Takes what is decrypted and `buffer` has room for; true at the end of the session.
fn take_plain(tls: &mut ServerConnection, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        let room = buffer.capacity() - buffer.len();
        if room == 0 {
            return Ok(false);
        }
        let mut reader = tls.reader();
        match reader.fill_buf() {
            Ok([]) => return Ok(true),
            Ok(chunk) => {
                let take = chunk.len().min(room);
                buffer.extend_from_slice(chunk.get(..take).unwrap_or_default());
                reader.consume(take);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
