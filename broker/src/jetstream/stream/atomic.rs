//! Messages that are published several at once, all of them or none.
//!
//! They are gathered here, in memory, until the one that commits them. Then they are checked in their order, each as if those
//! before it were stored, and given to the log as one batch of records: that is one frame of a segment, which is there as a
//! whole or, torn by a crash, not at all. What was not committed when the server ends is gone, and whoever commits it later
//! is told that it is incomplete.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustc_hash::{FxHashMap, FxHashSet};
use sublog_protocol::headers::{self, edit};
use sublog_storage::AppendError;

use super::Stream;
use super::checks::{Admitted, Checks, EXPECTED_LAST_ID, Verdict, number};
use super::counter::Counter;
use super::ingest::{Ingest, Looked};
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::{Incoming, Note};
use crate::jetstream::server_level;

/// The header that says which batch a message belongs to.
pub(super) const ID: &[u8] = b"Nats-Batch-Id";
/// The header of the message that ends one: `1`, or `eob` for one that is not stored itself.
pub(super) const COMMIT: &[u8] = b"Nats-Batch-Commit";
const SEQUENCE: &[u8] = b"Nats-Batch-Sequence";
pub(super) const REQUIRED_LEVEL: &[u8] = b"Nats-Required-Api-Level";

/// Bytes that a batch's id may have.
pub(super) const ID_BYTES_MAX: usize = 64;
/// Messages that a batch may have.
const MESSAGES_MAX: u64 = 1000;
/// Batches that a stream may have open, and all streams together.
const OPEN_MAX: usize = 50;
const OPEN_IN_ALL_MAX: usize = 1000;
/// Bytes that the open batches of all streams may have: nats-server keeps them in files instead.
const BYTES_IN_ALL_MAX: usize = 512 << 20;
/// Bytes that one may have, so that it fits into a frame.
const BYTES_MAX: usize = 64 << 20;
/// How long a batch waits for its next message, in nanoseconds.
pub(super) const PATIENCE_NS: i64 = 10_000_000_000;

/// Open batches of the process, and their bytes.
static OPEN: AtomicUsize = AtomicUsize::new(0);
static OPEN_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A batch's part of what all may have.
struct Place(usize);

impl Place {
    fn take() -> Option<Self> {
        let place = (OPEN.fetch_add(1, Ordering::Relaxed) < OPEN_IN_ALL_MAX).then_some(Self(0));
        if place.is_none() {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
        place
    }

    /// Whether there is room for more.
    fn grow(&mut self, bytes: usize) -> bool {
        if self.0 + bytes > BYTES_MAX || OPEN_BYTES.load(Ordering::Relaxed) + bytes > BYTES_IN_ALL_MAX {
            return false;
        }
        OPEN_BYTES.fetch_add(bytes, Ordering::Relaxed);
        self.0 += bytes;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        OPEN_BYTES.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// An open batch.
struct Batch {
    messages: Vec<Incoming>,
    place: Place,
    touched_ns: i64,
}

/// The open batches of a stream, by id.
#[derive(Default)]
pub(super) struct Batches(FxHashMap<Box<[u8]>, Batch>);

impl Batches {
    /// Gives up those that have waited too long; their ids.
    pub(super) fn give_up(&mut self, now_ns: i64) -> Vec<Box<[u8]>> {
        let old = |batch: &Batch| batch.touched_ns.saturating_add(PATIENCE_NS) < now_ns;
        let ids: Vec<_> = self.0.iter().filter(|(_, batch)| old(batch)).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.0.remove(id);
        }
        ids
    }

    /// Whether one has waited too long.
    pub(super) fn is_due(&self, now_ns: i64) -> bool {
        self.0.values().any(|batch| batch.touched_ns.saturating_add(PATIENCE_NS) < now_ns)
    }

    /// Gives up all of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What the messages of a batch that were looked at before the next one are to it.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) count: u64,
    /// Their subjects, and whether the last message of each is a schedule.
    pub(super) subjects: FxHashMap<Vec<u8>, bool>,
    pub(super) ids: FxHashSet<Vec<u8>>,
    pub(super) counters: FxHashMap<Vec<u8>, Counter>,
}

impl Staged {
    fn add(&mut self, taken: &Admitted<'_>) {
        self.count += 1;
        self.subjects.insert(taken.subject.to_vec(), taken.is_schedule);
        self.ids.extend(taken.id.map(<[u8]>::to_vec));
        if let Some(counter) = &taken.counter {
            self.counters.insert(taken.subject.to_vec(), counter.clone());
        }
    }
}

/// Whether this server has the API level that a message's header block asks for.
pub(super) fn satisfies(head: &[u8]) -> bool {
    headers::get(head, REQUIRED_LEVEL).is_none_or(|level| server_level().satisfies(level))
}

/// How a message of a batch ends it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Not,
    WithThis,
    BeforeThis,
}

impl Stream {
    /// Takes in a message of a batch, and with the last one all of it.
    ///
    /// # Errors
    /// The log takes no records now; nothing has changed then.
    pub(super) fn gather(
        &self,
        checks: &Checks<'_>,
        ingest: &mut Ingest,
        message: &Incoming,
        looked: &mut Looked,
    ) -> Result<(), AppendError> {
        let (head, _) = message.parts();
        let id = headers::get(head, ID).unwrap_or_default();
        match self.gather_or_refuse(checks, ingest, message, id, looked) {
            Ok(result) => result,
            Err((error, reason)) => {
                if let Some(reason) = reason {
                    ingest.batches.0.remove(id);
                    if !reason.is_empty() {
                        looked.abandoned.push((id.into(), reason));
                    }
                }
                looked.refuse(message, error);
                Ok(())
            }
        }
    }

    /// The outer error is the message's: with a reason the batch is given up, and with a word in it that is told.
    fn gather_or_refuse(
        &self,
        checks: &Checks<'_>,
        ingest: &mut Ingest,
        message: &Incoming,
        id: &[u8],
        looked: &mut Looked,
    ) -> Result<Result<(), AppendError>, (ApiError, Option<&'static str>)> {
        let (head, _) = message.parts();
        checks.check_batched(message, false).map_err(|error| (error, None))?;
        if id.len() > ID_BYTES_MAX {
            return Err((ApiError::atomic_publish_invalid_batch_id(), None));
        }
        let sequence = headers::get(head, SEQUENCE).and_then(number);
        let sequence = sequence.ok_or_else(|| (ApiError::atomic_publish_missing_seq(), None))?;
        let (ending, known) = match headers::get(head, COMMIT) {
            None => (Ending::Not, true),
            Some(b"1") => (Ending::WithThis, true),
            Some(b"eob") => (Ending::BeforeThis, true),
            Some(_) => (Ending::WithThis, false),
        };
        let too_large = || ApiError::atomic_publish_too_large_batch(MESSAGES_MAX);
        let size = if ending == Ending::BeforeThis { sequence.saturating_sub(1) } else { sequence };
        let open = ingest.batches.0.len();
        let batch = match ingest.batches.0.get_mut(id) {
            Some(batch) => batch,
            None if sequence != 1 && size > MESSAGES_MAX => return Err((too_large(), None)),
            None if sequence != 1 => return Err((ApiError::atomic_publish_incomplete_batch(), None)),
            None => {
                let place = if open < OPEN_MAX { Place::take() } else { None };
                let place = place.ok_or_else(|| (ApiError::atomic_publish_too_many_inflight(), None))?;
                let new = Batch { messages: Vec::new(), place, touched_ns: message.now_ns };
                ingest.batches.0.entry(id.into()).or_insert(new)
            }
        };
        if !known {
            return Err((ApiError::atomic_publish_invalid_batch_commit(), Some("")));
        }
        if !satisfies(head) {
            return Err((ApiError::required_api_level(), Some("unsupported")));
        }
        let gathered = batch.messages.len() as u64;
        if sequence != gathered + 1 || size == 0 {
            return Err((ApiError::atomic_publish_incomplete_batch(), Some("incomplete")));
        }
        let bytes = if ending == Ending::Not { message.message.len() } else { 0 };
        if size > MESSAGES_MAX || !batch.place.grow(bytes) {
            return Err((too_large(), Some("large")));
        }
        if ending == Ending::Not {
            batch.touched_ns = message.now_ns;
            batch.messages.push(message.without(REQUIRED_LEVEL));
            looked.gathered.extend(message.reply.clone());
            return Ok(Ok(()));
        }
        // Whatever comes of it, it is over; but if the log has no room now, this message comes again.
        let Some(batch) = ingest.batches.0.remove(id) else { return Ok(Ok(())) };
        let last = (ending == Ending::WithThis).then(|| message.without(REQUIRED_LEVEL));
        let all: Vec<&Incoming> = batch.messages.iter().chain(last.as_ref()).collect();
        match self.commit(checks, ingest, &all, message, ending, looked) {
            Ok(Err(error)) if matches!(error, AppendError::QueueFull { .. }) => {
                ingest.batches.0.insert(id.into(), batch);
                Ok(Err(error))
            }
            Ok(result) => Ok(result),
            Err(error) => Err((error, None)),
        }
    }

    fn commit(
        &self,
        checks: &Checks<'_>,
        ingest: &mut Ingest,
        all: &[&Incoming],
        commit: &Incoming,
        ending: Ending,
        looked: &mut Looked,
    ) -> Result<Result<(), AppendError>, ApiError> {
        let mut staged = Staged::default();
        let mut taken = Vec::with_capacity(all.len());
        for message in all {
            let (head, _) = message.parts();
            if headers::get(head, EXPECTED_LAST_ID).is_some_and(|id| !id.is_empty()) {
                return Err(ApiError::atomic_publish_unsupported_header_batch("Nats-Expected-Last-Msg-Id"));
            }
            match checks.consider(ingest, message, commit.now_ns, Some(&staged)) {
                Verdict::Take(admitted) => {
                    staged.add(&admitted);
                    taken.push(*admitted);
                }
                Verdict::Duplicate(_) => return Err(ApiError::atomic_publish_contains_duplicate_message()),
                Verdict::Refuse(error) => return Err(error),
                Verdict::Drop => {}
            }
        }
        if ending == Ending::BeforeThis
            && let Some(last) = taken.last_mut()
        {
            last.head = edit::with(&last.head, COMMIT, b"1").into();
        }
        let (head, _) = commit.parts();
        let id = String::from_utf8_lossy(headers::get(head, ID).unwrap_or_default());
        let note = Note::Batch { id: (&*id).into(), count: taken.len() as u64, duplicate: false };
        match self.keep(checks, ingest, commit.now_ns, taken, commit.reply.as_deref(), Some(note), looked) {
            Ok(kept) => kept.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }
}
