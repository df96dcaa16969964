//! The segment header: which log, which place in it, and what the segment before must look like.

use super::{FORMAT_VERSION, FieldWriter, bytes_at, i64_at, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"SUBLOGSG";
/// Bytes of one copy of the header.
pub(crate) const HEADER_COPY_BYTES: usize = 128;
/// Where the second copy lies: another sector, so that one bad sector costs nothing.
pub(crate) const SECOND_COPY_AT: usize = 2048;
const FLAG_WEAK: u32 = 1;

/// What a segment says about the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Previous {
    pub(crate) nonce: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) data_len: u32,
    pub(crate) last_crc: u32,
}

/// A segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) weak: bool,
    pub(crate) nonce: u64,
    pub(crate) log_id: u128,
    pub(crate) first_seq: u64,
    pub(crate) capacity: u64,
    /// Largest time of any record before this segment.
    pub(crate) base_max_ts: i64,
    pub(crate) ordinal: u64,
    pub(crate) previous: Previous,
}

/// What the bytes at the beginning of a segment file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    /// A header, and its checksum: the first link of the frames' chain.
    Valid(SegmentHeader, u32),
    /// A whole header of a version this program does not know.
    UnknownVersion(u32),
    /// Nothing valid.
    Bad,
}

impl SegmentHeader {
    /// The whole header region, both copies.
    pub(crate) fn encode_region(&self) -> (Vec<u8>, u32) {
        let (copy, crc) = self.encode();
        let mut region = vec![0_u8; super::index64(super::SEGMENT_HEADER_BYTES)];
        for at in [0, SECOND_COPY_AT] {
            if let Some(slot) = region.get_mut(at..at + HEADER_COPY_BYTES) {
                slot.copy_from_slice(&copy);
            }
        }
        (region, crc)
    }

    fn encode(&self) -> ([u8; HEADER_COPY_BYTES], u32) {
        let mut out = [0_u8; HEADER_COPY_BYTES];
        let flags = if self.weak { FLAG_WEAK } else { 0 };
        FieldWriter::new(&mut out)
            .put(&MAGIC)
            .put(&FORMAT_VERSION.to_le_bytes())
            .put(&flags.to_le_bytes())
            .put(&self.nonce.to_le_bytes())
            .put(&self.log_id.to_le_bytes())
            .put(&self.first_seq.to_le_bytes())
            .put(&self.capacity.to_le_bytes())
            .put(&self.base_max_ts.to_le_bytes())
            .put(&self.ordinal.to_le_bytes())
            .put(&self.previous.nonce.to_le_bytes())
            .put(&self.previous.last_seq.to_le_bytes())
            .put(&self.previous.data_len.to_le_bytes())
            .put(&self.previous.last_crc.to_le_bytes())
            .put(&self.previous.first_seq.to_le_bytes());
        let (content, crc_slot) = out.split_at_mut(HEADER_COPY_BYTES - 4);
        let crc = crc32fast::hash(content);
        crc_slot.copy_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// Reads the header region: the first copy that is valid.
    pub(crate) fn decode_region(region: &[u8]) -> HeaderFound {
        let mut found = HeaderFound::Bad;
        for at in [0, SECOND_COPY_AT] {
            let copy = region.get(at..at + HEADER_COPY_BYTES).unwrap_or_default();
            match Self::decode(copy) {
                Some(HeaderFound::Bad) | None => {}
                Some(valid @ HeaderFound::Valid(..)) => return valid,
                Some(newer @ HeaderFound::UnknownVersion(_)) => found = newer,
            }
        }
        found
    }

    fn decode(copy: &[u8]) -> Option<HeaderFound> {
        let (content, _) = copy.split_at_checked(HEADER_COPY_BYTES - 4)?;
        let crc = u32_at(copy, HEADER_COPY_BYTES - 4)?;
        if bytes_at(copy, 0)? != MAGIC || crc32fast::hash(content) != crc {
            return None;
        }
        let version = u32_at(copy, 8)?;
        if version != FORMAT_VERSION {
            return Some(HeaderFound::UnknownVersion(version));
        }
        if content.get(104..)?.iter().any(|&b| b != 0) {
            return None;
        }
        let header = Self {
            weak: u32_at(copy, 12)? & FLAG_WEAK != 0,
            nonce: u64_at(copy, 16)?,
            log_id: u128::from_le_bytes(bytes_at(copy, 24)?),
            first_seq: u64_at(copy, 40)?,
            capacity: u64_at(copy, 48)?,
            base_max_ts: i64_at(copy, 56)?,
            ordinal: u64_at(copy, 64)?,
            previous: Previous {
                nonce: u64_at(copy, 72)?,
                last_seq: u64_at(copy, 80)?,
                data_len: u32_at(copy, 88)?,
                last_crc: u32_at(copy, 92)?,
                first_seq: u64_at(copy, 96)?,
            },
        };
        Some(HeaderFound::Valid(header, crc))
    }
}

/// Name of the segment file whose first record is `first_seq`.
pub(crate) fn file_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// The number in a segment file's name; `None` for any other name.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&seq| seq > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample() -> SegmentHeader {
        SegmentHeader {
            weak: true,
            nonce: 0x0102_0304_0506_0708,
            log_id: 0x1111_2222_3333_4444_5555_6666_7777_8888,
            first_seq: 900,
            capacity: 1 << 22,
            base_max_ts: -5,
            ordinal: 3,
            previous: Previous { nonce: 9, first_seq: 500, last_seq: 899, data_len: 70_000, last_crc: 0xdead_beef },
        }
    }

    #[test]
    fn any_bit_of_one_copy_is_survived_and_of_both_is_seen() {
        let (region, crc) = sample().encode_region();
        assert_eq!(SegmentHeader::decode_region(&region), HeaderFound::Valid(sample(), crc));
        for bit in 0..HEADER_COPY_BYTES * 8 {
            let mut one = region.clone();
            one[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode_region(&one), HeaderFound::Valid(sample(), crc), "bit {bit}");
            one[SECOND_COPY_AT + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode_region(&one), HeaderFound::Bad, "bit {bit}");
        }
        for cut in [0, 1, 127] {
            assert_eq!(SegmentHeader::decode_region(&region[..cut]), HeaderFound::Bad);
        }
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let (mut region, _) = sample().encode_region();
        for at in [0, SECOND_COPY_AT] {
            region[at + 8] = 2;
            let crc = crc32fast::hash(&region[at..at + 124]);
            region[at + 124..at + 128].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(SegmentHeader::decode_region(&region), HeaderFound::UnknownVersion(2));
    }

    #[test]
    fn file_names() {
        assert_eq!(parse_file_name(&file_name(58_112)), Some(58_112));
        assert_eq!(parse_file_name("00000000000000000000.seg"), None);
        assert_eq!(parse_file_name("1.seg"), None);
        assert_eq!(parse_file_name("+0000000000000000001.seg"), None);
        assert_eq!(parse_file_name("99999999999999999999.seg"), None);
        assert_eq!(parse_file_name("LOCK"), None);
    }
}
