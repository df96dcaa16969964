//! What stands between a connection's protocol and its socket: encryption, frames of a WebSocket, or both.
//!
//! Shared by whoever writes (through [`super::outbound`]) and the connection's own task, which reads (through [`Opener`]). The
//! locks are held while bytes are encrypted, decrypted or put into frames, never two at once and never during a call on the
//! socket.

mod opener;

use std::io::{self, Write as _};
use std::sync::OnceLock;

use bytes::Bytes;
use parking_lot::Mutex;
use rustls::ServerConnection;
use sublog_protocol::limits::MAX_PAYLOAD;

use super::CloseReason;
use crate::websocket::frames::{PROTOCOL_ERROR, TOO_BIG, Writer};
pub use opener::Opener;

/// What one record adds to the bytes in it, at most; and how many bytes it holds.
const RECORD: (usize, usize) = (64, 16 * 1024);
/// A compressed message may inflate to this much, or to the largest payload and as much again if that is more.
const INFLATED_MIN: usize = 2 * MAX_PAYLOAD;

/// See the module.
pub struct Layers {
    tls: Option<Mutex<ServerConnection>>,
    frames: OnceLock<Mutex<Writer>>,
}

impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layers")
            .field("tls", &self.tls.is_some())
            .field("frames", &self.frames.get().is_some())
            .finish()
    }
}

impl Layers {
    /// A session whose handshake is done, if the connection is encrypted.
    #[must_use]
    pub fn new(tls: Option<ServerConnection>) -> Self {
        let tls = tls.map(|mut tls| {
            // What is given to it is taken out again before anything else is: there is nothing to bound.
            tls.set_buffer_limit(None);
            Mutex::new(tls)
        });
        Self { tls, frames: OnceLock::new() }
    }

    /// From here on bytes travel in frames.
    pub fn begin_frames(&self, writer: Writer) {
        // There is one upgrade a connection.
        let _ = self.frames.set(Mutex::new(writer));
    }

    /// Appends to `out` what the layers have to say by themselves and what `pieces` become.
    ///
    /// # Errors
    /// The session has ended.
    pub fn seal(&self, pieces: &[Bytes], out: &mut Vec<u8>) -> Result<(), CloseReason> {
        let failed = |_: io::Error| CloseReason::WriteError;
        let Some(tls) = &self.tls else {
            match self.frames.get() {
                Some(frames) => frames.lock().write(pieces, out),
                None => pieces.iter().for_each(|piece| out.extend_from_slice(piece)),
            }
            return Ok(());
        };
        let mut joined = Vec::new();
        let plain = match (self.frames.get(), pieces) {
            (Some(frames), _) => {
                frames.lock().write(pieces, &mut joined);
                joined.as_slice()
            }
            (None, [one]) => one.as_ref(),
            (None, many) => {
                joined.reserve_exact(many.iter().map(Bytes::len).sum());
                many.iter().for_each(|piece| joined.extend_from_slice(piece));
                joined.as_slice()
            }
        };
        out.reserve_exact(plain.len() + RECORD.0 * (1 + plain.len() / RECORD.1));
        let mut tls = tls.lock();
        tls.writer().write_all(plain).map_err(failed)?;
        while tls.wants_write() {
            tls.write_tls(out).map_err(failed)?;
        }
        Ok(())
    }

    /// Says that nothing more comes, and why, the next time something is sealed.
    pub fn close(&self, reason: CloseReason) {
        if let Some(frames) = self.frames.get() {
            frames.lock().close(Some(close_code(reason)), reason.as_str());
        }
        if let Some(tls) = &self.tls {
            // The last frame has to be in front of the words that end the session.
            let mut frame = Vec::new();
            if let Some(frames) = self.frames.get() {
                frames.lock().write(&[], &mut frame);
            }
            let mut tls = tls.lock();
            // A session that takes nothing has ended.
            let _ = tls.writer().write_all(&frame);
            tls.send_close_notify();
        }
    }
}

/// The most bytes that a compressed message may have.
fn inflated_max(max_payload: usize) -> usize {
    max_payload.saturating_mul(2).max(INFLATED_MIN)
}

/// A reason in the numbers of RFC 6455, as nats-server has them.
fn close_code(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::ClientClosed => 1000,
        CloseReason::WriteError
        | CloseReason::ReadError
        | CloseReason::StaleConnection
        | CloseReason::ServerShutdown => 1001,
        CloseReason::ParseError | CloseReason::ProtocolViolation | CloseReason::BadClientProtocol => PROTOCOL_ERROR,
        CloseReason::MaximumPayload => TOO_BIG,
        CloseReason::AuthenticationTimeout
        | CloseReason::AuthenticationFailure
        | CloseReason::SlowConsumerPendingBytes
        | CloseReason::SlowConsumerWriteDeadline
        | CloseReason::MaximumConnections
        | CloseReason::MaximumControlLine => 1008,
        _ => 1011,
    }
}
