//! Messages that say when, and where, another one is to be published.
//!
//! A schedule is the last message of its subject. When it is due, what it says is stored under its target, and it goes, or
//! is due again at a time that the stored message names: so all that is known of schedules is in the log, and is read from it
//! when the server starts.

mod cron;
mod pattern;

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use sublog_protocol::headers::{self, edit};
use sublog_protocol::subject;
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Log, Purge, Record, Visit};

use super::Stream;
use super::checks::Rules;
use super::ttl::Ttl;
use crate::account::Account;
use crate::clock;
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::{Incoming, Origin};
use crate::jetstream::read;
use crate::jetstream::store::Span;

const PATTERN: &[u8] = b"Nats-Schedule";
const TIME_ZONE: &[u8] = b"Nats-Schedule-Time-Zone";
const TARGET: &[u8] = b"Nats-Schedule-Target";
const SOURCE: &[u8] = b"Nats-Schedule-Source";
const TTL: &[u8] = b"Nats-Schedule-TTL";
const ROLLUP: &[u8] = b"Nats-Schedule-Rollup";
/// The header of a message that a schedule made, with the schedule's subject.
pub(super) const SCHEDULER: &[u8] = b"Nats-Scheduler";
/// The header beside it: when the schedule is due again, or that it goes.
const NEXT: &[u8] = b"Nats-Schedule-Next";
const PURGE: &[u8] = b"purge";

/// How long one whose message was not taken waits, in nanoseconds.
const RETRY_NS: i64 = 1_000_000_000;

#[derive(Debug, Clone, Copy)]
struct Due {
    seq: u64,
    at_ns: i64,
}

/// The schedules of a stream.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_subject: FxHashMap<Arc<[u8]>, Due>,
    by_time: BTreeSet<(i64, Arc<[u8]>)>,
    /// Some were not stored after all: the log has to say what there is.
    pub(super) doubtful: bool,
}

impl Schedules {
    fn put(&mut self, subject: &[u8], due: Due) {
        self.remove(subject);
        let subject: Arc<[u8]> = subject.into();
        self.by_time.insert((due.at_ns, subject.clone()));
        self.by_subject.insert(subject, due);
    }

    fn remove(&mut self, subject: &[u8]) {
        if let Some((subject, due)) = self.by_subject.remove_entry(subject) {
            self.by_time.remove(&(due.at_ns, subject));
        }
    }

    /// It is due at another time.
    fn postpone(&mut self, subject: &[u8], at_ns: i64) {
        if let Some(due) = self.by_subject.get(subject).copied() {
            self.put(subject, Due { at_ns, ..due });
        }
    }

    /// Whether the subject's schedule is this message.
    pub(super) fn is(&self, subject: &[u8], seq: u64) -> bool {
        self.by_subject.get(subject).is_some_and(|due| due.seq == seq)
    }

    /// Whether the subject has a schedule.
    pub(super) fn has(&self, subject: &[u8]) -> bool {
        self.by_subject.contains_key(subject)
    }

    /// Whether there is something to do.
    pub(super) fn is_due(&self, now_ns: i64) -> bool {
        self.doubtful || self.by_time.first().is_some_and(|(at_ns, _)| *at_ns <= now_ns)
    }

    /// A message was given to the log. The schedule that ends with it, if one does.
    pub(super) fn stored(
        &mut self,
        subject: &[u8],
        head: &[u8],
        seq: u64,
        ts_ns: i64,
        now_ns: i64,
    ) -> Option<Box<[u8]>> {
        let header = |key: &[u8]| headers::get(head, key).filter(|value| !value.is_empty());
        let scheduler = header(SCHEDULER);
        match pattern::next(head, ts_ns, now_ns) {
            Ok(Some(next)) => self.put(subject, Due { seq, at_ns: next.at_ns }),
            _ if scheduler.is_none() => self.remove(subject),
            _ => {}
        }
        let (scheduler, next) = (scheduler?, header(NEXT)?);
        if next == PURGE {
            let there = self.has(scheduler);
            self.remove(scheduler);
            return there.then(|| scheduler.into());
        }
        if let Some(at_ns) = std::str::from_utf8(next).ok().and_then(pattern::timestamp) {
            self.postpone(scheduler, at_ns);
        }
        None
    }

    /// Those that are due and can be read, in the order of their numbers.
    fn due(&self, now_ns: i64, readable_seq: u64) -> Vec<(u64, i64, Arc<[u8]>)> {
        let due = self.by_time.iter().take_while(|(at_ns, _)| *at_ns <= now_ns);
        let with_seq =
            due.filter_map(|(at_ns, subject)| Some((self.by_subject.get(subject)?.seq, *at_ns, subject.clone())));
        let mut all: Vec<_> = with_seq.filter(|(seq, ..)| *seq <= readable_seq).collect();
        all.sort_unstable_by_key(|(seq, ..)| *seq);
        all
    }
}

/// What a message has to do with schedules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// It is one.
    pub(super) is_schedule: bool,
    /// It ends that of this subject.
    pub(super) ends: Option<Box<[u8]>>,
}

/// Whether a client's message that is a schedule, or ends one, may be so.
///
/// # Errors
/// 10186 to 10192, 10203, 10212, 10223: what is wrong.
pub(super) fn check(rules: &Rules, stored_as: &[u8], head: &[u8], now_ns: i64) -> Result<Part, ApiError> {
    let header = |key: &[u8]| headers::get(head, key).filter(|value| !value.is_empty());
    let next = pattern::next(head, now_ns, now_ns);
    let is_schedule = match (next, rules.schedules) {
        (Ok(None), _) => false,
        (_, false) => return Err(ApiError::message_schedules_disabled()),
        (Ok(Some(_)), true) => true,
        (Err(error), true) => return Err(error),
    };
    if is_schedule {
        check_schedule(rules, stored_as, head)?;
    }
    let ends = match (header(NEXT), header(SCHEDULER)) {
        (None, None) => None,
        (Some(PURGE), Some(scheduler)) if scheduler != stored_as && subject::is_valid_literal(scheduler) => {
            Some(scheduler)
        }
        _ => return Err(ApiError::message_schedules_scheduler_invalid()),
    };
    if ends.is_some() && !rules.schedules {
        return Err(ApiError::message_schedules_disabled());
    }
    Ok(Part { is_schedule, ends: ends.map(Into::into) })
}

fn check_schedule(rules: &Rules, stored_as: &[u8], head: &[u8]) -> Result<(), ApiError> {
    let header = |key: &[u8]| headers::get(head, key).filter(|value| !value.is_empty());
    let ttl = header(TTL);
    if ttl.is_some_and(|text| Ttl::parse(text).is_none()) {
        return Err(ApiError::message_schedules_ttl_invalid());
    }
    if header(ROLLUP).is_some_and(|text| text != b"sub") {
        return Err(ApiError::message_schedules_rollup_invalid());
    }
    if ttl.is_some() && !rules.ttl {
        return Err(ApiError::message_ttl_disabled());
    }
    let taken = |other: &[u8]| rules.subjects.iter().any(|filter| subject::overlaps(filter.as_bytes(), other));
    let target = header(TARGET).filter(|target| subject::is_valid_literal(target) && *target != stored_as);
    let target = target.ok_or_else(ApiError::message_schedules_target_invalid)?;
    let source = header(SOURCE);
    let fits = |source: &[u8]| source != target && source != stored_as && subject::is_valid_literal(source);
    if source.is_some_and(|source| !fits(source)) {
        return Err(ApiError::message_schedules_source_invalid());
    }
    if !taken(target) {
        return Err(ApiError::message_schedules_target_invalid());
    }
    if source.is_some_and(|source| !taken(source)) {
        return Err(ApiError::message_schedules_source_invalid());
    }
    if header(b"Nats-Rollup").is_some_and(|rollup| !rollup.eq_ignore_ascii_case(b"sub")) {
        return Err(ApiError::message_schedules_rollup_invalid());
    }
    Ok(())
}

/// A message that a schedule makes.
struct Made {
    target: Box<[u8]>,
    head: Vec<u8>,
    payload: Vec<u8>,
}

/// The message that a schedule makes; `None` if it makes none.
fn made(log: &Log, schedule: &Record, at_ns: i64, now_ns: i64) -> Option<Made> {
    let header = |key: &[u8]| headers::get(&schedule.headers, key).filter(|value| !value.is_empty());
    let next = pattern::next(&schedule.headers, at_ns, now_ns).ok()??;
    let target = header(TARGET)?;
    // Without a last message there, what the schedule itself holds.
    let source = header(SOURCE).and_then(|source| {
        let filter = SubjectFilter::parse(source).ok()?;
        let last = read::last_matching(log, &FilterSet::from(filter), log.readable_seq()).ok()??;
        read::message(log, last).ok()?
    });
    let (head, payload) = match &source {
        Some(record) => (&record.headers, &record.payload),
        None => (&schedule.headers, &schedule.payload),
    };
    let mut head = edit::without(head, |key| {
        key.starts_with(PATTERN)
            || key.starts_with(b"Nats-Expected-")
            || [&b"Nats-Msg-Id"[..], b"Nats-TTL", b"Nats-Rollup"].contains(&key)
    });
    head = edit::with(&head, SCHEDULER, &schedule.subject);
    head = edit::with(&head, NEXT, next.repeats.as_ref().map_or(PURGE, |time| time.as_bytes()));
    if let Some(ttl) = header(TTL) {
        head = edit::with(&head, b"Nats-TTL", ttl);
    }
    if let Some(rollup) = header(ROLLUP) {
        head = edit::with(&head, b"Nats-Rollup", rollup);
    }
    Some(Made { target: target.into(), head, payload: payload.to_vec() })
}

impl Stream {
    /// Publishes what is due. May read and wait for the disk.
    pub(super) fn fire(self: &Arc<Self>, account: &Arc<Account>, now_ns: i64) {
        let Some(log) = self.log().map(|log| log.log()) else { return };
        if self.ingest.lock().schedules.doubtful {
            self.remember_schedules(now_ns);
        }
        let due = self.ingest.lock().schedules.due(now_ns, log.readable_seq());
        for (seq, at_ns, subject) in due {
            let found = match read::message(log, seq) {
                Ok(found) => found.filter(|record| *record.subject == *subject),
                Err(error) => {
                    tracing::warn!(stream = &*self.name, "A schedule cannot be read: {error}");
                    self.ingest.lock().schedules.postpone(&subject, now_ns.saturating_add(RETRY_NS));
                    continue;
                }
            };
            let Some(Made { target, head, payload }) = found.and_then(|record| made(log, &record, at_ns, now_ns))
            else {
                let mut ingest = self.ingest.lock();
                if ingest.schedules.is(&subject, seq) {
                    ingest.schedules.remove(&subject);
                }
                continue;
            };
            let header_len = head.len();
            let mut messages = VecDeque::from([Incoming {
                origin: Origin::Schedule { seq, subject: (&*subject).into() },
                now_ns: clock::unix_ns(),
                subject: target,
                reply: None,
                header_len,
                message: [head, payload].concat().into(),
            }]);
            let taken = self.look_at(account, &mut messages, &mut Span::default());
            // Was it not taken, it is still due when it was.
            let mut ingest = self.ingest.lock();
            if ingest.schedules.by_subject.get(&*subject).is_some_and(|due| due.seq == seq && due.at_ns == at_ns) {
                ingest.schedules.postpone(&subject, now_ns.saturating_add(RETRY_NS));
            }
            if taken.is_err() {
                return;
            }
        }
    }

    /// Reads all schedules from the log.
    pub(super) fn remember_schedules(&self, now_ns: i64) {
        let Some(log) = self.log().map(|log| log.log()) else { return };
        let mut ingest = self.ingest.lock();
        let mut schedules = Schedules::default();
        let mut ended = Vec::new();
        let read = log.reader().visit(usize::MAX, &mut |visit| {
            if let Visit::Record(record) = visit {
                let of = schedules.stored(record.subject, record.headers, record.seq, record.ts_ns, now_ns);
                ended.extend(of.map(|subject| (subject, record.seq)));
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = read {
            tracing::error!(stream = &*self.name, "Schedules cannot be read, some may not be kept: {error}");
        }
        ingest.schedules = schedules;
        drop(ingest);
        // What a crash left of schedules that had ended.
        for (subject, seq) in ended {
            let Ok(filter) = SubjectFilter::parse(&subject) else { continue };
            let purge = Purge { filters: Some(FilterSet::from(filter)), before_seq: Some(seq), keep: 0 };
            if let Err(error) = log.purge_now(purge) {
                tracing::warn!(stream = &*self.name, "A schedule that has ended cannot be removed: {error}");
            }
        }
    }
}
