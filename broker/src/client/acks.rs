//! Answers that wait for the disk: PONG to a client's PING, and `+OK` in verbose mode.
//!
//! They leave in the order of the requests. Each waits for the last message that the connection had given to each log;
//! one watch on a log is open at a time, for the front of the queue.

use std::collections::VecDeque;
use std::sync::Arc;

use sublog_protocol::encode;
use sublog_protocol::error::ServerError;
use sublog_storage::{AppendError, FailureKind, LogError};

use super::Client;
use super::outbound::Kind;
use crate::jetstream::store::{Span, StreamLog};

/// What an answer waits for: a span of each log that its connection published to.
#[derive(Clone, Default)]
pub struct Waits {
    /// Most connections publish to one log: that costs no allocation.
    first: Option<(Arc<StreamLog>, Span)>,
    more: Vec<(Arc<StreamLog>, Span)>,
}

impl Waits {
    /// Adds a span of another log.
    pub fn push(&mut self, log: Arc<StreamLog>, span: Span) {
        if span.is_empty() {
            return;
        }
        match &self.first {
            None => self.first = Some((log, span)),
            Some(_) => self.more.push((log, span)),
        }
    }

    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn iter(&self) -> impl Iterator<Item = &(Arc<StreamLog>, Span)> {
        self.first.iter().chain(&self.more)
    }

    fn is_surely_over(&self) -> bool {
        self.iter().all(|(log, span)| log.is_surely_committed(span.last))
    }

    /// The log has answered for everything up to `last`: whether that was waited for.
    fn settle(&mut self, log: &Arc<StreamLog>, last: u64) -> bool {
        let over = |wait: &(Arc<StreamLog>, Span)| Arc::ptr_eq(&wait.0, log) && wait.1.last <= last;
        if let Some(at) = self.more.iter().position(over) {
            self.more.swap_remove(at);
            return true;
        }
        let was = self.first.take_if(|wait| over(wait)).is_some();
        if was {
            self.first = self.more.pop();
        }
        was
    }
}

/// One answer.
#[derive(Debug)]
pub enum Answer {
    /// To PING.
    Pong,
    /// To a command of a verbose client.
    Ok,
    /// Bytes that must come after the answers before them, such as the INFO after the first PONG.
    Bytes(Vec<u8>),
}

impl Answer {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Pong => out.extend_from_slice(encode::PONG),
            Self::Ok => out.extend_from_slice(encode::OK),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// Answers of one connection that wait.
#[derive(Default)]
pub struct AckQueue {
    waiting: VecDeque<Waiting>,
    /// The log that is being watched for the front.
    watching: Option<Arc<StreamLog>>,
}

struct Waiting {
    waits: Waits,
    answer: Answer,
    /// Something that it waited for was not kept.
    failed: bool,
}

impl AckQueue {
    /// Answers waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends, behind `out`, what waits for nothing any longer; with `look`, also what is committed without being watched.
    fn release(&mut self, client: &Client, out: &mut Vec<u8>, look: bool) {
        while let Some(front) = self.waiting.front()
            && (front.waits.first.is_none() || look && front.waits.is_surely_over())
        {
            if let Some(front) = self.waiting.pop_front() {
                // A verbose client gets the error in place of its `+OK`; PONG says the flush is over either way.
                if !front.failed || !matches!(front.answer, Answer::Ok) {
                    front.answer.write(out);
                }
            }
        }
        client.send(out, Kind::Control);
    }
}

/// Sends `answers` once everything in `waits` is committed. The caller's own deliveries have been handed over before.
pub fn answer_when_committed(client: &Arc<Client>, waits: &Waits, answers: impl Iterator<Item = Answer>) {
    let watched = {
        let mut queue = client.acks.lock();
        if queue.waiting.is_empty() && waits.is_surely_over() {
            let mut out = Vec::new();
            for answer in answers {
                answer.write(&mut out);
            }
            client.send(&mut out, Kind::Control);
            return;
        }
        queue.waiting.extend(answers.map(|answer| Waiting { waits: waits.clone(), answer, failed: false }));
        queue.watching.clone()
    };
    let first = match watched {
        Some(_) => watched,
        None => watch_front(client),
    };
    // One log is watched at a time. The others are to write now all the same.
    for (log, span) in waits.iter().filter(|(log, _)| first.as_ref().is_none_or(|first| !Arc::ptr_eq(first, log))) {
        log.when_committed(*span, Box::new(|_| {}));
    }
}

/// The `-ERR` that tells a client that messages of it were not recorded.
#[must_use]
pub fn refusal_bytes(error: &AppendError) -> Vec<u8> {
    let text = match error {
        AppendError::Failed(error) => failure_text(error),
        AppendError::Limit { what, .. } => ServerError::Other(format!("Message Not Stored: maximum {what} exceeded")),
        AppendError::Uncounted { .. } => {
            ServerError::Other("Message Not Stored: the message log cannot be read".to_owned())
        }
        AppendError::QueueFull { .. } => ServerError::Other("Message Not Stored: the disk is too slow".to_owned()),
    };
    let mut out = Vec::new();
    encode::err(&mut out, &text);
    out
}

/// The kind of failure; where the server keeps its files is for its own log only.
fn failure_text(error: &LogError) -> ServerError {
    let why = match error.kind() {
        FailureKind::NoSpace => "the disk is full",
        FailureKind::Io => "the message log has failed",
        FailureKind::Closed => "the server is shutting down",
    };
    ServerError::Other(format!("Message Not Stored: {why}"))
}

/// Watches what the front of the queue waits for, if nothing is watched yet, and says which log is.
fn watch_front(client: &Arc<Client>) -> Option<Arc<StreamLog>> {
    let (log, span) = {
        let mut queue = client.acks.lock();
        if queue.watching.is_some() {
            return queue.watching.clone();
        }
        queue.release(client, &mut Vec::new(), true);
        let (log, span) = queue.waiting.front()?.waits.first.clone()?;
        queue.watching = Some(log.clone());
        (log, span)
    };
    let (client, again) = (client.clone(), log.clone());
    log.when_committed(
        span,
        Box::new(move |result| {
            let log = again.clone();
            // Not in place without bound: an answer that is known at once would come back here, once per flush.
            again.release(move || released(&client, &log, span, result));
        }),
    );
    Some(log)
}

/// The log answered the watch for `span`.
fn released(client: &Arc<Client>, log: &Arc<StreamLog>, span: Span, result: Result<(), LogError>) {
    let more = {
        let mut queue = client.acks.lock();
        queue.watching = None;
        let mut out = Vec::new();
        if let Err(error) = &result {
            encode::err(&mut out, &failure_text(error));
        }
        // All that waits for no more of this log than that.
        for waiting in &mut queue.waiting {
            if !waiting.waits.settle(log, span.last) {
                break;
            }
            waiting.failed |= result.is_err();
        }
        queue.release(client, &mut out, result.is_ok());
        !queue.waiting.is_empty()
    };
    if more {
        watch_front(client);
    }
    client.out.poke();
}
