//! The end of a connection: its last words, and the socket let go of.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::{Client, CloseReason};
use crate::server::Server;

/// How long last words may take to reach a client that is being closed.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(500);

/// Says the last words, if there are any and somebody may hear them, and lets go of the socket.
pub(super) async fn finish(server: &Server, client: &Client, reader: Option<&mut OwnedReadHalf>) {
    let reason = client.close_reason();
    let broken = matches!(reason, CloseReason::WriteError | CloseReason::ReadError) || reason.is_slow_consumer();
    if reason.is_slow_consumer() {
        server.stats.slow_consumers.fetch_add(1, Ordering::Relaxed);
        if let Some(account) = server.accounts.get(&client.account()) {
            account.closed.slow_consumers.fetch_add(1, Ordering::Relaxed);
        }
        tracing::info!(client = %client, "{}: {} bytes pending", reason.as_str(), client.out.pending());
    }
    if !broken {
        client.out.flush(LAST_WORDS).await;
        client.out.farewell(LAST_WORDS, reason).await;
        // A client that has closed its side sends nothing more: below it is told the same.
        if reason != CloseReason::ClientClosed {
            client.out.shutdown_socket();
            if let Some(reader) = reader {
                // Closing with unread bytes resets the connection, and the reset may overtake the last words.
                let mut sink = [0_u8; 4096];
                let linger = async { while matches!(reader.read(&mut sink).await, Ok(n) if n > 0) {} };
                let _ = tokio::time::timeout(LAST_WORDS, linger).await;
            }
        }
    }
    client.out.shut();
    tracing::debug!(client = %client, "Client connection closed: {}", reason.as_str());
}
