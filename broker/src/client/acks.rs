//! Answers that wait for the disk: PONG to a client's PING, and `+OK` in verbose mode.
//!
//! They leave in the order of the requests. Each waits for the last message that the connection had given to the log;
//! one watch on the log is open at a time, for the front of the queue.

use std::collections::VecDeque;
use std::sync::Arc;

use sublog_protocol::encode;
use sublog_protocol::error::ServerError;
use sublog_storage::{AppendError, FailureKind, LogError};

use super::Client;
use super::outbound::Kind;
use crate::capture::{Capture, Span};

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
#[derive(Debug, Default)]
pub struct AckQueue {
    waiting: VecDeque<(Span, Answer)>,
    watching: bool,
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
}

/// Sends `answers` once everything in `span` is committed. The caller's own deliveries have been handed over before.
pub fn answer_when_committed(
    client: &Arc<Client>,
    capture: &Arc<Capture>,
    span: Span,
    answers: impl Iterator<Item = Answer>,
) {
    let watch = {
        let mut queue = client.acks.lock();
        if queue.waiting.is_empty() && capture.is_surely_committed(span.last) {
            let mut out = Vec::new();
            for answer in answers {
                answer.write(&mut out);
            }
            client.send(&mut out, Kind::Control);
            return;
        }
        queue.waiting.extend(answers.map(|answer| (span, answer)));
        !std::mem::replace(&mut queue.watching, true)
    };
    if watch {
        watch_front(client, capture);
    }
}

/// The `-ERR` that tells a client that messages of it were not recorded.
#[must_use]
pub fn refusal_bytes(error: &AppendError) -> Vec<u8> {
    let text = match error {
        AppendError::Failed(error) => failure_text(error),
        AppendError::Limit { what, .. } => ServerError::Other(format!("Message Not Stored: maximum {what} exceeded")),
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

fn watch_front(client: &Arc<Client>, capture: &Arc<Capture>) {
    let span = {
        let mut queue = client.acks.lock();
        match queue.waiting.front() {
            Some((span, _)) => *span,
            None => {
                queue.watching = false;
                return;
            }
        }
    };
    let (client, again) = (client.clone(), capture.clone());
    capture.when_committed(
        span,
        Box::new(move |result| {
            let capture = again.clone();
            // Not in place without bound: an answer that is known at once would come back here, once per flush.
            again.release(move || released(&client, &capture, span, result));
        }),
    );
}

/// The log answered the watch for `span`.
fn released(client: &Arc<Client>, capture: &Arc<Capture>, span: Span, result: Result<(), LogError>) {
    let watch = {
        let mut queue = client.acks.lock();
        let mut out = Vec::new();
        if let Err(error) = &result {
            encode::err(&mut out, &failure_text(error));
        }
        while let Some((waits_for, _)) = queue.waiting.front() {
            let same = waits_for.last <= span.last;
            if !same && (result.is_err() || !capture.is_surely_committed(waits_for.last)) {
                break;
            }
            if let Some((_, answer)) = queue.waiting.pop_front() {
                // A verbose client gets the error in place of its `+OK`; PONG says the flush is over either way.
                if result.is_ok() || !matches!(answer, Answer::Ok) {
                    answer.write(&mut out);
                }
            }
        }
        client.send(&mut out, Kind::Control);
        queue.watching = !queue.waiting.is_empty();
        queue.watching
    };
    if watch {
        watch_front(client, capture);
    }
    client.out.poke();
}
