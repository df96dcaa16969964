//! The footer of a sealed segment: its counts, its sparse index, and the trailer that finds it from the end of the file.

use super::frame::{FrameHeader, FrameKind};
use super::{FRAME_HEADER_BYTES, FieldWriter, INDEX_STEP_BYTES, bytes_at, i64_at, index, index64, u32_at, u64_at};

const FIXED_BYTES: usize = 64;
const ENTRY_BYTES: usize = 24;
const TRAILER_MAGIC: [u8; 8] = *b"SUBLOGFT";
/// Bytes of the trailer, the last of the file.
pub(crate) const TRAILER_BYTES: usize = 16;

/// Where a frame begins, and what was before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Number of the frame's first record.
    pub(crate) seq: u64,
    /// Largest time of any record before the frame.
    pub(crate) max_ts_before: i64,
    /// Offset of the frame.
    pub(crate) offset: u32,
}

/// What a segment holds in sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) messages: u64,
    pub(crate) first_ts: i64,
    pub(crate) last_ts: i64,
    /// Sum of record lengths.
    pub(crate) record_bytes: u64,
    pub(crate) frames: u32,
    /// Of these, the frames whose records are compressed.
    pub(crate) compressed: u32,
    /// Records with a time at which they expire.
    pub(crate) expiring: u32,
}

/// A footer without its entries, which stay where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) header: FrameHeader,
    pub(crate) totals: Totals,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) entries: u32,
}

/// Most bytes that the footer of a segment of `capacity` bytes takes: reserved when frames are placed.
pub(crate) fn footer_bytes_max(capacity: u64) -> u64 {
    let entries = capacity / INDEX_STEP_BYTES + 2;
    (FRAME_HEADER_BYTES + FIXED_BYTES + TRAILER_BYTES) as u64 + entries * ENTRY_BYTES as u64
}

/// The whole footer frame. `header` has place, nonce, number, time and chain set; the rest is filled in.
pub(crate) fn encode(mut header: FrameHeader, totals: &Totals, first_seq: u64, entries: &[IndexEntry]) -> Vec<u8> {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let mut body = vec![0_u8; FIXED_BYTES + entries.len() * ENTRY_BYTES + TRAILER_BYTES];
    let mut out = FieldWriter::new(&mut body);
    out.put(&totals.messages.to_le_bytes())
        .put(&first_seq.to_le_bytes())
        .put(&header.first_seq.saturating_sub(1).to_le_bytes())
        .put(&totals.first_ts.to_le_bytes())
        .put(&totals.last_ts.to_le_bytes())
        .put(&totals.record_bytes.to_le_bytes())
        .put(&totals.frames.to_le_bytes())
        .put(&count.to_le_bytes())
        .put(&totals.compressed.to_le_bytes())
        .put(&totals.expiring.to_le_bytes());
    for entry in entries {
        out.put(&entry.seq.to_le_bytes())
            .put(&entry.max_ts_before.to_le_bytes())
            .put(&entry.offset.to_le_bytes())
            .put(&[0; 4]);
    }
    out.put(&header.offset.to_le_bytes())
        .put(&trailer_crc(header.offset, header.nonce).to_le_bytes())
        .put(&TRAILER_MAGIC);
    header.kind = FrameKind::Footer;
    header.count = count;
    header.body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    header.dir_crc = crc32fast::hash(&body);
    let mut frame = header.encode().to_vec();
    frame.append(&mut body);
    frame
}

/// The footer's offset, from the last [`TRAILER_BYTES`] of the file.
pub(crate) fn find(trailer: &[u8], nonce: u64) -> Option<u32> {
    let offset = u32_at(trailer, 0)?;
    let right = bytes_at(trailer, 8)? == TRAILER_MAGIC && u32_at(trailer, 4)? == trailer_crc(offset, nonce);
    right.then_some(offset)
}

/// Reads a footer whose frame, from its header on, is `frame`; checks everything about it that it says itself.
pub(crate) fn decode(frame: &[u8], nonce: u64, offset: u64, file_len: u64) -> Option<Footer> {
    let header = FrameHeader::decode(frame, Some(nonce), offset, file_len)?;
    let body = frame.get(FRAME_HEADER_BYTES..)?.get(..index(header.body_len))?;
    let entries = u32_at(body, 52)?;
    let lengths = index(entries).checked_mul(ENTRY_BYTES)?.checked_add(FIXED_BYTES + TRAILER_BYTES)?;
    let right = header.kind == FrameKind::Footer
        && header.end() == file_len
        && entries == header.count
        && lengths == body.len()
        && (crc32fast::hash(body) == header.dir_crc || believes_anything());
    if !right {
        return None;
    }
    let footer = Footer {
        header,
        totals: Totals {
            messages: u64_at(body, 0)?,
            first_ts: i64_at(body, 24)?,
            last_ts: i64_at(body, 32)?,
            record_bytes: u64_at(body, 40)?,
            frames: u32_at(body, 48)?,
            compressed: u32_at(body, 56)?,
            expiring: u32_at(body, 60)?,
        },
        first_seq: u64_at(body, 8)?,
        last_seq: u64_at(body, 16)?,
        entries,
    };
    (footer.last_seq.checked_add(1)? == header.first_seq).then_some(footer)
}

/// The planted mistake: a footer's checksum is not looked at.
fn believes_anything() -> bool {
    #[cfg(feature = "planted-bugs")]
    {
        crate::planted::is(crate::planted::Bug::SkipFooterCrc)
    }
    #[cfg(not(feature = "planted-bugs"))]
    {
        false
    }
}

/// Entry `i` of the footer at `offset`. `file` is the segment from its first byte.
pub(crate) fn entry(file: &[u8], offset: u32, i: usize) -> Option<IndexEntry> {
    let at = index64(u64::from(offset)) + FRAME_HEADER_BYTES + FIXED_BYTES + i.checked_mul(ENTRY_BYTES)?;
    Some(IndexEntry { seq: u64_at(file, at)?, max_ts_before: i64_at(file, at + 8)?, offset: u32_at(file, at + 16)? })
}

fn trailer_crc(offset: u32, nonce: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.finalize()
}
