//! Reading single messages of a log: by number, the last or the next of a subject.

use std::ops::ControlFlow;

use sublog_storage::index::FilterSet;
use sublog_storage::{IndexError, Log, ReadError, Record, Visit};

/// Subjects asked of the index at a time.
const PAGE: usize = 4096;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The log.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// Its index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What an index that has nothing to speak of yet says is no error.
pub(super) fn or_nothing<T: Default>(answer: Result<T, IndexError>) -> Result<T, IndexError> {
    match answer {
        Err(IndexError::Building { segments_left: 0 }) => Ok(T::default()),
        other => other,
    }
}

/// The message `seq`, if it is there and can be read.
///
/// # Errors
/// The log cannot be read.
pub fn message(log: &Log, seq: u64) -> Result<Option<Record>, Unreadable> {
    if seq == 0 {
        return Ok(None);
    }
    let mut reader = log.reader();
    reader.seek(seq);
    let mut found = None;
    reader.visit(1, &mut |visit| {
        if let Visit::Record(record) = visit
            && record.seq == seq
        {
            found = Some(record.to_record());
        }
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// When the message `seq` was stored, in nanoseconds since 1970, if it is there.
///
/// # Errors
/// The log cannot be read.
pub fn stored_ns(log: &Log, seq: u64) -> Result<Option<i64>, Unreadable> {
    let mut reader = log.reader();
    reader.seek(seq);
    let mut found = None;
    reader.visit(1, &mut |visit| {
        if let Visit::Record(record) = visit {
            found = (record.seq == seq).then_some(record.ts_ns);
        }
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The first message from `from_seq` on that the filters select.
///
/// # Errors
/// The log cannot be read.
pub fn next_matching(log: &Log, filters: FilterSet, from_seq: u64) -> Result<Option<Record>, Unreadable> {
    let mut found = None;
    log.select(filters, from_seq).visit(usize::MAX, &mut |visit| match visit {
        Visit::Record(record) => {
            found = Some(record.to_record());
            ControlFlow::Break(())
        }
        Visit::Lost(_) => ControlFlow::Continue(()),
    })?;
    Ok(found)
}

/// Number of the last message up to `at_or_before` that the filters select.
///
/// # Errors
/// The log or its index cannot be read.
pub fn last_matching(log: &Log, filters: &FilterSet, at_or_before: u64) -> Result<Option<u64>, Unreadable> {
    if let [filter] = filters.filters()
        && filter.is_literal()
    {
        return Ok(or_nothing(log.last_of(filter.as_bytes(), at_or_before))?);
    }
    if filters.filters().iter().any(sublog_storage::index::SubjectFilter::is_everything) {
        let mut found = None;
        log.reader().visit_backward(at_or_before, &mut |visit| match visit {
            Visit::Record(record) => {
                found = Some(record.seq);
                ControlFlow::Break(())
            }
            Visit::Lost(_) => ControlFlow::Continue(()),
        })?;
        return Ok(found);
    }
    let (mut last, mut after): (Option<u64>, Option<Vec<u8>>) = (None, None);
    loop {
        let page = or_nothing(log.last_per_subject(filters, at_or_before, after.as_deref(), PAGE))?;
        last = last.max(page.iter().map(|(_, seq)| *seq).max());
        match page.into_iter().nth(PAGE - 1) {
            Some((subject, _)) => after = Some(subject),
            None => return Ok(last),
        }
    }
}

/// How many messages a subject has up to `at_or_before`.
///
/// # Errors
/// The log or its index cannot be read.
pub fn count_of(log: &Log, subject: &[u8], at_or_before: u64) -> Result<u64, Unreadable> {
    let Ok(filter) = sublog_storage::index::SubjectFilter::parse(subject) else { return Ok(0) };
    Ok(or_nothing(log.count(&FilterSet::from(filter), 1, at_or_before))?)
}
