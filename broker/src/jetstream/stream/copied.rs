//! Messages that come from another stream.
//!
//! They were checked where they came from. A mirror's keep their numbers and times; what the other stream does not hold any more
//! is left out. A source's get the next number, and none if their id was seen.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use sublog_protocol::headers;
use sublog_storage::{AppendError, RecordBatch};

use super::Stream;
use super::checks;
use super::flight::Subjects;
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
            let staged = self.stage(messages, most, (next_seq, room), |id, now_ns| {
                ingest.dedup.find(id, now_ns, rules.window_ns).is_some()
            });
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
        for (place, rollup, subject) in staged.rollups {
            let seq = appended.first_seq + place;
            let (span, replaced) = (Span { first: seq, last: seq }, vec![Replaced::by(seq, &subject, rollup)]);
            Rolling { span, replaced, reply: None, note: None, fast: None }.wait(account, self);
        }
        Ok(span)
    }

    /// Stages up to `most` messages, of which the first gets the number `next_seq`, or at most one so much larger.
    fn stage(
        &self,
        messages: &VecDeque<Copied>,
        most: usize,
        (mut next_seq, mut gap_max): (u64, u64),
        mut was_seen: impl FnMut(&[u8], i64) -> bool,
    ) -> Result<Staged, ApiError> {
        let rules = self.rules();
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
                    let seen = id.is_some_and(|id| was_seen(id, message.ts_ns) || !ids_here.insert(id));
                    if seen || self.is_unwanted(&subject) {
                        staged.messages += 1;
                        continue;
                    }
                }
            }
            let bytes = message.headers.len() + message.payload.len();
            if rules.max_msg_bytes.is_some_and(|max| bytes > max) {
                return if staged.messages > 0 { Ok(staged) } else { Err(ApiError::stream_message_exceeds_maximum()) };
            }
            let place = staged.batch.len() as u64;
            let Copied { ts_ns, headers, payload, .. } = message;
            let pushed = match message.expires_at_ns {
                Some(at_ns) => staged.batch.push_expiring(*ts_ns, &subject, headers, payload, at_ns),
                None => staged.batch.push(*ts_ns, &subject, headers, payload),
            };
            pushed.map_err(|_| ApiError::stream_message_exceeds_maximum())?;
            staged.subjects.push(&subject);
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
