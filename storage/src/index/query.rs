//! Questions to the index as it stands at a moment: parts from the oldest to the newest, and the open segment.
//!
//! What was removed stays in the parts until they are merged, so every answer asks [`Liveness`] too. All answers are
//! exact.

mod distinct;
mod live;
mod matches;
mod merged;

use std::sync::Arc;

use self::merged::{Dictionary, Merged, Scanner};
use super::active::Active;
use super::error::PartError;
use super::expiry::{self, Expired};
use super::filter::FilterSet;
use super::part::{Part, part_hash};
use super::postings::Entry;

pub use self::matches::{Found, Matches, Newest};

/// Which numbers were removed.
pub trait Liveness {
    /// All numbers below this one are gone. What the other questions say of those does not matter.
    fn floor(&self) -> u64;

    /// Whether the record of this number was removed.
    fn is_removed(&self, seq: u64) -> bool;

    /// Whether one of these may have been removed; `false` is certain. Should not look at each.
    fn removed_in(&self, first_seq: u64, last_seq: u64) -> bool;

    /// How many of these were removed at least. Only if it says all of them is it acted upon, so 0 is never wrong.
    fn removed_count(&self, first_seq: u64, last_seq: u64) -> u64;
}

/// The open segment: its index, and its file's bytes.
#[derive(Debug, Clone, Copy)]
pub struct OpenSegment<'a> {
    /// The index.
    pub active: &'a Active,
    /// The file from its first byte on, as far as the index speaks of it.
    pub file: &'a [u8],
}

/// What a subject has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectState {
    /// Records that are still there, at least one.
    pub count: u64,
    /// Number of the first of them.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
}

/// The index at a moment.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    parts: &'a [Arc<Part>],
    open: Option<OpenSegment<'a>>,
    live: &'a dyn Liveness,
}

impl<'a> Snapshot<'a> {
    /// Of parts in ascending order that do not overlap, and the open segment behind them. Numbers that none of them speaks
    /// of do not exist.
    #[must_use]
    pub fn new(parts: &'a [Arc<Part>], open: Option<OpenSegment<'a>>, live: &'a dyn Liveness) -> Self {
        Self { parts, open, live }
    }

    /// How many records a subject has, and which are the first and the last; `None` if there is none.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn subject_state(&self, subject: &[u8]) -> Result<Option<SubjectState>, PartError> {
        let hash = part_hash(subject);
        let mut entries = Vec::new();
        for layer in self.layers() {
            entries.extend(layer.get(subject, hash)?);
        }
        self.state_of(&entries)
    }

    /// Which records have expired by `now_ns` and are still there, up to `limit` of them, and when the next one does.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn expired(&self, now_ns: i64, limit: usize) -> Result<Expired, PartError> {
        let mut found = Expired::default();
        for part in self.parts.iter().filter(|part| part.info().expiries > 0) {
            expiry::of_part(part, self.live, (now_ns, limit), &mut found)?;
        }
        if let Some(open) = &self.open {
            expiry::of_active(open.active, self.live, (now_ns, limit), &mut found);
        }
        Ok(found)
    }

    /// The last record of a subject up to `at_or_before`.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn last(&self, subject: &[u8], at_or_before: u64) -> Result<Option<u64>, PartError> {
        let hash = part_hash(subject);
        for layer in self.layers().rev() {
            if layer.range().0 > at_or_before {
                continue;
            }
            if let Some(entry) = layer.get(subject, hash)?
                && let Some(seq) = live::last(&entry, self.live, at_or_before)?
            {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// How many records a subject has up to a number.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn count_of(&self, subject: &[u8], to_seq: u64) -> Result<u64, PartError> {
        let hash = part_hash(subject);
        let mut count = 0;
        for layer in self.layers() {
            if let Some(entry) = layer.get(subject, hash)? {
                count += live::count(&entry, self.live, 1, to_seq)?;
            }
        }
        Ok(count)
    }

    /// Appends the numbers of a subject's oldest records, up to `limit` of them.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn oldest(&self, subject: &[u8], limit: usize, into: &mut Vec<u64>) -> Result<(), PartError> {
        let hash = part_hash(subject);
        let full = into.len().saturating_add(limit);
        for layer in self.layers() {
            let Some(entry) = layer.get(subject, hash)? else { continue };
            let mut postings = entry.iter_from(self.live.floor())?;
            while let Some(seq) = postings.next()? {
                if into.len() >= full {
                    return Ok(());
                }
                if !self.live.is_removed(seq) {
                    into.push(seq);
                }
            }
        }
        Ok(())
    }

    /// Number of the `n`-th record of a subject from its newest on (1 is the newest); of its oldest if it has fewer.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn nth_newest(&self, subject: &[u8], n: u64) -> Result<Option<u64>, PartError> {
        let hash = part_hash(subject);
        let (mut left, mut found) = (n, None);
        for layer in self.layers().rev() {
            let Some(entry) = layer.get(subject, hash)? else { continue };
            let mut postings = entry.iter_from(u64::MAX)?;
            while left > 0
                && let Some(seq) = postings.back()?.filter(|seq| *seq >= self.live.floor())
            {
                if !self.live.is_removed(seq) {
                    found = Some(seq);
                    left -= 1;
                }
            }
        }
        Ok(found)
    }

    /// How many records from `from_seq` to `to_seq` the filters select.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn count(&self, filters: &FilterSet, from_seq: u64, to_seq: u64) -> Result<u64, PartError> {
        let mut count = 0;
        for layer in self.layers() {
            let range = layer.range();
            let (low, high) = (from_seq.max(range.0).max(self.live.floor()), to_seq.min(range.1));
            if low > high || self.live.removed_count(low, high) > high - low {
                continue;
            }
            if filters.is_literal() {
                for filter in filters.filters() {
                    if let Some(entry) = layer.get(filter.as_bytes(), part_hash(filter.as_bytes()))? {
                        count += live::count(&entry, self.live, from_seq, to_seq)?;
                    }
                }
                continue;
            }
            for dictionary in layer.dictionaries(filters.start())? {
                let mut scanner = Scanner::new(dictionary, filters);
                while let Some(entry) = scanner.next()? {
                    count += live::count(&entry, self.live, from_seq, to_seq)?;
                }
            }
        }
        Ok(count)
    }

    /// Up to `limit` matching subjects that have records, in order of their bytes, from the first one behind `after` on.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn subjects(
        &self,
        filters: &FilterSet,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, SubjectState)>, PartError> {
        self.each_subject(filters, after, limit, |entries| self.state_of(entries))
    }

    /// The last record up to `at_or_before` of each matching subject that has one: up to `limit` of them, in order of the
    /// subjects' bytes, from the first one behind `after` on.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn last_per_subject(
        &self,
        filters: &FilterSet,
        at_or_before: u64,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, PartError> {
        self.each_subject(filters, after, limit, |entries| {
            for entry in entries.iter().rev() {
                if let Some(seq) = live::last(entry, self.live, at_or_before)? {
                    return Ok(Some(seq));
                }
            }
            Ok(None)
        })
    }

    /// What `of` makes of the entries of each matching subject behind `after`, for up to `limit` subjects.
    fn each_subject<T>(
        &self,
        filters: &FilterSet,
        after: Option<&[u8]>,
        limit: usize,
        of: impl Fn(&[Entry<'a>]) -> Result<Option<T>, PartError>,
    ) -> Result<Vec<(Vec<u8>, T)>, PartError> {
        // Right behind a key comes the key with a zero byte.
        let behind = after.map(|after| [after, &[0]].concat()).unwrap_or_default();
        let start = filters.start().max(&behind);
        let mut dictionaries = Vec::new();
        for layer in self.layers() {
            dictionaries.append(&mut layer.dictionaries(start)?);
        }
        let mut merged = Merged::new(dictionaries, filters);
        let mut entries = Vec::new();
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(subject) = merged.next(&mut entries)? else { break };
            if let Some(what) = of(&entries)? {
                found.push((subject.to_vec(), what));
            }
        }
        Ok(found)
    }

    /// What the entries of one subject, oldest first, add up to.
    fn state_of(&self, entries: &[Entry<'_>]) -> Result<Option<SubjectState>, PartError> {
        let mut state: Option<SubjectState> = None;
        for entry in entries {
            let count = live::count(entry, self.live, 0, u64::MAX)?;
            if count == 0 {
                continue;
            }
            let state = match &mut state {
                Some(state) => state,
                None => {
                    let first = live::first(entry, self.live)?.unwrap_or(entry.first);
                    state.insert(SubjectState { count: 0, first, last: first })
                }
            };
            state.count += count;
            state.last = live::last(entry, self.live, u64::MAX)?.unwrap_or(state.last);
        }
        Ok(state)
    }

    /// The last number that is spoken of.
    pub(crate) fn last_seq(&self) -> u64 {
        self.layers().map(|layer| layer.range().1).max().unwrap_or(0)
    }

    /// What may hold live records, oldest first.
    fn layers(&self) -> impl DoubleEndedIterator<Item = Layer<'a>> {
        let floor = self.live.floor();
        let parts = self.parts.iter().map(|part| Layer::Part(part));
        parts.chain(self.open.map(Layer::Open)).filter(move |layer| !layer.is_empty() && layer.range().1 >= floor)
    }

    /// The first one that speaks of numbers at or behind `seq`.
    fn layer_from(&self, seq: u64) -> Option<Layer<'a>> {
        let i = self.parts.partition_point(|part| part.next_seq() <= seq);
        let part = self.parts.iter().skip(i).map(|part| Layer::Part(part)).find(|layer| !layer.is_empty());
        part.or_else(|| self.open.map(Layer::Open).filter(|layer| !layer.is_empty() && layer.range().1 >= seq))
    }
}

/// A part, or the open segment.
enum Layer<'a> {
    Part(&'a Part),
    Open(OpenSegment<'a>),
}

impl<'a> Layer<'a> {
    fn is_empty(&self) -> bool {
        let (first, next) = self.bounds();
        first >= next
    }

    fn bounds(&self) -> (u64, u64) {
        match self {
            Self::Part(part) => (part.first_seq(), part.next_seq()),
            Self::Open(open) => (open.active.first_seq(), open.active.next_seq()),
        }
    }

    /// First and last number it speaks of.
    fn range(&self) -> (u64, u64) {
        let (first, next) = self.bounds();
        (first, next.saturating_sub(1))
    }

    /// Records it speaks of, removed ones too.
    fn records(&self) -> u64 {
        match self {
            Self::Part(part) => part.info().records,
            Self::Open(open) => open.active.records(),
        }
    }

    /// About how many records it has between two numbers.
    fn records_between(&self, low: u64, high: u64) -> u64 {
        let (first, last) = self.range();
        let records = self.records();
        let (span, wanted) = (u128::from(last - first) + 1, u128::from(high.saturating_sub(low)) + 1);
        u64::try_from(u128::from(records) * wanted / span).unwrap_or(u64::MAX)
    }

    fn get(&self, subject: &[u8], hash: u64) -> Result<Option<Entry<'a>>, PartError> {
        match self {
            Self::Part(part) => part.get_hashed(subject, hash),
            Self::Open(open) => Ok(open.active.get(open.file, subject)),
        }
    }

    /// Its dictionary, or its dictionaries, from `key` on.
    fn dictionaries(&self, key: &[u8]) -> Result<Vec<Dictionary<'a>>, PartError> {
        match self {
            Self::Part(part) => Ok(vec![Dictionary::Part(part.iter_from(key)?)]),
            Self::Open(open) => {
                let runs = open.active.cursors(open.file).into_iter();
                let seek = |mut run: super::active::RunCursor<'a>| {
                    run.seek(key);
                    Dictionary::Run(run)
                };
                Ok(runs.map(seek).collect())
            }
        }
    }
}
