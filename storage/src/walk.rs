//! Walking a segment's bytes: which frame is here, is it whole, where is the next one.
//!
//! Works on the bytes of a file from its first one; never looks behind `limit`. Used by readers, recovery and `verify`,
//! so that all three have the same idea of what is damaged.

use crate::format::frame::{FrameHeader, FrameKind, MAGIC};
use crate::format::packed::Block;
use crate::format::record::{self, Slot};
use crate::format::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, i64_at, index, index64};

/// Which stretch of which segment is walked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) nonce: u64,
    /// Offset behind the last byte that may be looked at.
    pub(crate) limit: u64,
    /// Number behind the last record of the stretch; what is missing below it is lost.
    pub(crate) next_seq: u64,
}

/// A valid frame header at `pos`, also one with a single flipped bit.
pub(crate) fn header_at(file: &[u8], nonce: u64, pos: u64, limit: u64) -> Option<FrameHeader> {
    let bytes = file.get(index64(pos)..)?;
    FrameHeader::decode(bytes, Some(nonce), pos, limit).or_else(|| FrameHeader::correct(file, nonce, pos, limit))
}

/// The first valid frame header at or behind `from`.
pub(crate) fn find_header(file: &[u8], nonce: Option<u64>, from: u64, limit: u64) -> Option<FrameHeader> {
    let end = index64(limit).min(file.len());
    let mut at = index64(from);
    while let Some(rest) = file.get(at..end) {
        let hit = memchr::memmem::find(rest, &MAGIC)?;
        at += hit;
        let bytes = file.get(at..)?;
        if let Some(header) = FrameHeader::decode(bytes, nonce, at as u64, limit) {
            return Some(header);
        }
        at += 1;
    }
    None
}

/// What the first valid frame of a segment whose header is lost says: its nonce, and whether the segment is packed.
pub(crate) fn salvage(file: &[u8], limit: u64) -> (u64, bool) {
    let first = find_header(file, None, SEGMENT_HEADER_BYTES, limit);
    first.map_or((0, false), |header| (header.nonce, header.kind.holds_records(true)))
}

/// Offset behind the last byte at or behind `from` that is not zero; `None` if all are zero.
pub(crate) fn last_nonzero(file: &[u8], from: u64) -> Option<u64> {
    const STEP: usize = 64 << 10;
    let tail = file.get(index64(from)..)?;
    let mut end = tail.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let chunk = tail.get(start..end)?;
        // A fold over words that the compiler turns into vector instructions; only a dirty chunk is searched.
        if chunk.iter().fold(0_u8, |all, &b| all | b) != 0 {
            let last = chunk.iter().rposition(|&b| b != 0)?;
            return Some(from + (start + last + 1) as u64);
        }
        end = start;
    }
    None
}

/// How much of a frame with a valid header is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FrameCheck {
    /// Directory and all records.
    Whole,
    /// Some records are not: their numbers, less that of the frame's first. May be empty: what is damaged is a directory where
    /// it did not matter, or could be corrected.
    Partial(Vec<u32>),
    /// No record of a packed frame can be read.
    Lost,
}

/// What a frame's records are in sum, as far as they can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameSums {
    pub(crate) first_ts: i64,
    pub(crate) last_ts: i64,
    /// Sum of record lengths.
    pub(crate) record_bytes: u64,
    /// Records that expire.
    pub(crate) expiring: u32,
}

/// Checks directory and every record of a frame.
pub(crate) fn check_frame(file: &[u8], header: &FrameHeader) -> (FrameCheck, FrameSums) {
    match header.kind {
        FrameKind::Data => check_data(file, header),
        FrameKind::Packed(_) => check_packed(file, header),
        FrameKind::Footer => {
            let check =
                if header.directory_is_right(file) { FrameCheck::Whole } else { FrameCheck::Partial(Vec::new()) };
            (check, sums(header, &[], 0, (0, 0)))
        }
    }
}

fn check_data(file: &[u8], header: &FrameHeader) -> (FrameCheck, FrameSums) {
    let directory_ok = header.directory_is_right(file);
    let body = header.body(file).unwrap_or_default();
    let directory = header.directory(file).unwrap_or_default();
    let mut bad = Vec::new();
    let (mut at, mut last, mut expiring) = (0, 0, 0);
    for i in 0..header.count {
        let (slot, next) = record::slot(body, directory, directory_ok, index(i), at);
        match slot {
            Slot::Good(found) => expiring += u32::from(record::expires(found)),
            Slot::Lost => bad.push(i),
        }
        (last, at) = (at, next);
    }
    let whole = directory_ok && bad.is_empty() && at == body.len();
    let check = if whole { FrameCheck::Whole } else { FrameCheck::Partial(bad) };
    (check, sums(header, body, last, (body.len(), expiring)))
}

fn check_packed(file: &[u8], header: &FrameHeader) -> (FrameCheck, FrameSums) {
    let stored = header.body(file).unwrap_or_default();
    let Some(block) = Block::decode_or_salvage(header, bytes::Bytes::copy_from_slice(stored)) else {
        return (FrameCheck::Lost, sums(header, &[], 0, (0, 0)));
    };
    let mut bad = Vec::new();
    let (mut at, mut last, mut expiring) = (0, 0, 0);
    for i in 0..block.count() {
        let (slot, next) = block.slot(i, at);
        match slot {
            Slot::Good(found) => expiring += u32::from(record::expires(found)),
            Slot::Lost => bad.push(u32::try_from(block.seq(i) - header.first_seq).unwrap_or(u32::MAX)),
        }
        (last, at) = (at, next);
    }
    let whole = block.is_whole() && bad.is_empty();
    let check = if whole { FrameCheck::Whole } else { FrameCheck::Partial(bad) };
    (check, sums(header, block.content(), last, (block.records_len(), expiring)))
}

/// The sums of records of which the last begins at `last`; their bytes and how many expire.
fn sums(header: &FrameHeader, records: &[u8], last: usize, (record_bytes, expiring): (usize, u32)) -> FrameSums {
    let time = |at: usize| i64_at(records, at.saturating_add(12)).unwrap_or(header.max_ts);
    FrameSums { first_ts: time(0), last_ts: time(last), record_bytes: record_bytes as u64, expiring }
}

/// A position in a segment, record by record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    /// Offset of the next frame to enter.
    pos: u64,
    /// Number that must come next.
    expected: u64,
    frame: Option<InFrame>,
}

#[derive(Debug, Clone, Copy)]
struct InFrame {
    header: FrameHeader,
    directory_ok: bool,
    /// Index of the next record in the frame.
    i: u32,
    /// Where that record begins in the body.
    at: usize,
    /// Where the search for this frame began: what is missing before it is lost there.
    gap_at: u64,
}

/// What a cursor comes across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A record whose checksum is right.
    Record { seq: u64, record: &'a [u8] },
    /// Numbers lost to damage, both ends included, and the offset where it is.
    Lost { first_seq: u64, last_seq: u64, offset: u64 },
    /// Nothing more below the limit.
    End,
}

impl Cursor {
    /// At the frame at `pos`, whose first record is `expected`.
    pub(crate) fn new(pos: u64, expected: u64) -> Self {
        Self { pos, expected, frame: None }
    }

    /// Number that comes next.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// The next record or lost range.
    pub(crate) fn step<'a>(&mut self, file: &'a [u8], bounds: &Bounds) -> Step<'a> {
        self.step_trusting(file, bounds, u64::MAX)
    }

    /// The same, but records from number `own_from` on are not checked: this process wrote them a moment ago. For those who
    /// pass nothing on of what they read.
    pub(crate) fn step_trusting<'a>(&mut self, file: &'a [u8], bounds: &Bounds, own_from: u64) -> Step<'a> {
        loop {
            if let Some(frame) = &mut self.frame {
                let seq = frame.header.first_seq + u64::from(frame.i);
                if seq > self.expected {
                    let lost = Step::Lost { first_seq: self.expected, last_seq: seq - 1, offset: frame.gap_at };
                    self.expected = seq;
                    return lost;
                }
                if frame.i < frame.header.count {
                    return Self::step_in(frame, &mut self.expected, file, own_from);
                }
                self.frame = None;
            }
            let before = self.pos;
            if !self.enter(file, bounds) {
                if self.expected >= bounds.next_seq {
                    return Step::End;
                }
                let lost = Step::Lost { first_seq: self.expected, last_seq: bounds.next_seq - 1, offset: before };
                self.expected = bounds.next_seq;
                return lost;
            }
        }
    }

    fn step_in<'a>(frame: &mut InFrame, expected: &mut u64, file: &'a [u8], own_from: u64) -> Step<'a> {
        let header = &frame.header;
        let body = header.body(file).unwrap_or_default();
        let directory = header.directory(file).unwrap_or_default();
        let seq = header.first_seq + u64::from(frame.i);
        let offset = (header.body_at() + frame.at) as u64;
        let (slot, next) = if frame.directory_ok && seq >= own_from {
            record::slot_unread(body, directory, index(frame.i), frame.at)
        } else {
            record::slot(body, directory, frame.directory_ok, index(frame.i), frame.at)
        };
        frame.i += 1;
        frame.at = next;
        *expected = seq + 1;
        match slot {
            Slot::Good(record) => Step::Record { seq, record },
            Slot::Lost => Step::Lost { first_seq: seq, last_seq: seq, offset },
        }
    }

    /// Enters the next data frame below the limit; `false` at the end.
    fn enter(&mut self, file: &[u8], bounds: &Bounds) -> bool {
        let gap_at = self.pos;
        while self.pos + (FRAME_HEADER_BYTES as u64) <= bounds.limit {
            let header = header_at(file, bounds.nonce, self.pos, bounds.limit)
                .or_else(|| find_header(file, Some(bounds.nonce), self.pos + 1, bounds.limit));
            let Some(header) = header else {
                self.pos = bounds.limit;
                return false;
            };
            self.pos = header.end();
            // A frame of numbers that were passed already is not of this place, whatever its checksums say.
            if !header.kind.holds_records(false) || header.first_seq < self.expected {
                continue;
            }
            let directory_ok = header.directory_is_right(file);
            self.frame = Some(InFrame { header, directory_ok, i: 0, at: 0, gap_at });
            return true;
        }
        false
    }

    /// Enters the frame that holds `seq` or follows it, without looking at records before, and moves to `seq` in it.
    /// `false` if there is none below the limit; the cursor is at the end then.
    pub(crate) fn skip_to(&mut self, file: &[u8], bounds: &Bounds, seq: u64) -> bool {
        while self.expected < seq {
            if let Some(frame) = &mut self.frame {
                if frame.header.next_seq() > seq {
                    // A frame that begins behind `seq`: what lies between is lost, and for this caller begins at `seq`.
                    Self::skip_in(frame, file, seq);
                    self.expected = seq;
                    return true;
                }
                self.expected = frame.header.next_seq();
                self.frame = None;
                continue;
            }
            if !self.enter(file, bounds) {
                self.expected = seq.min(bounds.next_seq).max(self.expected);
                return false;
            }
        }
        true
    }

    fn skip_in(frame: &mut InFrame, file: &[u8], seq: u64) {
        let body = frame.header.body(file).unwrap_or_default();
        let directory = frame.header.directory(file).unwrap_or_default();
        while frame.header.first_seq + u64::from(frame.i) < seq {
            frame.at = match record::entry(directory, index(frame.i)) {
                Some((len, _)) if frame.directory_ok => frame.at.saturating_add(len).min(body.len()),
                _ => record::slot(body, directory, frame.directory_ok, index(frame.i), frame.at).1,
            };
            frame.i += 1;
        }
    }
}
