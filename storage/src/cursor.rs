//! A position in a segment of either kind: what everybody uses who reads the records of a segment in their order.

use bytes::Bytes;

use crate::packed::PackedCursor;
use crate::walk::{Bounds, Cursor, Step};

/// A position in a segment, record by record.
#[derive(Debug)]
pub(crate) enum SegmentCursor {
    /// In a segment as it was appended.
    Appended(Cursor),
    /// In a packed segment.
    Packed(PackedCursor),
}

/// What a cursor comes across.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'a> {
    /// A record whose checksum is right, and the memory it lies in.
    Record { seq: u64, record: &'a [u8], holder: &'a Bytes },
    /// Numbers lost to damage, both ends included, and the offset where it is.
    Lost { first_seq: u64, last_seq: u64, offset: u64 },
    /// Nothing more below the limit.
    End,
}

impl SegmentCursor {
    /// Number that comes next, or in a packed segment the smallest that can.
    pub(crate) fn expected(&self) -> u64 {
        match self {
            Self::Appended(cursor) => cursor.expected(),
            Self::Packed(cursor) => cursor.expected(),
        }
    }

    /// The next record or lost range.
    #[inline]
    pub(crate) fn step<'a>(&'a mut self, file: &'a Bytes, bounds: &Bounds) -> Found<'a> {
        match self {
            Self::Appended(cursor) => match cursor.step(file, bounds) {
                Step::Record { seq, record } => Found::Record { seq, record, holder: file },
                Step::Lost { first_seq, last_seq, offset } => Found::Lost { first_seq, last_seq, offset },
                Step::End => Found::End,
            },
            Self::Packed(cursor) => cursor.step(file, bounds),
        }
    }

    /// Moves to `seq`, or to what follows on it, without looking at the records before.
    pub(crate) fn skip_to(&mut self, file: &Bytes, bounds: &Bounds, seq: u64) {
        match self {
            Self::Appended(cursor) => {
                cursor.skip_to(file, bounds, seq);
            }
            Self::Packed(cursor) => cursor.skip_to(file, bounds, seq),
        }
    }
}
