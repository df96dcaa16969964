//! The frame header: binds records to segment, place, number and predecessor.

use super::{
    DIR_ENTRY_BYTES, FRAME_HEADER_BYTES, FieldWriter, bytes_at, i64_at, index, index64, u16_at, u32_at, u64_at,
};

/// First bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"SLF1";
const VERSION: u8 = 1;
const CRC_AT: usize = FRAME_HEADER_BYTES - 4;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// Records.
    Data,
    /// The index of a sealed segment.
    Footer,
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// Own offset in the file.
    pub(crate) offset: u32,
    /// Everything of the file below was synced when the frame was written.
    pub(crate) durable: u32,
    pub(crate) nonce: u64,
    pub(crate) first_seq: u64,
    /// Largest time of any record of the log up to and with this frame.
    pub(crate) max_ts: i64,
    /// Records, or index entries.
    pub(crate) count: u32,
    pub(crate) body_len: u32,
    /// Header checksum of the frame before.
    pub(crate) prev_crc: u32,
    /// Checksum of the directory; of the body in a footer.
    pub(crate) dir_crc: u32,
    /// Checksum of this header, set by [`FrameHeader::encode`].
    pub(crate) crc: u32,
}

impl FrameHeader {
    /// The header's bytes; also sets `crc`.
    pub(crate) fn encode(&mut self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0_u8; FRAME_HEADER_BYTES];
        let kind = match self.kind {
            FrameKind::Data => 1,
            FrameKind::Footer => 2,
        };
        FieldWriter::new(&mut out)
            .put(&MAGIC)
            .put(&[VERSION, kind, 0, 0])
            .put(&self.offset.to_le_bytes())
            .put(&self.durable.to_le_bytes())
            .put(&self.nonce.to_le_bytes())
            .put(&self.first_seq.to_le_bytes())
            .put(&self.max_ts.to_le_bytes())
            .put(&self.count.to_le_bytes())
            .put(&self.body_len.to_le_bytes())
            .put(&self.prev_crc.to_le_bytes())
            .put(&self.dir_crc.to_le_bytes());
        self.crc = checksum(self.nonce, &out);
        let (_, slot) = out.split_at_mut(CRC_AT);
        slot.copy_from_slice(&self.crc.to_le_bytes());
        out
    }

    /// A header that is valid at `offset` of the segment `nonce` whose file ends at `limit` (F1 to F5 of the paper).
    /// With no nonce the header's own is believed, which is how a segment without a header is salvaged.
    pub(crate) fn decode(bytes: &[u8], nonce: Option<u64>, offset: u64, limit: u64) -> Option<Self> {
        if bytes_at(bytes, 0)? != MAGIC {
            return None;
        }
        let [version, kind] = bytes_at(bytes, 4)?;
        let kind = match (version, kind) {
            (VERSION, 1) => FrameKind::Data,
            (VERSION, 2) => FrameKind::Footer,
            _ => return None,
        };
        let header = Self {
            kind,
            offset: u32_at(bytes, 8)?,
            durable: u32_at(bytes, 12)?,
            nonce: u64_at(bytes, 16)?,
            first_seq: u64_at(bytes, 24)?,
            max_ts: i64_at(bytes, 32)?,
            count: u32_at(bytes, 40)?,
            body_len: u32_at(bytes, 44)?,
            prev_crc: u32_at(bytes, 48)?,
            dir_crc: u32_at(bytes, 52)?,
            crc: u32_at(bytes, CRC_AT)?,
        };
        let fits = u64::from(header.offset) == offset
            && nonce.is_none_or(|n| n == header.nonce)
            && offset.checked_add(header.frame_bytes())? <= limit
            && header.durable <= header.offset
            && header.first_seq > 0
            && header.first_seq.checked_add(u64::from(header.count)).is_some()
            && (header.count > 0 || kind == FrameKind::Footer)
            && u16_at(bytes, 6)? == 0
            && u32_at(bytes, 56)? == 0;
        #[cfg(feature = "planted-bugs")]
        if fits && crate::planted::is(crate::planted::Bug::SkipHeaderCrc) {
            return Some(header);
        }
        (fits && checksum(header.nonce, bytes) == header.crc).then_some(header)
    }

    /// The header as it was before one bit of it flipped: the correction with which F1 to F5 hold and the directory's
    /// checksum is right. `file` is the segment from its first byte.
    pub(crate) fn correct(file: &[u8], nonce: u64, offset: u64, limit: u64) -> Option<Self> {
        let mut bytes: [u8; FRAME_HEADER_BYTES] = bytes_at(file, index64(offset))?;
        // Far from a header: more than one bit of the magic differs. Spares the 512 checksums over zeros and torn data.
        let wrong: u32 = bytes.iter().zip(MAGIC).map(|(a, b)| (a ^ b).count_ones()).sum();
        if wrong > 1 {
            return None;
        }
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mask = 1_u8 << (bit % 8);
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= mask;
            }
            if let Some(header) = Self::decode(&bytes, Some(nonce), offset, limit)
                && header.directory_is_right(file)
            {
                return Some(header);
            }
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= mask;
            }
        }
        None
    }

    /// Whether the directory (of a footer: the body) has the checksum that the header names. `file` is the segment from
    /// its first byte.
    pub(crate) fn directory_is_right(&self, file: &[u8]) -> bool {
        let covered = match self.kind {
            FrameKind::Data => self.directory(file),
            FrameKind::Footer => self.body(file),
        };
        covered.is_some_and(|bytes| crc32fast::hash(bytes) == self.dir_crc)
    }

    /// Length of the directory, in bytes.
    fn directory_len(&self) -> usize {
        match self.kind {
            FrameKind::Data => index(self.count).saturating_mul(DIR_ENTRY_BYTES),
            FrameKind::Footer => 0,
        }
    }

    /// Length of the whole frame, in bytes.
    pub(crate) fn frame_bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES + self.directory_len()) as u64 + u64::from(self.body_len)
    }

    /// Offset behind the frame.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + self.frame_bytes()
    }

    /// Number behind the last record.
    pub(crate) fn next_seq(&self) -> u64 {
        match self.kind {
            FrameKind::Data => self.first_seq + u64::from(self.count),
            FrameKind::Footer => self.first_seq,
        }
    }

    /// Offset of the records in the file.
    pub(crate) fn body_at(&self) -> usize {
        index(self.offset) + FRAME_HEADER_BYTES
    }

    /// The records. `file` is the segment from its first byte.
    pub(crate) fn body<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        file.get(self.body_at()..)?.get(..index(self.body_len))
    }

    /// The directory. `file` is the segment from its first byte.
    pub(crate) fn directory<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        file.get(self.body_at()..)?.get(index(self.body_len)..)?.get(..self.directory_len())
    }
}

fn checksum(nonce: u64, header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce.to_le_bytes());
    hasher.update(header.get(..CRC_AT).unwrap_or_default());
    hasher.finalize()
}
