//! Dead letters: copies of messages that are not delivered again, stored by a stream before the consumer lets go of them.
//!
//! A few at a time are read and given to whichever stream takes the subject, as a publisher's messages are. Once they are
//! committed the machine is told; if they are not taken, that is tried again later. So nothing is lost by a kill, but a copy
//! may be made twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sublog_protocol::decode::Publish;
use sublog_protocol::headers::{Builder, Headers};
use sublog_storage::{Record, RecordBatch};

use super::turn::Turn;
use super::{Consumer, Core, Event};
use crate::account::Account;
use crate::capture::{CAPTURE, is_captured};
use crate::jetstream::consumer::machine::Dead;
use crate::jetstream::consumer::setup;
use crate::jetstream::publish::{Incoming, Origin};
use crate::jetstream::read;
use crate::jetstream::store::{Span, StreamLog};
use crate::jetstream::stream::Stream;
use crate::{clock, rfc3339};

/// Copies that are on their way at once.
const BATCH: usize = 32;
/// Before the first new attempt, and at most before any.
const RETRY: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Bytes of a client's reason that are kept.
const REASON_BYTES_MAX: usize = 1024;
/// What the headers that are added begin with.
const PREFIX: &str = "Sublog-Dead-";
/// The streams that a letter has died in, the last one last.
const PATH: &str = "Sublog-Dead-Path";

/// How it goes.
#[derive(Default)]
pub(super) struct Burying {
    open: bool,
    /// The wait after the last attempt, if that failed, and when it is over.
    wait: Option<(Duration, Duration)>,
}

impl Burying {
    /// What was begun has ended; `all`: with success.
    pub(super) fn ended(&mut self, all: bool) {
        self.open = false;
        let next = self.wait.map_or(RETRY, |(wait, _)| (wait * 2).min(RETRY_MAX));
        self.wait = (!all).then(|| (next, clock::ticks().saturating_add(next)));
    }
}

impl Core {
    /// The dead messages to bury now. If that has to wait, the next turn is not later than it.
    pub(super) fn take_dead(&mut self, turn: &mut Turn) -> Vec<Dead> {
        if self.burying.open || self.closed.is_some() {
            return Vec::new();
        }
        let dead = self.machine.dead(BATCH);
        if dead.is_empty() {
            return dead;
        }
        if let Some((_, at)) = self.burying.wait.filter(|(_, at)| *at > clock::ticks()) {
            if let Turn::Rest { until, .. } = turn {
                *until = Some(until.map_or(at, |until| until.min(at)));
            }
            return Vec::new();
        }
        self.burying.open = true;
        dead
    }
}

/// Who stores letters on a subject.
enum Grave {
    Declared(Arc<Stream>),
    Capture(Arc<StreamLog>),
}

impl Grave {
    fn of(account: &Account, subject: &str) -> Option<Self> {
        if let Some(stream) = account.router.sinks.of(subject.as_bytes()) {
            return Some(Self::Declared(stream));
        }
        let log = account.capture.stream_log().filter(|_| is_captured(subject.as_bytes()))?;
        Some(Self::Capture(log.clone()))
    }

    fn name(&self) -> &str {
        match self {
            Self::Declared(stream) => &stream.name,
            Self::Capture(_) => CAPTURE,
        }
    }

    fn log(&self) -> Option<Arc<StreamLog>> {
        match self {
            Self::Declared(stream) => stream.log().cloned(),
            Self::Capture(log) => Some(log.clone()),
        }
    }

    /// Gives it a letter.
    fn take(&self, account: &Arc<Account>, subject: &str, letter: &Letter, span: &mut Span) -> Result<(), String> {
        match self {
            Self::Declared(stream) => {
                let incoming = Incoming {
                    now_ns: clock::unix_ns(),
                    subject: subject.as_bytes().into(),
                    reply: None,
                    header_len: letter.header_len,
                    message: letter.message.as_slice().into(),
                    origin: Origin::Client,
                };
                let mut taken = Span::default();
                stream
                    .look_at(account, &mut VecDeque::from([incoming]), &mut taken)
                    .map_err(|error| error.to_string())?;
                if taken.is_empty() {
                    return Err("the stream refuses it".to_owned());
                }
                span.extend(taken.first, taken.last);
            }
            Self::Capture(log) => {
                let mut batch = RecordBatch::new();
                let (head, payload) = letter.message.split_at(letter.header_len);
                batch.push(clock::unix_ns(), subject.as_bytes(), head, payload).map_err(|error| error.to_string())?;
                let appended = log.append(&mut batch, true).map_err(|error| error.to_string())?;
                span.extend(appended.first_seq, appended.last_seq);
            }
        }
        Ok(())
    }
}

/// A copy: its header block and payload.
struct Letter {
    header_len: usize,
    message: Vec<u8>,
    /// The streams it has died in before.
    path: String,
}

/// What may stand in a header's value.
fn clean(text: &str) -> String {
    let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while clean.len() > REASON_BYTES_MAX {
        clean.pop();
    }
    clean
}

impl Letter {
    fn write(consumer: &Consumer, dead: &Dead, record: &Record) -> Self {
        let mut block = Builder::new();
        let mut path = String::new();
        for (key, value) in Headers::parse(&record.headers).iter().flat_map(Headers::iter) {
            if key == PATH.as_bytes() {
                path = String::from_utf8_lossy(value).into_owned();
            } else if key.starts_with(b"Nats-") {
                // It asked something of the stream it came to, not of the next one.
                block.add(&[PREFIX.as_bytes(), key].concat(), value);
            } else if !key.starts_with(PREFIX.as_bytes()) {
                block.add(key, value);
            }
        }
        let longer = if path.is_empty() { consumer.stream.to_string() } else { format!("{path} {}", consumer.stream) };
        let reason = if dead.is_worn_out { "max_deliver" } else { "terminated" };
        let mut add = |key: &str, value: &str| {
            block.add(format!("{PREFIX}{key}").as_bytes(), value.as_bytes());
        };
        add("Stream", &consumer.stream);
        add("Consumer", &consumer.name);
        add("Sequence", &dead.stream_seq.to_string());
        add("Subject", &String::from_utf8_lossy(&record.subject));
        add("Time", &rfc3339::format(record.ts_ns));
        add("Deliveries", &dead.deliveries.to_string());
        add("Reason", reason);
        if let Some(text) = dead.reason.as_deref().filter(|text| !text.is_empty()) {
            add("Text", &clean(text));
        }
        add("Path", &longer);
        let mut message = block.finish();
        let header_len = message.len();
        message.extend_from_slice(&record.payload);
        Self { header_len, message, path }
    }
}

/// Why letters on `subject` would come back to `consumer`'s stream, if they would.
fn loops(consumer: &Consumer, subject: &str, grave: &Grave, path: &str) -> bool {
    let own = grave.name() == &*consumer.stream && consumer.is_about(subject.as_bytes());
    own || path.split(' ').any(|stream| stream == grave.name())
}

/// Buries messages, in the background.
pub(super) fn start(account: &Arc<Account>, consumer: &Arc<Consumer>, dead: Vec<Dead>) {
    let (account, consumer) = (account.clone(), consumer.clone());
    // That reads, and may wait for a disk.
    account.shared.runtime.clone().spawn_blocking(move || bury(&account, &consumer, &dead));
}

fn bury(account: &Arc<Account>, consumer: &Arc<Consumer>, dead: &[Dead]) {
    let mut done = Vec::new();
    let mut span = Span::default();
    let mut failure = None;
    let subject = account.jetstream.get(&consumer.stream).and_then(|declared| {
        let config = consumer.config();
        setup::dead_letter(&config, &declared.config).map(str::to_owned)
    });
    let grave = subject.as_deref().and_then(|subject| Grave::of(account, subject));
    let (Some(subject), Some(grave)) = (&subject, &grave) else {
        let why = subject.map_or_else(String::new, |subject| format!("no stream takes {subject}"));
        return ended(consumer, Vec::new(), Some(&why));
    };
    for dead in dead {
        match copy(account, consumer, dead, subject, grave, &mut span) {
            Ok(()) => done.push(dead.stream_seq),
            Err(why) => {
                failure = Some(why);
                break;
            }
        }
    }
    let Some(log) = grave.log().filter(|_| !span.is_empty()) else {
        return ended(consumer, done, failure.as_deref());
    };
    let consumer = consumer.clone();
    let committed = move |result: Result<(), sublog_storage::LogError>| match result {
        Ok(()) => ended(&consumer, done, failure.as_deref()),
        Err(error) => ended(&consumer, Vec::new(), Some(&error.to_string())),
    };
    log.when_committed(span, Box::new(committed));
}

/// Copies one message. Of one that is gone meanwhile there is nothing to copy.
fn copy(
    account: &Arc<Account>,
    consumer: &Consumer,
    dead: &Dead,
    subject: &str,
    grave: &Grave,
    span: &mut Span,
) -> Result<(), String> {
    let read = read::message(consumer.log.log(), dead.stream_seq).map_err(|error| error.to_string())?;
    let Some(record) = read else { return Ok(()) };
    let letter = Letter::write(consumer, dead, &record);
    if loops(consumer, subject, grave, &letter.path) {
        return Err(format!("what {} takes would come back", grave.name()));
    }
    grave.take(account, subject, &letter, span)?;
    let message = Publish {
        subject: subject.as_bytes(),
        reply: None,
        header_len: letter.header_len,
        has_headers: true,
        message: &letter.message,
    };
    account.send(|sender| sender.show(account, &message));
    Ok(())
}

fn ended(consumer: &Arc<Consumer>, stream_seqs: Vec<u64>, failure: Option<&str>) {
    if let Some(why) = failure {
        let (stream, name) = (&*consumer.stream, &*consumer.name);
        tracing::warn!(stream, consumer = name, "Dead letters stay with the consumer, {why}; it is tried again");
    }
    consumer.tell(Event::Buried { stream_seqs, all: failure.is_none() });
}

/// Whether letters on a subject can be stored without coming back.
///
/// # Errors
/// Why they cannot.
pub(in crate::jetstream::consumer) fn check(
    account: &Account,
    stream: &str,
    filters: &sublog_storage::index::FilterSet,
    subject: &str,
) -> Result<(), String> {
    if !sublog_protocol::subject::is_valid_literal(subject.as_bytes()) || subject.starts_with(['$', '_']) {
        return Err(format!("dead letter subject {subject:?} is not one to publish to"));
    }
    match Grave::of(account, subject) {
        Some(grave) if grave.name() == stream && filters.matches(subject.as_bytes()) => {
            Err(format!("dead letters on {subject:?} would come back to the consumer"))
        }
        // The stream may be made later: until then letters wait.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(clean("it\r\nSublog-Dead-Stream: X\u{7}"), "it  Sublog-Dead-Stream: X ");
        assert_eq!(clean(&"ä".repeat(1000)).len(), REASON_BYTES_MAX);
    }

    #[test]
    fn attempts_become_rarer_until_one_succeeds() {
        let mut burying = Burying::default();
        let mut waits = Vec::new();
        for all in [false, false, false, true, false] {
            burying.ended(all);
            waits.push(burying.wait.map(|(wait, _)| wait.as_millis()));
        }
        assert_eq!(waits, [Some(250), Some(500), Some(1000), None, Some(250)]);
    }
}
