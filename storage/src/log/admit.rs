//! Whether records may come in where new ones of a subject are refused, or only come in place of an older one.
//!
//! What a subject has is what the index says of it up to the last readable number, and what was taken behind that. Both are
//! looked at under one lock that all appends to such a log take, so the count is exact: no two publishers are let in for one
//! place. Logs without such limits never come here.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::Log;
use crate::batch::RecordBatch;
use crate::error::AppendError;
use crate::format::record;
use crate::limits::Limits;
use crate::queue::Queue;
use crate::record::Visit;
use crate::shared::Shared;
use crate::subjects::IndexError;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

/// Subjects of records that were taken and cannot be read yet.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    order: VecDeque<(u64, Arc<[u8]>)>,
    counts: HashMap<Arc<[u8]>, u64>,
    /// Failed records that were taken notice of.
    failed: u64,
}

impl Flights {
    /// Forgets what can be read, or never will be.
    fn settle(&mut self, readable: u64, shared: &Shared) {
        while self.order.front().is_some_and(|(seq, _)| *seq <= readable) {
            if let Some((_, subject)) = self.order.pop_front() {
                self.uncount(&subject);
            }
        }
        let failed = shared.counters.records_failed.load(Ordering::Acquire);
        if failed == self.failed {
            return;
        }
        self.failed = failed;
        let order = std::mem::take(&mut self.order);
        let queue = shared.queue.lock();
        for (seq, subject) in order {
            if queue.failure_in(seq, seq).is_some() {
                self.uncount(&subject);
            } else {
                self.order.push_back((seq, subject));
            }
        }
    }

    /// Nothing is on its way.
    pub(crate) fn forget(&mut self) {
        self.order.clear();
        self.counts.clear();
    }

    fn uncount(&mut self, subject: &Arc<[u8]>) {
        if let Some(count) = self.counts.get_mut(subject) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(subject);
            }
        }
    }

    fn of(&self, subject: &[u8]) -> u64 {
        self.counts.get(subject).copied().unwrap_or(0)
    }

    fn add(&mut self, seq: u64, subject: &[u8]) {
        let subject = match self.counts.get_key_value(subject) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(subject),
        };
        *self.counts.entry(Arc::clone(&subject)).or_default() += 1;
        self.order.push_back((seq, subject));
    }
}

/// Records that may come in, as far as the limit per subject goes. Nobody else's come in meanwhile.
pub(super) struct Admitted<'a> {
    flights: MutexGuard<'a, Flights>,
    /// One of them comes in place of one that takes so many bytes.
    place: Option<u64>,
}

impl Admitted<'_> {
    /// Whether the log holds no more than before once the older record has gone.
    pub(super) fn takes_a_place(&self, shared: &Shared, queue: &Queue, batch: &RecordBatch, limits: &Limits) -> bool {
        self.place.is_some_and(|bytes| {
            let grows = (batch.body.len() as u64).saturating_sub(bytes);
            let held = shared.options.counted(queue.held_messages, queue.held_bytes);
            grows == 0 || limits.max_bytes.is_none_or(|max| held + grows <= max)
        })
    }

    /// They get numbers from this one on.
    pub(super) fn take(&mut self, first_seq: u64, batch: &RecordBatch) {
        for (seq, subject) in (first_seq..).zip(subjects(batch)) {
            self.flights.add(seq, subject);
        }
    }
}

/// The subjects of a batch's records.
fn subjects(batch: &RecordBatch) -> impl Iterator<Item = &[u8]> {
    let mut rest = batch.body.as_slice();
    (0..batch.len()).map(move |i| {
        let len = record::entry(&batch.directory, i).map_or(0, |(len, _)| len);
        let (record, behind) = rest.split_at_checked(len).unwrap_or_default();
        rest = behind;
        record::parts(record).map_or(&[][..], |parts| parts.subject)
    })
}

impl Log {
    /// Looks at the limit per subject, if new records have to. `replaces`: their publisher removes what is too many.
    pub(super) fn admit(
        &self,
        limits: &Limits,
        batch: &RecordBatch,
        replaces: bool,
    ) -> Result<Option<Admitted<'_>>, AppendError> {
        let Some(max) = limits.max_per_subject.filter(|_| limits.counts_subjects()) else { return Ok(None) };
        let mut flights = self.shared.flights.lock();
        let readable = self.readable_seq();
        flights.settle(readable, &self.shared);
        let mut place = None;
        if limits.discard_per_subject && !replaces {
            let mut new: HashMap<&[u8], u64> = HashMap::new();
            subjects(batch).for_each(|subject| *new.entry(subject).or_default() += 1);
            for (subject, new) in new {
                let flying = flights.of(subject);
                // What is in flight may be enough to know.
                if flying + new > max || self.held_of(subject, readable)? + flying + new > max {
                    return Err(AppendError::Limit { what: "messages per subject", limit: max });
                }
            }
        } else if let (1, false, Some(subject)) = (batch.len(), limits.discard_per_subject, subjects(batch).next())
            && self.is_full_for(limits, batch)
        {
            place = self.place_of(subject, max, flights.of(subject), readable)?;
        }
        Ok(Some(Admitted { flights, place }))
    }

    /// Whether a limit of the log refuses a batch now; only more room can come about while the caller keeps others out.
    fn is_full_for(&self, limits: &Limits, batch: &RecordBatch) -> bool {
        let queue = self.shared.queue.lock();
        let (messages, bytes) = (queue.held_messages + batch.len() as u64, queue.held_bytes + batch.body.len() as u64);
        limits.refuses(messages, self.shared.options.counted(messages, bytes)).is_some()
    }

    fn held_of(&self, subject: &[u8], readable: u64) -> Result<u64, AppendError> {
        or_nothing(self.shared.ask_all(&|snapshot| snapshot.count_of(subject, readable)))
    }

    /// Bytes of the record that goes when another of its subject comes; `None` if none does, or it cannot be read yet.
    fn place_of(&self, subject: &[u8], max: u64, flying: u64, readable: u64) -> Result<Option<u64>, AppendError> {
        let oldest = or_nothing(self.shared.ask_all(&|snapshot| {
            let held = snapshot.count_of(subject, readable)?;
            let Some(before) = (held + flying).checked_sub(max).filter(|before| *before < held) else {
                return Ok(None);
            };
            let mut numbers = Vec::new();
            snapshot.oldest(subject, usize::try_from(before + 1).unwrap_or(usize::MAX), &mut numbers)?;
            Ok(numbers.last().copied())
        }))?;
        let Some(oldest) = oldest else { return Ok(None) };
        let mut reader = self.reader();
        reader.seek(oldest);
        let mut bytes = None;
        let read = reader.visit(1, &mut |visit| {
            bytes = match visit {
                Visit::Record(record) if record.seq == oldest => Some(record.bytes() as u64),
                _ => None,
            };
            ControlFlow::Break(())
        });
        read.map_err(|error| uncounted(&error))?;
        Ok(bytes)
    }
}

fn or_nothing<T: Default>(answer: Result<T, IndexError>) -> Result<T, AppendError> {
    match answer {
        // There is nothing to speak of.
        Err(IndexError::Building { segments_left: 0 }) => Ok(T::default()),
        other => other.map_err(|error| uncounted(&error)),
    }
}

fn uncounted(error: &dyn std::fmt::Display) -> AppendError {
    AppendError::Uncounted { why: error.to_string() }
}
