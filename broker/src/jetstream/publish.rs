//! What a publisher's desk keeps of messages for a declared stream, and the acknowledgements they get.
//!
//! A plain message is staged like one for the capture stream, and one waiter answers all of a batch. A message that has to
//! be looked at first (see [`super::stream::ingest`]) is copied and waits for its turn, and so does what comes behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use memchr::memmem;
use sublog_protocol::decode::Publish;
use sublog_protocol::{encode, headers};
use sublog_storage::{AppendError, LogError, RecordBatch, RecordTooLarge};

use super::errors::ApiError;
use super::store::Span;
use super::stream::Stream;
use super::stream::fast::is_one;
use super::stream::flight::Subjects;
use crate::account::Account;

/// Headers that ask for something begin with this.
const NATS_HEADER: &[u8] = b"Nats-";

/// Reply subjects of messages that were taken, each with the message's number, counted from whatever its keeper says.
#[derive(Default)]
pub struct Replies {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

struct Entry {
    number: u64,
    note: Option<Box<Note>>,
    end: usize,
}

/// What an acknowledgement says besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The message was there already.
    Duplicate,
    /// What the counter stands at.
    Value(Box<str>),
    /// So many messages were stored with it.
    Batch {
        /// What its publisher calls them.
        id: Box<str>,
        /// How many, itself among them.
        count: u64,
        /// It was there already.
        duplicate: bool,
    },
}

impl Replies {
    /// Adds the next one.
    pub fn push(&mut self, number: u64, note: Option<Note>, reply: &[u8]) {
        self.text.extend_from_slice(reply);
        self.entries.push(Entry { number, note: note.map(Box::new), end: self.text.len() });
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        let mut from = 0;
        self.entries.iter().map(move |entry| {
            let reply = self.text.get(from..entry.end).unwrap_or_default();
            from = entry.end;
            (entry, reply)
        })
    }
}

/// Who wants a message to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A client.
    Client,
    /// The stream itself: a marker in the place of a subject's last message that goes because of its time.
    Marker {
        /// So many messages of the subject are about to go.
        gone: u64,
    },
    /// The stream itself: what a schedule said.
    Schedule {
        /// The schedule's number.
        seq: u64,
        /// Its subject.
        subject: Box<[u8]>,
    },
}

/// A message that is looked at before it is taken.
pub struct Incoming {
    /// Where it comes from.
    pub origin: Origin,
    /// When it came, in nanoseconds since 1970.
    pub now_ns: i64,
    /// Its subject.
    pub subject: Box<[u8]>,
    /// Where its acknowledgement goes.
    pub reply: Option<Box<[u8]>>,
    /// Length of its header block.
    pub header_len: usize,
    /// Header block and payload.
    pub message: Box<[u8]>,
}

impl Incoming {
    /// Header block and payload.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.message.split_at_checked(self.header_len).unwrap_or((&[], &self.message))
    }

    /// The same without a header.
    #[must_use]
    pub fn without(&self, key: &[u8]) -> Self {
        let (head, payload) = self.parts();
        let mut message = headers::edit::without(head, |found| found == key);
        let header_len = message.len();
        message.extend_from_slice(payload);
        Self {
            origin: self.origin.clone(),
            now_ns: self.now_ns,
            subject: self.subject.clone(),
            reply: self.reply.clone(),
            header_len,
            message: message.into(),
        }
    }
}

/// See the module.
pub struct Intake {
    stream: Arc<Stream>,
    /// Subjects of what is staged.
    subjects: Subjects,
    replies: Replies,
    looked_at: VecDeque<Incoming>,
}

impl Intake {
    /// For one publisher.
    #[must_use]
    pub fn new(stream: Arc<Stream>) -> Self {
        Self { stream, subjects: Subjects::default(), replies: Replies::default(), looked_at: VecDeque::new() }
    }

    /// Its stream.
    #[must_use]
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Takes a message of a batch.
    ///
    /// # Errors
    /// No log takes a record of that size.
    pub fn take(&mut self, batch: &mut RecordBatch, now_ns: i64, message: &Publish<'_>) -> Result<(), RecordTooLarge> {
        let (head, payload) = message.message.split_at_checked(message.header_len).unwrap_or((&[], message.message));
        let asks = !head.is_empty() && memmem::find(head, NATS_HEADER).is_some() || message.reply.is_some_and(is_one);
        if asks || !self.looked_at.is_empty() || self.stream.looks_at(message.message.len()) {
            self.looked_at.push_back(Incoming {
                origin: Origin::Client,
                now_ns,
                subject: message.subject.into(),
                reply: message.reply.map(Into::into),
                header_len: message.header_len,
                message: message.message.into(),
            });
            return Ok(());
        }
        let place = batch.len() as u64;
        batch.push(now_ns, message.subject, head, payload)?;
        self.subjects.push(message.subject);
        if let Some(reply) = message.reply
            && !self.stream.is_silent()
        {
            self.replies.push(place, None, reply);
        }
        Ok(())
    }

    /// Gives what was taken to the stream.
    ///
    /// # Errors
    /// The log takes no (more) records: with `QueueFull` for now, and the rest is to be tried again.
    pub fn hand_over(
        &mut self,
        account: &Arc<Account>,
        batch: &mut RecordBatch,
        unflushed: &mut Span,
    ) -> Result<(), AppendError> {
        if !batch.is_empty() {
            let wait = !self.replies.is_empty();
            let appended = self.stream.append(batch, &mut self.subjects, wait)?;
            unflushed.extend(appended.first_seq, appended.last_seq);
            if wait {
                let replies = std::mem::take(&mut self.replies);
                let span = Span { first: appended.first_seq, last: appended.last_seq };
                acknowledge(account, &self.stream, span, span.first, replies);
            }
        }
        self.stream.look_at(account, &mut self.looked_at, unflushed)
    }

    /// The log did not take what is left: whoever asked for an answer gets one. Whether that is all there is to say.
    pub fn refused(&mut self, account: &Arc<Account>, error: &AppendError) -> bool {
        let silent = self.stream.is_silent();
        let replies = std::mem::take(&mut self.replies);
        let looked_at = std::mem::take(&mut self.looked_at);
        let answer = refusal(&self.stream, &store_failed(error));
        let waiting = || looked_at.iter().filter_map(|message| message.reply.as_deref());
        if !silent {
            account.send(|sender| {
                for reply in replies.iter().map(|(_, reply)| reply).chain(waiting()) {
                    sender.publish(account, reply, None, 0, &answer);
                }
            });
        }
        let told = if silent { 0 } else { replies.entries.len() + waiting().count() };
        let all = self.subjects.len() + looked_at.len();
        self.subjects.clear();
        matches!(error, AppendError::Limit { .. }) || told == all
    }
}

/// Answers messages once all of `waits` is committed. Their numbers count from `base`.
pub(super) fn acknowledge(account: &Arc<Account>, stream: &Arc<Stream>, waits: Span, base: u64, replies: Replies) {
    let Some(log) = stream.log().cloned() else { return };
    let (account, stream) = (account.clone(), stream.clone());
    let again = log.clone();
    let answer = move |result: Result<(), LogError>| {
        again.release(move || {
            account.send(|sender| {
                let mut text = Vec::new();
                for (entry, reply) in replies.iter() {
                    text.clear();
                    match &result {
                        Ok(()) => {
                            let domain = account.shared.domain.name();
                            write_ack(&mut text, &stream.name, domain, base + entry.number, entry.note.as_deref());
                        }
                        Err(error) => text = refusal(&stream, &store_failed(&AppendError::Failed(error.clone()))),
                    }
                    sender.publish(&account, reply, None, 0, &text);
                }
            });
        });
    };
    log.when_committed(waits, Box::new(answer));
}

/// What clients are told when a log does not take a message. Where the server keeps its files is for its own log only.
#[must_use]
pub fn store_failed(error: &AppendError) -> ApiError {
    use sublog_storage::FailureKind;
    let why = match error {
        AppendError::Limit { what, .. } => {
            return ApiError::stream_store_failed(format_args!("maximum {what} exceeded"));
        }
        AppendError::QueueFull { .. } => "the disk is too slow",
        AppendError::Uncounted { why } => {
            tracing::warn!("A message cannot be checked: {why}");
            "the message log cannot be read"
        }
        AppendError::Failed(error) => match error.kind() {
            FailureKind::NoSpace => "no space left on device",
            FailureKind::Io => "the message log has failed",
            FailureKind::Closed => "the stream is closed",
        },
    };
    ApiError::stream_store_failed(why)
}

/// Appends the acknowledgement of a message. A stream's name holds nothing that JSON escapes but quotes, which are.
pub(super) fn write_ack(out: &mut Vec<u8>, stream: &str, domain: &str, seq: u64, note: Option<&Note>) {
    out.extend_from_slice(b"{\"stream\":");
    write_name(out, stream);
    if !domain.is_empty() {
        out.extend_from_slice(b",\"domain\":");
        write_name(out, domain);
    }
    out.extend_from_slice(b",\"seq\":");
    encode::decimal(out, seq);
    match note {
        None => {}
        Some(Note::Duplicate) => out.extend_from_slice(b",\"duplicate\": true"),
        Some(Note::Value(value)) => {
            out.extend_from_slice(b",\"val\":\"");
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        }
        Some(Note::Batch { id, count, duplicate }) => {
            if *duplicate {
                out.extend_from_slice(b",\"duplicate\": true");
            }
            out.extend_from_slice(b",\"batch\":");
            out.extend_from_slice(serde_json::Value::from(&**id).to_string().as_bytes());
            out.extend_from_slice(b",\"count\":");
            encode::decimal(out, *count);
        }
    }
    out.push(b'}');
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
    }
}

/// The answer to a message that was not taken.
#[must_use]
pub(super) fn refusal(stream: &Stream, error: &ApiError) -> Vec<u8> {
    let mut text = b"{\"error\":".to_vec();
    // All that is in an error can be written.
    text.extend_from_slice(&serde_json::to_vec(error).unwrap_or_default());
    text.extend_from_slice(b",\"stream\":");
    write_name(&mut text, &stream.name);
    text.extend_from_slice(b",\"seq\":0}");
    text
}
