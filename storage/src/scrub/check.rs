//! Whether a sealed segment is right in every bit, a window at a time.
//!
//! Stricter than a reader, who makes the best of what there is: here anything that is not exactly as it was written ends
//! the check.

use crate::format::footer;
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::segment::{HEADER_COPY_BYTES, HeaderFound, SECOND_COPY_AT, SegmentHeader};
use crate::format::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, index64};
use crate::segment::Segment;
use crate::walk::{self, FrameCheck};

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It needs this many bytes from its position on.
    Needs(u64),
    /// Every bit is as it was written.
    Sound,
    /// Something at the position is not.
    Wrong,
}

/// The state of a check.
pub(super) struct Check {
    nonce: u64,
    first_seq: u64,
    packed: bool,
    file_len: u64,
    /// Everything before is right.
    pos: u64,
    /// Header checksum of what is before.
    chain: u32,
    next_seq: u64,
    frames: u32,
    messages: u64,
}

impl Check {
    pub(super) fn new(segment: &Segment, file_len: u64) -> Self {
        Self {
            nonce: segment.nonce,
            first_seq: segment.first_seq,
            packed: segment.packed,
            file_len,
            pos: 0,
            chain: 0,
            next_seq: segment.first_seq,
            frames: 0,
            messages: 0,
        }
    }

    /// Everything of the file before this offset is right.
    pub(super) fn pos(&self) -> u64 {
        self.pos
    }

    /// Goes on with `bytes`, which are those of the file from the position on.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Verdict {
        let from = self.pos;
        loop {
            let rest = bytes.get(index64(self.pos - from)..).unwrap_or_default();
            let left = self.file_len - self.pos;
            if left == 0 {
                // Only a footer may end a sealed file, and it is judged where it begins.
                return Verdict::Wrong;
            }
            let needs = match self.needs(rest) {
                Some(needs) if needs > left => return Verdict::Wrong,
                Some(needs) => needs,
                None => return Verdict::Wrong,
            };
            let Some(part) = rest.get(..index64(needs)) else { return Verdict::Needs(needs) };
            if self.pos == 0 {
                if !self.take_segment_header(part) {
                    return Verdict::Wrong;
                }
                continue;
            }
            match self.header(part) {
                Some(header) if needs < header.frame_bytes() => return Verdict::Wrong,
                Some(header) if header.kind == FrameKind::Footer => {
                    return if self.footer_is_right(part, &header) { Verdict::Sound } else { Verdict::Wrong };
                }
                Some(header) if self.take_frame(part, header) => {}
                _ => return Verdict::Wrong,
            }
        }
    }

    /// Length of what begins at the position, as far as `rest` tells; `None` if that is nothing valid.
    fn needs(&self, rest: &[u8]) -> Option<u64> {
        if self.pos == 0 {
            return Some(SEGMENT_HEADER_BYTES);
        }
        if rest.len() < FRAME_HEADER_BYTES {
            return Some(FRAME_HEADER_BYTES as u64);
        }
        self.header(rest).map(|header| header.frame_bytes())
    }

    fn header(&self, rest: &[u8]) -> Option<FrameHeader> {
        FrameHeader::decode(rest, Some(self.nonce), self.pos, self.file_len)
    }

    fn take_segment_header(&mut self, region: &[u8]) -> bool {
        let HeaderFound::Valid(header, crc) = SegmentHeader::decode_region(region) else { return false };
        self.pos = SEGMENT_HEADER_BYTES;
        self.chain = crc;
        header.nonce == self.nonce
            && header.first_seq == self.first_seq
            && header.packed.is_some() == self.packed
            && region_is_exact(region)
    }

    fn take_frame(&mut self, frame: &[u8], header: FrameHeader) -> bool {
        let follows = header.prev_crc == self.chain
            && header.kind.holds_records(self.packed)
            && self.numbers_follow(header.first_seq);
        // The same frame as if its file began with it.
        let here = FrameHeader { offset: 0, ..header };
        let whole = follows && walk::check_frame(frame, &here).0 == FrameCheck::Whole;
        if whole {
            self.pos = header.end();
            self.chain = header.crc;
            self.next_seq = header.next_seq();
            self.frames += 1;
            self.messages += u64::from(header.count);
        }
        whole
    }

    /// Whether the next number may be this one. In a packed segment those in between were removed.
    fn numbers_follow(&self, seq: u64) -> bool {
        seq == self.next_seq || (self.packed && seq > self.next_seq)
    }

    fn footer_is_right(&self, frame: &[u8], header: &FrameHeader) -> bool {
        let Some(footer) = footer::decode(frame, self.nonce, self.pos, self.file_len) else { return false };
        header.prev_crc == self.chain
            && self.numbers_follow(header.first_seq)
            && footer.first_seq == self.first_seq
            && footer.totals.messages == self.messages
            && footer.totals.frames == self.frames
    }
}

/// Whether both copies of a segment header agree and the rest is zeros.
pub(super) fn region_is_exact(region: &[u8]) -> bool {
    let second = SECOND_COPY_AT..SECOND_COPY_AT + HEADER_COPY_BYTES;
    let zeros = |range: std::ops::Range<usize>| region.get(range).is_some_and(|part| part.iter().all(|&b| b == 0));
    region.get(..HEADER_COPY_BYTES) == region.get(second.clone())
        && zeros(HEADER_COPY_BYTES..SECOND_COPY_AT)
        && zeros(second.end..region.len())
}
