//! The frame header: binds records to segment, place, number and predecessor.

use super::packed::{self, Packing};
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
    /// Records of a packed segment, with the number of each.
    Packed(Packing),
}

impl FrameKind {
    /// Whether it is the kind that holds the records of a packed, or of an appended segment.
    pub(crate) fn holds_records(self, packed: bool) -> bool {
        match self {
            Self::Data => !packed,
            Self::Packed(_) => packed,
            Self::Footer => false,
        }
    }
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    /// Own offset in the file.
    pub(crate) offset: u32,
    /// Everything of the file below was synced when the frame was written. 0 in a packed frame, whose file was synced
    /// before it had its name.
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
    /// Checksum of the directory; of the body in a footer; in a packed frame of directory and numbers, or of all that is
    /// stored if that is compressed.
    pub(crate) dir_crc: u32,
    /// Checksum of this header, set by [`FrameHeader::encode`].
    pub(crate) crc: u32,
}

impl FrameHeader {
    /// The header's bytes; also sets `crc`.
    pub(crate) fn encode(&mut self) -> [u8; FRAME_HEADER_BYTES] {
        let mut out = [0_u8; FRAME_HEADER_BYTES];
        let (kind, codec, at_12, at_56) = match self.kind {
            FrameKind::Data => (1, 0, self.durable, 0),
            FrameKind::Footer => (2, 0, self.durable, 0),
            FrameKind::Packed(packing) => (3, packing.codec.code(), packing.span, packing.content_len),
        };
        FieldWriter::new(&mut out)
            .put(&MAGIC)
            .put(&[VERSION, kind])
            .put(&codec.to_le_bytes())
            .put(&self.offset.to_le_bytes())
            .put(&at_12.to_le_bytes())
            .put(&self.nonce.to_le_bytes())
            .put(&self.first_seq.to_le_bytes())
            .put(&self.max_ts.to_le_bytes())
            .put(&self.count.to_le_bytes())
            .put(&self.body_len.to_le_bytes())
            .put(&self.prev_crc.to_le_bytes())
            .put(&self.dir_crc.to_le_bytes())
            .put(&at_56.to_le_bytes());
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
        let (flags, at_12, at_56) = (u16_at(bytes, 6)?, u32_at(bytes, 12)?, u32_at(bytes, 56)?);
        let (kind, durable) = match (version, kind, flags, at_56) {
            (VERSION, 1, 0, 0) => (FrameKind::Data, at_12),
            (VERSION, 2, 0, 0) => (FrameKind::Footer, at_12),
            (VERSION, 3, codec, content_len) => (FrameKind::Packed(Packing::decode(codec, at_12, content_len)?), 0),
            _ => return None,
        };
        let header = Self {
            kind,
            offset: u32_at(bytes, 8)?,
            durable,
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
            && header.first_seq.checked_add(u64::from(header.numbers())).is_some()
            && match kind {
                FrameKind::Data => header.count > 0,
                FrameKind::Footer => true,
                FrameKind::Packed(packing) => packing.fits(header.count, header.body_len),
            };
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
            FrameKind::Packed(packing) => {
                self.body(file).and_then(|stored| packed::covered(&packing, self.count, stored))
            }
        };
        covered.is_some_and(|bytes| crc32fast::hash(bytes) == self.dir_crc)
    }

    /// Length of the directory, in bytes.
    fn directory_len(&self) -> usize {
        match self.kind {
            FrameKind::Data => index(self.count).saturating_mul(DIR_ENTRY_BYTES),
            // Of a packed frame it is part of what is stored.
            FrameKind::Footer | FrameKind::Packed(_) => 0,
        }
    }

    /// How many numbers the frame stands for: as many as records, or more in a packed one.
    fn numbers(&self) -> u32 {
        match self.kind {
            FrameKind::Data => self.count,
            FrameKind::Footer => 0,
            FrameKind::Packed(packing) => packing.span.saturating_add(1),
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
        self.first_seq + u64::from(self.numbers())
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
