//! The numbers of all records that filters select, in order: gathered part by part, handed out page by page.

use roaring::RoaringTreemap;

use super::merged::Scanner;
use super::{Layer, Snapshot};
use crate::index::error::PartError;
use crate::index::filter::FilterSet;
use crate::index::part::part_hash;
use crate::index::postings::{Entry, List, Postings};

/// Where more than one in so many records match, looking at each record is cheaper.
const DENSE_RATIO: u64 = 8;
/// So few matches are gathered in any case.
const DENSE_MIN: u64 = 64;
/// So few records at the end of the open segment are looked at one by one, rather than its subjects sorted for them.
const TAIL_RECORDS: u64 = 1024;
/// Numbers that are gathered before they are sorted into the rest.
const GATHERED: usize = 1 << 16;

/// What [`Matches::page`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The page is full, there may be more.
    Page,
    /// Many of the records from `first` to `last` match, or they are too few for the trouble: the caller looks at each of
    /// them, with [`FilterSet::matches`], after the numbers of this page. The cursor is behind them already.
    Dense {
        /// The first to look at.
        first: u64,
        /// The last to look at.
        last: u64,
    },
    /// Nothing more in this snapshot. A later one may have more.
    End,
}

/// What the newest part of the index says of the numbers that a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// It speaks of numbers from this one on.
    pub first: u64,
    /// Those that match and are still there, ascending; `None` if the caller had better look at each record from `first` on.
    pub numbers: Option<Vec<u64>>,
}

impl Snapshot<'_> {
    /// Matching numbers up to `to_seq`, as far as the newest part knows that speaks of any; `None` if there is none.
    ///
    /// # Errors
    /// If the part is damaged.
    pub fn newest(&self, filters: &FilterSet, to_seq: u64) -> Result<Option<Newest>, PartError> {
        let Some(layer) = self.layers().rev().find(|layer| layer.range().0 <= to_seq) else { return Ok(None) };
        let range = layer.range();
        let (low, high) = (range.0.max(self.live.floor()), range.1.min(to_seq));
        if low > high {
            return Ok(None);
        }
        let mut found = Newest { first: low, numbers: Some(Vec::new()) };
        if self.live.removed_count(low, high) > high - low {
            return Ok(Some(found));
        }
        let mut matches = Matches::new(filters.clone(), low, high);
        let gathered = matches.gather(&layer, low, high)?;
        found.numbers = gathered.then(|| matches.gathered.iter().filter(|seq| !self.live.is_removed(*seq)).collect());
        Ok(Some(found))
    }
}

/// A cursor over the numbers of matching records. It holds on to no snapshot: numbers that were gathered stay true when
/// parts are merged or the open segment grows, and whether a record was removed is asked when its number is handed out.
#[derive(Debug, Clone)]
pub struct Matches {
    filters: FilterSet,
    next_seq: u64,
    last_seq: u64,
    gathered: RoaringTreemap,
    /// The number below which the gathered ones are all there are.
    gathered_to: u64,
}

impl Matches {
    /// Numbers from `from_seq` up to `to_seq`, which may be `u64::MAX`.
    #[must_use]
    pub fn new(filters: FilterSet, from_seq: u64, to_seq: u64) -> Self {
        let gathered = RoaringTreemap::new();
        Self { filters, next_seq: from_seq, last_seq: to_seq, gathered, gathered_to: from_seq }
    }

    /// The filters.
    #[must_use]
    pub fn filters(&self) -> &FilterSet {
        &self.filters
    }

    /// All matching numbers below this one were handed out.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Goes to `seq`; forward, what was gathered is kept.
    pub fn seek(&mut self, seq: u64) {
        if seq < self.next_seq {
            self.gathered.clear();
            self.gathered_to = seq;
        }
        self.next_seq = seq;
    }

    /// Appends up to `limit` numbers, at least one if there is one, to `page`, whatever it returns.
    ///
    /// # Errors
    /// If a part is damaged. The cursor stands before that part, and says so again until the part is replaced.
    pub fn page(&mut self, snapshot: &Snapshot<'_>, limit: usize, page: &mut Vec<u64>) -> Result<Found, PartError> {
        let full = page.len().saturating_add(limit.max(1));
        loop {
            self.next_seq = self.next_seq.max(snapshot.live.floor());
            self.hand_out(snapshot, full, page);
            if page.len() >= full {
                return Ok(Found::Page);
            }
            if self.next_seq > self.last_seq {
                return Ok(Found::End);
            }
            let Some(layer) = snapshot.layer_from(self.next_seq) else { return Ok(Found::End) };
            let range = layer.range();
            let (low, high) = (self.next_seq.max(range.0), self.last_seq.min(range.1));
            if low > high {
                return Ok(Found::End);
            }
            self.gathered.clear();
            let all_removed = snapshot.live.removed_count(low, high) > high - low;
            if !all_removed && !self.gather(&layer, low, high)? {
                self.next_seq = high.saturating_add(1);
                self.gathered_to = self.next_seq;
                return Ok(Found::Dense { first: low, last: high });
            }
            self.gathered_to = high.saturating_add(1);
        }
    }

    fn hand_out(&mut self, snapshot: &Snapshot<'_>, full: usize, page: &mut Vec<u64>) {
        if self.next_seq >= self.gathered_to {
            return;
        }
        let mut numbers = self.gathered.iter();
        numbers.advance_to(self.next_seq);
        for seq in numbers {
            if page.len() >= full {
                return;
            }
            self.next_seq = seq.saturating_add(1);
            if !snapshot.live.is_removed(seq) {
                page.push(seq);
            }
        }
        self.next_seq = self.next_seq.max(self.gathered_to);
    }

    /// Gathers the matching numbers from `low` to `high` of a part; `false` if that is not worth it.
    fn gather(&mut self, layer: &Layer<'_>, low: u64, high: u64) -> Result<bool, PartError> {
        let records = layer.records_between(low, high);
        let mut gathering = Gathering {
            low,
            high,
            left: (records / DENSE_RATIO).max(DENSE_MIN),
            unsorted: Vec::new(),
            numbers: Vec::new(),
            into: &mut self.gathered,
        };
        if self.filters.is_literal() {
            for filter in self.filters.filters() {
                if let Some(entry) = layer.get(filter.as_bytes(), part_hash(filter.as_bytes()))?
                    && !gathering.add(&entry)?
                {
                    return Ok(false);
                }
            }
            gathering.sort_in();
            return Ok(true);
        }
        if matches!(layer, Layer::Open(_)) && records <= TAIL_RECORDS {
            return Ok(false);
        }
        // Looking at more subjects than there are records in question cannot be worth it either.
        let mut may_look_at = records.max(DENSE_MIN);
        for dictionary in layer.dictionaries(self.filters.start())? {
            let mut scanner = Scanner::new(dictionary, &self.filters);
            while let Some(entry) = scanner.next()? {
                if scanner.looked_at > may_look_at || !gathering.add(&entry)? {
                    return Ok(false);
                }
            }
            may_look_at = may_look_at.saturating_sub(scanner.looked_at);
        }
        gathering.sort_in();
        Ok(true)
    }
}

struct Gathering<'a> {
    low: u64,
    high: u64,
    /// How many more numbers are worth gathering.
    left: u64,
    unsorted: Vec<u64>,
    numbers: Vec<u64>,
    into: &'a mut RoaringTreemap,
}

impl Gathering<'_> {
    /// Adds a subject's numbers; `false` if there are too many.
    fn add(&mut self, entry: &Entry<'_>) -> Result<bool, PartError> {
        if entry.last < self.low || entry.first > self.high {
            return Ok(true);
        }
        if let List::Ends = entry.list {
            let before = self.unsorted.len();
            if self.within(entry.first) {
                self.unsorted.push(entry.first);
            }
            if entry.count > 1 && self.within(entry.last) {
                self.unsorted.push(entry.last);
            }
            let found = self.unsorted.len().saturating_sub(before) as u64;
            return Ok(self.took(found));
        }
        let mut postings = Postings::new(*entry, std::mem::take(&mut self.numbers));
        postings.seek(self.low)?;
        loop {
            let run = postings.next_run()?;
            let within = run.get(..run.partition_point(|seq| *seq <= self.high)).unwrap_or_default();
            if within.is_empty() {
                break;
            }
            self.unsorted.extend_from_slice(within);
            let found = within.len() as u64;
            if !self.took(found) {
                return Ok(false);
            }
        }
        self.numbers = postings.into_numbers();
        Ok(true)
    }

    fn within(&self, seq: u64) -> bool {
        (self.low..=self.high).contains(&seq)
    }

    fn took(&mut self, found: u64) -> bool {
        if self.unsorted.len() >= GATHERED {
            self.sort_in();
        }
        let left = self.left.checked_sub(found);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn sort_in(&mut self) {
        self.unsorted.sort_unstable();
        // Two filters never bring the same number twice: a subject is met once.
        if let Ok(sorted) = RoaringTreemap::from_sorted_iter(self.unsorted.drain(..)) {
            *self.into |= sorted;
        }
    }
}
