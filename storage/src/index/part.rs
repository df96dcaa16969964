//! Reading a part: a file that maps subjects to numbers, made once, never changed, believed only block by block.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::block::{self, Entries, Kind, Value};
use super::bloom::{may_hold, row_of};
use super::bytes::{Bad, Scan, hash};
use super::error::PartError;
use super::expiry;
use super::layout::{self, PartInfo, Places};
use super::postings::{Entry, List};
use super::rows::{BLOOM, EXPIRIES, Shape};

/// An open part. It holds nothing but its footer's fields; everything else is read where it lies.
#[derive(Debug)]
pub struct Part {
    file: Bytes,
    info: PartInfo,
    places: Places,
    seed: u32,
    /// It was made here and is in memory: nothing happens to its bytes.
    resident: bool,
    /// So many of the first rows of expiry times speak of records that are removed.
    expired_rows: AtomicU64,
    first_seq: u64,
    next_seq: u64,
}

impl Part {
    /// Opens a part that lies in `file`. Reads header and footer only.
    ///
    /// # Errors
    /// If either is damaged, something is missing at the end, or the version is a later one.
    pub fn open(file: Bytes) -> Result<Self, PartError> {
        let (info, places, seed) = layout::open(&file)?;
        let (first_seq, next_seq) = (info.first_seq(), info.next_seq());
        Ok(Self { file, info, places, seed, resident: false, expired_rows: AtomicU64::new(0), first_seq, next_seq })
    }

    /// Opens one that this process has just made and keeps in memory: checksums are not looked at any more.
    pub(crate) fn open_resident(file: Bytes) -> Result<Self, PartError> {
        Ok(Self { resident: true, ..Self::open(file)? })
    }

    /// Whether it is in memory, and has no file.
    pub(crate) fn is_resident(&self) -> bool {
        self.resident
    }

    /// What the part says of itself.
    #[must_use]
    pub fn info(&self) -> &PartInfo {
        &self.info
    }

    /// First number it speaks of.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Number behind the last that it speaks of.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Whether the subject may be in the part; `false` is certain. A damaged filter says that it may.
    #[must_use]
    pub fn may_contain(&self, subject: &[u8]) -> bool {
        self.may_contain_hash(part_hash(subject))
    }

    fn may_contain_hash(&self, hash: u64) -> bool {
        if self.info.subjects == 0 {
            return false;
        }
        let i = row_of(hash, self.places.bloom_rows);
        self.row(BLOOM, self.places.bloom, i).map_or(true, |(_, row)| may_hold(row, hash))
    }

    /// The numbers of one subject.
    ///
    /// # Errors
    /// If the part is damaged where the subject should be.
    pub fn get(&self, subject: &[u8]) -> Result<Option<Entry<'_>>, PartError> {
        self.get_hashed(subject, part_hash(subject))
    }

    /// The same, with the subject's [hash](part_hash), for those who ask many parts.
    pub(crate) fn get_hashed(&self, subject: &[u8], hash: u64) -> Result<Option<Entry<'_>>, PartError> {
        if !self.may_contain_hash(hash) {
            return Ok(None);
        }
        let mut offset = self.places.root;
        let mut key = Vec::new();
        for _ in 0..self.places.depth {
            let mut node = self.entries::<u64>(Kind::Node, offset, key)?;
            let child = node.descend(subject).map_err(|Bad| self.damaged(offset))?;
            offset = self.child(offset, child)?;
            key = node.into_key();
        }
        let mut leaf = self.entries::<RawEntry<'_>>(Kind::Leaf, offset, key)?;
        let found = leaf.seek(subject).map_err(|Bad| self.damaged(offset))? && leaf.key() == subject;
        leaf.value().filter(|_| found).map(|raw| self.entry(offset, raw)).transpose()
    }

    /// A cursor at the first subject that is not before `key`.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn iter_from(&self, key: &[u8]) -> Result<PartCursor<'_>, PartError> {
        let mut cursor = PartCursor { part: self, stack: Vec::new(), leaf: None, leaf_at: 0, entry: None };
        cursor.descend_to(key)?;
        Ok(cursor)
    }

    /// Number `i` of the section of expiry times, which ascend: when, and which number. `None` behind the last.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn expiry(&self, i: u64) -> Result<Option<(i64, u64)>, PartError> {
        if i >= self.info.expiries {
            return Ok(None);
        }
        let (offset, row) = self.row(EXPIRIES, self.places.expiries, i)?;
        let (at, seq) = expiry::read(row).map_err(|Bad| self.damaged(offset))?;
        if self.covers(seq) { Ok(Some((at, seq))) } else { Err(self.damaged(offset)) }
    }

    /// How many entries of that section are before `at_ns`: the index of the first one that is not.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn expiries_before(&self, at_ns: i64) -> Result<u64, PartError> {
        self.partition(EXPIRIES, self.places.expiries, self.info.expiries, |row| {
            expiry::read(row).map(|(at, _)| at < at_ns)
        })
    }

    pub(crate) fn damaged(&self, offset: u64) -> PartError {
        PartError::Damaged { first_seq: self.first_seq, offset }
    }

    /// Offset of the block that row `i` of the expiry times is in, and which one in it.
    pub(super) fn expiry_place(&self, i: u64) -> (u64, usize) {
        let (ahead, i) = EXPIRIES.place(i);
        (self.places.expiries.saturating_add(ahead), i)
    }

    pub(super) fn expired_rows(&self) -> &AtomicU64 {
        &self.expired_rows
    }

    pub(super) fn covers(&self, seq: u64) -> bool {
        (self.first_seq..self.next_seq).contains(&seq)
    }

    /// The content of the block at `offset`, its checksum found right.
    pub(crate) fn block(&self, kind: Kind, offset: u64) -> Result<&[u8], PartError> {
        let seed = (!self.resident).then_some(self.seed);
        block::open(&self.file, seed, kind, offset).map_err(|Bad| self.damaged(offset))
    }

    /// Row `i` of the table at `table`, and the offset of its block.
    pub(crate) fn row(&self, shape: Shape, table: u64, i: u64) -> Result<(u64, &[u8]), PartError> {
        let (ahead, i) = shape.place(i);
        let offset = table.saturating_add(ahead);
        let row = shape.row(self.block(shape.kind, offset)?, i).ok_or_else(|| self.damaged(offset))?;
        Ok((offset, row))
    }

    /// How many of the table's rows are `before`, if those come first: by halves, over blocks and then in one.
    pub(crate) fn partition(
        &self,
        shape: Shape,
        table: u64,
        rows: u64,
        before: impl Fn(&[u8]) -> Result<bool, Bad>,
    ) -> Result<u64, PartError> {
        let per_block = shape.per_block as u64;
        let (mut low, mut high) = (0, rows.div_ceil(per_block));
        while low < high {
            let middle = low + (high - low) / 2;
            let (offset, row) = self.row(shape, table, middle * per_block)?;
            if before(row).map_err(|Bad| self.damaged(offset))? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(block) = low.checked_sub(1) else { return Ok(0) };
        let first = block * per_block;
        let offset = table.saturating_add(shape.place(first).0);
        let content = self.block(shape.kind, offset)?;
        let (mut low, mut high) = (1, (rows - first).min(per_block));
        while low < high {
            let middle = low + (high - low) / 2;
            let row = shape.row(content, middle as usize).ok_or_else(|| self.damaged(offset))?;
            if before(row).map_err(|Bad| self.damaged(offset))? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(first + low)
    }

    fn entries<'a, V: Value<'a>>(&'a self, kind: Kind, offset: u64, key: Vec<u8>) -> Result<Entries<'a, V>, PartError> {
        Entries::open(self.block(kind, offset)?, key).map_err(|Bad| self.damaged(offset))
    }

    /// A child lies before its parent.
    fn child(&self, parent: u64, child: u64) -> Result<u64, PartError> {
        if child < parent { Ok(child) } else { Err(self.damaged(parent)) }
    }

    fn entry<'a>(&'a self, offset: u64, raw: RawEntry<'a>) -> Result<Entry<'a>, PartError> {
        let first = self.first_seq.saturating_add(raw.first);
        let last = first.saturating_add(raw.span);
        if !self.covers(first) || !self.covers(last) {
            return Err(self.damaged(offset));
        }
        let list = match raw.list {
            RawList::Ends => List::Ends,
            RawList::Inline(steps) => List::Inline { part: self, offset, steps },
            RawList::Blocks { blocks, at } => List::Blocks { part: self, blocks, at },
        };
        Ok(Entry { count: raw.count, first, last, list })
    }
}

/// What a part's filter knows a subject by.
pub(crate) fn part_hash(subject: &[u8]) -> u64 {
    hash(0, subject)
}

/// What stands behind a subject in a leaf.
#[derive(Debug, Clone, Copy)]
struct RawEntry<'a> {
    count: u64,
    /// From the part's first number on.
    first: u64,
    /// From the first to the last.
    span: u64,
    list: RawList<'a>,
}

#[derive(Debug, Clone, Copy)]
enum RawList<'a> {
    Ends,
    Inline(&'a [u8]),
    Blocks { blocks: u64, at: u64 },
}

impl<'a> Value<'a> for RawEntry<'a> {
    fn read(scan: &mut Scan<'a>) -> Result<Self, Bad> {
        let head = scan.varint()?;
        let (count, in_blocks) = (head >> 1, head & 1 == 1);
        let first = scan.varint()?;
        let span = if count == 1 { 0 } else { scan.varint()? };
        let list = match (count, in_blocks) {
            (_, true) => RawList::Blocks { blocks: scan.varint()?, at: scan.varint()? },
            (1 | 2, false) => RawList::Ends,
            (_, false) => {
                let len = scan.len()?;
                RawList::Inline(scan.take(len)?)
            }
        };
        let blocks_right = !matches!(list, RawList::Blocks { blocks, .. } if blocks == 0 || blocks > count);
        if count == 0 || span < count - 1 || !blocks_right { Err(Bad) } else { Ok(Self { count, first, span, list }) }
    }
}

/// A cursor over a part's subjects in order of their bytes.
pub struct PartCursor<'a> {
    part: &'a Part,
    /// One inner block a level, from the root down; each stands at the child behind the one that was gone into.
    stack: Vec<(u64, Entries<'a, u64>)>,
    leaf: Option<Entries<'a, RawEntry<'a>>>,
    leaf_at: u64,
    entry: Option<Entry<'a>>,
}

impl<'a> PartCursor<'a> {
    /// The subject it stands at and its numbers; `None` behind the last.
    #[must_use]
    pub fn get(&self) -> Option<(&[u8], Entry<'a>)> {
        Some((self.leaf.as_ref()?.key(), self.entry?))
    }

    /// To the next subject.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn advance(&mut self) -> Result<(), PartError> {
        self.step().inspect_err(|_| self.end())
    }

    fn step(&mut self) -> Result<(), PartError> {
        self.entry = None;
        if let Some(leaf) = &mut self.leaf
            && !leaf.advance().map_err(|Bad| self.part.damaged(self.leaf_at))?
        {
            self.next_leaf()?;
        }
        self.take_entry()
    }

    /// To the first subject, from the present one on, that is not before `key`.
    ///
    /// # Errors
    /// If the part is damaged there.
    pub fn seek(&mut self, key: &[u8]) -> Result<(), PartError> {
        self.seek_on(key).inspect_err(|_| self.end())
    }

    /// What is damaged is the end, for whoever goes on in spite of it.
    fn end(&mut self) {
        self.leaf = None;
        self.entry = None;
    }

    fn seek_on(&mut self, key: &[u8]) -> Result<(), PartError> {
        let Some(leaf) = &mut self.leaf else { return Ok(()) };
        if self.entry.is_some() && key <= leaf.key() {
            return Ok(());
        }
        // Only if the next leaf begins behind the key is it in this one.
        let next = self.stack.iter().rev().find(|(_, node)| node.value().is_some());
        if next.is_some_and(|(_, node)| node.key() <= key) {
            return self.descend_to(key);
        }
        self.entry = None;
        if !leaf.seek(key).map_err(|Bad| self.part.damaged(self.leaf_at))? {
            self.next_leaf()?;
        }
        self.take_entry()
    }

    fn take_entry(&mut self) -> Result<(), PartError> {
        let raw = self.leaf.as_ref().and_then(Entries::value);
        self.entry = raw.map(|raw| self.part.entry(self.leaf_at, raw)).transpose()?;
        Ok(())
    }

    fn descend_to(&mut self, key: &[u8]) -> Result<(), PartError> {
        self.stack.clear();
        self.entry = None;
        if self.part.info.subjects == 0 {
            return Ok(());
        }
        let mut offset = self.part.places.root;
        for _ in 0..self.part.places.depth {
            let mut node = self.part.entries::<u64>(Kind::Node, offset, Vec::new())?;
            let child = node.descend(key).map_err(|Bad| self.part.damaged(offset))?;
            self.stack.push((offset, node));
            offset = self.part.child(offset, child)?;
        }
        if !self.open_leaf(offset)?.seek(key).map_err(|Bad| self.part.damaged(offset))? {
            self.next_leaf()?;
        }
        self.take_entry()
    }

    fn open_leaf(&mut self, offset: u64) -> Result<&mut Entries<'a, RawEntry<'a>>, PartError> {
        let key = self.leaf.take().map(Entries::into_key).unwrap_or_default();
        self.leaf_at = offset;
        Ok(self.leaf.insert(self.part.entries(Kind::Leaf, offset, key)?))
    }

    /// To the first entry of the leaf behind the present one.
    fn next_leaf(&mut self) -> Result<(), PartError> {
        let (parent, mut offset) = loop {
            let Some((at, node)) = self.stack.last_mut() else {
                self.leaf = None;
                return Ok(());
            };
            let at = *at;
            if let Some(child) = node.value() {
                node.advance().map_err(|Bad| self.part.damaged(at))?;
                break (at, child);
            }
            self.stack.pop();
        };
        offset = self.part.child(parent, offset)?;
        while self.stack.len() < self.part.places.depth as usize {
            let mut node = self.part.entries::<u64>(Kind::Node, offset, Vec::new())?;
            let child = node.descend(&[]).map_err(|Bad| self.part.damaged(offset))?;
            self.stack.push((offset, node));
            offset = self.part.child(offset, child)?;
        }
        let advanced = self.open_leaf(offset)?.advance().map_err(|Bad| self.part.damaged(offset))?;
        if advanced { Ok(()) } else { Err(self.part.damaged(offset)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::block::{BLOCK_HEADER_BYTES, seal_again};
    use crate::index::{PartWriter, Source};

    const KINDS: [Kind; 7] =
        [Kind::Leaf, Kind::Node, Kind::Numbers, Kind::Skips, Kind::Bloom, Kind::Expiries, Kind::Footer];

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        let write = |bytes: &[u8]| {
            file.extend_from_slice(bytes);
            Ok(())
        };
        let sources = vec![Source { first_seq: 10, next_seq: 9000, nonce: 5 }];
        let mut writer = PartWriter::new(write, 1, sources, 20).unwrap();
        for i in 0..20_u64 {
            writer.begin(format!("s.{i:02}.{}", "x".repeat(if i % 3 == 0 { 900 } else { 2 })).as_bytes()).unwrap();
            let count = if i == 11 { 5000 } else { 1 + i * 4 };
            (0..count).for_each(|k| writer.number(10 + i + k).unwrap());
        }
        (0..20).for_each(|i| writer.expiry(i, 10 + i.unsigned_abs()).unwrap());
        writer.finish().unwrap();
        file
    }

    /// Every kind of block there is, by its offset.
    fn blocks(file: &[u8], seed: u32) -> Vec<(usize, usize, Kind)> {
        let mut found = Vec::new();
        let mut at = 32;
        while let Some(kind) = KINDS.into_iter().find(|kind| block::open(file, Some(seed), *kind, at as u64).is_ok()) {
            let len = block::open(file, Some(seed), kind, at as u64).unwrap().len();
            found.push((at, len, kind));
            at += BLOCK_HEADER_BYTES + len;
        }
        assert_eq!(at + 24, file.len());
        assert!(KINDS.iter().all(|kind| found.iter().any(|(_, _, other)| kind == other)));
        found
    }

    /// Asks everything and believes nothing.
    fn ask(file: Vec<u8>) {
        let Ok(part) = Part::open(Bytes::from(file)) else { return };
        let ask_entry = |entry: Entry<'_>| {
            let mut postings = entry.postings();
            for _ in 0..10_000 {
                if postings.next().is_err() {
                    break;
                }
            }
            for seq in [0, 12, 4000, 9000, u64::MAX] {
                let _ = entry.rank(seq).map(|rank| assert!(rank <= entry.count()));
                let _ = entry.iter_from(seq).and_then(|mut postings| postings.back());
            }
        };
        for subject in ["s.11.xx", "s.07.xx", "s.08", ""] {
            if let Ok(Some(entry)) = part.get(subject.as_bytes()) {
                ask_entry(entry);
            }
            let Ok(mut cursor) = part.iter_from(subject.as_bytes()) else { continue };
            for _ in 0..100 {
                if cursor.advance().is_err() {
                    break;
                }
            }
            let _ = cursor.seek(b"s.15");
        }
        for i in [0, 19, 20, 1 << 40, u64::MAX] {
            let _ = part.expiry(i);
        }
        let _ = part.expiries_before(7);
    }

    #[test]
    fn wrong_bytes_under_a_right_checksum_are_read_without_panic() {
        let good = file();
        let seed = layout::open(&good).unwrap().2;
        for (at, len, kind) in blocks(&good, seed) {
            let content = at + BLOCK_HEADER_BYTES;
            // Numbers and rows of a filter are all alike.
            let step = if matches!(kind, Kind::Numbers | Kind::Bloom) { 37 } else { 1 };
            for place in (content..content + len).step_by(step).filter(|place| good[*place] != b'x') {
                for value in [0, 1, 0x7f, 0x80, 0xff, good[place] ^ 1, good[place].wrapping_add(1)] {
                    let mut wrong = good.clone();
                    wrong[place] = value;
                    seal_again(&mut wrong, seed, kind, at);
                    ask(wrong);
                }
                // A run of high bits makes the longest numbers.
                let mut wrong = good.clone();
                wrong[place..(place + 9).min(content + len)].fill(0xff);
                seal_again(&mut wrong, seed, kind, at);
                ask(wrong);
            }
        }
    }
}
