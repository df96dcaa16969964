//! Backups: streams that leave the server in pieces, and come back.
//!
//! ```text
//!  STREAM.SNAPSHOT.S ──► backup: log ─► archive ─► chunks to the client's subject ◄── acks on $JS.SNAPSHOT.ACK.S.<id>.<bytes>.<n>
//!  STREAM.RESTORE.S  ──► restore: chunks on $JS.SNAPSHOT.RESTORE.S.<id> ─► archive ─► a folder aside ─► the stream
//! ```
//! What clients send in either direction finds its transfer by the subject: it is there as long as the transfer runs, and
//! afterwards nobody answers. All of it is bounded: a window of chunks, the transfers at a time, the time a client may be silent.

pub mod archive;
pub mod backup;
pub mod restore;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use parking_lot::Mutex;
use sublog_protocol::decode::Publish;
use tokio::sync::mpsc;

use super::SNAPSHOT_PREFIX;
use super::consumer::setup;

/// Transfers at a time.
const TRANSFERS_MAX: usize = 16;
/// How long a client may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Chunks of a restore that may wait; clients send one and wait for its answer.
const CHUNKS_WAITING_MAX: usize = 16;

/// A piece of a backup that comes in.
pub(super) struct Chunk {
    reply: Box<[u8]>,
    bytes: Box<[u8]>,
}

/// Who waits for messages on a subject.
enum Party {
    /// A backup, for acks.
    Backup(mpsc::Sender<()>),
    /// A restore, for chunks.
    Restore(SyncSender<Chunk>),
}

/// Transfers that run, by what stands behind [`SNAPSHOT_PREFIX`]: `ACK.S.<id>`, `RESTORE.S.<id>`.
#[derive(Default)]
pub struct Transfers(Mutex<HashMap<String, Party>>);

/// A transfer's place among the others, until it is dropped.
struct Place {
    transfers: Arc<Transfers>,
    key: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.transfers.0.lock().remove(&self.key);
    }
}

impl Place {
    /// The subject on which the transfer is spoken to.
    fn subject(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(SNAPSHOT_PREFIX), self.key)
    }
}

impl Transfers {
    /// `None`: there are enough.
    fn enter(self: &Arc<Self>, what: &str, stream: &str, party: Party) -> Option<Place> {
        let id: String = (0..3).map(|_| setup::random_name()).collect();
        let key = format!("{what}.{stream}.{}", id.chars().take(22).collect::<String>());
        let mut parties = self.0.lock();
        if parties.len() >= TRANSFERS_MAX {
            return None;
        }
        parties.insert(key.clone(), party);
        Some(Place { transfers: self.clone(), key })
    }

    /// Takes a message on a subject that begins with [`SNAPSHOT_PREFIX`]. `false`: nobody waits for it.
    pub fn take(&self, message: &Publish<'_>) -> bool {
        let Some(key) = message.subject.strip_prefix(SNAPSHOT_PREFIX) else { return false };
        let Ok(key) = std::str::from_utf8(key) else { return false };
        // Acks say besides how many bytes they are for, and which chunk.
        let key = match key.strip_prefix("ACK.") {
            Some(_) => key.rsplitn(3, '.').last().unwrap_or(key),
            None => key,
        };
        let mut parties = self.0.lock();
        let sent = match parties.get(key) {
            None => return false,
            // More acks than chunks open no wider window.
            Some(Party::Backup(acks)) => acks.try_send(()).is_ok() || !acks.is_closed(),
            Some(Party::Restore(chunks)) => {
                let bytes = message.message.get(message.header_len..).unwrap_or_default().into();
                let reply = message.reply.map(Into::into).unwrap_or_default();
                match chunks.try_send(Chunk { reply, bytes }) {
                    Ok(()) => true,
                    // The sender does not wait for answers. The restore ends for want of the chunk that is dropped here.
                    Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
                }
            }
        };
        if !sent {
            parties.remove(key);
        }
        sent
    }
}
