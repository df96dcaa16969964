//! Reading from one socket: how long to wait, how much memory to hold meanwhile, and the answers that wait for what
//! follows.

use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::connection::Connection;
use super::layers::Opener;
use super::{CloseReason, acks};
use crate::limits::{IDLE_KEEP_BYTES, OVERTAKING_PING_FIRST, OVERTAKING_PING_QUIET, READ_BUFFER_BYTES};

/// Where a connection's bytes come from.
pub(super) enum Input {
    /// A socket.
    Plain(OwnedReadHalf),
    /// A socket with layers before it.
    Layered(Box<Opener>),
}

impl Input {
    async fn read_buf(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read_buf(buffer).await,
            Self::Layered(opener) => opener.read_buf(buffer).await,
        }
    }

    async fn readable(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(reader) => reader.readable().await,
            Self::Layered(opener) => opener.readable().await,
        }
    }

    /// The socket itself.
    pub(super) fn socket(&mut self) -> &mut OwnedReadHalf {
        match self {
            Self::Plain(reader) => reader,
            Self::Layered(opener) => opener.socket(),
        }
    }

    /// Whether the layers have something to say since this was last asked.
    fn must_speak(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Layered(opener) => std::mem::take(&mut opener.must_speak),
        }
    }
}

impl Connection {
    /// As [`read_more`](Self::read_more); layers that have something to say of what came say it.
    pub(super) async fn read(&mut self, reader: &mut Input, buffer: &mut Vec<u8>) -> Option<std::io::Result<usize>> {
        let read = self.read_more(reader, buffer).await;
        if reader.must_speak()
            && let Err(reason) = self.client.out.nudge()
        {
            self.client.close(reason);
        }
        read
    }

    /// Reads more. `None` when that is to be tried again: nothing followed an answer that was held for it, or the
    /// connection was idle and gave its buffers back.
    async fn read_more(&mut self, reader: &mut Input, buffer: &mut Vec<u8>) -> Option<std::io::Result<usize>> {
        if !self.held.is_empty() {
            let quiet = if !self.desks.has_unflushed() { OVERTAKING_PING_FIRST } else { OVERTAKING_PING_QUIET };
            let read = tokio::time::timeout(quiet, reader.read_buf(buffer)).await.ok();
            if read.is_none() {
                self.release_held();
            }
            return read;
        }
        let nudge = self.client.nudge.notified();
        if !buffer.is_empty() {
            return tokio::select! {
                read = reader.read_buf(buffer) => Some(read),
                () = nudge => None,
            };
        }
        {
            let at_once = std::pin::pin!(reader.read_buf(buffer));
            if let Some(read) = poll_once(at_once).await {
                return Some(read);
            }
        }
        *buffer = Vec::new();
        self.desks.shrink(IDLE_KEEP_BYTES);
        self.fanout.shrink();
        // An error shows in the read that follows.
        tokio::select! {
            _ = reader.readable() => {}
            () = nudge => return None,
        }
        // "Not at once" may also have meant that this task has had its turn. Without giving way here it would ask for
        // ever: the read refuses until the next turn, and the socket is readable all the time.
        tokio::task::consume_budget().await;
        None
    }

    /// The client sends no more, but may still wait for answers.
    pub(super) async fn half_closed(&mut self) -> CloseReason {
        if !self.held.is_empty() {
            self.release_held();
        }
        self.wait_for_acks(0).await;
        CloseReason::ClientClosed
    }

    /// Answers what was held, as a flush of everything that came since.
    pub(super) fn release_held(&mut self) {
        let waits = self.desks.take_unflushed();
        acks::answer_when_committed(&self.client, &waits, self.held.drain(..));
    }
}

/// What the future gives at once, if anything.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

/// Makes room for at least `want` bytes, or for the rest of the operation that is under way. A payload that was only
/// announced costs its sender bytes before it costs the server memory: the buffer at most doubles.
pub(super) fn reserve(buffer: &mut Vec<u8>, want: usize, at_least: usize) {
    if at_least > buffer.capacity() {
        let target = at_least.min((buffer.len() * 2).max(READ_BUFFER_BYTES));
        buffer.reserve_exact(target.saturating_sub(buffer.len()));
    } else if buffer.capacity() - buffer.len() < want / 2 {
        buffer.reserve_exact(want.max(buffer.capacity()).saturating_sub(buffer.len()).max(want / 2));
    }
}
