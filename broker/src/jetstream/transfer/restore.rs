//! Taking a backup in: chunks from a client, read as they come, into a log in a folder aside.
//!
//! A thread of the blocking kind reads the archive; what it reads from are the chunks, and asking for the next is what answers
//! the one before, so the client is as fast as the disk. The stream is there when all of the archive was found right, and then
//! whole: see [`restoring`](crate::jetstream::streams::restoring). Until then there is only a folder that is removed, by the next start at the latest.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};

use sublog_storage::RecordBatch;

use super::archive::{BadArchive, Head, Item, KeptConsumer, Message, Reader};
use super::{CHUNKS_WAITING_MAX, Chunk, Party, Place, SILENCE_MAX};
use crate::account::Account;
use crate::client::Client;
use crate::clock;
use crate::jetstream::advisories;
use crate::jetstream::api::info;
use crate::jetstream::config::json::{Read as _, Unknown};
use crate::jetstream::config::{ConsumerConfig, StreamConfig};
use crate::jetstream::consumer::manage;
use crate::jetstream::copy::{self, log::Copying};
use crate::jetstream::errors::ApiError;
use crate::jetstream::streams::Declared;
use crate::jetstream::wire::responses::StreamCreated;
use crate::jetstream::wire::{Kind, Response};

/// Bytes of messages that are written at a time.
const BATCH_BYTES: usize = 1 << 20;
/// Most consumers of a stream that is restored, and most messages of one that may be out.
const CONSUMERS_MAX: usize = 10_000;
const PENDING_MAX: usize = 1_000_000;

/// Why a stream was not restored.
#[derive(Debug, thiserror::Error)]
enum NotRestored {
    #[error(transparent)]
    Archive(#[from] BadArchive),
    /// What it says of itself is not what was asked for.
    #[error("{0}")]
    Wrong(String),
    /// The server has no place for it.
    #[error("{}", .0.description)]
    Refused(#[from] ApiError),
}

/// A restore that is about to begin.
pub(in crate::jetstream) struct Restore {
    place: Place,
    chunks: Receiver<Chunk>,
    config: StreamConfig,
    client: Option<Arc<Client>>,
}

/// Gets a restore ready, as which stream is decided already.
///
/// # Errors
/// What the client is told.
pub(in crate::jetstream) fn prepare(
    account: &Arc<Account>,
    config: StreamConfig,
    client: Option<Arc<Client>>,
) -> Result<Restore, ApiError> {
    let (tell, chunks) = sync_channel(CHUNKS_WAITING_MAX);
    let place = account.jetstream.transfers.enter("RESTORE", &config.name, Party::Restore(tell));
    let place = place.ok_or_else(|| ApiError::stream_restore("too many backups at a time"))?;
    Ok(Restore { place, chunks, config, client })
}

impl Restore {
    /// Where chunks are to be sent.
    pub(in crate::jetstream) fn subject(&self) -> String {
        self.place.subject()
    }

    /// Begins to take chunks.
    pub(in crate::jetstream) fn begin(self, account: &Arc<Account>) {
        advisories::restore_began(account, &self.config.name, self.client.as_deref());
        let account = account.clone();
        account.shared.runtime.clone().spawn_blocking(move || self.run(&account));
    }

    fn run(self, account: &Arc<Account>) {
        let Self { place, chunks, config, client } = self;
        let start_ns = clock::unix_ns();
        let name = config.name.clone();
        let mut incoming = Incoming { account, chunks, chunk: None, at: 0, bytes: 0, end: None, silent: false };
        let restored = restore(account, &mut incoming, config);
        // Nobody is answered on that subject any more when the client has the answer.
        drop(place);
        let response = match restored {
            Ok(declared) => Response::new(
                Kind::StreamCreate,
                Ok(StreamCreated { info: info::stream(account, &declared), did_create: false }),
            ),
            Err(error) => {
                tracing::warn!(stream = name, "A stream is not restored: {error}");
                if incoming.silent {
                    return;
                }
                Response::new(Kind::StreamCreate, Err(ApiError::stream_restore(error)))
            }
        };
        advisories::restore_ended(account, &name, client.as_deref(), start_ns, incoming.bytes);
        let json = response.to_json();
        incoming.answer(&json);
    }
}

/// The archive's bytes, as they come.
struct Incoming<'a> {
    account: &'a Arc<Account>,
    chunks: Receiver<Chunk>,
    /// The chunk that is being read, and how far.
    chunk: Option<Chunk>,
    at: usize,
    bytes: u64,
    /// Where the last answer goes, when all was said.
    end: Option<Box<[u8]>>,
    /// The client says nothing any more.
    silent: bool,
}

impl Incoming<'_> {
    /// Answers the chunk that is being read, or the last word.
    fn answer(&mut self, json: &[u8]) {
        let reply = self.chunk.take().map(|chunk| chunk.reply).or_else(|| self.end.take());
        if let Some(reply) = reply.filter(|reply| !reply.is_empty()) {
            self.account.send(|sender| sender.publish(self.account, &reply, None, 0, json));
        }
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(chunk) = &self.chunk {
                let left = chunk.bytes.get(self.at..).unwrap_or_default();
                if !left.is_empty() {
                    let n = left.len().min(into.len());
                    into.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
                    self.at += n;
                    return Ok(n);
                }
                self.answer(b"");
            }
            if self.end.is_some() {
                return Ok(0);
            }
            match self.chunks.recv_timeout(SILENCE_MAX) {
                Ok(Chunk { reply, .. }) if reply.is_empty() => {
                    self.silent = true;
                    return Err(io::Error::other("each chunk needs a reply subject"));
                }
                Ok(Chunk { reply, bytes }) if bytes.is_empty() => self.end = Some(reply),
                Ok(chunk) => {
                    self.bytes += chunk.bytes.len() as u64;
                    (self.chunk, self.at) = (Some(chunk), 0);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.silent = true;
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the client sends nothing any more"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("chunks came faster than they were answered"));
                }
            }
        }
    }
}

fn restore(account: &Arc<Account>, incoming: &mut Incoming<'_>, config: StreamConfig) -> Result<Declared, NotRestored> {
    let (mut archive, head) = Reader::new(&mut *incoming)?;
    check_head(&head, &config)?;
    let streams = &account.jetstream.streams;
    let restoring = streams.restoring(config, head.created_ns)?;
    let mut consumers = Vec::new();
    let mut copying = Copying::new(restoring.log().clone(), 1);
    while let Some(item) = archive.next_item()? {
        match item {
            Item::Consumer(consumer) => {
                check_consumer(&consumer)?;
                if consumers.len() >= CONSUMERS_MAX {
                    return Err(NotRestored::Wrong("it has too many consumers".to_owned()));
                }
                consumers.push(*consumer);
            }
            Item::Message(message) => {
                if message.seq > head.last_seq {
                    return Err(NotRestored::Wrong("a message lies behind the stream's last".to_owned()));
                }
                copying.push(|batch| add(batch, &message), message.seq, message.ts_ns).map_err(failed)?;
                if copying.staged_bytes() >= BATCH_BYTES {
                    copying.write().map_err(failed)?;
                }
            }
        }
    }
    copying.finish(head.last_seq, head.last_ts_ns).map_err(failed)?;
    let declared = streams.restored(restoring, &account.router)?;
    if let Err(error) = restore_consumers(account, &declared, consumers) {
        // Whole, or not at all.
        if streams.delete(&declared.config.name, &account.router).is_ok() {
            manage::delete_all(account, &declared.stream);
        }
        return Err(error);
    }
    copy::start(account, &declared);
    Ok(declared)
}

fn failed(error: impl std::fmt::Display) -> NotRestored {
    NotRestored::Wrong(error.to_string())
}

fn add(batch: &mut RecordBatch, message: &Message) -> Result<(), sublog_storage::RecordTooLarge> {
    let (subject, headers, payload) = message.parts();
    match message.expires_at_ns {
        Some(at_ns) => batch.push_expiring(message.ts_ns, subject, headers, payload, at_ns),
        None => batch.push(message.ts_ns, subject, headers, payload),
    }
}

/// Whether the backup is one of the stream that is asked for.
fn check_head(head: &Head, config: &StreamConfig) -> Result<(), NotRestored> {
    if head.name != config.name {
        return Err(NotRestored::Wrong("the backup is one of a stream with another name".to_owned()));
    }
    if head.last_seq > crate::jetstream::copy::log::SEQ_MAX {
        return Err(NotRestored::Wrong("the backup's last sequence is too large".to_owned()));
    }
    Ok(())
}

/// Whether there may be a consumer like this: numbers that are no numbers of this stream do no harm where they are used.
fn check_consumer(consumer: &KeptConsumer) -> Result<(), NotRestored> {
    let state = &consumer.state;
    let most = crate::jetstream::copy::log::SEQ_MAX;
    let numbers = [
        state.delivered.consumer,
        state.delivered.stream,
        state.ack_floor.consumer,
        state.ack_floor.stream,
        state.next_seq,
        state.listed_to.unwrap_or(0),
    ];
    let pending = state.pending.iter().flat_map(|one| [one.stream_seq, one.consumer_seq, one.deliveries]);
    let exhausted = state.exhausted.iter().flat_map(|(seq, deliveries)| [*seq, *deliveries]);
    if state.pending.len() > PENDING_MAX
        || state.exhausted.len() > PENDING_MAX
        || numbers.into_iter().chain(pending).chain(exhausted).any(|number| number > most)
    {
        return Err(NotRestored::Wrong(format!("where the consumer {:?} is makes no sense", consumer.name)));
    }
    Ok(())
}

fn restore_consumers(
    account: &Arc<Account>,
    declared: &Declared,
    consumers: Vec<KeptConsumer>,
) -> Result<(), NotRestored> {
    let mut names = HashSet::new();
    for kept in consumers {
        let config = ConsumerConfig::read(&kept.config, Unknown::Ignore);
        let config = config.map_err(|_| NotRestored::Wrong(format!("the consumer {:?} cannot be read", kept.name)))?;
        if !names.insert(kept.name.clone()) || config.asset_name() != kept.name {
            return Err(NotRestored::Wrong(format!("the consumer {:?} is not what it is called", kept.name)));
        }
        let created_ns = Some(kept.created_ns).filter(|ns| *ns > 0).unwrap_or_else(clock::unix_ns);
        manage::restore(account, declared, config, created_ns, &kept.state)?;
    }
    Ok(())
}
