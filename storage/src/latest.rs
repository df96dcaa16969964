//! Where the newest records begin that subject filters select: from the end backwards, by way of the index.
//!
//! ```text
//!   part         part          part     open segment
//! [ few match ][ many match ][ few ][ .......|looked at]
//!                                    <--------- from here
//! ```
//! The last few records are looked at anyway; then the index is asked part by part, the newest first. Where many records of
//! a part match, which is cheap to see, its records are looked at instead: the end of the search is near then.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::ReadError;
use crate::index::FilterSet;
use crate::log::Log;
use crate::reader::Reader;
use crate::record::{ReadEnd, Visit};
use crate::shared::Shared;
use crate::subjects::IndexError;

/// So many records at the end are looked at before the index is asked.
const LOOKED_AT_ANYWAY: u64 = 2048;

/// A search under way.
pub struct Latest {
    shared: Arc<Shared>,
    filters: FilterSet,
    reader: Reader,
    /// So many are still to be found.
    left: u64,
    /// The oldest one found, or what comes behind the last record.
    from: u64,
    /// What is above was counted.
    at: u64,
    /// Down to this number records are looked at.
    look_to: u64,
    bytes_looked_at: u64,
}

impl Log {
    /// Looks for the `count`-th record from the end that the filters select.
    #[must_use]
    pub fn latest(&self, filters: FilterSet, count: u64) -> Latest {
        let at = self.readable_seq();
        Latest {
            shared: self.share(),
            filters,
            reader: self.reader(),
            left: count,
            from: at + 1,
            at,
            look_to: at.saturating_sub(LOOKED_AT_ANYWAY) + 1,
            bytes_looked_at: 0,
        }
    }
}

impl Latest {
    /// Goes on for about so many bytes of records. The number of the record, of the oldest selected one if there are not so many,
    /// of what comes next if there is none; `None` if there is more to look at.
    ///
    /// # Errors
    /// If a segment cannot be opened or mapped.
    pub fn step(&mut self, max_bytes: usize) -> Result<Option<u64>, ReadError> {
        let end = self.bytes_looked_at + max_bytes as u64;
        while self.left > 0 && self.at > 0 {
            if self.bytes_looked_at >= end {
                return Ok(None);
            }
            if self.at >= self.look_to {
                self.look(end)?;
            } else {
                self.ask()?;
            }
        }
        Ok(Some(self.from))
    }

    /// Bytes of the records that were read so far.
    #[must_use]
    pub fn bytes_looked_at(&self) -> u64 {
        self.bytes_looked_at
    }

    /// Looks at records, newest first.
    fn look(&mut self, end: u64) -> Result<(), ReadError> {
        let Self { filters, reader, left, from, look_to, bytes_looked_at, .. } = self;
        let mut past = false;
        let outcome = reader.visit_backward(self.at, &mut |visit| {
            let last = match &visit {
                Visit::Record(record) => record.seq,
                Visit::Lost(lost) => lost.last_seq,
            };
            past = last < *look_to;
            if past {
                return ControlFlow::Break(());
            }
            if let Visit::Record(record) = visit {
                *bytes_looked_at += record.bytes() as u64;
                if filters.matches(record.subject) {
                    (*from, *left) = (record.seq, *left - 1);
                }
            }
            if *left == 0 || *bytes_looked_at >= end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.at = match outcome.end {
            _ if past => self.look_to - 1,
            ReadEnd::CaughtUp => 0,
            _ => outcome.next_seq,
        };
        Ok(())
    }

    /// Asks the newest part of the index that speaks of what is left.
    fn ask(&mut self) -> Result<(), ReadError> {
        let (filters, at) = (&self.filters, self.at);
        match self.shared.ask(&|snapshot| snapshot.newest(filters, at)) {
            Ok(None) => self.at = 0,
            Ok(Some(newest)) => match newest.numbers {
                None => self.look_to = newest.first,
                Some(numbers) => {
                    let skip = numbers.len().saturating_sub(usize::try_from(self.left).unwrap_or(usize::MAX));
                    if let Some(oldest) = numbers.get(skip) {
                        self.from = *oldest;
                        self.left -= (numbers.len() - skip) as u64;
                    }
                    self.at = newest.first.saturating_sub(1);
                }
            },
            Err(IndexError::Read(error)) => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "looking backwards without the subject index");
                self.look_to = 1;
            }
        }
        Ok(())
    }
}
