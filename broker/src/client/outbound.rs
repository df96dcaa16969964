//! Bytes on their way to one socket.
//!
//! Whoever has bytes for an idle socket writes them at once, on its own thread, without waking anybody. Only when the
//! socket is full, or another thread is just writing to it, do they wait in a queue, which the connection's own task
//! drains with vectored writes as the socket becomes writable. The lock guards the queue and is never held during a
//! system call.

mod end;
mod queue;
mod sealed;

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use super::CloseReason;
use crate::clock;
use crate::limits::WRITE_CHUNKS_MAX;
use queue::{Chunk, Io, Queue, Written, owned};
pub use queue::{Drained, Kind};

/// How often a publisher, after its own write, goes on writing what others queued meanwhile.
const DRAIN_ROUNDS_FOR_OTHERS: usize = 2;

/// See the module.
#[derive(Debug)]
pub struct Outbound {
    queue: Mutex<Queue>,
    max_pending: usize,
    /// Bytes queued that count against `max_pending`, for publishers to look at without the lock.
    bounded: AtomicUsize,
    replay: AtomicUsize,
    /// Tells the connection's task that there is something to write once the socket is ready.
    wanted: Notify,
    /// Tells replays and stalled publishers that there is room again.
    drained: Notify,
    /// `clock::ticks_ms` when the socket last took a byte or had nothing to take.
    progress_ms: AtomicU64,
}

impl Outbound {
    /// For a fresh connection.
    #[must_use]
    pub fn new(io: OwnedWriteHalf, max_pending: usize) -> Self {
        Self {
            queue: Mutex::new(Queue {
                io: Some(Arc::new(Io { socket: Arc::new(io), layers: None })),
                ..Queue::default()
            }),
            max_pending,
            bounded: AtomicUsize::new(0),
            replay: AtomicUsize::new(0),
            wanted: Notify::new(),
            drained: Notify::new(),
            progress_ms: AtomicU64::new(clock::ticks_ms()),
        }
    }

    /// Bytes waiting, replay aside.
    pub fn pending(&self) -> usize {
        self.bounded.load(Ordering::Relaxed)
    }

    /// Replayed bytes waiting.
    pub fn pending_replay(&self) -> usize {
        self.replay.load(Ordering::Relaxed)
    }

    fn publish_counts(&self, queue: &Queue) {
        self.bounded.store(queue.bounded, Ordering::Relaxed);
        self.replay.store(queue.replay, Ordering::Release);
    }

    /// Writes or queues `buf`, and leaves it empty (it may keep its memory).
    ///
    /// # Errors
    /// Why the connection must end: its client is too slow, or its socket is broken.
    pub fn send(&self, buf: &mut Vec<u8>, kind: Kind) -> Result<(), CloseReason> {
        if buf.is_empty() {
            return Ok(());
        }
        let io = {
            let mut queue = self.queue.lock();
            let Some(io) = queue.io.clone().filter(|_| !queue.closed) else {
                buf.clear();
                return Ok(());
            };
            if kind != Kind::Replay && queue.bounded + buf.len() > self.max_pending {
                queue.closed = true;
                buf.clear();
                return Err(CloseReason::SlowConsumerPendingBytes);
            }
            if queue.writing || !queue.is_empty() {
                self.mark_if_first(&queue, kind);
                queue.push(buf, kind);
                self.publish_counts(&queue);
                return Ok(());
            }
            if io.layers.is_some() {
                self.mark_if_first(&queue, kind);
                queue.push(buf, kind);
                self.publish_counts(&queue);
                drop(queue);
                return self.drain_own();
            }
            queue.writing = true;
            io
        };
        let written = self.write_now(&io.socket, buf);
        let mut queue = self.queue.lock();
        queue.writing = false;
        if queue.closed {
            // It ended meanwhile: nobody will send the rest.
            buf.clear();
            return Ok(());
        }
        let written = match written {
            Ok(written) => written,
            Err(reason) => {
                queue.closed = true;
                buf.clear();
                return Err(reason);
            }
        };
        if let Some(rest) = buf.get(written..).filter(|rest| !rest.is_empty()) {
            // What others queued meanwhile comes after this.
            let bytes = if written == 0 { owned(buf) } else { Bytes::copy_from_slice(rest) };
            self.mark_if_first(&queue, kind);
            queue.account(kind, bytes.len());
            queue.chunks.push_front(Chunk::plain(bytes, kind));
            buf.clear();
            self.publish_counts(&queue);
            drop(queue);
            self.wanted.notify_one();
            return Ok(());
        }
        buf.clear();
        if !queue.is_empty() {
            // Others came while this thread was writing: their bytes are its to write too, within reason.
            drop(queue);
            if self.drain_rounds(DRAIN_ROUNDS_FOR_OTHERS)? != Drained::Empty {
                self.wanted.notify_one();
            }
        }
        Ok(())
    }

    /// The first live byte to wait starts the clock of the write deadline.
    fn mark_if_first(&self, queue: &Queue, kind: Kind) {
        if kind == Kind::Live && queue.live == 0 {
            self.progress_ms.store(clock::ticks_ms(), Ordering::Relaxed);
        }
    }

    /// Queues chunks of a replay, without copying them, and starts writing.
    ///
    /// # Errors
    /// The socket is broken, or the connection has ended.
    pub fn send_chunks(&self, chunks: &mut Vec<Bytes>) -> Result<(), CloseReason> {
        {
            let mut queue = self.queue.lock();
            if queue.closed {
                chunks.clear();
                return Err(CloseReason::ClientClosed);
            }
            for bytes in chunks.drain(..) {
                queue.push_chunk(bytes, Kind::Replay);
            }
            self.publish_counts(&queue);
        }
        if self.drain()? == Drained::Blocked {
            self.wanted.notify_one();
        }
        Ok(())
    }

    fn write_now(&self, io: &OwnedWriteHalf, buf: &[u8]) -> Result<usize, CloseReason> {
        let mut written = 0;
        while let Some(rest) = buf.get(written..).filter(|rest| !rest.is_empty()) {
            match io.try_write(rest) {
                Ok(0) => return Err(CloseReason::WriteError),
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(CloseReason::WriteError),
            }
        }
        if written > 0 {
            self.progress_ms.store(clock::ticks_ms(), Ordering::Relaxed);
        }
        Ok(written)
    }

    /// Writes what is queued as far as the socket takes it.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn drain(&self) -> Result<Drained, CloseReason> {
        self.drain_rounds(usize::MAX)
    }

    fn drain_rounds(&self, rounds: usize) -> Result<Drained, CloseReason> {
        let mut round = 0;
        let mut mine: VecDeque<Chunk> = VecDeque::new();
        let mut queue = self.queue.lock();
        if queue.writing {
            return Ok(Drained::Busy);
        }
        loop {
            queue.freeze_tail();
            if queue.chunks.is_empty() || queue.closed {
                queue.chunks.clear();
                self.publish_counts(&queue);
                drop(queue);
                self.drained.notify_waiters();
                return Ok(Drained::Empty);
            }
            if round == rounds {
                return Ok(Drained::Busy);
            }
            round += 1;
            let Some(io) = queue.io.clone() else { return Ok(Drained::Empty) };
            std::mem::swap(&mut mine, &mut queue.chunks);
            queue.writing = true;
            drop(queue);

            let outcome = match &io.layers {
                None => self.write_chunks(&io.socket, &mut mine),
                Some(layers) => self.write_sealed(&io.socket, layers, &mut mine),
            };
            queue = self.queue.lock();
            queue.writing = false;
            if queue.closed {
                mine.clear();
                continue;
            }
            let (written, result) = outcome;
            for (kind, len) in written.counts() {
                queue.settle(kind, len);
            }
            if !mine.is_empty() {
                // The socket is full or broken: what is left goes back in front.
                queue.freeze_tail();
                let later = std::mem::replace(&mut queue.chunks, std::mem::take(&mut mine));
                queue.chunks.extend(later);
            }
            self.publish_counts(&queue);
            match result {
                Ok(true) => {}
                Ok(false) => {
                    drop(queue);
                    self.drained.notify_waiters();
                    return Ok(Drained::Blocked);
                }
                Err(reason) => {
                    queue.closed = true;
                    return Err(reason);
                }
            }
        }
    }

    /// Writes chunks from the front; true when all went.
    fn write_chunks(&self, io: &OwnedWriteHalf, chunks: &mut VecDeque<Chunk>) -> (Written, Result<bool, CloseReason>) {
        let mut done = Written::default();
        let mut result = Ok(true);
        while !chunks.is_empty() {
            let written = {
                let slices: Vec<IoSlice<'_>> =
                    chunks.iter().take(WRITE_CHUNKS_MAX).map(|chunk| IoSlice::new(&chunk.bytes)).collect();
                io.try_write_vectored(&slices)
            };
            match written {
                Ok(0) => result = Err(CloseReason::WriteError),
                Ok(mut n) => {
                    self.progress_ms.store(clock::ticks_ms(), Ordering::Relaxed);
                    while let Some(front) = chunks.front_mut().filter(|_| n > 0) {
                        let take = n.min(front.bytes.len());
                        done.add(front.kind, take);
                        n -= take;
                        front.bytes.advance(take);
                        if front.bytes.is_empty() {
                            chunks.pop_front();
                        }
                    }
                    continue;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => result = Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => result = Err(CloseReason::WriteError),
            }
            break;
        }
        (done, result)
    }

    /// Drains whenever there is something to drain; part of the connection's own task.
    pub async fn write_loop(&self) -> CloseReason {
        loop {
            self.wanted.notified().await;
            loop {
                match self.drain() {
                    Ok(Drained::Empty | Drained::Busy) => break,
                    Ok(Drained::Blocked) => {
                        if !self.writable().await {
                            return CloseReason::WriteError;
                        }
                    }
                    Err(reason) => return reason,
                }
            }
        }
    }

    /// Waits until the socket can be written to for the first time.
    pub async fn ready(&self) {
        // A broken socket shows in the first write or read.
        let _ = self.writable().await;
    }

    /// Waits until the socket takes bytes; false when it never will.
    async fn writable(&self) -> bool {
        let io = self.queue.lock().io.clone();
        match io {
            Some(io) => io.socket.writable().await.is_ok(),
            None => false,
        }
    }

    /// Waits until `room` says so; it is asked again whenever bytes left.
    pub async fn wait_for_room(&self, room: impl Fn(&Self) -> bool) {
        loop {
            let notified = self.drained.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if room(self) {
                return;
            }
            notified.await;
        }
    }

    /// Makes those who wait for room look again.
    pub fn poke(&self) {
        self.drained.notify_waiters();
    }

    /// How long the socket has refused live deliveries, in milliseconds; 0 when it has none to take.
    pub fn stuck_ms(&self, now_ms: u64) -> u64 {
        if self.queue.lock().live == 0 {
            return 0;
        }
        now_ms.saturating_sub(self.progress_ms.load(Ordering::Relaxed))
    }
}
