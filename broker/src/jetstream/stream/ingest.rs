//! Taking messages in: plain ones as they come, others after a look at what they ask for.
//!
//! All that goes into a stream's log goes through its one [`Ingest`], under its lock: so what a check found is still true
//! when its message is appended. Checks count what is appended and cannot be read yet.

use std::collections::VecDeque;
use std::sync::Arc;

use sublog_storage::{AppendError, Appended, RecordBatch};

use super::Stream;
use super::checks::{self, Admitted, Checks, Verdict};
use super::counter::Counters;
use super::dedup::Dedup;
use super::flight::{Flights, Subjects};
use super::republish::Republishing;
use super::rollup::Rolling;
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::{self, Incoming, Note, Replies, store_failed};
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
    pub(super) counters: Counters,
    /// Failed writes that were taken notice of.
    failures: u64,
}

impl Ingest {
    /// Last number given out.
    pub(super) fn last_seq(&self, log: &StreamLog) -> u64 {
        self.last_seq.max(log.log().readable_seq())
    }

    /// Takes notice of what became of records that were given to the log.
    fn look(&mut self, log: &StreamLog) {
        if log.failures() != self.failures {
            self.failures = log.failures();
            self.flights.lost();
            self.counters.lost();
            self.last_seq = 0;
        }
        self.flights.landed(log.log().readable_seq());
    }

    fn appended(&mut self, appended: Appended, subjects: Subjects) {
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
        let checks = Checks { rules: &rules, stream: &self.name, log };
        let mut ingest = self.ingest.lock();
        while let Some(message) = messages.front() {
            ingest.look(log);
            match checks.consider(&mut ingest, message) {
                Verdict::Take(taken) => self.keep(&checks, &mut ingest, message, *taken, looked)?,
                Verdict::Duplicate(seq) => looked.duplicate(message, seq, log),
                Verdict::Refuse(error) => looked.refuse(message, error),
                Verdict::Drop => {}
            }
            messages.pop_front();
        }
        Ok(())
    }

    /// Gives one message that may be taken to the log.
    fn keep(
        &self,
        checks: &Checks<'_>,
        ingest: &mut Ingest,
        message: &Incoming,
        taken: Admitted<'_>,
        looked: &mut Looked,
    ) -> Result<(), AppendError> {
        let log = checks.log;
        let republished = self.republished(checks, ingest, &taken, message.now_ns);
        let mut batch = RecordBatch::new();
        if taken.push_to(&mut batch, message.now_ns).is_err() {
            looked.refuse(message, ApiError::stream_message_exceeds_maximum());
            return Ok(());
        }
        // Whatever else it replaces goes once it is committed.
        let result =
            if taken.rollup.is_some() { log.append_replacing(&mut batch) } else { log.append(&mut batch, true) };
        let seq = match result {
            Ok(appended) => {
                let mut subjects = Subjects::default();
                subjects.push(&taken.subject);
                ingest.appended(appended, subjects);
                appended.last_seq
            }
            Err(error @ (AppendError::Limit { .. } | AppendError::Uncounted { .. })) => {
                looked.refuse(message, store_failed(&error));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Some(id) = taken.id {
            ingest.dedup.add(id, seq, message.now_ns);
            ingest.last_id.extend_from_slice(id);
        }
        if self.is_unwanted(&taken.subject) {
            looked.unwanted.push((seq, seq));
        } else if let Some((subject, last_seq, republish)) = republished {
            let copy = republish.message(&self.name, &taken, seq, message.now_ns, last_seq);
            looked.republished.push(self.republisher.push(subject, copy));
        }
        let note = taken.counter.as_ref().map(|counter| Note::Value(counter.value().into()));
        looked.take(message, seq, &taken, note);
        if let Some(counter) = taken.counter {
            ingest.counters.add(&taken.subject, seq, counter, log.log().readable_seq());
        }
        Ok(())
    }

    /// Where a message is published once more, the number of its subject's last one before it, and how.
    fn republished<'r>(
        &self,
        checks: &Checks<'r>,
        ingest: &Ingest,
        taken: &Admitted<'_>,
        now_ns: i64,
    ) -> Option<(Vec<u8>, u64, &'r Republishing)> {
        let republish = checks.rules.republish.as_ref()?;
        let subject = republish.subject(&taken.subject, checks::random(now_ns))?;
        // Without an answer it is said that there was none: it is stored all the same.
        Some((subject, checks.last_of(ingest, &taken.subject).unwrap_or(0), republish))
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
    /// What waits to be published once more.
    republished: Vec<u64>,
    /// What no consumer wants, as ranges.
    unwanted: Vec<(u64, u64)>,
}

impl Looked {
    fn take(&mut self, message: &Incoming, seq: u64, taken: &Admitted<'_>, note: Option<Note>) {
        self.span.extend(seq, seq);
        if let Some(rollup) = taken.rollup {
            let (subject, reply) = (taken.subject.clone().into_owned().into_boxed_slice(), message.reply.clone());
            self.rollups.push(Rolling { seq, rollup, subject, reply, note });
        } else if let Some(reply) = &message.reply {
            self.waits.extend(seq, seq);
            self.replies.push(seq, note, reply);
        }
    }

    fn duplicate(&mut self, message: &Incoming, seq: u64, log: &StreamLog) {
        let Some(reply) = &message.reply else { return };
        self.replies.push(seq, Some(Note::Duplicate), reply);
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
        if !self.republished.is_empty() {
            let (server, stream, again, tickets) = (server.clone(), stream.clone(), log.clone(), self.republished);
            let republish = move |result: Result<(), _>| {
                again.release(move || stream.republisher.settle(&server, &tickets, result.is_ok()));
            };
            log.when_committed(self.span, Box::new(republish));
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
