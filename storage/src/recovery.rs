//! What is done with what a stop left behind: the decision table of `docs/storage-format.md`, section 5.
//!
//! [`decide`] is the table, [`scan`] walks a segment and applies it. Neither changes anything on disk.

use crate::format::footer::{self, IndexEntry, Totals};
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::packed::Codec;
use crate::format::{INDEX_STEP_BYTES, SEGMENT_HEADER_BYTES, index64};
use crate::walk::{self, FrameCheck, FrameSums};

/// What is found at a place where a frame should begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame, right in every byte.
    Whole,
    /// A frame whose header is right, but not all of its records or its directory.
    Partial,
    /// Something else, or zeros with something behind them.
    Bad,
    /// Zeros to the end.
    Zeros,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Belongs to the log.
    Keep,
    /// Belonged to the log: lost where it is wrong, reported, never written to.
    Damage,
    /// Was never acknowledged: overwritten with zeros from here on.
    Cut,
    /// Nothing was ever written from here on.
    End,
}

/// The table. `below_watermark`: the place was known to be durable when something valid was written.
pub(crate) fn decide(found: Found, below_watermark: bool) -> Decision {
    #[cfg(feature = "planted-bugs")]
    if crate::planted::is(crate::planted::Bug::TruncateInMiddle) && matches!(found, Found::Partial | Found::Bad) {
        return Decision::Cut;
    }
    match (found, below_watermark) {
        (Found::Whole, _) => Decision::Keep,
        (Found::Partial | Found::Bad | Found::Zeros, true) => Decision::Damage,
        (Found::Partial | Found::Bad, false) => Decision::Cut,
        (Found::Zeros, false) => Decision::End,
    }
}

/// A stretch that was lost below the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostStretch {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Both ends included; empty if `last < first`.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

/// What a walk over a segment's frames found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scan {
    /// Offset behind the last kept frame.
    pub(crate) end: u64,
    /// Number behind the last kept record.
    pub(crate) next_seq: u64,
    pub(crate) watermark: u64,
    pub(crate) last_crc: u32,
    pub(crate) max_ts: i64,
    pub(crate) totals: Totals,
    pub(crate) entries: Vec<IndexEntry>,
    pub(crate) next_entry_at: u64,
    pub(crate) lost: Vec<LostStretch>,
    /// The stretch behind `end` that is not zero: torn writes.
    pub(crate) torn: Option<(u64, u64)>,
    /// A valid footer ends the file.
    pub(crate) footer: Option<FrameHeader>,
}

/// What is known of a segment before it is walked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanFrom {
    pub(crate) nonce: u64,
    pub(crate) first_seq: u64,
    /// Its numbers need not follow on each other, and all of it is durable.
    pub(crate) packed: bool,
    /// Checksum of the segment header; `None` if that is lost.
    pub(crate) header_crc: Option<u32>,
    pub(crate) base_max_ts: i64,
    /// Known from elsewhere: this much is durable, and this number comes behind it (0: not known).
    pub(crate) durable: u64,
    pub(crate) durable_next_seq: u64,
}

/// Walks all frames of a segment. `file` is the whole file.
pub(crate) fn scan(file: &[u8], from: &ScanFrom) -> Scan {
    let watermark = watermark(file, from);
    let mut walker = Walker {
        file,
        from,
        len: file.len() as u64,
        chain: from.header_crc,
        scan: Scan {
            end: SEGMENT_HEADER_BYTES,
            next_seq: from.first_seq,
            watermark,
            last_crc: from.header_crc.unwrap_or(0),
            max_ts: from.base_max_ts,
            ..Scan::default()
        },
    };
    while walker.step() {}
    walker.scan
}

/// The largest watermark that anything valid names. First of two passes, headers only.
fn watermark(file: &[u8], from: &ScanFrom) -> u64 {
    let len = file.len() as u64;
    let mut watermark = from.durable.max(SEGMENT_HEADER_BYTES);
    let mut pos = SEGMENT_HEADER_BYTES;
    while let Some(header) =
        walk::header_at(file, from.nonce, pos, len).or_else(|| walk::find_header(file, Some(from.nonce), pos + 1, len))
    {
        watermark = watermark.max(u64::from(header.durable));
        pos = header.end();
    }
    watermark
}

struct Walker<'a> {
    file: &'a [u8],
    from: &'a ScanFrom,
    len: u64,
    /// Header checksum of the frame before; `None` behind a stretch that is lost.
    chain: Option<u32>,
    scan: Scan,
}

impl Walker<'_> {
    /// Looks at one place; `false` at the end.
    fn step(&mut self) -> bool {
        let pos = self.scan.end;
        if pos >= self.len {
            // Shorter than what was durable: somebody truncated it.
            if pos < self.scan.watermark {
                self.lose(self.scan.watermark, self.from.durable_next_seq);
            }
            return false;
        }
        let header = self.header_in_place(pos);
        if let Some(header) = header
            && header.kind == FrameKind::Footer
        {
            self.scan.footer = Some(header);
            self.reach(header.first_seq);
            return false;
        }
        if header.is_none() && self.from.packed && self.is_end_of_packed(pos) {
            self.reach(self.from.durable_next_seq);
            return false;
        }
        let check = header.map(|header| (header, walk::check_frame(self.file, &header)));
        let found = match &check {
            Some((_, (FrameCheck::Whole, _))) => Found::Whole,
            Some((_, (FrameCheck::Partial(_) | FrameCheck::Lost, _))) => Found::Partial,
            None if walk::last_nonzero(self.file, pos).is_none() => Found::Zeros,
            None => Found::Bad,
        };
        match (decide(found, pos < self.scan.watermark), check) {
            (Decision::Keep | Decision::Damage, Some((header, (check, sums)))) => self.keep(&header, &check, &sums),
            (Decision::Damage, None) => self.skip_damage(pos),
            (Decision::End, _) => return false,
            (Decision::Keep | Decision::Cut, _) => {
                self.scan.torn = walk::last_nonzero(self.file, pos).map(|end| (pos, end));
                return false;
            }
        }
        true
    }

    /// A valid header here that follows on what is before it.
    fn header_in_place(&self, pos: u64) -> Option<FrameHeader> {
        let header = walk::header_at(self.file, self.from.nonce, pos, self.len)?;
        let follows = match self.chain {
            Some(crc) => header.prev_crc == crc && (self.from.packed || header.first_seq == self.scan.next_seq),
            None => true,
        };
        let complete =
            header.kind != FrameKind::Footer || (header.end() == self.len && header.directory_is_right(self.file));
        (follows && complete && header.first_seq >= self.scan.next_seq).then_some(header)
    }

    /// Whether a packed segment's records end here, although its footer is damaged: the footer's header is right, or the
    /// trailer says so.
    fn is_end_of_packed(&self, pos: u64) -> bool {
        let footer = walk::header_at(self.file, self.from.nonce, pos, self.len);
        let trailer = self.len.checked_sub(footer::TRAILER_BYTES as u64).and_then(|at| self.file.get(index64(at)..));
        footer.is_some_and(|header| header.kind == FrameKind::Footer)
            || trailer.and_then(|trailer| footer::find(trailer, self.from.nonce)).is_some_and(|at| u64::from(at) == pos)
    }

    /// What comes next has this number. What is missing before it is lost, unless the frame before is known and it is a
    /// packed segment: then it was removed.
    fn reach(&mut self, seq: u64) {
        let scan = &mut self.scan;
        // A packed segment's first frame shows by its place that nothing is before it, also when the header is lost.
        let known = self.chain.is_some() || scan.end == SEGMENT_HEADER_BYTES;
        if seq > scan.next_seq && !(self.from.packed && known) {
            // Behind a lost stretch whose numbers were not known until now.
            let (first_seq, last_seq) = (scan.next_seq, seq - 1);
            match scan.lost.last_mut() {
                Some(lost) if lost.last_seq < lost.first_seq => lost.last_seq = last_seq,
                _ => scan.lost.push(LostStretch { offset: scan.end, bytes: 0, first_seq, last_seq }),
            }
        }
        scan.next_seq = scan.next_seq.max(seq);
    }

    fn keep(&mut self, header: &FrameHeader, check: &FrameCheck, sums: &FrameSums) {
        self.reach(header.first_seq);
        let scan = &mut self.scan;
        let (offset, bytes) = (scan.end, header.frame_bytes());
        let readable = match check {
            FrameCheck::Whole => u64::from(header.count),
            FrameCheck::Partial(bad) => {
                let seqs = bad.iter().map(|&i| header.first_seq + u64::from(i));
                scan.lost.extend(seqs.map(|seq| LostStretch { offset, bytes, first_seq: seq, last_seq: seq }));
                u64::from(header.count) - bad.len() as u64
            }
            FrameCheck::Lost => {
                let (first_seq, last_seq) = (header.first_seq, header.next_seq() - 1);
                scan.lost.push(LostStretch { offset, bytes, first_seq, last_seq });
                0
            }
        };
        if scan.end >= scan.next_entry_at {
            let entry = IndexEntry { seq: header.first_seq, max_ts_before: scan.max_ts, offset: header.offset };
            scan.entries.push(entry);
            scan.next_entry_at = scan.end + INDEX_STEP_BYTES;
        }
        if scan.totals.messages == 0 {
            scan.totals.first_ts = sums.first_ts;
        }
        scan.totals.last_ts = sums.last_ts;
        scan.totals.messages += readable;
        scan.totals.record_bytes += sums.record_bytes;
        scan.totals.expiring += sums.expiring;
        scan.totals.frames += 1;
        scan.totals.compressed +=
            u32::from(matches!(header.kind, FrameKind::Packed(packing) if packing.codec == Codec::Zstd));
        scan.end = header.end();
        scan.next_seq = header.next_seq();
        scan.max_ts = header.max_ts;
        scan.last_crc = header.crc;
        self.chain = Some(header.crc);
    }

    /// Goes on behind a stretch that is lost: at the next valid frame, or at the watermark if that is nearer.
    fn skip_damage(&mut self, pos: u64) {
        let next = walk::find_header(self.file, Some(self.from.nonce), pos + 1, self.len);
        let next = next.filter(|header| header.first_seq >= self.scan.next_seq);
        match next {
            Some(header) if u64::from(header.offset) <= self.scan.watermark => self.lose(u64::from(header.offset), 0),
            // A valid frame behind the watermark is cut, but what it says of the numbers before it is believed: none of
            // them may be given out again.
            _ => {
                let next_seq = next.map_or(0, |header| header.first_seq);
                self.lose(self.scan.watermark, self.from.durable_next_seq.max(next_seq));
            }
        }
    }

    /// Everything up to `to` is lost, and with it the numbers up to `next_seq`, or as many as the next frame shows.
    fn lose(&mut self, to: u64, next_seq: u64) {
        let scan = &mut self.scan;
        let first_seq = scan.next_seq;
        let next_seq = next_seq.max(first_seq);
        let lost = LostStretch { offset: scan.end, bytes: to - scan.end, first_seq, last_seq: next_seq - 1 };
        scan.lost.push(lost);
        scan.end = to;
        scan.next_seq = next_seq;
        self.chain = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        use Decision::{Cut, Damage, End, Keep};
        let rows = [
            (Found::Whole, true, Keep),
            (Found::Whole, false, Keep),
            (Found::Partial, true, Damage),
            (Found::Partial, false, Cut),
            (Found::Bad, true, Damage),
            (Found::Bad, false, Cut),
            (Found::Zeros, true, Damage),
            (Found::Zeros, false, End),
        ];
        for (found, below, decision) in rows {
            assert_eq!(decide(found, below), decision, "{found:?}, below the watermark: {below}");
        }
    }
}
