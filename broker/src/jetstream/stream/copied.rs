//! Messages that come from another stream.
//!
//! They were checked where they came from. A mirror's keep their numbers and times; what the other stream does not hold any more
//! is left out. A source's get the next number, and none if their id was seen.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use sublog_protocol::headers;
use sublog_storage::{AppendError, RecordBatch};

use super::Stream;
use super::atomic;
use super::checks::{self, Checks, Rules};
use super::counter::{self, Counter};
use super::flight::Subjects;
use super::ingest::Ingest;
use super::republish::Stored;
use super::rollup::{Replaced, Rolling, Rollup};
use crate::account::Account;
use crate::jetstream::copy::log::{GAP_MAX, HOLES_MAX, SEQ_MAX};
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::store_failed;
use crate::jetstream::store::Span;

/// Bytes that are given to the log at a time.
const BATCH_BYTES: usize = 1 << 20;

/// A message that comes from another stream.
pub(in crate::jetstream) struct Copied {
    /// The number that it must have.
    pub(in crate::jetstream) seq: Option<u64>,
    /// When it was, or is, stored, nanoseconds since 1970.
    pub(in crate::jetstream) ts_ns: i64,
    /// When it is to go, nanoseconds since 1970.
    pub(in crate::jetstream) expires_at_ns: Option<i64>,
    /// Its subject here.
    pub(in crate::jetstream) subject: Bytes,
    /// Its header block here.
    pub(in crate::jetstream) headers: Bytes,
    /// Its payload.
    pub(in crate::jetstream) payload: Bytes,
}

/// Why a message was not taken.
pub(in crate::jetstream) enum NotTaken {
    /// Not yet: there is no room for now.
    Full,
    /// Not as things are; what is told about that.
    Refused(ApiError),
}

/// What is about to be given to the log.
#[derive(Default)]
struct Staged {
    batch: RecordBatch,
    subjects: Subjects,
    /// Messages that are done with, in the order they came.
    messages: usize,
    /// Places of those with an id, and of those that replace others.
    ids: Vec<(u64, Bytes)>,
    rollups: Vec<(u64, Rollup, Bytes)>,
    /// What counters come to, in all and place by place.
    counters: atomic::Staged,
    sums: Vec<(u64, Bytes, Counter)>,
    /// What is published once more.
    copies: Vec<Copy>,
    /// Places of the last message of subjects that are published once more.
    last: FxHashMap<Bytes, u64>,
}

/// A message that is published once more.
struct Copy {
    place: u64,
    ts_ns: i64,
    to: Vec<u8>,
    subject: Bytes,
    headers: Bytes,
    payload: Bytes,
    /// The message of its subject before it: a number, or a place.
    last: Result<u64, u64>,
}

impl Stream {
    /// Takes messages in their order, as many as go at once, and removes them from `messages`. The numbers to wait for; none
    /// if nothing was stored.
    ///
    /// # Errors
    /// The first is not taken.
    pub(in crate::jetstream) fn take_copied(
        self: &Arc<Self>,
        account: &Arc<Account>,
        messages: &mut VecDeque<Copied>,
    ) -> Result<Span, NotTaken> {
        let log = self.log_or_error().map_err(|e| NotTaken::Refused(store_failed(&e)))?;
        let rules = self.rules();
        if rules.sealed {
            return Err(NotTaken::Refused(ApiError::stream_sealed()));
        }
        let checks = Checks { rules: &rules, stream: &self.name, log };
        let mut most = usize::MAX;
        let mut ingest = self.ingest.lock();
        let (mut staged, appended) = loop {
            ingest.look(log);
            let next_seq = ingest.last_seq(log) + 1;
            if messages.front().is_some_and(|message| message.seq.is_some()) && log.log().next_seq() != next_seq {
                // Something failed just now; what it was is known when it is tried again.
                return Err(NotTaken::Refused(ApiError::stream_store_failed("the message log is not ready")));
            }
            let room = if log.log().first_seq() == next_seq { SEQ_MAX } else { GAP_MAX };
            let staged = self.stage(&checks, &mut ingest, messages, most, (next_seq, room));
            let mut staged = staged.map_err(NotTaken::Refused)?;
            if staged.batch.is_empty() {
                messages.drain(..staged.messages);
                return Ok(Span::default());
            }
            match log.append(&mut staged.batch, true) {
                Ok(appended) => break (staged, appended),
                Err(AppendError::QueueFull { .. }) => return Err(NotTaken::Full),
                // One of them may have a place where all have none.
                Err(AppendError::Limit { .. } | AppendError::Uncounted { .. }) if staged.messages > 1 => most = 1,
                Err(error) => return Err(NotTaken::Refused(store_failed(&error))),
            }
        };
        ingest.appended(appended, std::mem::take(&mut staged.subjects));
        for (place, id) in &staged.ids {
            let seq = appended.first_seq + place;
            ingest.dedup.add(id, seq, crate::clock::unix_ns());
            if seq == appended.last_seq {
                ingest.last_id.extend_from_slice(id);
            }
        }
        ingest.hold_ids(log, &rules);
        for (place, subject, counter) in staged.sums {
            let readable = log.log().readable_seq();
            ingest.counters.add(&subject, appended.first_seq + place, counter, readable);
        }
        let tickets = self.publish_once_more(&rules, appended.first_seq, staged.copies);
        drop(ingest);
        messages.drain(..staged.messages);
        let span = Span { first: appended.first_seq, last: appended.last_seq };
        if !staged.ids.is_empty() {
            let stream = self.clone();
            let forget = move |result: Result<(), _>| {
                if result.is_err() {
                    stream.ingest.lock().dedup.forget(span.first, span.last);
                }
            };
            log.when_committed(span, Box::new(forget));
        }
        if !tickets.is_empty() {
            self.republish_once(account, span, tickets);
        }
        for (place, rollup, subject) in staged.rollups {
            let seq = appended.first_seq + place;
            let (span, replaced) = (Span { first: seq, last: seq }, vec![Replaced::by(seq, &subject, rollup)]);
            Rolling { span, replaced, reply: None, note: None, fast: None }.wait(account, self);
        }
        Ok(span)
    }

    /// Queues what is published once more; the tickets to settle it by.
    fn publish_once_more(&self, rules: &Rules, first_seq: u64, copies: Vec<Copy>) -> Vec<u64> {
        let Some(republish) = &rules.republish else { return Vec::new() };
        let queue = |copy: Copy| {
            let stored = Stored { subject: &copy.subject, head: &copy.headers, payload: &copy.payload };
            let last_seq = copy.last.unwrap_or_else(|place| first_seq + place);
            let message = republish.message(&self.name, &stored, first_seq + copy.place, copy.ts_ns, last_seq);
            self.republisher.push(copy.to, message)
        };
        copies.into_iter().map(queue).collect()
    }

    /// Stages up to `most` messages, of which the first gets the number `next_seq`, or at most one so much larger.
    fn stage(
        &self,
        checks: &Checks<'_>,
        ingest: &mut Ingest,
        messages: &VecDeque<Copied>,
        most: usize,
        (mut next_seq, mut gap_max): (u64, u64),
    ) -> Result<Staged, ApiError> {
        let rules = checks.rules;
        let mut staged = Staged { batch: RecordBatch::new(), ..Staged::default() };
        let mut ids_here = HashSet::new();
        for message in messages.iter().take(most) {
            if staged.batch.bytes() >= BATCH_BYTES {
                break;
            }
            let header = |key: &[u8]| headers::get(&message.headers, key).filter(|value| !value.is_empty());
            let id = header(b"Nats-Msg-Id");
            // What a source brings is stored as what is published is; a mirror has no transform of its own.
            let transformed = rules.transform.as_ref().filter(|_| message.seq.is_none());
            let transformed = transformed.and_then(|it| it.apply(&message.subject, checks::random(message.ts_ns)));
            let subject = transformed.map_or_else(|| message.subject.clone(), Bytes::from);
            match message.seq {
                // It is here already.
                Some(seq) if seq < next_seq => {
                    staged.messages += 1;
                    continue;
                }
                Some(seq) => {
                    if !leave_out(&mut staged, message, seq, seq - next_seq, gap_max)? {
                        break;
                    }
                    (next_seq, gap_max) = (seq, GAP_MAX);
                }
                None => {
                    let mut is_known = |id| ingest.dedup.find(id, message.ts_ns, rules.window_ns).is_some();
                    let seen = id.is_some_and(|id| is_known(id) || !ids_here.insert(id));
                    if seen || self.is_unwanted(&subject) {
                        staged.messages += 1;
                        continue;
                    }
                }
            }
            let place = staged.batch.len() as u64;
            let summed = sum(checks, ingest, &staged.counters, message, &subject);
            let (counter, headers, payload) = match summed {
                Ok(it) if rules.max_msg_bytes.is_none_or(|max| it.1.len() + it.2.len() <= max) => it,
                _ if staged.messages > 0 => return Ok(staged),
                Ok(_) => return Err(ApiError::stream_message_exceeds_maximum()),
                Err(error) => return Err(error),
            };
            let (ts_ns, headers, payload) = (&message.ts_ns, &headers, &payload);
            let pushed = match message.expires_at_ns {
                Some(at_ns) => staged.batch.push_expiring(*ts_ns, &subject, headers, payload, at_ns),
                None => staged.batch.push(*ts_ns, &subject, headers, payload),
            };
            pushed.map_err(|_| ApiError::stream_message_exceeds_maximum())?;
            staged.subjects.push(&subject);
            staged.sum(place, &subject, counter);
            staged.copy(checks, ingest, (place, *ts_ns), &subject, headers, payload);
            if let Some(id) = id {
                staged.ids.push((place, Bytes::copy_from_slice(id)));
            }
            let rollup = header(b"Nats-Rollup").filter(|_| rules.rollup).and_then(Rollup::parse);
            staged.rollups.extend(rollup.map(|rollup| (place, rollup, subject.clone())));
            staged.messages += 1;
            next_seq += 1;
        }
        Ok(staged)
    }
}

impl Staged {
    /// Notes what a counter comes to by a message that is staged.
    fn sum(&mut self, place: u64, subject: &Bytes, counter: Option<Counter>) {
        let Some(counter) = counter else { return };
        self.sums.push((place, subject.clone(), counter.clone()));
        self.counters.counters.insert(subject.to_vec(), counter);
    }

    /// Notes a message that is staged and published once more.
    fn copy(
        &mut self,
        checks: &Checks<'_>,
        ingest: &Ingest,
        (place, ts_ns): (u64, i64),
        subject: &Bytes,
        headers: &Bytes,
        payload: &Bytes,
    ) {
        let Some(republish) = &checks.rules.republish else { return };
        let Some(to) = republish.subject(subject, checks::random(ts_ns)) else { return };
        // Without an answer it is said that there was none: it is stored all the same.
        let before = || checks.last_of(ingest, subject).unwrap_or(0);
        let last = self.last.insert(subject.clone(), place).map_or_else(|| Ok(before()), Err);
        let (subject, headers, payload) = (subject.clone(), headers.clone(), payload.clone());
        self.copies.push(Copy { place, ts_ns, to, subject, headers, payload, last });
    }
}

/// The header block and payload of a message as they are stored: those of a counter follow the counter that it comes from.
fn sum(
    checks: &Checks<'_>,
    ingest: &Ingest,
    staged: &atomic::Staged,
    message: &Copied,
    subject: &[u8],
) -> Result<(Option<Counter>, Bytes, Bytes), ApiError> {
    let Copied { headers, payload, .. } = message;
    if !checks.rules.counter || message.seq.is_some() {
        return Ok((None, headers.clone(), payload.clone()));
    }
    let (stream, from, value) = counter::sourced(headers, payload)?;
    let (counter, increment) = checks.counter(ingest, subject, Some(staged))?.following(stream, from, value);
    let (headers, payload) = counter::stored_increment(&counter, &increment, headers);
    Ok((Some(counter), headers.into(), payload.into()))
}

/// Leaves out the numbers before `seq`, which are `gap`; `false`: not together with what is staged already.
fn leave_out(staged: &mut Staged, message: &Copied, seq: u64, gap: u64, gap_max: u64) -> Result<bool, ApiError> {
    if seq > SEQ_MAX {
        return Err(ApiError::stream_store_failed("a sequence is too large"));
    }
    if gap > gap_max {
        return Err(ApiError::stream_store_failed("too many sequences are left out"));
    }
    if gap > HOLES_MAX {
        return Ok(staged.batch.skip(gap));
    }
    let holes = u32::try_from(gap).unwrap_or(0);
    staged.batch.push_holes(message.ts_ns, holes).map_err(|_| ApiError::stream_message_exceeds_maximum())?;
    (0..gap).for_each(|_| staged.subjects.push(b""));
    Ok(true)
}
