//! Bytes that go through layers (encryption, frames) on their way to the socket.
//!
//! Whoever has the right to write (`Queue::writing`) puts the front of the queue through the layers, a piece at a time,
//! and writes what comes out before the next piece: so order in the queue is order on the wire, and at most one piece
//! is held twice. A piece that the socket does not take goes back to the front as it is, and counts as what it
//! stands for until all of it has left.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};
use tokio::net::tcp::OwnedWriteHalf;

use super::super::CloseReason;
use super::super::layers::Layers;
use super::queue::{Chunk, Drained, Io, Kind, Written};
use super::{DRAIN_ROUNDS_FOR_OTHERS, Outbound};
use crate::clock;
use crate::limits::WRITE_CHUNK_BYTES;

impl Outbound {
    /// Lets nothing leave until [`release`](Self::release) or the end: what is sent meanwhile waits. Returns the socket, or
    /// nothing when the connection has ended or something is still on its way.
    pub fn hold(&self) -> Option<Arc<OwnedWriteHalf>> {
        let mut queue = self.queue.lock();
        if queue.writing || queue.closed || !queue.is_empty() {
            return None;
        }
        let socket = queue.io.as_ref().map(|io| io.socket.clone())?;
        (queue.writing, queue.held) = (true, true);
        Some(socket)
    }

    /// Lets what waits leave, through `layers` if there are any.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn release(&self, layers: Option<Arc<Layers>>) -> Result<(), CloseReason> {
        {
            let mut queue = self.queue.lock();
            (queue.writing, queue.held) = (false, false);
            if let Some(io) = queue.io.take() {
                queue.io = Some(Arc::new(Io { socket: io.socket.clone(), layers }));
            }
        }
        self.drain_own()
    }

    /// After a [`hold`](Self::hold) that comes to nothing: what waits is never sent.
    pub fn abandon(&self) {
        let mut queue = self.queue.lock();
        if queue.held {
            (queue.writing, queue.held, queue.closed) = (false, false, true);
        }
    }

    /// The layers have something to say by themselves.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn nudge(&self) -> Result<(), CloseReason> {
        {
            let mut queue = self.queue.lock();
            let layered = queue.io.as_ref().is_some_and(|io| io.layers.is_some());
            // One that waits already will do.
            let waits = queue.tail.is_empty() && queue.chunks.back().is_some_and(|chunk| chunk.bytes.is_empty());
            if queue.closed || !layered || waits {
                return Ok(());
            }
            queue.push_chunk(Bytes::new(), Kind::Control);
        }
        self.drain_own()
    }

    /// Ends the layers in their own words, behind all that is queued.
    pub async fn farewell(&self, deadline: std::time::Duration, reason: CloseReason) {
        let layers = self.queue.lock().io.as_ref().and_then(|io| io.layers.clone());
        if let Some(layers) = layers {
            layers.close(reason);
            if self.nudge().is_ok() {
                self.flush(deadline).await;
            }
        }
    }

    /// Writes what this thread has queued, and of others' within reason.
    pub(super) fn drain_own(&self) -> Result<(), CloseReason> {
        if self.drain_rounds(1 + DRAIN_ROUNDS_FOR_OTHERS)? != Drained::Empty {
            self.wanted.notify_one();
        }
        Ok(())
    }

    /// As [`write_chunks`](Self::write_chunks), through the layers.
    pub(super) fn write_sealed(
        &self,
        socket: &OwnedWriteHalf,
        layers: &Layers,
        chunks: &mut VecDeque<Chunk>,
    ) -> (Written, Result<bool, CloseReason>) {
        let mut done = Written::default();
        while !chunks.is_empty() {
            if chunks.front().is_some_and(|chunk| chunk.sealed.is_none())
                && let Err(reason) = seal_front(layers, chunks)
            {
                return (done, Err(reason));
            }
            let Some(front) = chunks.front_mut() else { break };
            while !front.bytes.is_empty() {
                match socket.try_write(&front.bytes) {
                    Ok(0) => return (done, Err(CloseReason::WriteError)),
                    Ok(n) => {
                        front.bytes.advance(n);
                        self.progress_ms.store(clock::ticks_ms(), Ordering::Relaxed);
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return (done, Ok(false)),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return (done, Err(CloseReason::WriteError)),
                }
            }
            done.add(front.kind, front.sealed.unwrap_or(0));
            chunks.pop_front();
        }
        (done, Ok(true))
    }
}

/// Makes one sealed chunk of the chunks in front that are of one kind, up to the size of a piece.
fn seal_front(layers: &Layers, chunks: &mut VecDeque<Chunk>) -> Result<(), CloseReason> {
    let Some(kind) = chunks.front().map(|chunk| chunk.kind) else { return Ok(()) };
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut cost = 0;
    while let Some(front) = chunks.front_mut().filter(|front| front.kind == kind && front.sealed.is_none()) {
        let room = WRITE_CHUNK_BYTES - cost;
        let take = front.bytes.len().min(room);
        if take == 0 && !front.bytes.is_empty() {
            break;
        }
        pieces.push(front.bytes.split_to(take));
        cost += take;
        if front.bytes.is_empty() {
            chunks.pop_front();
        }
    }
    let mut out = Vec::new();
    layers.seal(&pieces, &mut out)?;
    chunks.push_front(Chunk { bytes: Bytes::from(out), kind, sealed: Some(cost) });
    Ok(())
}
