//! Reading only what subject filters select, by way of the index where it saves reading.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::ReadError;
use crate::index::{FilterSet, Found, Matches, SubjectFilter};
use crate::log::Log;
use crate::reader::Reader;
use crate::record::{ReadEnd, ReadOutcome, Visit};
use crate::shared::Shared;
use crate::subjects::IndexError;
use crate::sync::atomic::Ordering;

/// Numbers taken from the index at a time.
const PAGE: usize = 256;
/// So few records are looked at without asking the index: whoever follows the end of the log should not keep it busy.
const LOOKED_AT_ANYWAY: u64 = 1024;

/// Reads records of some subjects from a position on. Where few records match, only those are read; where many do, all
/// are looked at. Lost records are told of where all are looked at, or where the index named one that is lost.
pub struct Selection {
    shared: Arc<Shared>,
    reader: Reader,
    matches: Matches,
    /// Numbers from the index that are still to be read, the next one last.
    numbers: Vec<u64>,
    /// After those, all numbers up to `look_to` are looked at; from this one on, if that did not begin yet.
    look_from: Option<u64>,
    look_to: Option<u64>,
    bytes_looked_at: usize,
}

impl Log {
    /// A reader of what `filters` select, from the number `from_seq` on.
    #[must_use]
    pub fn select(&self, filters: FilterSet, from_seq: u64) -> Selection {
        let mut reader = self.reader();
        reader.seek(from_seq);
        let matches = Matches::new(filters, from_seq.max(1), u64::MAX);
        Selection {
            shared: Arc::clone(&self.shared),
            reader,
            matches,
            numbers: Vec::new(),
            look_from: None,
            look_to: None,
            bytes_looked_at: 0,
        }
    }
}

impl Selection {
    /// Everything selected below this number was visited.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        match (self.numbers.last(), self.look_to) {
            (Some(next), _) => *next,
            (None, Some(_)) => self.look_from.unwrap_or(self.reader.next_seq()),
            (None, None) => self.matches.next_seq(),
        }
    }

    /// The next read begins with this number, or the first selected one after it.
    pub fn seek(&mut self, seq: u64) {
        self.numbers.clear();
        (self.look_from, self.look_to) = (None, None);
        self.matches.seek(seq);
        self.reader.seek(seq);
    }

    /// Visits selected records until `max_bytes` were looked at, nothing more is readable, or `f` breaks.
    ///
    /// # Errors
    /// If a segment cannot be opened or mapped.
    pub fn visit(
        &mut self,
        max_bytes: usize,
        f: &mut dyn FnMut(Visit<'_>) -> ControlFlow<()>,
    ) -> Result<ReadOutcome, ReadError> {
        self.bytes_looked_at = 0;
        let end = loop {
            if self.bytes_looked_at >= max_bytes {
                break ReadEnd::Budget;
            }
            if let Some(seq) = self.numbers.pop() {
                if self.one(seq, f)?.is_break() {
                    break ReadEnd::Stopped;
                }
            } else if let Some(to) = self.look_to {
                let outcome = self.look(to, max_bytes - self.bytes_looked_at, f)?;
                if outcome != ReadEnd::CaughtUp {
                    break outcome;
                }
                self.look_to = None;
            } else if !self.more()? {
                break ReadEnd::CaughtUp;
            }
        };
        Ok(ReadOutcome { end, next_seq: self.next_seq(), bytes: self.bytes_looked_at })
    }

    /// Asks the index for more; `false` if there is nothing more to read.
    fn more(&mut self) -> Result<bool, ReadError> {
        let from = self.matches.next_seq();
        let readable = self.shared.readable.load(Ordering::Acquire);
        if from > readable {
            return Ok(false);
        }
        if readable - from < LOOKED_AT_ANYWAY
            || self.matches.filters().filters().iter().any(SubjectFilter::is_everything)
        {
            self.matches.seek(readable + 1);
            self.look_from(from, readable);
            return Ok(true);
        }
        let mut page = Vec::new();
        let matches = std::cell::RefCell::new(&mut self.matches);
        let found = self.shared.ask(&|snapshot| {
            let mut numbers = Vec::new();
            let found = matches.borrow_mut().page(snapshot, PAGE, &mut numbers)?;
            Ok((found, numbers))
        });
        match found {
            Ok((found, numbers)) => {
                page.extend(numbers.into_iter().rev());
                self.numbers = page;
                if let Found::Dense { first, last } = found {
                    self.look_from(first, last);
                }
                if found == Found::End && self.numbers.is_empty() {
                    // Nothing up to what was readable when the index was asked.
                    self.matches.seek(self.matches.next_seq().max(readable + 1));
                }
            }
            Err(IndexError::Read(error)) => return Err(error),
            Err(error) => {
                // Without the index everything is looked at, as far as there is something.
                tracing::debug!(%error, "reading without the subject index");
                self.matches.seek(readable + 1);
                self.look_from(from, readable);
            }
        }
        Ok(true)
    }

    fn look_from(&mut self, first: u64, last: u64) {
        self.look_from = Some(first);
        self.look_to = Some(last);
    }

    /// One record that the index named.
    fn one(&mut self, seq: u64, f: &mut dyn FnMut(Visit<'_>) -> ControlFlow<()>) -> Result<ControlFlow<()>, ReadError> {
        self.reader.seek(seq);
        let filters = self.matches.filters();
        let mut flow = ControlFlow::Continue(());
        let bytes = &mut self.bytes_looked_at;
        self.reader.visit(1, &mut |visit| {
            flow = match &visit {
                // One that turned out to be unreadable is shown: whoever copies it must know.
                Visit::Record(record)
                    if record.seq == seq && (filters.matches(record.subject) || !record.is_intact()) =>
                {
                    *bytes += record.bytes();
                    f(visit)
                }
                // Removed meanwhile, or not what the index said.
                Visit::Record(_) => ControlFlow::Continue(()),
                Visit::Lost(_) => f(visit),
            };
            ControlFlow::Break(())
        })?;
        Ok(flow)
    }

    /// Everything up to `to`, of which the filters select some.
    fn look(
        &mut self,
        to: u64,
        max_bytes: usize,
        f: &mut dyn FnMut(Visit<'_>) -> ControlFlow<()>,
    ) -> Result<ReadEnd, ReadError> {
        if let Some(from) = self.look_from.take() {
            self.reader.seek(from);
        }
        let filters = self.matches.filters();
        let mut past = None;
        let mut flow = ControlFlow::Continue(());
        let outcome = self.reader.visit(max_bytes, &mut |visit| {
            let seq = match &visit {
                Visit::Record(record) => record.seq,
                Visit::Lost(lost) => lost.first_seq,
            };
            if seq > to {
                past = Some(seq);
                return ControlFlow::Break(());
            }
            flow = match &visit {
                Visit::Record(record) if !filters.matches(record.subject) && record.is_intact() => {
                    ControlFlow::Continue(())
                }
                _ => f(visit),
            };
            flow
        })?;
        self.bytes_looked_at += outcome.bytes;
        if let Some(seq) = past {
            // Not selected by this stretch; it is found again by whatever comes next.
            self.reader.seek(seq);
            return Ok(ReadEnd::CaughtUp);
        }
        let through = self.reader.next_seq() > to;
        Ok(match outcome.end {
            ReadEnd::Stopped if flow.is_break() => {
                if through {
                    self.look_to = None;
                }
                ReadEnd::Stopped
            }
            _ if through => ReadEnd::CaughtUp,
            end => end,
        })
    }
}
