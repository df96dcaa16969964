//! What waits for one socket, and what it is for. Plain data under the lock of [`super::Outbound`].

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::super::layers::Layers;
use tokio::net::tcp::OwnedWriteHalf;

use crate::limits::WRITE_CHUNK_BYTES;

/// What bytes are for, which decides how a client that does not read them is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Live deliveries: a client must keep up with them, in bytes and in time.
    Live,
    /// Answers and pings sent on their own: bounded in bytes, but no reason to call a client slow. (Answers that leave
    /// between deliveries count as those.)
    Control,
    /// Replayed history, produced at the reader's own pace.
    Replay,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is left.
    Empty,
    /// The socket takes no more for now.
    Blocked,
    /// Another thread is writing and will go on.
    Busy,
}

#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) kind: Kind,
    /// For what has been through the layers: the bytes it stands for, which count until all of it has left.
    pub(super) sealed: Option<usize>,
}

impl Chunk {
    pub(super) fn plain(bytes: Bytes, kind: Kind) -> Self {
        Self { bytes, kind, sealed: None }
    }
}

/// A socket, and what stands between it and the queue.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) socket: Arc<OwnedWriteHalf>,
    /// `None`, as for most connections, lets bytes through as they are.
    pub(super) layers: Option<Arc<Layers>>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The socket, until the connection ends. Publishers may remember a client for long after; it must not keep a
    /// descriptor for them.
    pub(super) io: Option<Arc<Io>>,
    pub(super) chunks: VecDeque<Chunk>,
    /// Small pieces gather here until they make a chunk.
    pub(super) tail: Vec<u8>,
    pub(super) tail_kind: Option<Kind>,
    /// Bytes that count against `max_pending` (all but replay).
    pub(super) bounded: usize,
    /// Bytes of [`Kind::Live`].
    pub(super) live: usize,
    pub(super) replay: usize,
    /// Somebody is in a write call on this socket.
    pub(super) writing: bool,
    /// Nobody is: the right to write is kept from all until the connection is encrypted.
    pub(super) held: bool,
    pub(super) closed: bool,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.tail.is_empty()
    }

    pub(super) fn account(&mut self, kind: Kind, len: usize) {
        match kind {
            Kind::Live => {
                self.live += len;
                self.bounded += len;
            }
            Kind::Control => self.bounded += len,
            Kind::Replay => self.replay += len,
        }
    }

    pub(super) fn settle(&mut self, kind: Kind, len: usize) {
        match kind {
            Kind::Live => {
                self.live = self.live.saturating_sub(len);
                self.bounded = self.bounded.saturating_sub(len);
            }
            Kind::Control => self.bounded = self.bounded.saturating_sub(len),
            Kind::Replay => self.replay = self.replay.saturating_sub(len),
        }
    }

    pub(super) fn freeze_tail(&mut self) {
        if let (false, Some(kind)) = (self.tail.is_empty(), self.tail_kind) {
            self.chunks.push_back(Chunk::plain(Bytes::from(std::mem::take(&mut self.tail)), kind));
        }
        self.tail_kind = None;
    }

    /// Takes `buf`'s bytes: small ones are copied into the tail, big ones change hands.
    pub(super) fn push(&mut self, buf: &mut Vec<u8>, kind: Kind) {
        self.account(kind, buf.len());
        if buf.len() < WRITE_CHUNK_BYTES / 4 {
            if self.tail_kind.is_some_and(|k| k != kind) || self.tail.len() + buf.len() > WRITE_CHUNK_BYTES {
                self.freeze_tail();
            }
            self.tail_kind = Some(kind);
            self.tail.append(buf);
        } else {
            self.freeze_tail();
            self.chunks.push_back(Chunk::plain(owned(buf), kind));
        }
    }

    pub(super) fn push_chunk(&mut self, bytes: Bytes, kind: Kind) {
        self.freeze_tail();
        self.account(kind, bytes.len());
        self.chunks.push_back(Chunk::plain(bytes, kind));
    }
}

/// A buffer's bytes as a chunk. One that is mostly spare room is copied: what waits should cost what is counted.
pub(super) fn owned(buf: &mut Vec<u8>) -> Bytes {
    if buf.capacity() > buf.len() * 2 {
        let bytes = Bytes::copy_from_slice(buf);
        buf.clear();
        bytes
    } else {
        Bytes::from(std::mem::take(buf))
    }
}

#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) live: usize,
    pub(super) control: usize,
    pub(super) replay: usize,
}

impl Written {
    pub(super) fn add(&mut self, kind: Kind, len: usize) {
        match kind {
            Kind::Live => self.live += len,
            Kind::Control => self.control += len,
            Kind::Replay => self.replay += len,
        }
    }

    pub(super) fn counts(&self) -> [(Kind, usize); 3] {
        [(Kind::Live, self.live), (Kind::Control, self.control), (Kind::Replay, self.replay)]
    }
}
