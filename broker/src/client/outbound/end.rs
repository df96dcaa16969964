//! The end of a connection, as its queue sees it: the last bytes leave, or what waits is dropped.

use std::sync::Arc;
use std::time::Duration;

use super::Outbound;
use super::queue::{Drained, Io};

impl Outbound {
    /// Takes nothing more; what is queued is dropped, and the socket is let go of.
    pub fn shut(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        if let Some(io) = queue.io.take() {
            // The peer may be gone already: then there is nobody to tell.
            let _ = rustix::net::shutdown(socket_of(&io), rustix::net::Shutdown::Both);
            if let Some(half) = Arc::into_inner(io).and_then(|io| Arc::into_inner(io.socket)) {
                // Or it would be shut down once more.
                half.forget();
            }
        }
        queue.chunks.clear();
        queue.tail.clear();
        queue.bounded = 0;
        queue.live = 0;
        queue.replay = 0;
        self.publish_counts(&queue);
        drop(queue);
        self.drained.notify_waiters();
    }

    /// Writes out what is queued, until `deadline`.
    pub async fn flush(&self, deadline: Duration) {
        let all = async {
            loop {
                match self.drain() {
                    Ok(Drained::Empty) | Err(_) => return,
                    Ok(Drained::Busy) => tokio::task::yield_now().await,
                    Ok(Drained::Blocked) => {
                        if !self.writable().await {
                            return;
                        }
                    }
                }
            }
        };
        let _ = tokio::time::timeout(deadline, all).await;
    }

    /// Tells the peer that nothing more comes.
    pub fn shutdown_socket(&self) {
        if let Some(io) = self.queue.lock().io.clone() {
            // The peer may be gone already: then there is nobody to tell.
            let _ = rustix::net::shutdown(socket_of(&io), rustix::net::Shutdown::Write);
        }
    }
}

fn socket_of(io: &Io) -> &tokio::net::TcpStream {
    io.socket.as_ref().as_ref()
}
