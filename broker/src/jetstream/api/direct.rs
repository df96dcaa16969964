//! Direct gets: messages as they are, answered without waiting for other requests.

use std::ops::ControlFlow;
use std::sync::Arc;

use sublog_protocol::headers::{Builder, VERSION};
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Log, Record, Visit};

use super::super::config::Time;
use super::super::config::json::{self, Unknown};
use super::super::read::{self, Unreadable};
use super::super::streams::Declared;
use super::super::wire::requests::MsgGetRequest;
use super::Request;
use super::messages::Wanted;
use crate::account::Account;
use crate::client::sender::Sender;
use crate::rfc3339;

/// Most subjects of a multi-get.
const SUBJECTS_MAX: usize = 1024;
/// Largest sum of messages of a batch unless a smaller one is asked for.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The stream, if it lets itself be read directly.
pub(super) fn source(account: &Account, name: &str) -> Option<Declared> {
    let found = account.jetstream.get(name).filter(|found| found.config.allow_direct && found.stream.log().is_some());
    found.or_else(|| {
        // A mirror answers for what it mirrors.
        let mirrors = |one: &Declared| {
            let mirror = one.config.mirror.as_ref().filter(|_| one.config.mirror_direct);
            mirror.is_some_and(|mirror| mirror.name == name && mirror.external.is_none())
        };
        account.jetstream.streams.all().into_iter().find(|one| mirrors(one) && one.stream.log().is_some())
    })
}

/// A status instead of messages.
#[derive(Debug)]
struct Status(u16, &'static str);

const EMPTY: Status = Status(408, "Empty Request");
const MALFORMED: Status = Status(408, "Malformed Request");
const BAD: Status = Status(408, "Bad Request");
const NOT_FOUND: Status = Status(404, "Message Not Found");
const NO_RESULTS: Status = Status(404, "No Results");
const TOO_MANY: Status = Status(413, "Too Many Results");
const UNREADABLE: Status = Status(500, "Stream Unreadable");

impl From<Unreadable> for Status {
    fn from(error: Unreadable) -> Self {
        tracing::warn!("A direct get cannot read: {error}");
        UNREADABLE
    }
}

/// Answers a direct get. `subject` is what the request's own subject asks the last message of, if anything.
pub(super) fn get(account: &Arc<Account>, source: &Declared, subject: &str, request: &Request) {
    let Some(reply) = &request.reply else { return };
    let Some(log) = source.stream.log() else { return };
    account.send(|sender| {
        let mut answer =
            Direct { account, sender, reply, stream: &source.config.name, stamp: rfc3339::Stamp::default() };
        if let Err(Status(code, text)) = answer.get(log.log(), subject, request.body()) {
            let block = Builder::with_status(code, text).finish();
            answer.send(block.len(), &block);
        }
    });
}

struct Direct<'a> {
    account: &'a Arc<Account>,
    sender: &'a mut Sender,
    reply: &'a [u8],
    stream: &'a str,
    stamp: rfc3339::Stamp,
}

/// Where a batch is.
struct Batch {
    /// Matching messages behind the present one.
    pending: u64,
    last_seq: u64,
    bytes_left: usize,
    messages_left: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.bytes_left == 0 || self.messages_left == 0
    }
}

impl Direct<'_> {
    fn get(&mut self, log: &Log, subject: &str, body: &[u8]) -> Result<(), Status> {
        let mut wanted: MsgGetRequest = json::parse(body, Unknown::Ignore).map_err(|_| MALFORMED)?;
        if !subject.is_empty() {
            if !wanted.last_by_subj.is_empty() {
                return Err(BAD);
            }
            subject.clone_into(&mut wanted.last_by_subj);
        }
        if wanted.is_unsaid() {
            return Err(EMPTY);
        }
        if wanted.contradicts_itself() {
            return Err(BAD);
        }
        if !wanted.multi_last.is_empty() {
            return self.last_of_each(log, &wanted);
        }
        if wanted.batch != 0 {
            return self.batch(log, &wanted);
        }
        let found = wanted.find(log)?.ok_or(NOT_FOUND)?;
        if wanted.no_hdr {
            self.send(0, &found.payload);
        } else {
            self.message(&found, None);
        }
        Ok(())
    }

    /// Messages from one on.
    fn batch(&mut self, log: &Log, wanted: &MsgGetRequest) -> Result<(), Status> {
        let filter = if wanted.next_by_subj.is_empty() { ">" } else { &wanted.next_by_subj };
        let filters = FilterSet::from(SubjectFilter::parse(filter.as_bytes()).map_err(|_| BAD)?);
        let from = wanted.first_number(log)?;
        let pending = read::or_nothing(log.count(&filters, from, log.readable_seq())).map_err(Unreadable::from)?;
        if pending == 0 {
            return Err(NOT_FOUND);
        }
        let mut batch = begin(wanted, pending);
        if !batch.is_full() {
            let visit = &mut |visit: Visit<'_>| {
                if let Visit::Record(record) = visit {
                    self.next(&mut batch, &record.to_record());
                }
                if batch.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            log.select(filters, from).visit(usize::MAX, visit).map_err(Unreadable::from)?;
        }
        self.end(&batch, None);
        Ok(())
    }

    /// The last message of each subject.
    fn last_of_each(&mut self, log: &Log, wanted: &MsgGetRequest) -> Result<(), Status> {
        if !wanted.last_by_subj.is_empty()
            || !wanted.next_by_subj.is_empty()
            || wanted.up_to_seq > 0 && wanted.up_to_time.is_some()
        {
            return Err(BAD);
        }
        let filters: Result<Vec<_>, _> =
            wanted.multi_last.iter().map(|filter| SubjectFilter::parse(filter.as_bytes())).collect();
        let filters = FilterSet::new(filters.map_err(|_| BAD)?);
        let mut up_to = log.readable_seq();
        if wanted.up_to_seq > 0 {
            up_to = up_to.min(wanted.up_to_seq);
        } else if let Some(ns) = wanted.up_to_time.and_then(Time::ns) {
            let after = log.seek_time(ns.saturating_add(1)).map_err(Unreadable::from)?;
            up_to = up_to.min(after.saturating_sub(1));
        }
        let from = wanted.first_number(log)?;
        let found = log.last_per_subject(&filters, up_to, None, SUBJECTS_MAX + 1);
        let mut numbers: Vec<u64> =
            read::or_nothing(found).map_err(Unreadable::from)?.into_iter().map(|(_, seq)| seq).collect();
        if numbers.len() > SUBJECTS_MAX {
            return Err(TOO_MANY);
        }
        numbers.retain(|seq| *seq >= from);
        if numbers.is_empty() {
            return Err(NO_RESULTS);
        }
        numbers.sort_unstable();
        let mut batch = begin(wanted, numbers.len() as u64);
        for seq in numbers {
            if batch.is_full() {
                break;
            }
            match read::message(log, seq)? {
                Some(found) => self.next(&mut batch, &found),
                // Gone meanwhile.
                None => batch.pending = batch.pending.saturating_sub(1),
            }
        }
        self.end(&batch, Some(up_to));
        Ok(())
    }

    fn next(&mut self, batch: &mut Batch, found: &Record) {
        batch.pending = batch.pending.saturating_sub(1);
        batch.messages_left -= 1;
        let bytes = found.subject.len() + found.headers.len() + found.payload.len();
        batch.bytes_left = batch.bytes_left.saturating_sub(bytes);
        self.message(found, Some(batch));
        batch.last_seq = found.seq;
    }

    fn end(&mut self, batch: &Batch, up_to: Option<u64>) {
        let mut head = Builder::with_status(204, "EOB");
        head.add(b"Nats-Num-Pending", batch.pending.to_string().as_bytes());
        head.add(b"Nats-Last-Sequence", batch.last_seq.to_string().as_bytes());
        if let Some(up_to) = up_to {
            head.add(b"Nats-UpTo-Sequence", up_to.to_string().as_bytes());
        }
        let block = head.finish();
        self.send(block.len(), &block);
    }

    /// A message with where it comes from in its headers.
    fn message(&mut self, found: &Record, batch: Option<&Batch>) {
        // The block as it is, without the empty line at its end; ours before its own, since readers take the first of a name,
        // and a publisher may have written some of these names.
        let own = found.headers.strip_suffix(b"\r\n").filter(|own| own.starts_with(VERSION)).unwrap_or_default();
        let (first_line, own) = match memchr::memchr(b'\n', own) {
            Some(end) => own.split_at_checked(end + 1).unwrap_or_default(),
            None => (&b""[..], &b""[..]),
        };
        let mut out = if first_line.is_empty() { [VERSION, b"\r\n"].concat() } else { first_line.to_vec() };
        let mut line = |key: &str, value: &[u8]| {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        };
        let mut time = Vec::new();
        self.stamp.write(&mut time, found.ts_ns);
        line("Nats-Stream", self.stream.as_bytes());
        line("Nats-Subject", &found.subject);
        line("Nats-Sequence", found.seq.to_string().as_bytes());
        line("Nats-Time-Stamp", &time);
        if let Some(batch) = batch {
            line("Nats-Num-Pending", batch.pending.to_string().as_bytes());
            line("Nats-Last-Sequence", batch.last_seq.to_string().as_bytes());
        }
        out.extend_from_slice(own);
        out.extend_from_slice(b"\r\n");
        let header_len = out.len();
        out.extend_from_slice(&found.payload);
        self.send(header_len, &out);
    }

    fn send(&mut self, header_len: usize, message: &[u8]) {
        self.sender.publish(self.account, self.reply, None, header_len, message);
    }
}

/// A batch at its beginning.
fn begin(wanted: &MsgGetRequest, pending: u64) -> Batch {
    let asked = usize::try_from(wanted.max_bytes).ok().filter(|bytes| *bytes > 0);
    let messages_left = match wanted.batch {
        0 => u64::MAX,
        batch => u64::try_from(batch).unwrap_or(0),
    };
    Batch { pending, last_seq: 0, bytes_left: asked.unwrap_or(BATCH_BYTES_MAX).min(BATCH_BYTES_MAX), messages_left }
}
