//! Sending a backup: chunks to a client's subject, so many at a time as the window lets out without an ack.
//!
//! A chunk is made when there is room for it, so a slow client costs a chunk of memory and no more. The last one is smaller than
//! the others and asks for no ack; an empty message with a status ends it all, also where something went wrong.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use sublog_protocol::headers::Builder;
use sublog_storage::{ReadError, Reader, Visit};
use tokio::sync::{Notify, mpsc};

use super::archive::{Head, KeptConsumer, Writer};
use super::{Party, Place, SILENCE_MAX};
use crate::client::Client;
use crate::clock;
use crate::jetstream::advisories;
use crate::jetstream::consumer::driver;
use crate::jetstream::errors::ApiError;
use crate::jetstream::streams::Declared;
use crate::jetstream::wire::info::StreamState;
use crate::jetstream::wire::requests::SnapshotRequest;
use crate::server::Server;

/// Chunk and window unless the client asks for others, and their bounds, in bytes.
const CHUNK_BYTES: i64 = 128 << 10;
const CHUNK_BYTES_RANGE: (i64, i64) = (1 << 10, 1 << 20);
const WINDOW_BYTES: i64 = 8 << 20;
const WINDOW_BYTES_RANGE: (i64, i64) = (1 << 10, 32 << 20);
/// How long a client has to subscribe after it asked.
const INTEREST_WAIT: Duration = Duration::from_secs(2);
/// Bytes of the log that are looked at for a chunk before others have a turn.
const TURN_BYTES: usize = 1 << 20;

/// Why a backup ended early: what the client is told, and what the advisory says.
#[derive(Debug)]
struct Ended(u16, String);

/// A backup that is about to be sent.
pub(in crate::jetstream) struct Backup {
    place: Place,
    acks: mpsc::Receiver<()>,
    to: Box<[u8]>,
    chunk_bytes: usize,
    window: usize,
    stream: String,
    archive: Writer,
    reader: Reader,
    up_to: u64,
    done: bool,
    start_ns: i64,
    client: Option<Arc<Client>>,
}

fn or_default(asked: i64, default: i64, (least, most): (i64, i64)) -> usize {
    let bytes = if asked == 0 { default } else { asked.clamp(least, most) };
    usize::try_from(bytes).unwrap_or(0)
}

/// Gets a backup ready.
///
/// # Errors
/// What the client is told.
pub(in crate::jetstream) fn prepare(
    server: &Arc<Server>,
    declared: &Declared,
    asked: &SnapshotRequest,
    client: Option<Arc<Client>>,
) -> Result<Backup, ApiError> {
    let failed = |error: &dyn std::fmt::Display| ApiError::stream_snapshot(error);
    let log = declared.stream.log().ok_or_else(ApiError::stream_offline)?.log();
    let chunk_bytes = or_default(asked.chunk_size, CHUNK_BYTES, CHUNK_BYTES_RANGE);
    let window_bytes = or_default(asked.window_size, WINDOW_BYTES, WINDOW_BYTES_RANGE).max(chunk_bytes);
    let window = window_bytes / chunk_bytes;
    if asked.jsck {
        log.sync_now().map_err(|e| failed(&e))?;
    }
    // Consumers first: none of them is further than the messages that follow.
    let mut consumers = Vec::new();
    for consumer in declared.stream.consumers.all().iter().filter(|_| !asked.no_consumers) {
        if !consumer.persists() {
            continue;
        }
        consumers.push(KeptConsumer {
            name: consumer.name.to_string(),
            config: serde_json::to_value(&*consumer.config()).map_err(|e| failed(&e))?,
            created_ns: consumer.created_ns,
            state: consumer.with(server, |machine, _| machine.save(driver::now())),
        });
    }
    let up_to = log.readable_seq();
    let head = Head {
        name: declared.config.name.clone(),
        config: serde_json::to_value(&*declared.config).map_err(|e| failed(&e))?,
        created_ns: declared.created_ns,
        last_seq: up_to,
        last_ts_ns: log.state().last_ts_ns,
    };
    let mut archive = Writer::new(&head).map_err(|e| failed(&e))?;
    consumers.iter().try_for_each(|consumer| archive.consumer(consumer)).map_err(|e| failed(&e))?;
    let (tell, acks) = mpsc::channel(window);
    let place = server.jetstream.transfers.enter("ACK", &head.name, Party::Backup(tell));
    Ok(Backup {
        place: place.ok_or_else(|| failed(&"too many backups at a time"))?,
        acks,
        to: asked.deliver_subject.as_bytes().into(),
        chunk_bytes,
        window,
        stream: head.name,
        archive,
        reader: log.reader(),
        up_to,
        done: false,
        start_ns: clock::unix_ns(),
        client,
    })
}

impl Backup {
    /// Begins to send; `state` is what the client was told.
    pub(in crate::jetstream) fn begin(self, server: &Arc<Server>, state: &StreamState) {
        advisories::snapshot_began(server, &self.stream, self.client.as_deref(), state);
        server.replay_runtime.spawn(self.run(server.clone()));
    }

    async fn run(mut self, server: Arc<Server>) {
        let interest = Arc::new(Notify::new());
        server.router.interest.watch(&self.to, &interest);
        let ended = self.send(&server, &interest).await;
        server.router.interest.forget(&self.to, &interest);
        let (code, why) = ended.as_ref().err().map_or((204, ""), |Ended(code, why)| (*code, why.as_str()));
        let block = Builder::with_status(code, why).finish();
        server.send(|sender| sender.publish(&server, &self.to, None, block.len(), &block));
        if ended.is_err() {
            tracing::warn!(stream = self.stream, "A backup did not get to its end: {why}");
        }
        advisories::snapshot_ended(&server, &self.stream, self.client.as_deref(), self.start_ns, why);
    }

    async fn send(&mut self, server: &Arc<Server>, interest: &Notify) -> Result<(), Ended> {
        // Clients subscribe when they have the answer, and may have a wildcard for other answers before. Who does not subscribe
        // gets chunks all the same, and no more than a window.
        let subscribed = async {
            while !server.router.has_own_interest(&self.to) {
                interest.notified().await;
            }
        };
        let was_there = tokio::time::timeout(INTEREST_WAIT, subscribed).await.is_ok();
        let ack_subject = self.place.subject();
        let mut out = 0;
        for number in 1_u64.. {
            while out >= self.window {
                tokio::select! {
                    ack = self.acks.recv() => {
                        ack.ok_or_else(|| Ended(500, "the backup was given up".to_owned()))?;
                        out -= 1;
                    }
                    () = interest.notified() => {
                        if was_there && !server.router.has_own_interest(&self.to) {
                            return Err(Ended(408, "No Interest".to_owned()));
                        }
                    }
                    () = tokio::time::sleep(SILENCE_MAX) => return Err(Ended(408, "No Flow Response".to_owned())),
                }
            }
            while self.acks.try_recv().is_ok() {
                out = out.saturating_sub(1);
            }
            let chunk = self.chunk(server).await?;
            let last = chunk.len() < self.chunk_bytes;
            let reply = format!("{ack_subject}.{}.{number}", chunk.len());
            if !chunk.is_empty() {
                let reply = (!last).then_some(reply.as_bytes());
                server.send(|sender| sender.publish(server, &self.to, reply, 0, &chunk));
            }
            if last {
                break;
            }
            out += 1;
        }
        Ok(())
    }

    /// The next chunk; one that is not full is the last.
    async fn chunk(&mut self, server: &Server) -> Result<Vec<u8>, Ended> {
        while !self.done && self.archive.ready() < self.chunk_bytes {
            if server.stopping.load(std::sync::atomic::Ordering::Acquire) {
                return Err(Ended(500, "the server is stopping".to_owned()));
            }
            self.read().map_err(|error| Ended(500, error.to_string()))?;
            tokio::task::yield_now().await;
        }
        Ok(self.archive.take(self.chunk_bytes))
    }

    /// Reads on in the log.
    fn read(&mut self) -> io::Result<()> {
        let Self { archive, reader, up_to, chunk_bytes, .. } = self;
        let (mut result, mut end) = (Ok(()), false);
        let outcome = reader.visit(TURN_BYTES, &mut |visit| {
            match visit {
                Visit::Record(record) if record.seq > *up_to => end = true,
                Visit::Record(record) => {
                    result = archive.message(&record);
                    if result.is_ok() && !record.is_intact() {
                        result = Err(io::Error::other("a message became unreadable"));
                    }
                }
                Visit::Lost(lost) if lost.reason == sublog_storage::LostReason::NeverWritten => {}
                Visit::Lost(lost) => {
                    let (first, last) = (lost.first_seq, lost.last_seq);
                    tracing::error!("Messages {first} to {last} are damaged, the backup is without them");
                }
            }
            if end || result.is_err() || archive.ready() >= *chunk_bytes {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        result?;
        let at_end = match outcome {
            Ok(outcome) => outcome.end == sublog_storage::ReadEnd::CaughtUp,
            Err(ReadError::Io(error)) => return Err(io::Error::other(error.to_string())),
        };
        if end || at_end {
            self.done = true;
            self.archive.end()?;
        }
        Ok(())
    }
}

/// Whether a backup can be sent there: a subject of one client's, not one of the server's own, and not one that would be
/// stored in the very stream.
#[must_use]
pub(in crate::jetstream) fn is_deliverable(server: &Server, stream: &str, to: &str) -> bool {
    sublog_protocol::subject::is_valid_literal(to.as_bytes())
        && !server.router.is_servers(to.as_bytes())
        && server.router.sinks.of(to.as_bytes()).is_none_or(|taking| &*taking.name != stream)
}
