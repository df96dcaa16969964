//! What a message asks for with its headers, and whether it may be taken.
//!
//! The order of the checks, and what is said, is nats-server's: clients compare both.

use std::borrow::Cow;

use sublog_protocol::headers::{self, edit};
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{RecordBatch, RecordTooLarge};

use super::atomic::{self, Staged};
use super::counter::{self, Counter};
use super::ingest::Ingest;
use super::republish::Republishing;
use super::rollup::Rollup;
use super::schedule;
use super::ttl::{self, Ttl};
use crate::jetstream::config::transform::Transform;
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::{Incoming, Origin};
use crate::jetstream::read;
use crate::jetstream::store::StreamLog;

pub(super) const EXPECTED_STREAM: &[u8] = b"Nats-Expected-Stream";
pub(super) const EXPECTED_LAST: &[u8] = b"Nats-Expected-Last-Sequence";
pub(super) const EXPECTED_LAST_OF_SUBJECT: &[u8] = b"Nats-Expected-Last-Subject-Sequence";
pub(super) const EXPECTED_SUBJECT: &[u8] = b"Nats-Expected-Last-Subject-Sequence-Subject";
pub(super) const EXPECTED_LAST_ID: &[u8] = b"Nats-Expected-Last-Msg-Id";

/// Largest header block, in bytes: its length has 16 bits elsewhere.
pub(super) const HEADER_BYTES_MAX: usize = 65_535;

/// What a stream's configuration says about taking messages.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Largest message, headers included; `None` for no limit.
    pub max_msg_bytes: Option<usize>,
    /// Nothing is taken or removed any more.
    pub sealed: bool,
    /// Publishers get no acknowledgements.
    pub silent: bool,
    /// Messages may replace the ones before them.
    pub rollup: bool,
    /// Every message is looked at by itself, since one that is too many is refused alone.
    pub discards_new: bool,
    /// New messages of a subject are refused, or have to find room: the log counts what a subject has.
    pub counts_subjects: bool,
    /// How long message ids are remembered.
    pub window_ns: i64,
    /// What is taken is there after a restart: then so is what was known of it.
    pub survives: bool,
    /// Messages may say how long they stay.
    pub ttl: bool,
    /// How long a marker stays in the place of a subject's last message that went because of its time.
    pub marker_seconds: Option<i64>,
    /// A subject has one message.
    pub one_per_subject: bool,
    /// How long messages stay, in nanoseconds, where the log does not see to it: some stay longer, or leave markers.
    pub ages_ns: Option<i64>,
    /// Messages are increments of counters.
    pub counter: bool,
    /// Messages can be published several at once or not at all.
    pub atomic: bool,
    /// Messages can be published with few acknowledgements.
    pub batched: bool,
    /// Messages can be published at a later time.
    pub schedules: bool,
    /// Filters of what is stored.
    pub subjects: Vec<String>,
    /// The subject that a message is stored under instead of its own.
    pub transform: Option<Transform>,
    /// What is published once more.
    pub republish: Option<Republishing>,
}

impl Rules {
    /// Messages below this size are taken without a look.
    #[must_use]
    pub fn plain_below(&self) -> usize {
        let looks = [
            self.sealed,
            self.discards_new,
            self.counts_subjects,
            self.counter,
            self.schedules,
            self.transform.is_some(),
            self.republish.is_some(),
        ];
        if looks.contains(&true) {
            return 0;
        }
        self.max_msg_bytes.map_or(usize::MAX, |max| max.saturating_add(1))
    }
}

/// What becomes of a message.
pub(super) enum Verdict<'a> {
    Take(Box<Admitted<'a>>),
    Duplicate(u64),
    Refuse(ApiError),
    /// One of the server's own that is not needed any more.
    Drop,
}

/// A message as it is stored, and what follows from that.
pub(super) struct Admitted<'a> {
    pub(super) subject: Cow<'a, [u8]>,
    pub(super) head: Cow<'a, [u8]>,
    pub(super) payload: Cow<'a, [u8]>,
    pub(super) id: Option<&'a [u8]>,
    pub(super) rollup: Option<Rollup>,
    pub(super) expires_at_ns: Option<i64>,
    pub(super) counter: Option<Counter>,
    pub(super) is_schedule: bool,
}

impl Admitted<'_> {
    /// Adds the record.
    pub(super) fn push_to(&self, batch: &mut RecordBatch, now_ns: i64) -> Result<(), RecordTooLarge> {
        match self.expires_at_ns {
            None => batch.push(now_ns, &self.subject, &self.head, &self.payload),
            Some(at_ns) => batch.push_expiring(now_ns, &self.subject, &self.head, &self.payload, at_ns),
        }
    }
}

/// Whether the checks of a message ask the index.
pub(super) fn asks_index(rules: &Rules, message: &Incoming) -> bool {
    let (head, _) = message.parts();
    rules.counts_subjects
        || rules.counter
        || rules.republish.is_some()
        || !matches!(message.origin, Origin::Client)
        || headers::get(head, atomic::COMMIT).is_some()
        || headers::get(head, schedule::SCHEDULER).is_some()
        || headers::get(head, EXPECTED_LAST_OF_SUBJECT).is_some()
}

/// Looks at messages of one stream.
pub(super) struct Checks<'a> {
    pub(super) rules: &'a Rules,
    pub(super) stream: &'a str,
    pub(super) log: &'a StreamLog,
}

impl Checks<'_> {
    /// Looks at one message, which would be stored now; if it is part of a batch, after those that are `staged`.
    pub(super) fn consider<'m>(
        &self,
        ingest: &mut Ingest,
        message: &'m Incoming,
        now_ns: i64,
        staged: Option<&Staged>,
    ) -> Verdict<'m> {
        match self.look(ingest, message, now_ns, staged) {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Refuse(error),
        }
    }

    fn look<'m>(
        &self,
        ingest: &mut Ingest,
        message: &'m Incoming,
        now_ns: i64,
        staged: Option<&Staged>,
    ) -> Result<Verdict<'m>, ApiError> {
        let rules = self.rules;
        let (head, payload) = message.parts();
        let header = |key: &[u8]| headers::get(head, key).filter(|value| !value.is_empty());
        let own = !matches!(message.origin, Origin::Client);
        let subject = self.subject(message);
        if rules.sealed {
            return Err(ApiError::stream_sealed());
        }
        match &message.origin {
            Origin::Client => {}
            Origin::Marker { gone } if self.held(ingest, &subject)? > *gone => return Ok(Verdict::Drop),
            Origin::Schedule { seq, subject } if !ingest.schedules.is(subject, *seq) => return Ok(Verdict::Drop),
            Origin::Marker { .. } | Origin::Schedule { .. } => {}
        }
        let increment = if own { None } else { counter::increment(rules, head, payload)? };
        if header(EXPECTED_STREAM).is_some_and(|expected| expected != self.stream.as_bytes()) {
            return Err(ApiError::stream_not_match());
        }
        if !own && !rules.ttl && Ttl::of(head).is_some_and(|ttl| ttl != Ttl::Unsaid) {
            return Err(ApiError::message_ttl_disabled());
        }
        self.check_expectations(ingest, head, &subject, staged)?;
        let is_schedule = !own && self.check_schedule(ingest, head, &subject, now_ns, staged)?;
        if !own && header(b"Nats-Stream-Source").is_some() {
            return Err(ApiError::message_source_hdr_not_allowed());
        }
        let id = header(b"Nats-Msg-Id");
        if let Some(id) = id
            && let Some(seq) = ingest.dedup.find(id, now_ns, rules.window_ns)
        {
            return Ok(Verdict::Duplicate(seq));
        }
        if staged.zip(id).is_some_and(|(staged, id)| staged.ids.contains(id)) {
            return Err(ApiError::atomic_publish_contains_duplicate_message());
        }
        if header(EXPECTED_LAST_ID).is_some_and(|expected| expected != ingest.last_id) {
            return Err(ApiError::stream_wrong_last_msg_id(String::from_utf8_lossy(&ingest.last_id)));
        }
        // There is one schedule a subject.
        let head = match header(b"Nats-Rollup") {
            None if is_schedule => Cow::Owned(edit::with(head, b"Nats-Rollup", b"sub")),
            _ => Cow::Borrowed(head),
        };
        let rollup = self.rollup(&head, own)?;
        self.check_batched_rollup(rollup, &subject, staged)?;
        if rules.counter && increment.is_none() && !own {
            return Err(ApiError::message_incr_missing());
        }
        let mut taken = Admitted {
            subject,
            head,
            payload: Cow::Borrowed(payload),
            id,
            rollup,
            expires_at_ns: None,
            counter: None,
            is_schedule,
        };
        if let Some(increment) = increment {
            let counter = self.counter(ingest, &taken.subject, staged)?.plus(&increment);
            let (head, payload) = counter.stored(&taken.head);
            taken.head = head.map_or(taken.head, Cow::Owned);
            taken.payload = Cow::Owned(payload);
            taken.counter = Some(counter);
        }
        if rules.max_msg_bytes.is_some_and(|max| taken.head.len() + taken.payload.len() > max) {
            return Err(ApiError::stream_message_exceeds_maximum());
        }
        if taken.head.len() > HEADER_BYTES_MAX {
            return Err(ApiError::stream_header_exceeds_maximum());
        }
        let (ttl, head) = ttl::admit(rules, &taken.head)?;
        taken.head = head.map_or(taken.head, Cow::Owned);
        taken.expires_at_ns = ttl.expires_at_ns(now_ns);
        Ok(Verdict::Take(Box::new(taken)))
    }

    /// The subject that a message is stored under. One that the transform is not about keeps its own.
    fn subject<'m>(&self, message: &'m Incoming) -> Cow<'m, [u8]> {
        // A marker has the subject of what it stands for.
        let transform = self.rules.transform.as_ref().filter(|_| !matches!(message.origin, Origin::Marker { .. }));
        let made = transform.and_then(|transform| transform.apply(&message.subject, random(message.now_ns)));
        made.map_or(Cow::Borrowed(&*message.subject), Cow::Owned)
    }

    fn check_expectations(
        &self,
        ingest: &Ingest,
        head: &[u8],
        subject: &[u8],
        staged: Option<&Staged>,
    ) -> Result<(), ApiError> {
        let header = |key: &[u8]| headers::get(head, key).filter(|value| !value.is_empty());
        let of = header(EXPECTED_SUBJECT);
        if let Some(expected) = header(EXPECTED_LAST_OF_SUBJECT) {
            let of = of.unwrap_or(subject);
            if staged.is_some_and(|staged| staged.subjects.contains_key(of)) {
                return Err(ApiError::stream_wrong_last_sequence_constant());
            }
            let last = self.last_of(ingest, of)?;
            if number(expected) != Some(last) {
                return Err(ApiError::stream_wrong_last_sequence(last));
            }
        } else if of.is_some() {
            return Err(ApiError::stream_expected_last_seq_per_subject_invalid());
        }
        let before = staged.map_or(0, |staged| staged.count);
        let last = ingest.last_seq(self.log) + before;
        match header(EXPECTED_LAST).map(number) {
            Some(expected) if expected != Some(last) => Err(ApiError::stream_wrong_last_sequence(last)),
            Some(_) if before > 0 => Err(ApiError::stream_wrong_last_sequence_constant()),
            _ => Ok(()),
        }
    }

    /// Whether a client's message is a schedule.
    fn check_schedule(
        &self,
        ingest: &Ingest,
        head: &[u8],
        subject: &[u8],
        now_ns: i64,
        staged: Option<&Staged>,
    ) -> Result<bool, ApiError> {
        let part = schedule::check(self.rules, subject, head, now_ns)?;
        let Some(ends) = part.ends else { return Ok(part.is_schedule) };
        // What it ends has to be one, if it is there.
        let is_one = match staged.and_then(|staged| staged.subjects.get(&*ends)) {
            Some(is_one) => *is_one,
            None => ingest.schedules.has(&ends) || self.last_of(ingest, &ends)? == 0,
        };
        if is_one { Ok(part.is_schedule) } else { Err(ApiError::message_schedules_scheduler_invalid()) }
    }

    /// Checks what is checked of each message of a batch when it comes.
    pub(super) fn check_batched(&self, message: &Incoming, is_fast: bool) -> Result<(), ApiError> {
        if self.rules.sealed {
            return Err(ApiError::stream_sealed());
        }
        if self.rules.max_msg_bytes.is_some_and(|max| message.message.len() > max) {
            return Err(ApiError::stream_message_exceeds_maximum());
        }
        match is_fast {
            true if !self.rules.batched => Err(ApiError::batch_publish_disabled()),
            false if !self.rules.atomic => Err(ApiError::atomic_publish_disabled()),
            _ => Ok(()),
        }
    }

    /// Only the first message of a batch with its subject, or of all, may replace others.
    fn check_batched_rollup(
        &self,
        rollup: Option<Rollup>,
        subject: &[u8],
        staged: Option<&Staged>,
    ) -> Result<(), ApiError> {
        let Some(staged) = staged else { return Ok(()) };
        match rollup {
            Some(Rollup::Subject) if staged.subjects.contains_key(subject) => {
                Err(ApiError::stream_rollup_failed("batch rollup sub invalid"))
            }
            Some(Rollup::All) if staged.count > 0 => Err(ApiError::stream_rollup_failed("batch rollup all invalid")),
            _ => Ok(()),
        }
    }

    fn rollup(&self, head: &[u8], own: bool) -> Result<Option<Rollup>, ApiError> {
        match headers::get(head, b"Nats-Rollup").filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(_) if !self.rules.rollup && own => Ok(None),
            Some(_) if !self.rules.rollup => Err(ApiError::stream_rollup_failed("rollup not permitted")),
            Some(value) => Rollup::parse(value).map(Some).ok_or_else(|| {
                let value = String::from_utf8_lossy(value).to_lowercase();
                ApiError::stream_rollup_failed(format_args!("rollup value invalid: {value:?}"))
            }),
        }
    }

    /// The number of the last message that `filter` selects, 0 if there is none; what is in flight counts.
    pub(super) fn last_of(&self, ingest: &Ingest, filter: &[u8]) -> Result<u64, ApiError> {
        let Ok(parsed) = SubjectFilter::parse(filter) else { return Ok(0) };
        let readable = self.log.log().readable_seq();
        let flying = ingest.flights.of(readable, |subject| parsed.matches(subject)).last_seq;
        if flying > 0 {
            return Ok(flying);
        }
        let found = read::last_matching(self.log.log(), &FilterSet::from(parsed), readable).map_err(|e| unread(&e))?;
        Ok(found.unwrap_or(0))
    }

    /// How many messages a subject has; what is in flight counts.
    fn held(&self, ingest: &Ingest, subject: &[u8]) -> Result<u64, ApiError> {
        let readable = self.log.log().readable_seq();
        let flying = ingest.flights.of(readable, |other| other == subject).count;
        Ok(flying + read::count_of(self.log.log(), subject, readable).map_err(|e| unread(&e))?)
    }

    /// The counter of a subject; what is in flight counts.
    pub(super) fn counter(
        &self,
        ingest: &Ingest,
        subject: &[u8],
        staged: Option<&Staged>,
    ) -> Result<Counter, ApiError> {
        if let Some(counter) = staged.and_then(|staged| staged.counters.get(subject)) {
            return Ok(counter.clone());
        }
        let last = self.last_of(ingest, subject)?;
        if let Some(counter) = ingest.counters.get(subject, last) {
            return Ok(counter.clone());
        }
        match read::message(self.log.log(), last).map_err(|e| unread(&e))? {
            Some(record) => Counter::read(&record.headers, &record.payload),
            None => Ok(Counter::default()),
        }
    }
}

fn unread(error: &read::Unreadable) -> ApiError {
    tracing::warn!("A message cannot be checked: {error}");
    ApiError::stream_store_failed("the message log cannot be read")
}

/// A sequence as clients write it; anything else is no sequence at all.
pub(in crate::jetstream) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A number for transforms that ask for a random one. Multiplied, so that times that are close give numbers that are not.
pub(super) fn random(now_ns: i64) -> u32 {
    u32::try_from(now_ns.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(0)
}
