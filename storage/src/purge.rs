//! Removing much at once: what filters select, what is before a number, all but the newest.
//!
//! What goes is decided when it begins: numbers below one that is found then. It is removed in pieces, each of them as durable
//! as any removal when the next one begins, so that neither memory nor the log's committer has much to do at a time. A crash
//! may leave some of it, never anything but it gone.

use std::ops::ControlFlow;

use crate::error::{LogError, ReadError};
use crate::index::{FilterSet, PartError, Snapshot, SubjectFilter};
use crate::log::Log;
use crate::record::{ReadEnd, Visit};
use crate::select::Selection;
use crate::state::Removed;
use crate::subjects::IndexError;

/// Numbers removed at a time.
const PIECE_NUMBERS: usize = 16 << 10;
/// Bytes of records looked at for a piece.
const PIECE_BYTES: usize = 16 << 20;

/// What is to go: whatever meets all of these.
#[derive(Debug, Clone, Default)]
pub struct Purge {
    /// Only records that these select; `None` for all.
    pub filters: Option<FilterSet>,
    /// Only records before this number; `None` for all that can be read now.
    pub before_seq: Option<u64>,
    /// Not the newest so many of those that the filters select.
    pub keep: u64,
}

/// Why a purge did not come to its end. Some of it may be done.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The removals cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The index cannot say which.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A purge under way: names what is to be removed next.
pub struct Purging {
    /// Everything selected before this number goes.
    end_seq: u64,
    from: From,
}

enum From {
    /// All of it in one piece.
    Everything,
    Selected(Box<Selection>),
    Done,
}

impl Log {
    /// Finds out what a purge takes, and removes nothing yet.
    ///
    /// # Errors
    /// The log or its index cannot be read.
    pub fn purge(&self, purge: Purge) -> Result<Purging, PurgeError> {
        let readable = self.readable_seq();
        let mut end_seq = purge.before_seq.map_or(readable + 1, |before| before.min(readable + 1));
        let filters = purge.filters.filter(|set| !set.filters().iter().any(SubjectFilter::is_everything));
        if purge.keep > 0 {
            let kept = match &filters {
                Some(filters) => self.newest_selected(filters, purge.keep, readable)?,
                None => self.newest(purge.keep, readable)?,
            };
            end_seq = end_seq.min(kept);
        }
        let from = filters.map_or(From::Everything, |filters| From::Selected(Box::new(self.select(filters, 1))));
        Ok(Purging { end_seq, from: if end_seq > 1 { from } else { From::Done } })
    }

    /// Does a purge from its beginning to its end; durable, as far as the mode makes removals so, when it returns.
    ///
    /// # Errors
    /// See [`PurgeError`].
    pub fn purge_now(&self, purge: Purge) -> Result<Removed, PurgeError> {
        let mut purging = self.purge(purge)?;
        let mut all = Removed::default();
        while let Some(ranges) = purging.piece()? {
            if ranges.is_empty() {
                continue;
            }
            let removed = self.remove_now(ranges)?;
            all.messages += removed.messages;
            all.bytes += removed.bytes;
        }
        Ok(all)
    }

    /// Number of the record from which on so many are left; 1 if there are not so many.
    fn newest(&self, keep: u64, readable: u64) -> Result<u64, PurgeError> {
        let (mut left, mut from) = (keep, readable);
        // What expired a moment ago still counts as held.
        if !self.is_expiry_due() {
            for segment in self.shared().segments().iter().rev() {
                let held = segment.live().0;
                if held >= left || segment.next_seq() > readable + 1 {
                    break;
                }
                left -= held;
                from = segment.first_seq.saturating_sub(1);
            }
        }
        let mut first_kept = 1;
        self.reader().visit_backward(from, &mut |visit| {
            if let Visit::Record(record) = visit {
                left -= 1;
                if left == 0 {
                    first_kept = record.seq;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(first_kept)
    }

    /// The same among those that filters select.
    fn newest_selected(&self, filters: &FilterSet, keep: u64, readable: u64) -> Result<u64, PurgeError> {
        let found = self.shared().ask_all(&|snapshot| match filters.filters() {
            [one] if one.is_literal() => {
                let state = snapshot.subject_state(one.as_bytes())?;
                let enough = state.is_some_and(|state| state.count > keep);
                if enough { Ok(snapshot.nth_newest(one.as_bytes(), keep)?.unwrap_or(1)) } else { Ok(1) }
            }
            _ => by_halves(snapshot, filters, keep, readable),
        });
        match found {
            // There is nothing to speak of.
            Err(IndexError::Building { segments_left: 0 }) => Ok(1),
            found => Ok(found?),
        }
    }
}

/// The largest number from which on so many are selected.
fn by_halves(snapshot: &Snapshot<'_>, filters: &FilterSet, keep: u64, readable: u64) -> Result<u64, PartError> {
    let (mut low, mut high) = (1, readable);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if snapshot.count(filters, middle, readable)? >= keep {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

impl Purging {
    /// The next numbers to be removed, as ranges (both ends included); perhaps none, because the search takes time and is
    /// interrupted now and then. `None` at the end.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn piece(&mut self) -> Result<Option<Vec<(u64, u64)>>, PurgeError> {
        let selection = match &mut self.from {
            From::Done => return Ok(None),
            From::Everything => {
                self.from = From::Done;
                return Ok(Some(vec![(1, self.end_seq - 1)]));
            }
            From::Selected(selection) => selection,
        };
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let (end_seq, mut numbers, mut over) = (self.end_seq, 0, false);
        let outcome = selection.visit(PIECE_BYTES, &mut |visit| {
            let seq = match &visit {
                Visit::Record(record) => record.seq,
                Visit::Lost(lost) => lost.first_seq,
            };
            over = seq >= end_seq;
            if over {
                return ControlFlow::Break(());
            }
            if let Visit::Record(_) = visit {
                match ranges.last_mut() {
                    Some(last) if last.1 + 1 == seq => last.1 = seq,
                    _ => ranges.push((seq, seq)),
                }
                numbers += 1;
            }
            if numbers < PIECE_NUMBERS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if over || outcome.end == ReadEnd::CaughtUp || selection.next_seq() >= end_seq {
            self.from = From::Done;
        }
        Ok(Some(ranges))
    }
}
