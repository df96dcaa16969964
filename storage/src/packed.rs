//! Walking a packed segment: frame by frame, and record by record inside their blocks.
//!
//! Numbers that are missing here were removed when the segment was written, and are passed silently. They are lost only where a
//! frame is: where no valid frame begins at the place at which the one before ends.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::blocks::BLOCKS;
use crate::cursor::Found;
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::packed::{Block, memory_bytes};
use crate::format::record::Slot;
use crate::format::{FRAME_HEADER_BYTES, index};
use crate::walk::{Bounds, find_header, header_at};

/// A position in a packed segment.
#[derive(Debug)]
pub(crate) struct PackedCursor {
    /// Offset of the next frame to enter.
    pos: u64,
    /// Number that may come next.
    expected: u64,
    /// The segment, by the number under which its blocks are kept; `None`: they are not.
    segment: Option<u64>,
    inside: Option<Inside>,
    /// Numbers known to be lost, and where; told before anything else.
    lost: Option<(u64, u64, u64)>,
}

/// A position in a block.
#[derive(Debug)]
struct Inside {
    header: FrameHeader,
    block: Arc<Block>,
    /// Index of the next record.
    i: u32,
    /// Where that record begins.
    at: usize,
}

/// What comes next in the file.
enum NextFrame {
    /// A frame; with the offset at which the search for it began if something unreadable is before it.
    Frame(FrameHeader, Option<u64>),
    /// None; with the offset from which on something unreadable is.
    End(Option<u64>),
}

/// What the cursor came to.
enum Place {
    /// A record in the block it is in.
    Record(u64, Range<usize>),
    Lost(u64, u64, u64),
    End,
}

/// A stretch of a segment, for those who read backwards.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stretch {
    Frame(FrameHeader),
    /// First and last number, and where.
    Lost(u64, u64, u64),
}

impl PackedCursor {
    /// At the frame at `pos`, whose first record has at least the number `expected`. With a `segment` blocks are looked
    /// for among those kept, and kept.
    pub(crate) fn new(pos: u64, expected: u64, segment: Option<u64>) -> Self {
        Self { pos, expected, segment, inside: None, lost: None }
    }

    /// Smallest number that can come next.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// The next record or lost range.
    pub(crate) fn step<'a>(&'a mut self, file: &'a Bytes, bounds: &Bounds) -> Found<'a> {
        match self.advance(file, bounds) {
            Place::Record(seq, at) => match self.inside.as_ref().map(|inside| inside.block.content()) {
                Some(holder) => Found::Record { seq, record: holder.get(at).unwrap_or_default(), holder },
                None => Found::End,
            },
            Place::Lost(first_seq, last_seq, offset) => Found::Lost { first_seq, last_seq, offset },
            Place::End => Found::End,
        }
    }

    fn advance(&mut self, file: &Bytes, bounds: &Bounds) -> Place {
        loop {
            if let Some((first_seq, last_seq, offset)) = self.lost.take() {
                return Place::Lost(first_seq, last_seq, offset);
            }
            if let Some(inside) = &mut self.inside {
                if let Some(place) = inside.next(&mut self.expected) {
                    return place;
                }
                self.expected = inside.header.next_seq();
                self.inside = None;
            }
            match self.next_frame(file, bounds) {
                NextFrame::Frame(header, gap_at) => self.enter(header, gap_at, file),
                NextFrame::End(None) => {
                    self.expected = self.expected.max(bounds.next_seq);
                    return Place::End;
                }
                NextFrame::End(Some(offset)) => {
                    if self.expected >= bounds.next_seq {
                        return Place::End;
                    }
                    self.lost = Some((self.expected, bounds.next_seq - 1, offset));
                    self.expected = bounds.next_seq;
                }
            }
        }
    }

    /// Goes into a frame; what is lost before it, and all of it if it cannot be taken apart, is to be told.
    fn enter(&mut self, header: FrameHeader, gap_at: Option<u64>, file: &Bytes) {
        let from = if gap_at.is_some() { self.expected } else { header.first_seq };
        let block = load(&header, file, self.segment);
        let to = if block.is_some() { header.first_seq } else { header.next_seq() };
        if from < to {
            self.lost = Some((from, to - 1, gap_at.unwrap_or(u64::from(header.offset))));
        }
        self.expected = to;
        self.inside = block.map(|block| Inside { header, block, i: 0, at: 0 });
    }

    /// The next frame below the limit whose numbers were not passed yet.
    fn next_frame(&mut self, file: &[u8], bounds: &Bounds) -> NextFrame {
        let from = self.pos;
        let mut unreadable = false;
        while self.pos + (FRAME_HEADER_BYTES as u64) <= bounds.limit {
            let here = header_at(file, bounds.nonce, self.pos, bounds.limit);
            unreadable |= here.is_none();
            let Some(header) = here.or_else(|| find_header(file, Some(bounds.nonce), self.pos + 1, bounds.limit))
            else {
                break;
            };
            self.pos = header.end();
            if header.kind.holds_records(true) && header.first_seq >= self.expected {
                return NextFrame::Frame(header, unreadable.then_some(from));
            }
        }
        unreadable |= self.pos < bounds.limit;
        self.pos = bounds.limit;
        NextFrame::End(unreadable.then_some(from))
    }

    /// Moves to `seq`, or to what follows on it, without taking blocks apart that end before.
    pub(crate) fn skip_to(&mut self, file: &Bytes, bounds: &Bounds, seq: u64) {
        while self.expected < seq {
            if let Some(inside) = &mut self.inside {
                if inside.header.next_seq() > seq {
                    (inside.i, inside.at) = inside.block.find(seq);
                    self.expected = seq;
                    return;
                }
                self.expected = inside.header.next_seq();
                self.inside = None;
                continue;
            }
            let before = self.pos;
            match self.next_frame(file, bounds) {
                NextFrame::Frame(header, _) if header.next_seq() <= seq => self.expected = header.next_seq(),
                NextFrame::Frame(header, gap_at) if header.first_seq < seq => {
                    self.enter(header, gap_at, file);
                    // What is lost before `seq` is not this caller's business.
                    self.lost = self.lost.and_then(|(_, last, offset)| (last >= seq).then_some((seq, last, offset)));
                }
                // Nothing before `seq` is left; what is behind it is found again from here.
                NextFrame::Frame(..) | NextFrame::End(_) => {
                    self.pos = before;
                    self.expected = seq;
                }
            }
        }
    }

    /// The frames from here to the one that holds `to_seq`, in order, and what is lost between them. No block is taken apart.
    pub(crate) fn stretches(&mut self, file: &[u8], bounds: &Bounds, to_seq: u64) -> Vec<Stretch> {
        let mut found = Vec::new();
        while self.expected <= to_seq {
            let (next, gap_at) = match self.next_frame(file, bounds) {
                NextFrame::Frame(header, gap_at) => (Some(header), gap_at),
                NextFrame::End(gap_at) => (None, gap_at),
            };
            let first_seq = next.map_or(bounds.next_seq, |header| header.first_seq);
            if let Some(offset) = gap_at
                && self.expected < first_seq
            {
                found.push(Stretch::Lost(self.expected, first_seq - 1, offset));
            }
            let Some(header) = next.filter(|header| header.first_seq <= to_seq) else { break };
            found.push(Stretch::Frame(header));
            self.expected = header.next_seq();
        }
        found
    }
}

impl Inside {
    fn next(&mut self, expected: &mut u64) -> Option<Place> {
        if self.i >= self.block.count() {
            return None;
        }
        let seq = self.block.seq(self.i);
        let (slot, next) = self.block.slot(self.i, self.at);
        let place = match slot {
            Slot::Good(_) => Place::Record(seq, self.at..next),
            Slot::Lost => Place::Lost(seq, seq, offset_of(&self.header, self.at)),
        };
        self.i += 1;
        self.at = next;
        *expected = seq + 1;
        Some(place)
    }
}

/// Where in the file something at `at` of the content is; if that is compressed, the frame.
pub(crate) fn offset_of(header: &FrameHeader, at: usize) -> u64 {
    match header.kind {
        FrameKind::Packed(packing) if memory_bytes(&packing) > 0 => u64::from(header.offset),
        _ => (header.body_at() + at) as u64,
    }
}

/// The block of a frame; `None` if it is damaged as a whole. With the number of a segment it may be a kept one.
pub(crate) fn load(header: &FrameHeader, file: &Bytes, segment: Option<u64>) -> Option<Arc<Block>> {
    let FrameKind::Packed(packing) = header.kind else { return None };
    let make = || {
        let from = header.body_at();
        header.body(file)?;
        Block::decode_or_salvage(header, file.slice(from..from + index(header.body_len)))
    };
    let bytes = memory_bytes(&packing);
    match segment {
        // What is not compressed lies in the map already.
        Some(segment) if bytes > 0 => BLOCKS.get((segment, u64::from(header.offset)), bytes, make),
        _ => make().map(Arc::new),
    }
}
