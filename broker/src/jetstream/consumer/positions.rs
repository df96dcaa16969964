//! How far consumers are, on disk.
//!
//! One thread writes for all: consumers that changed stand in a line, and what they all are goes to disk in one batch with
//! one flush. A client that wants to know that its ack is kept is answered after that flush; for others nobody hurries.
//! So after a crash a consumer may be behind where it was, and delivers again what was acked since, but it is never ahead.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use sublog_storage::{ConsumerBatch, Definition, Meta, MetaError};

use super::driver::Consumer;
use super::machine::State;
use crate::account::Account;
use crate::capture::CAPTURE;
use crate::clock;
use crate::jetstream::config::ConsumerConfig;
use crate::jetstream::errors::ApiError;
use crate::jetstream::streams::Declared;

/// Between two writes when nobody waits for one.
const PAUSE: Duration = Duration::from_millis(100);
/// And at least so many times as long as a write took.
const PAUSE_FACTOR: u32 = 4;
/// After a write that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A consumer that is longer busy than this is written next time.
const PATIENCE: Duration = Duration::from_millis(50);

/// A position as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    /// Whose: a consumer that was made later under the same name is another.
    pub(super) created_ns: i64,
    pub(super) state: State,
}

/// A definition as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// When its stream was created: a stream that was made later under the same name is another.
    pub(super) stream_created_ns: i64,
    /// JSON.
    pub(super) config: serde_json::Value,
}

/// An answer to an ack, in the account of the consumer.
struct Answer {
    account: Arc<Account>,
    consumer: Arc<Consumer>,
    to: Bytes,
}

#[derive(Default)]
struct Line {
    dirty: Vec<Arc<Consumer>>,
    /// Answers that wait for the flush after the next.
    answers: Vec<Answer>,
    closing: bool,
    closed: bool,
}

/// See the module.
pub struct Positions {
    meta: Arc<Meta>,
    line: Mutex<Line>,
    /// Something is in the line, or it is done.
    moved: Condvar,
    /// Held while anything is written: what is forgotten is not written again.
    writing: Mutex<()>,
}

/// What names the stream that a consumer was made for.
pub(super) fn stream_created(declared: &Declared) -> i64 {
    // There is only ever one of it; its own time depends on what it holds.
    if declared.config.name == CAPTURE { 0 } else { declared.created_ns }
}

fn not_kept(error: &MetaError) -> ApiError {
    tracing::error!("Consumers cannot be kept: {error}");
    ApiError::consumer_store_failed("what is known of the consumer could not be written")
}

impl Positions {
    /// Nothing is written before [`run`](Self::run).
    #[must_use]
    pub fn new(meta: Arc<Meta>) -> Self {
        Self { meta, line: Mutex::default(), moved: Condvar::new(), writing: Mutex::default() }
    }

    pub(in crate::jetstream) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Keeps what a consumer is, and how far; on disk when this returns.
    ///
    /// # Errors
    /// What the client is told.
    pub fn keep(&self, declared: &Declared, consumer: &Consumer, config: &ConsumerConfig) -> Result<(), ApiError> {
        if !consumer.persists() {
            return Ok(());
        }
        let config = serde_json::to_value(config).map_err(ApiError::consumer_store_failed)?;
        let kept = Kept { stream_created_ns: stream_created(declared), config };
        let body = serde_json::to_vec(&kept).map_err(ApiError::consumer_store_failed)?;
        let definition = Definition { name: consumer.name.to_string(), created_ns: consumer.created_ns, body };
        let mut batch = ConsumerBatch::default();
        batch.put_definition(&consumer.kept, &definition).map_err(|e| not_kept(&e))?;
        let _writing = self.writing.lock();
        if let Some(state) = consumer.save(Duration::MAX) {
            put(&mut batch, consumer, state).map_err(|e| not_kept(&e))?;
        }
        self.meta.write_consumers(batch).map_err(|e| not_kept(&e))
    }

    /// Forgets consumers that have ended; gone from disk when this returns.
    ///
    /// # Errors
    /// What the client is told.
    pub fn forget(&self, consumers: &[Arc<Consumer>]) -> Result<(), ApiError> {
        let mut batch = ConsumerBatch::default();
        for consumer in consumers.iter().filter(|consumer| consumer.persists()) {
            batch.remove(&consumer.kept, &consumer.name);
        }
        let _writing = self.writing.lock();
        self.meta.write_consumers(batch).map_err(|e| not_kept(&e))
    }

    /// A turn has changed a consumer, or came to `answers` that may be given when what it is now is kept.
    pub fn changed(&self, account: &Arc<Account>, consumer: &Arc<Consumer>, changed: bool, answers: Vec<Bytes>) {
        if !consumer.persists() {
            say(account, answers.iter());
            return;
        }
        if !changed && answers.is_empty() {
            return;
        }
        let mut line = self.line.lock();
        if !consumer.dirty.swap(true, Ordering::AcqRel) {
            line.dirty.push(consumer.clone());
        }
        let answer = |to| Answer { account: account.clone(), consumer: consumer.clone(), to };
        line.answers.extend(answers.into_iter().map(answer));
        self.moved.notify_all();
    }

    /// Writes until [`close`](Self::close), and once more then.
    pub fn run(&self) {
        let mut pause = Duration::ZERO;
        loop {
            let next = self.next(pause);
            let begin = clock::now();
            let left = self.write(next.dirty, next.answers);
            if next.closing {
                let mut line = self.line.lock();
                line.closed = true;
                self.moved.notify_all();
                return;
            }
            pause = if left { PAUSE_AFTER_FAILURE } else { PAUSE.max(begin.elapsed() * PAUSE_FACTOR) };
        }
    }

    /// Waits for something to write, for `pause` if nobody wants an answer.
    fn next(&self, pause: Duration) -> Line {
        let mut line = self.line.lock();
        let until = clock::now() + pause;
        while !line.closing {
            if !line.answers.is_empty() && pause < PAUSE_AFTER_FAILURE {
                break;
            }
            if line.dirty.is_empty() {
                self.moved.wait(&mut line);
            } else if self.moved.wait_until(&mut line, until).timed_out() {
                break;
            }
        }
        let closing = line.closing;
        Line { closing, ..std::mem::replace(&mut *line, Line { closing, ..Line::default() }) }
    }

    /// Writes these consumers and gives their answers. Whether that failed: then they are in the line again.
    fn write(&self, dirty: Vec<Arc<Consumer>>, answers: Vec<Answer>) -> bool {
        let mut batch = ConsumerBatch::default();
        let mut busy = Vec::new();
        let written = {
            let _writing = self.writing.lock();
            let mut result = Ok(());
            for consumer in &dirty {
                // What changes from here on is written next time.
                consumer.dirty.store(false, Ordering::Release);
                if consumer.is_deleted() {
                    continue;
                }
                match consumer.save(PATIENCE) {
                    Some(state) => result = result.and_then(|()| put(&mut batch, consumer, state)),
                    None => busy.push(consumer.clone()),
                }
            }
            result.and_then(|()| self.meta.write_consumers(batch))
        };
        let failed = written.is_err();
        if let Err(error) = &written {
            tracing::error!("How far consumers are cannot be written, and is tried again: {error}");
        }
        let again = if failed { dirty } else { busy };
        let (wait, give): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| again.iter().any(|other| Arc::ptr_eq(other, &answer.consumer)));
        for of_account in give.chunk_by(|a, b| Arc::ptr_eq(&a.account, &b.account)) {
            let Some(first) = of_account.first() else { continue };
            say(&first.account, of_account.iter().map(|answer| &answer.to));
        }
        let mut line = self.line.lock();
        for consumer in again {
            if !consumer.dirty.swap(true, Ordering::AcqRel) {
                line.dirty.push(consumer);
            }
        }
        line.answers.extend(wait);
        failed
    }

    /// Writes what is left, and ends. Consumers must have taken their last turns.
    pub fn close(&self) {
        let mut line = self.line.lock();
        line.closing = true;
        self.moved.notify_all();
        while !line.closed {
            self.moved.wait(&mut line);
        }
    }
}

fn put(batch: &mut ConsumerBatch, consumer: &Consumer, state: State) -> Result<(), MetaError> {
    batch.put_position(&consumer.kept, &consumer.name, &Saved { created_ns: consumer.created_ns, state })
}

/// Answers acks.
fn say<'a>(account: &Arc<Account>, answers: impl ExactSizeIterator<Item = &'a Bytes>) {
    if answers.len() == 0 {
        return;
    }
    account.send(|sender| {
        for to in answers {
            sender.publish(account, to, None, 0, b"");
        }
    });
}
