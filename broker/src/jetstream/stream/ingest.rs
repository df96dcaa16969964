//! Taking messages in: plain ones as they come, others after a look at what they ask for.
//!
//! All that goes into a stream's log goes through its one [`Ingest`], under its lock: so what a check found is still true
//! when its message is appended. Checks count what is appended and cannot be read yet.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sublog_protocol::headers;
use sublog_storage::{AppendError, Appended, RecordBatch};

use super::Stream;
use super::atomic::{self, Batches};
use super::checks::{self, Admitted, Checks, Rules, Verdict};
use super::counter::Counters;
use super::dedup::Dedup;
use super::fast::{self, Groups};
use super::flight::{Flights, Subjects};
use super::republish::Republishing;
use super::rollup::{Replaced, Rolling};
use super::schedule::Schedules;
use crate::account::Account;
use crate::jetstream::advisories;
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::{self, Incoming, Note, Replies, store_failed};
use crate::jetstream::store::{Span, StreamLog};

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
    pub(super) batches: Batches,
    pub(super) schedules: Schedules,
    /// Failed writes that were taken notice of.
    failures: u64,
}

impl Ingest {
    /// Last number given out.
    pub(super) fn last_seq(&self, log: &StreamLog) -> u64 {
        self.last_seq.max(log.log().readable_seq())
    }

    /// Whether something is to be done because of its time.
    pub(super) fn is_due(&self, now_ns: i64) -> bool {
        self.schedules.is_due(now_ns) || self.batches.is_due(now_ns)
    }

    /// Takes notice of what became of records that were given to the log.
    pub(super) fn look(&mut self, log: &StreamLog) {
        if log.failures() != self.failures {
            self.failures = log.failures();
            self.flights.lost();
            self.counters.lost();
            self.schedules.doubtful = true;
            self.last_seq = 0;
        }
        self.flights.landed(log.log().readable_seq());
    }

    /// Keeps the bytes of messages whose ids are remembered, also if they are removed: a restart reads them there.
    pub(super) fn hold_ids(&self, log: &StreamLog, rules: &Rules) {
        let oldest = self.dedup.oldest_seq().filter(|_| rules.survives);
        log.log().hold_from(oldest.unwrap_or(u64::MAX));
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
        account: &Arc<Account>,
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
        looked.answer(account, self);
        result
    }

    fn look_through(&self, messages: &mut VecDeque<Incoming>, looked: &mut Looked) -> Result<(), AppendError> {
        let log = self.log_or_error()?;
        let mut ingest = self.ingest.lock();
        // Under the lock, so that nobody takes messages by rules that were changed.
        let rules = self.rules();
        let checks = Checks { rules: &rules, stream: &self.name, log };
        while let Some(message) = messages.front() {
            ingest.look(log);
            if message.reply.as_deref().is_some_and(fast::is_one) {
                self.ingest_fast(&checks, &mut ingest, message, looked)?;
                messages.pop_front();
                continue;
            }
            let (head, _) = message.parts();
            if headers::get(head, atomic::ID).is_some_and(|id| !id.is_empty()) {
                self.gather(&checks, &mut ingest, message, looked)?;
                messages.pop_front();
                continue;
            }
            match checks.consider(&mut ingest, message, message.now_ns, None) {
                Verdict::Take(taken) => {
                    let note = taken.counter.as_ref().map(|counter| Note::Value(counter.value().into()));
                    let now_ns = message.now_ns;
                    let kept =
                        self.keep(&checks, &mut ingest, now_ns, vec![*taken], message.reply.as_deref(), note, looked);
                    if let Err(error) = kept? {
                        looked.refuse(message, error);
                    }
                }
                Verdict::Duplicate(seq) => looked.duplicate(message, seq, Note::Duplicate, log),
                Verdict::Refuse(error) => looked.refuse(message, error),
                Verdict::Drop => {}
            }
            messages.pop_front();
        }
        Ok(())
    }

    /// Gives messages that may be taken to the log, all or none. The inner error says why it is none, for ever; the last
    /// of them gets the answer.
    #[expect(clippy::too_many_arguments, reason = "what one message has, and the batch it may be")]
    pub(super) fn keep(
        &self,
        checks: &Checks<'_>,
        ingest: &mut Ingest,
        now_ns: i64,
        all: Vec<Admitted<'_>>,
        reply: Option<&[u8]>,
        note: Option<Note>,
        looked: &mut Looked,
    ) -> Result<Result<(), ApiError>, AppendError> {
        let log = checks.log;
        let copies: Vec<_> = all.iter().map(|taken| self.copied(checks, ingest, taken, now_ns)).collect();
        let (mut batch, mut subjects) = (RecordBatch::new(), Subjects::default());
        for taken in &all {
            if taken.push_to(&mut batch, now_ns).is_err() {
                return Ok(Err(ApiError::stream_message_exceeds_maximum()));
            }
            subjects.push(&taken.subject);
        }
        // Whatever else they replace goes once they are committed.
        let replace = all.iter().all(|taken| taken.rollup.is_some());
        let appended = if replace { log.append_replacing(&mut batch) } else { log.append(&mut batch, true) };
        let appended = match appended {
            Ok(appended) => appended,
            Err(error @ (AppendError::Limit { .. } | AppendError::Uncounted { .. })) => {
                return Ok(Err(store_failed(&error)));
            }
            Err(error) => return Err(error),
        };
        ingest.appended(appended, subjects);
        let mut replaced = Vec::new();
        let mut seen: FxHashMap<&[u8], u64> = FxHashMap::default();
        for ((seq, taken), copy) in (appended.first_seq..).zip(&all).zip(copies) {
            ingest.last_id.clear();
            if let Some(id) = taken.id {
                ingest.dedup.add(id, seq, now_ns);
                ingest.last_id.extend_from_slice(id);
            }
            if self.is_unwanted(&taken.subject) {
                looked.unwanted.push((seq, seq));
            } else if let Some((subject, last_seq, republish)) = copy {
                let last_seq = seen.get(&*taken.subject).copied().unwrap_or(last_seq);
                let copy = republish.message(&self.name, &taken.into(), seq, now_ns, last_seq);
                looked.republished.push(self.republisher.push(subject, copy));
            }
            seen.insert(&taken.subject, seq);
            if let Some(counter) = &taken.counter {
                ingest.counters.add(&taken.subject, seq, counter.clone(), log.log().readable_seq());
            }
            replaced.extend(taken.rollup.map(|rollup| Replaced::by(seq, &taken.subject, rollup)));
            if checks.rules.schedules {
                let ended = ingest.schedules.stored(&taken.subject, &taken.head, seq, now_ns, now_ns);
                replaced.extend(ended.map(|subject| Replaced { before_seq: seq, subject: Some(subject) }));
            }
        }
        ingest.hold_ids(log, checks.rules);
        let span = Span { first: appended.first_seq, last: appended.last_seq };
        looked.take(span, replaced, reply, note);
        Ok(Ok(()))
    }

    /// Publishes once more what has these tickets, once it is committed.
    pub(super) fn republish_once(self: &Arc<Self>, account: &Arc<Account>, span: Span, tickets: Vec<u64>) {
        let Some(log) = self.log().cloned() else { return };
        let (account, stream, again) = (account.clone(), self.clone(), log.clone());
        let republish = move |result: Result<(), _>| {
            again.release(move || stream.republisher.settle(&account, &tickets, result.is_ok()));
        };
        log.when_committed(span, Box::new(republish));
    }

    /// Where a message is published once more, the number of its subject's last one before it, and how.
    fn copied<'r>(
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
pub(super) struct Looked {
    /// Numbers given out, others' between them.
    span: Span,
    /// Numbers that the acknowledgements wait for: also those of messages that others are duplicates of.
    waits: Span,
    replies: Replies,
    refusals: Vec<(Box<[u8]>, ApiError)>,
    pub(super) rollups: Vec<Rolling>,
    /// What was given to the log for fast batches, and is not settled by `rollups`.
    pub(super) fast: Groups,
    /// What waits to be published once more.
    republished: Vec<u64>,
    /// Who is told that a message waits for the rest of its batch.
    pub(super) gathered: Vec<Box<[u8]>>,
    /// Batches that were given up, and why.
    pub(super) abandoned: Vec<(Box<[u8]>, &'static str)>,
    /// What no consumer wants, as ranges.
    unwanted: Vec<(u64, u64)>,
}

impl Looked {
    fn take(&mut self, span: Span, replaced: Vec<Replaced>, reply: Option<&[u8]>, note: Option<Note>) {
        self.span.extend(span.first, span.last);
        if !replaced.is_empty() {
            self.rollups.push(Rolling { span, replaced, reply: reply.map(Into::into), note, fast: None });
        } else if let Some(reply) = reply {
            self.waits.extend(span.first, span.last);
            self.replies.push(span.last, note, reply);
        }
    }

    /// The last number given out.
    pub(super) fn last_seq(&self) -> u64 {
        self.span.last
    }

    pub(super) fn duplicate(&mut self, message: &Incoming, seq: u64, note: Note, log: &StreamLog) {
        let Some(reply) = &message.reply else { return };
        self.replies.push(seq, Some(note), reply);
        // What can be read is stored.
        if seq > log.log().readable_seq() {
            self.waits = Span {
                first: if self.waits.is_empty() { seq } else { self.waits.first.min(seq) },
                last: self.waits.last.max(seq),
            };
        }
    }

    pub(super) fn refuse(&mut self, message: &Incoming, error: ApiError) {
        if let Some(reply) = &message.reply {
            self.refusals.push((reply.clone(), error));
        }
    }

    /// Answers each as soon as it can be.
    fn answer(self, account: &Arc<Account>, stream: &Arc<Stream>) {
        let Some(log) = stream.log() else { return };
        let silent = stream.is_silent();
        for (id, reason) in &self.abandoned {
            advisories::batch_abandoned(account, &stream.name, id, reason);
        }
        stream.tell_fast(account);
        let answers_now = !self.refusals.is_empty() || !self.gathered.is_empty();
        if answers_now && !silent {
            account.send(|sender| {
                for reply in &self.gathered {
                    sender.publish(account, reply, None, 0, b"");
                }
                for (reply, error) in &self.refusals {
                    sender.publish(account, reply, None, 0, &publish::refusal(stream, error));
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
            stream.republish_once(account, self.span, self.republished);
        }
        for mut rolling in self.rollups {
            rolling.reply.take_if(|_| silent);
            rolling.wait(account, stream);
        }
        let replies = if silent { Replies::default() } else { self.replies };
        let (fast, span) = (self.fast, self.span);
        if !self.unwanted.is_empty() {
            // Whoever is told that it was taken finds that it is not kept.
            let (account, stream, again, waits) = (account.clone(), stream.clone(), log.clone(), self.waits);
            let remove = move |_: Result<(), _>| {
                let after = move |_: Result<_, _>| {
                    publish::acknowledge(&account, &stream, waits, 0, replies);
                    stream.answer_fast(&account, fast, span);
                };
                again.log().remove(self.unwanted, Box::new(after));
            };
            log.when_committed(self.span, Box::new(remove));
        } else {
            if !replies.is_empty() {
                publish::acknowledge(account, stream, self.waits, 0, replies);
            }
            stream.answer_fast(account, fast, span);
        }
    }
}
