//! Making blocks, and taking them apart.

use std::cell::RefCell;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe;

use super::correct::flipped_bit;
use super::{Codec, NUMBER_BYTES, Packing, covered};
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::record::{self, Slot};
use crate::format::{DIR_ENTRY_BYTES, index, u32_at};

/// Zstandard's level. Measured on job reports 6 takes four times as long and gains nothing, and 1 is hardly quicker.
const LEVEL: i32 = 3;
/// A block is stored compressed if that takes at most this many of its eleven elevenths: a ratio of 1.1.
const WORTH_ELEVENTHS: usize = 10;
/// After this many blocks in a row that were not worth it, most of the following ones are not tried.
const MISSES_MAX: u32 = 4;
/// Then every so many-th one is.
const TRY_EVERY: u32 = 16;

/// Gathers the records of one block after the other.
pub(crate) struct Builder {
    /// Records; behind them directory and numbers once it is finished.
    content: Vec<u8>,
    directory: Vec<u8>,
    numbers: Vec<u8>,
    first_seq: u64,
    last_seq: u64,
    /// Bytes of records that a block holds.
    block_bytes: usize,
    compressor: Option<Compressor<'static>>,
    compressed: Vec<u8>,
    /// Blocks in a row that compression did not make smaller.
    misses: u32,
}

/// A finished block as it is written.
pub(crate) struct Stored<'a> {
    pub(crate) packing: Packing,
    pub(crate) first_seq: u64,
    pub(crate) count: u32,
    /// What belongs into the frame header's place for the directory's checksum.
    pub(crate) crc: u32,
    pub(crate) bytes: &'a [u8],
}

impl Builder {
    /// # Errors
    /// If there is no memory for the compressor.
    pub(crate) fn new(codec: Codec, block_bytes: usize) -> io::Result<Self> {
        let compressor = match codec {
            Codec::None => None,
            Codec::Zstd => Some(Compressor::new(LEVEL)?),
        };
        Ok(Self {
            content: Vec::new(),
            directory: Vec::new(),
            numbers: Vec::new(),
            first_seq: 0,
            last_seq: 0,
            block_bytes,
            compressor,
            compressed: Vec::new(),
            misses: 0,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.directory.is_empty()
    }

    /// Whether a record goes into this block, and not into the next.
    pub(crate) fn takes(&self, seq: u64, record: &[u8]) -> bool {
        self.is_empty() || (self.content.len() + record.len() <= self.block_bytes && seq - self.first_seq < 1 << 31)
    }

    /// Adds a record that the block takes, behind those with smaller numbers.
    pub(crate) fn push(&mut self, seq: u64, record: &[u8]) {
        if self.is_empty() {
            self.first_seq = seq;
        }
        let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
        // Of the source, not of the copy: what happens to the copy until it is on disk must not pass for right.
        let crc = crc32fast::hash(record);
        self.content.extend_from_slice(record);
        self.directory.extend_from_slice(&len.to_le_bytes());
        self.directory.extend_from_slice(&crc.to_le_bytes());
        let number = u32::try_from(seq - self.first_seq).unwrap_or(u32::MAX);
        self.numbers.extend_from_slice(&number.to_le_bytes());
        self.last_seq = seq;
    }

    /// The block, if it has a record; it begins anew with [`Builder::clear`].
    pub(crate) fn finish(&mut self) -> Option<Stored<'_>> {
        if self.is_empty() {
            return None;
        }
        let count = self.directory.len() / DIR_ENTRY_BYTES;
        self.content.extend_from_slice(&self.directory);
        self.content.extend_from_slice(&self.numbers);
        let codec = if self.compress() { Codec::Zstd } else { Codec::None };
        let bytes = if codec == Codec::Zstd { &self.compressed } else { &self.content };
        let packing = Packing {
            codec,
            span: u32::try_from(self.last_seq - self.first_seq).unwrap_or(u32::MAX),
            content_len: u32::try_from(self.content.len()).unwrap_or(u32::MAX),
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let crc = crc32fast::hash(covered(&packing, count, bytes).unwrap_or_default());
        Some(Stored { packing, first_seq: self.first_seq, count, crc, bytes })
    }

    /// Compresses the content; whether that is worth it.
    fn compress(&mut self) -> bool {
        let Some(compressor) = &mut self.compressor else { return false };
        if self.misses >= MISSES_MAX && !self.misses.is_multiple_of(TRY_EVERY) {
            self.misses += 1;
            return false;
        }
        self.compressed.clear();
        self.compressed.reserve(zstd_safe::compress_bound(self.content.len()));
        // It cannot fail with room for the worst case; if it does, the block is stored as it is.
        let done = compressor.compress_to_buffer(&self.content, &mut self.compressed).is_ok();
        let worth = done && self.compressed.len() * 11 <= self.content.len() * WORTH_ELEVENTHS;
        self.misses = if worth { 0 } else { self.misses.saturating_add(1) };
        worth
    }

    /// Forgets the block; keeps the memory of one of usual size.
    pub(crate) fn clear(&mut self) {
        let usual = 4 * self.block_bytes;
        for part in [&mut self.content, &mut self.directory, &mut self.numbers, &mut self.compressed] {
            part.clear();
            part.shrink_to(usual);
        }
    }
}

/// A block taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Records, and what follows on them.
    content: Bytes,
    records_len: usize,
    /// Directory and numbers.
    tail: Bytes,
    first_seq: u64,
    count: u32,
    /// The directory is to be believed.
    directory_ok: bool,
    /// Something is wrong on disk, though it could be made good.
    corrected: bool,
}

impl Block {
    /// Takes apart what a packed frame stores; `None` if its numbers cannot be known, so that all of it is lost.
    pub(crate) fn decode(header: &FrameHeader, stored: Bytes) -> Option<Self> {
        let FrameKind::Packed(packing) = header.kind else { return None };
        let (tail_at, _) = packing.tail(header.count);
        let right = crc32fast::hash(covered(&packing, header.count, &stored)?) == header.dir_crc;
        let (content, tail) = match (packing.codec, right) {
            (Codec::None, true) => (stored.clone(), stored.slice(tail_at..)),
            (Codec::None, false) => (stored.clone(), corrected(stored.get(tail_at..)?, header.dir_crc)?),
            (Codec::Zstd, true) => decompressed(&packing, tail_at, &stored)?,
            (Codec::Zstd, false) => decompressed(&packing, tail_at, &corrected(&stored, header.dir_crc)?)?,
        };
        let block = Self {
            content,
            records_len: tail_at,
            tail,
            first_seq: header.first_seq,
            count: header.count,
            directory_ok: true,
            corrected: !right,
        };
        // A correction is believed only if every record then proves right: else more than one bit is wrong.
        (block.adds_up(packing.span) && (right || block.all_good())).then_some(block)
    }

    /// Like [`Block::decode`]; if the directory is damaged beyond correction, but every number of the frame has its record, so
    /// that the numbers need not be read, the records are there that their own lengths lead to.
    pub(crate) fn decode_or_salvage(header: &FrameHeader, stored: Bytes) -> Option<Self> {
        if let Some(block) = Self::decode(header, stored.clone()) {
            return Some(block);
        }
        let FrameKind::Packed(packing) = header.kind else { return None };
        if packing.codec != Codec::None || packing.span != header.count - 1 {
            return None;
        }
        let (tail_at, _) = packing.tail(header.count);
        let numbers = (0..header.count).flat_map(u32::to_le_bytes);
        let tail = stored.get(tail_at..tail_at + index(header.count) * DIR_ENTRY_BYTES)?.iter().copied().chain(numbers);
        Some(Self {
            tail: tail.collect(),
            content: stored,
            records_len: tail_at,
            first_seq: header.first_seq,
            count: header.count,
            directory_ok: false,
            corrected: true,
        })
    }

    /// Whether the directory's lengths are those of the records, and the numbers rise from 0 to `span`.
    fn adds_up(&self, span: u32) -> bool {
        let lengths =
            (0..index(self.count)).map(|i| record::entry(self.directory(), i).map_or(usize::MAX, |(len, _)| len));
        let mut least = 0;
        let numbers_right = (0..self.count).all(|i| {
            let number = self.number_at(i);
            let right = number.is_some_and(|number| number >= least && (i > 0 || number == 0));
            least = number.map_or(u32::MAX, |number| number.saturating_add(1));
            right
        });
        numbers_right && least == span + 1 && lengths.fold(0, usize::saturating_add) == self.records_len
    }

    /// Whether every record's checksum is right.
    pub(crate) fn all_good(&self) -> bool {
        let mut at = 0;
        (0..self.count).all(|i| {
            let (slot, next) = self.slot(i, at);
            at = next;
            slot != Slot::Lost
        })
    }

    fn records(&self) -> &[u8] {
        self.content.get(..self.records_len).unwrap_or_default()
    }

    fn directory(&self) -> &[u8] {
        self.tail.get(..index(self.count) * DIR_ENTRY_BYTES).unwrap_or_default()
    }

    fn number_at(&self, i: u32) -> Option<u32> {
        u32_at(&self.tail, index(self.count) * DIR_ENTRY_BYTES + index(i) * NUMBER_BYTES)
    }

    /// Number of record `i`.
    pub(crate) fn seq(&self, i: u32) -> u64 {
        self.first_seq + u64::from(self.number_at(i).unwrap_or(0))
    }

    /// Records.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of all records.
    pub(crate) fn records_len(&self) -> usize {
        self.records_len
    }

    /// Whether it is on disk as it was written, its records not looked at.
    pub(crate) fn is_whole(&self) -> bool {
        !self.corrected
    }

    /// What is in the place of record `i`, which begins at `at`, and where the next one begins.
    pub(crate) fn slot(&self, i: u32, at: usize) -> (Slot<'_>, usize) {
        record::slot(self.records(), self.directory(), self.directory_ok, index(i), at)
    }

    /// The bytes in which [`Block::slot`] finds its records.
    pub(crate) fn content(&self) -> &Bytes {
        &self.content
    }

    /// The first record whose number is `seq` or larger, and where it begins. Behind the last one if there is none.
    pub(crate) fn find(&self, seq: u64) -> (u32, usize) {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.seq(middle) < seq {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low, self.starts(0..low).last().map_or(0, |(_, next)| next))
    }

    /// Where records begin and end, from the first on.
    pub(crate) fn starts(&self, which: Range<u32>) -> impl Iterator<Item = (usize, usize)> {
        let mut at = 0_usize;
        which.map(move |i| {
            let start = at;
            at = match record::entry(self.directory(), index(i)) {
                Some((len, _)) if self.directory_ok => start.saturating_add(len).min(self.records_len),
                _ => self.slot(i, start).1,
            };
            (start, at)
        })
    }
}

/// The bytes with one bit flipped so that their checksum is right.
fn corrected(bytes: &[u8], crc: u32) -> Option<Bytes> {
    let (at, mask) = flipped_bit(bytes, crc)?;
    let mut bytes = bytes.to_vec();
    *bytes.get_mut(at)? ^= mask;
    Some(bytes.into())
}

thread_local! {
    /// Its tables are as large as a block; making them anew for each would cost more than the decompression.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The content of a compressed frame, and its tail.
fn decompressed(packing: &Packing, tail_at: usize, stored: &[u8]) -> Option<(Bytes, Bytes)> {
    let len = index(packing.content_len);
    // Asked before memory is taken: header and content must agree on the length.
    if zstd_safe::get_frame_content_size(stored).ok()?? != u64::from(packing.content_len) {
        return None;
    }
    let mut content = Vec::with_capacity(len);
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new().ok()?),
        };
        // It writes at most as much as the vector has room for.
        decompressor.decompress_to_buffer(stored, &mut content).ok()
    })?;
    if content.len() != len {
        return None;
    }
    let content = Bytes::from(content);
    let tail = content.slice(tail_at..);
    Some((content, tail))
}

/// Bytes of memory that the block of such a frame takes beside the file's map.
pub(crate) fn memory_bytes(packing: &Packing) -> usize {
    if packing.codec == Codec::Zstd { index(packing.content_len) } else { 0 }
}

#[cfg(test)]
mod tests;
