//! The content of a packed frame: records, their directory, their numbers; stored as it is or compressed.
//!
//! A block is taken apart as a whole, so that what a reader holds is one piece of memory. Whatever the bytes are, no more
//! memory is taken than the frame header, whose limits were checked, says that there is content.

mod content;
mod correct;

pub(crate) use self::content::{Block, Builder, memory_bytes};

use super::{DIR_ENTRY_BYTES, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, index};

/// Most bytes of records that the options may ask a block to hold.
pub(crate) const BLOCK_BYTES_LIMIT: usize = 1 << 20;
/// Most bytes of content that a block may be said to have, one record of any size not counted: that limit, and directory and
/// numbers of so many of the smallest records.
const BLOCK_CONTENT_MAX: usize = 2 * BLOCK_BYTES_LIMIT;
/// Bytes of a record's number.
const NUMBER_BYTES: usize = 4;
/// Bytes that a record takes in a block beside itself.
pub(crate) const TAIL_BYTES: usize = DIR_ENTRY_BYTES + NUMBER_BYTES;

/// How the content of a packed frame is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// As it is.
    None,
    /// Compressed with Zstandard, where that makes it smaller.
    Zstd,
}

impl Codec {
    pub(super) fn code(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Zstd => 1,
        }
    }
}

/// What a packed frame's header says beyond that of another frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) codec: Codec,
    /// Last record's number less the first one's.
    pub(crate) span: u32,
    /// Bytes of the content before compression.
    pub(crate) content_len: u32,
}

impl Packing {
    pub(super) fn decode(codec: u16, span: u32, content_len: u32) -> Option<Self> {
        let codec = match codec {
            0 => Codec::None,
            1 => Codec::Zstd,
            _ => return None,
        };
        Some(Self { codec, span, content_len })
    }

    /// Whether the header's other fields can belong to these.
    pub(super) fn fits(&self, count: u32, stored_len: u32) -> bool {
        let least = u64::from(count) * (RECORD_HEADER_BYTES + TAIL_BYTES) as u64;
        let stored_right = match self.codec {
            Codec::None => stored_len == self.content_len,
            Codec::Zstd => stored_len < self.content_len,
        };
        count > 0
            && self.span >= count - 1
            && self.span < u32::MAX
            && least <= u64::from(self.content_len)
            && index(self.content_len) <= BLOCK_CONTENT_MAX + RECORD_BYTES_MAX
            && stored_right
    }

    /// Bytes of directory and numbers, and where they begin in the content.
    fn tail(&self, count: u32) -> (usize, usize) {
        let bytes = index(count).saturating_mul(TAIL_BYTES);
        (index(self.content_len).saturating_sub(bytes), bytes)
    }
}

/// The part of what is stored that the checksum in the frame header covers.
pub(super) fn covered<'a>(packing: &Packing, count: u32, stored: &'a [u8]) -> Option<&'a [u8]> {
    match packing.codec {
        Codec::None => stored.get(packing.tail(count).0..),
        Codec::Zstd => Some(stored),
    }
}
