//! The numbers of one subject: how many, the first, the last, and those in between, wherever they are kept.

use super::active::Chunks;
use super::bytes::{Bad, Scan};
use super::error::PartError;
use super::part::Part;
use super::rows::SKIPS;

/// What a part, or the open segment, knows of one subject.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) list: List<'a>,
}

/// Where the numbers are.
#[derive(Clone, Copy)]
pub(crate) enum List<'a> {
    /// There are none but the first and the last.
    Ends,
    /// Steps from the first number up to the last but one, in the leaf at `offset`.
    Inline { part: &'a Part, offset: u64, steps: &'a [u8] },
    /// So many blocks; one begins at `at`, or the table of more than one.
    Blocks { part: &'a Part, blocks: u64, at: u64 },
    /// In the memory of the open segment.
    Chunks(Chunks<'a>),
}

impl<'a> Entry<'a> {
    /// How many numbers, removed ones included. At least 1.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest number.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The largest number.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// A cursor before the first number.
    #[must_use]
    pub fn postings(&self) -> Postings<'a> {
        Postings::new(*self, Vec::new())
    }

    /// A cursor before the first number that is not below `seq`.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn iter_from(&self, seq: u64) -> Result<Postings<'a>, PartError> {
        let mut postings = self.postings();
        postings.seek(seq)?;
        Ok(postings)
    }

    /// Calls `f` with each number. `numbers` is working memory.
    pub(crate) fn visit<E: From<PartError>>(
        &self,
        numbers: &mut Vec<u64>,
        mut f: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        if matches!(self.list, List::Ends) {
            f(self.first)?;
            return if self.count > 1 { f(self.last) } else { Ok(()) };
        }
        let mut postings = Postings::new(*self, std::mem::take(numbers));
        while let Some(number) = postings.next()? {
            f(number)?;
        }
        *numbers = postings.into_numbers();
        Ok(())
    }

    /// How many numbers are below `seq`.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn rank(&self, seq: u64) -> Result<u64, PartError> {
        if seq <= self.first {
            Ok(0)
        } else if seq > self.last {
            Ok(self.count)
        } else if seq == self.last || matches!(self.list, List::Ends) {
            Ok(self.count - 1)
        } else {
            self.postings().rank(seq)
        }
    }
}

/// A cursor between the numbers of a subject: [`Postings::next`] and [`Postings::back`] give the one behind or before
/// it. Numbers are unpacked a block at a time.
pub struct Postings<'a> {
    entry: Entry<'a>,
    /// Runs of numbers, of the open segment's memory only.
    chunks: Vec<(u64, u64, &'a [u8])>,
    run: Option<u64>,
    numbers: Vec<u64>,
    at: usize,
}

impl<'a> Postings<'a> {
    /// `numbers` is memory to use again.
    pub(crate) fn new(entry: Entry<'a>, mut numbers: Vec<u64>) -> Self {
        numbers.clear();
        let chunks = if let List::Chunks(chunks) = &entry.list { chunks.collect() } else { Vec::new() };
        Self { entry, chunks, run: None, numbers, at: 0 }
    }

    pub(crate) fn into_numbers(self) -> Vec<u64> {
        self.numbers
    }

    /// Goes before the first number that is not below `seq`.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn seek(&mut self, seq: u64) -> Result<(), PartError> {
        let run = self.run_of(seq)?;
        self.load(run)?;
        self.at = self.numbers.partition_point(|number| *number < seq);
        Ok(())
    }

    /// How many numbers are below `seq`. Moves the cursor there.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn rank(&mut self, seq: u64) -> Result<u64, PartError> {
        self.seek(seq)?;
        let rank = self.rank_of_run(self.run.unwrap_or(0))?.saturating_add(self.at as u64);
        match self.entry.list {
            List::Blocks { part, at, .. } if rank > self.entry.count => Err(part.damaged(at)),
            _ => Ok(rank),
        }
    }

    /// The number behind the cursor, which moves over it.
    ///
    /// # Errors
    /// If the part is damaged there.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an iterator of results invites to go on behind an error")]
    pub fn next(&mut self) -> Result<Option<u64>, PartError> {
        loop {
            if let Some(number) = self.numbers.get(self.at) {
                self.at += 1;
                return Ok(Some(*number));
            }
            let run = self.run.map_or(0, |run| run + 1);
            if run >= self.runs() {
                return Ok(None);
            }
            self.load(run)?;
        }
    }

    /// The number before the cursor, which moves over it.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn back(&mut self) -> Result<Option<u64>, PartError> {
        loop {
            if let Some(at) = self.at.checked_sub(1) {
                self.at = at;
                return Ok(self.numbers.get(at).copied());
            }
            match self.run {
                None | Some(0) => return Ok(None),
                Some(run) => self.load(run - 1)?,
            }
            self.at = self.numbers.len();
        }
    }

    /// The unpacked numbers from the cursor to the end of its block, at least one if there are any: moves behind them.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub(crate) fn next_run(&mut self) -> Result<&[u64], PartError> {
        if self.at >= self.numbers.len() {
            let run = self.run.map_or(0, |run| run + 1);
            if run >= self.runs() {
                return Ok(&[]);
            }
            self.load(run)?;
        }
        let from = std::mem::replace(&mut self.at, self.numbers.len());
        Ok(self.numbers.get(from..).unwrap_or_default())
    }

    fn runs(&self) -> u64 {
        match self.entry.list {
            List::Ends | List::Inline { .. } => 1,
            List::Blocks { blocks, .. } => blocks,
            List::Chunks(_) => self.chunks.len() as u64,
        }
    }

    /// The last run that begins at or below `seq`, or the first one.
    fn run_of(&self, seq: u64) -> Result<u64, PartError> {
        match self.entry.list {
            List::Ends | List::Inline { .. } => Ok(0),
            List::Blocks { blocks: 1, .. } => Ok(0),
            List::Blocks { part, blocks, at } => {
                let behind = part.partition(SKIPS, at, blocks, |row| skip(part, row).map(|skip| skip.first <= seq))?;
                Ok(behind.saturating_sub(1))
            }
            List::Chunks(_) => Ok(self.chunks.partition_point(|(first, ..)| *first <= seq).saturating_sub(1) as u64),
        }
    }

    fn rank_of_run(&self, run: u64) -> Result<u64, PartError> {
        match self.entry.list {
            List::Blocks { part, blocks, at } if blocks > 1 => Ok(skip_row(part, at, run)?.rank),
            List::Chunks(_) => Ok(self.chunk(run).map_or(0, |(_, before, _)| before)),
            _ => Ok(0),
        }
    }

    fn chunk(&self, run: u64) -> Option<(u64, u64, &'a [u8])> {
        usize::try_from(run).ok().and_then(|run| self.chunks.get(run)).copied()
    }

    fn load(&mut self, run: u64) -> Result<(), PartError> {
        if self.run == Some(run) {
            self.at = 0;
            return Ok(());
        }
        self.at = 0;
        self.numbers.clear();
        // What fails is the end: whoever goes on in spite of an error comes to nothing, and not in a circle.
        self.run = Some(u64::MAX - 1);
        self.unpack_run(run)?;
        self.run = Some(run);
        Ok(())
    }

    fn unpack_run(&mut self, run: u64) -> Result<(), PartError> {
        let Entry { count, first, last, list } = self.entry;
        match list {
            List::Ends => {
                self.numbers.push(first);
                if count > 1 {
                    self.numbers.push(last);
                }
            }
            List::Inline { part, offset, steps } => {
                unpack_inline(&self.entry, steps, &mut self.numbers).map_err(|Bad| part.damaged(offset))?
            }
            List::Blocks { part, blocks, at } => {
                let expected = if blocks == 1 { Skip { first, rank: 0, offset: at } } else { skip_row(part, at, run)? };
                unpack_block(part, &expected, last, &mut self.numbers)?;
            }
            List::Chunks(_) => {
                let next = self.chunk(run + 1).map_or(count, |(_, before, _)| before);
                if let Some((first, before, steps)) = self.chunk(run) {
                    let count = next.saturating_sub(before);
                    // Memory of this process: what cannot be unpacked cannot be there.
                    let unpacked = unpack(first, count, u64::MAX, &mut Scan::new(steps), &mut self.numbers);
                    debug_assert!(unpacked.is_ok());
                }
            }
        }
        Ok(())
    }
}

/// One row of a table of blocks.
struct Skip {
    first: u64,
    rank: u64,
    offset: u64,
}

fn skip(part: &Part, row: &[u8]) -> Result<Skip, Bad> {
    let mut scan = Scan::new(row);
    let first = part.first_seq().checked_add(scan.u64()?).ok_or(Bad)?;
    Ok(Skip { first, rank: scan.u64()?, offset: scan.u64()? })
}

fn skip_row(part: &Part, table: u64, i: u64) -> Result<Skip, PartError> {
    let (offset, row) = part.row(SKIPS, table, i)?;
    skip(part, row).map_err(|Bad| part.damaged(offset))
}

/// `first` and the `count - 1` numbers behind it, all ascending and not above `last`.
fn unpack(first: u64, count: u64, last: u64, scan: &mut Scan<'_>, out: &mut Vec<u64>) -> Result<(), Bad> {
    // Each further number takes at least a byte: that bounds what is allocated.
    if count == 0 || count - 1 > scan.rest().len() as u64 {
        return Err(Bad);
    }
    let mut number = first;
    out.push(number);
    for _ in 1..count {
        let next = number.checked_add(scan.varint()?).ok_or(Bad)?;
        if next <= number {
            return Err(Bad);
        }
        number = next;
        out.push(number);
    }
    if number > last { Err(Bad) } else { Ok(()) }
}

fn unpack_inline(entry: &Entry<'_>, steps: &[u8], out: &mut Vec<u64>) -> Result<(), Bad> {
    let mut scan = Scan::new(steps);
    unpack(entry.first, entry.count - 1, entry.last.saturating_sub(1), &mut scan, out)?;
    out.push(entry.last);
    if scan.is_empty() { Ok(()) } else { Err(Bad) }
}

/// A block of a long list: count, first number from the part's first on, steps.
fn unpack_block(part: &Part, expected: &Skip, last: u64, out: &mut Vec<u64>) -> Result<(), PartError> {
    let content = part.block(super::block::Kind::Numbers, expected.offset)?;
    let mut scan = Scan::new(content);
    let mut read = || {
        let count = scan.varint()?;
        let first = part.first_seq().checked_add(scan.varint()?).ok_or(Bad)?;
        if first != expected.first {
            return Err(Bad);
        }
        unpack(first, count, last, &mut scan, out)
    };
    read().map_err(|Bad| part.damaged(expected.offset))
}
