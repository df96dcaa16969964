//! What exactly is wrong with a segment that is not right: its bytes as the disk gave them, read as a reader reads them.

use bytes::Bytes;

use super::check::{Check, Verdict, region_is_exact};
use crate::cursor::Found;
use crate::format::footer;
use crate::format::frame::FrameHeader;
use crate::format::segment::{HeaderFound, SegmentHeader};
use crate::format::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, index64};
use crate::record::LostReason;
use crate::segment::Segment;
use crate::shared::lost;
use crate::state::Damage;
use crate::walk::{self, FrameCheck};

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) damage: Damage,
    /// Reading gets over it: nothing is lost.
    pub(super) correctable: bool,
}

/// Whether another segment's file is in this one's place.
pub(super) fn is_another(file: &[u8], segment: &Segment) -> bool {
    match SegmentHeader::decode_region(file.get(..index64(SEGMENT_HEADER_BYTES)).unwrap_or(file)) {
        HeaderFound::Valid(header, _) => header.nonce != segment.nonce || header.first_seq != segment.first_seq,
        HeaderFound::UnknownVersion(_) => true,
        HeaderFound::Bad => false,
    }
}

/// Everything that is wrong. `file` is the whole file; `unreadable` are offsets and lengths of parts that the disk did not
/// give, which are zeros in it.
pub(super) fn judge(file: &Bytes, segment: &Segment, unreadable: &[(u64, u64)]) -> Vec<Finding> {
    let mut judge = Judge { file, segment, findings: Vec::new() };
    judge.segment_header();
    judge.records();
    judge.frames();
    judge.footer();
    for &(offset, bytes) in unreadable {
        judge.add(offset, bytes, false);
    }
    if judge.findings.is_empty() {
        judge.anything_else();
    }
    judge.findings
}

struct Judge<'a> {
    file: &'a Bytes,
    segment: &'a Segment,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    /// A stretch by which no number is lost.
    fn add(&mut self, offset: u64, bytes: u64, correctable: bool) {
        let path = self.segment.path.clone();
        let damage = Damage { path, offset, bytes, lost: None, reason: LostReason::Damage };
        self.findings.push(Finding { damage, correctable });
    }

    fn segment_header(&mut self) {
        let region = self.file.get(..index64(SEGMENT_HEADER_BYTES)).unwrap_or(self.file);
        let valid = matches!(SegmentHeader::decode_region(region), HeaderFound::Valid(..));
        if is_another(self.file, self.segment) || !valid || !region_is_exact(region) {
            self.add(0, SEGMENT_HEADER_BYTES, valid);
        }
    }

    /// Lost numbers, neighbours in one.
    fn records(&mut self) {
        let bounds = self.segment.bounds();
        let mut cursor = self.segment.cursor_once();
        loop {
            match cursor.step(self.file, &bounds) {
                Found::Record { .. } => {}
                Found::End => return,
                Found::Lost { first_seq, last_seq, offset } => {
                    let before = self.findings.last_mut().and_then(|finding| finding.damage.lost.as_mut());
                    match before {
                        Some(range) if range.last_seq + 1 == first_seq => range.last_seq = last_seq,
                        _ => {
                            let range = lost(first_seq, last_seq, LostReason::Damage);
                            let path = self.segment.path.clone();
                            let damage =
                                Damage { path, offset, bytes: 0, lost: Some(range), reason: LostReason::Damage };
                            self.findings.push(Finding { damage, correctable: false });
                        }
                    }
                }
            }
        }
    }

    /// Frames that are read all the same: a header that has to be corrected, a directory that has to be done without.
    fn frames(&mut self) {
        let bounds = self.segment.bounds();
        let mut pos = SEGMENT_HEADER_BYTES;
        while pos + (FRAME_HEADER_BYTES as u64) <= bounds.limit {
            let header = walk::header_at(self.file, bounds.nonce, pos, bounds.limit)
                .or_else(|| walk::find_header(self.file, Some(bounds.nonce), pos + 1, bounds.limit));
            let Some(header) = header else { return };
            let at = u64::from(header.offset);
            let bytes = self.file.get(index64(at)..).unwrap_or_default();
            if FrameHeader::decode(bytes, Some(bounds.nonce), at, bounds.limit).is_none() {
                self.add(at, FRAME_HEADER_BYTES as u64, true);
            }
            if walk::check_frame(self.file, &header).0 == FrameCheck::Partial(Vec::new()) {
                self.add(at, header.frame_bytes(), true);
            }
            pos = header.end();
        }
    }

    /// The index, which can be made again from the frames; and the end of the file.
    fn footer(&mut self) {
        let (limit, file_bytes) = (self.segment.bounds().limit, self.segment.file_bytes());
        let len = self.file.len() as u64;
        if len < file_bytes {
            self.add(len, file_bytes - len, len >= limit);
        } else if limit < len {
            let bytes = self.file.get(index64(limit)..).unwrap_or_default();
            if footer::decode(bytes, self.segment.nonce, limit, len).is_none() {
                self.add(limit, len - limit, true);
            }
        }
    }

    /// What none of these names: frames that are whole and do not belong together.
    fn anything_else(&mut self) {
        let mut check = Check::new(self.segment, self.file.len() as u64);
        if check.advance(self.file) != Verdict::Sound {
            let bytes = self.file.len() as u64 - check.pos();
            self.add(check.pos(), bytes, false);
        }
    }
}
