//! Taking messages in: plain ones as they come, others after a look at what they ask for.
//!
//! All that goes into a stream's log goes through its one [`Ingest`], under its lock: so what a check found is still true
//! when its message is appended. Checks count what is appended and cannot be read yet.

use std::collections::VecDeque;
use std::sync::Arc;

use sublog_storage::{AppendError, Appended, RecordBatch};

use super::Stream;
use super::checks::{self, Verdict};
use super::dedup::Dedup;
use super::flight::{Flights, Subjects};
use super::rollup::{Rolling, Rollup};
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::{self, Incoming, Replies, store_failed};
use crate::jetstream::store::{Span, StreamLog};
use crate::server::Server;

/// See the module.
#[derive(Default)]
pub struct Ingest {
    /// Last number given out, unless a failed write took it back.
    last_seq: u64,
    /// Id of the last message, empty if it had none.
    pub(super) last_id: Vec<u8>,
    pub(super) flights: Flights,
    pub(super) dedup: Dedup,
    /// Failed writes that were taken notice of.
    failures: u64,
}

impl Ingest {
    /// Last number given out.
    pub(super) fn last_seq(&self, log: &StreamLog) -> u64 {
        self.last_seq.max(log.log().readable_seq())
    }

    /// Takes notice of what became of records that were given to the log.
    pub(super) fn look(&mut self, log: &StreamLog) {
        if log.failures() != self.failures {
            self.failures = log.failures();
            self.flights.lost();
            self.last_seq = 0;
        }
        self.flights.landed(log.log().readable_seq());
    }

    pub(super) fn appended(&mut self, appended: Appended, subjects: Subjects) {
        self.last_seq = appended.last_seq;
        self.last_id.clear();
        self.flights.add(appended.first_seq, subjects);
    }
}

impl Stream {
    /// Gives plain messages to the log, as [`StreamLog::append`] does.
    ///
    /// # Errors
    /// As there; the batch is untouched then.
    pub fn append(
        &self,
        batch: &mut RecordBatch,
        subjects: &mut Subjects,
        wait_follows: bool,
    ) -> Result<Appended, AppendError> {
        let log = self.log_or_error()?;
        let mut ingest = self.ingest.lock();
        ingest.look(log);
        let appended = log.append(batch, wait_follows)?;
        ingest.appended(appended, std::mem::take(subjects));
        Ok(appended)
    }

    /// Looks at messages in their order and takes those that may be taken. Whoever asked for an answer gets one.
    ///
    /// # Errors
    /// The log takes no (more) records; what it did not take is left.
    pub fn look_at(
        self: &Arc<Self>,
        server: &Arc<Server>,
        messages: &mut VecDeque<Incoming>,
        unflushed: &mut Span,
    ) -> Result<(), AppendError> {
        if messages.is_empty() {
            return Ok(());
        }
        let asks_index = messages.iter().any(|message| checks::asks_index(&self.rules(), message));
        let mut looked = Looked::default();
        let result = if asks_index {
            // The index may have to be read from a disk.
            tokio::task::block_in_place(|| self.look_through(messages, &mut looked))
        } else {
            self.look_through(messages, &mut looked)
        };
        if !looked.span.is_empty() {
            if unflushed.is_empty() {
                unflushed.first = looked.span.first;
            }
            unflushed.last = looked.span.last;
        }
        looked.answer(server, self);
        result
    }

    fn look_through(&self, messages: &mut VecDeque<Incoming>, looked: &mut Looked) -> Result<(), AppendError> {
        let log = self.log_or_error()?;
        let rules = self.rules();
        let mut batch = RecordBatch::new();
        let mut ingest = self.ingest.lock();
        while let Some(message) = messages.front() {
            ingest.look(log);
            match checks::consider(&rules, &self.name, &mut ingest, log, message) {
                Verdict::Take { id, rollup } => {
                    let (head, payload) = message.parts();
                    batch.clear();
                    if batch.push(message.now_ns, &message.subject, head, payload).is_err() {
                        looked.refuse(message, ApiError::stream_message_exceeds_maximum());
                        messages.pop_front();
                        continue;
                    }
                    // Whatever else it replaces goes once it is committed.
                    let result =
                        if rollup.is_some() { log.append_replacing(&mut batch) } else { log.append(&mut batch, true) };
                    let appended = match result {
                        Ok(appended) => appended,
                        Err(error @ (AppendError::Limit { .. } | AppendError::Uncounted { .. })) => {
                            looked.refuse(message, store_failed(&error));
                            messages.pop_front();
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    let mut subjects = Subjects::default();
                    subjects.push(&message.subject);
                    ingest.appended(appended, subjects);
                    if let Some(id) = id {
                        ingest.dedup.add(id, appended.last_seq, message.now_ns);
                        ingest.last_id.extend_from_slice(id);
                    }
                    if self.is_unwanted(&message.subject) {
                        looked.unwanted.push((appended.last_seq, appended.last_seq));
                    }
                    looked.take(message, appended.last_seq, rollup);
                }
                Verdict::Duplicate(seq) => looked.duplicate(message, seq, log),
                Verdict::Refuse(error) => looked.refuse(message, error),
            }
            messages.pop_front();
        }
        Ok(())
    }
}

/// What came of messages that were looked at.
#[derive(Default)]
struct Looked {
    /// Numbers given out, others' between them.
    span: Span,
    /// Numbers that the acknowledgements wait for: also those of messages that others are duplicates of.
    waits: Span,
    replies: Replies,
    refusals: Vec<(Box<[u8]>, ApiError)>,
    rollups: Vec<Rolling>,
    /// What no consumer wants, as ranges.
    unwanted: Vec<(u64, u64)>,
}

impl Looked {
    fn take(&mut self, message: &Incoming, seq: u64, rollup: Option<Rollup>) {
        self.span.extend(seq, seq);
        if let Some(rollup) = rollup {
            let (subject, reply) = (message.subject.clone(), message.reply.clone());
            self.rollups.push(Rolling { seq, rollup, subject, reply });
        } else if let Some(reply) = &message.reply {
            self.waits.extend(seq, seq);
            self.replies.push(seq, false, reply);
        }
    }

    fn duplicate(&mut self, message: &Incoming, seq: u64, log: &StreamLog) {
        let Some(reply) = &message.reply else { return };
        self.replies.push(seq, true, reply);
        // What can be read is stored.
        if seq > log.log().readable_seq() {
            self.waits = Span {
                first: if self.waits.is_empty() { seq } else { self.waits.first.min(seq) },
                last: self.waits.last.max(seq),
            };
        }
    }

    fn refuse(&mut self, message: &Incoming, error: ApiError) {
        if let Some(reply) = &message.reply {
            self.refusals.push((reply.clone(), error));
        }
    }

    /// Answers each as soon as it can be.
    fn answer(self, server: &Arc<Server>, stream: &Arc<Stream>) {
        let Some(log) = stream.log() else { return };
        let silent = stream.is_silent();
        if !self.refusals.is_empty() && !silent {
            server.send(|sender| {
                for (reply, error) in &self.refusals {
                    sender.publish(server, reply, None, 0, &publish::refusal(stream, error));
                }
            });
        }
        if !self.span.is_empty() {
            let (stream, span) = (stream.clone(), self.span);
            let forget = move |result: Result<(), _>| {
                if result.is_err() {
                    stream.ingest.lock().dedup.forget(span.first, span.last);
                }
            };
            log.when_committed(self.span, Box::new(forget));
        }
        for mut rolling in self.rollups {
            rolling.reply.take_if(|_| silent);
            rolling.wait(server, stream);
        }
        let replies = if silent { Replies::default() } else { self.replies };
        if !self.unwanted.is_empty() {
            // Whoever is told that it was taken finds that it is not kept.
            let (server, stream, again, waits) = (server.clone(), stream.clone(), log.clone(), self.waits);
            let remove = move |_: Result<(), _>| {
                let after = move |_: Result<_, _>| publish::acknowledge(&server, &stream, waits, 0, replies);
                again.log().remove(self.unwanted, Box::new(after));
            };
            log.when_committed(self.span, Box::new(remove));
        } else if !replies.is_empty() {
            publish::acknowledge(server, stream, self.waits, 0, replies);
        }
    }
}
