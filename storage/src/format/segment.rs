//! The segment header: which log, which place in it, and what the segment before must look like.

use super::{FORMAT_VERSION, FieldWriter, bytes_at, i64_at, number_in_name, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"SUBLOGSG";
/// Bytes of one copy of the header.
pub(crate) const HEADER_COPY_BYTES: usize = 128;
/// Where the second copy lies: another sector, so that one bad sector costs nothing.
pub(crate) const SECOND_COPY_AT: usize = 2048;
const FLAG_WEAK: u32 = 1;
const FLAG_PACKED: u32 = 2;
/// The first version: no packed segments, and zeros where later ones say more.
const VERSION_1: u32 = 1;

const UNFINISHED_ENDING: &str = ".packed.tmp";

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
    /// As it was written: what is encoded is always of the newest.
    pub(crate) version: u32,
    pub(crate) weak: bool,
    pub(crate) nonce: u64,
    pub(crate) log_id: u128,
    pub(crate) first_seq: u64,
    pub(crate) capacity: u64,
    /// Largest time of any record before this segment.
    pub(crate) base_max_ts: i64,
    pub(crate) ordinal: u64,
    pub(crate) previous: Previous,
    /// `None`: as it was appended.
    pub(crate) packed: Option<Replaced>,
}

/// What a packed segment says of the segments it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// Last number that they covered; one less than the first if they had none.
    pub(crate) last_seq: u64,
    /// Nonce of the last of them: what the segment behind names as its predecessor's.
    pub(crate) last_nonce: u64,
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
    /// The nonce that the segment behind names as its predecessor's.
    pub(crate) fn link_nonce(&self) -> u64 {
        self.packed.map_or(self.nonce, |replaced| replaced.last_nonce)
    }

    /// Whether the segment file with the name `name_seq` is one of those that this one replaced. `other` is its header,
    /// if that can be read.
    pub(crate) fn covers(&self, name_seq: u64, other: Option<&Self>) -> bool {
        self.packed.is_some_and(|replaced| {
            let same_log = other.is_none_or(|other| other.log_id == self.log_id);
            let inside = self.first_seq < name_seq && name_seq <= replaced.last_seq;
            // One without a number lies behind the last; its nonce tells.
            let empty_last = name_seq > self.first_seq && other.is_some_and(|other| other.nonce == replaced.last_nonce);
            same_log && (inside || empty_last)
        })
    }

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
        let packed_flag = if self.packed.is_some() { FLAG_PACKED } else { 0 };
        let flags = packed_flag | if self.weak { FLAG_WEAK } else { 0 };
        let replaced = self.packed.unwrap_or(Replaced { last_seq: 0, last_nonce: 0 });
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
            .put(&self.previous.first_seq.to_le_bytes())
            .put(&replaced.last_seq.to_le_bytes())
            .put(&replaced.last_nonce.to_le_bytes());
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
        if !(VERSION_1..=FORMAT_VERSION).contains(&version) {
            return Some(HeaderFound::UnknownVersion(version));
        }
        let first_seq = u64_at(copy, 40)?;
        let flags = u32_at(copy, 12)?;
        let packed = packed_part(content, version, flags, first_seq)?;
        let header = Self {
            version,
            weak: flags & FLAG_WEAK != 0,
            nonce: u64_at(copy, 16)?,
            log_id: u128::from_le_bytes(bytes_at(copy, 24)?),
            first_seq,
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
            packed,
        };
        Some(HeaderFound::Valid(header, crc))
    }
}

/// What a header says of the segments it replaced: `Some(None)` if it is not packed, `None` if it says something that
/// its version does not know or that cannot be.
fn packed_part(content: &[u8], version: u32, flags: u32, first_seq: u64) -> Option<Option<Replaced>> {
    let known = if version == VERSION_1 { FLAG_WEAK } else { FLAG_WEAK | FLAG_PACKED };
    let zeros_from = if flags & FLAG_PACKED != 0 { 120 } else { 104 };
    if flags & !known != 0 || content.get(zeros_from..)?.iter().any(|&b| b != 0) {
        return None;
    }
    if flags & FLAG_PACKED == 0 {
        return Some(None);
    }
    let replaced = Replaced { last_seq: u64_at(content, 104)?, last_nonce: u64_at(content, 112)? };
    (replaced.last_seq.checked_add(1)? >= first_seq).then_some(Some(replaced))
}

/// Name of the segment file whose first record is `first_seq`.
pub(crate) fn file_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// The number in a segment file's name; `None` for any other name.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    number_in_name(name, ".seg")
}

/// Name of the file that a packed segment is written to before it takes its place.
pub(crate) fn unfinished_name(first_seq: u64) -> String {
    format!("{first_seq:020}{UNFINISHED_ENDING}")
}

/// Whether a file is what a rewriting left that did not come to its end.
pub(crate) fn is_unfinished_name(name: &str) -> bool {
    number_in_name(name, UNFINISHED_ENDING).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sample() -> SegmentHeader {
        SegmentHeader {
            version: FORMAT_VERSION,
            weak: true,
            nonce: 0x0102_0304_0506_0708,
            log_id: 0x1111_2222_3333_4444_5555_6666_7777_8888,
            first_seq: 900,
            capacity: 1 << 22,
            base_max_ts: -5,
            ordinal: 3,
            previous: Previous { nonce: 9, first_seq: 500, last_seq: 899, data_len: 70_000, last_crc: 0xdead_beef },
            packed: None,
        }
    }

    fn packed() -> SegmentHeader {
        SegmentHeader { packed: Some(Replaced { last_seq: 1200, last_nonce: 77 }), ..sample() }
    }

    /// The region with some bytes of both copies replaced and their checksums made right.
    fn with(header: &SegmentHeader, changes: &[(usize, &[u8])]) -> Vec<u8> {
        let (mut region, _) = header.encode_region();
        for at in [0, SECOND_COPY_AT] {
            for (offset, bytes) in changes {
                region[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
            }
            let crc = crc32fast::hash(&region[at..at + 124]);
            region[at + 124..at + 128].copy_from_slice(&crc.to_le_bytes());
        }
        region
    }

    #[test]
    fn any_bit_of_one_copy_is_survived_and_of_both_is_seen() {
        for header in [sample(), packed()] {
            let (region, crc) = header.encode_region();
            assert_eq!(SegmentHeader::decode_region(&region), HeaderFound::Valid(header, crc));
            for bit in 0..HEADER_COPY_BYTES * 8 {
                let mut one = region.clone();
                one[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(SegmentHeader::decode_region(&one), HeaderFound::Valid(header, crc), "bit {bit}");
                one[SECOND_COPY_AT + bit / 8] ^= 1 << (bit % 8);
                assert_eq!(SegmentHeader::decode_region(&one), HeaderFound::Bad, "bit {bit}");
            }
            for cut in [0, 1, 127] {
                assert_eq!(SegmentHeader::decode_region(&region[..cut]), HeaderFound::Bad);
            }
        }
    }

    #[test]
    fn the_first_version_is_read_but_must_not_claim_what_came_later() {
        let old = |changes: &[(usize, &[u8])]| {
            let all: Vec<_> = [(8, &[1_u8, 0, 0, 0][..])].into_iter().chain(changes.iter().copied()).collect();
            SegmentHeader::decode_region(&with(&sample(), &all))
        };
        assert!(
            matches!(old(&[]), HeaderFound::Valid(header, _) if header == SegmentHeader { version: 1, ..sample() })
        );
        assert_eq!(old(&[(12, &[3, 0, 0, 0])]), HeaderFound::Bad);
        for at in 104..124 {
            assert_eq!(old(&[(at, &[1])]), HeaderFound::Bad, "byte {at}");
            // Nor does a segment that is not packed.
            assert_eq!(SegmentHeader::decode_region(&with(&sample(), &[(at, &[1])])), HeaderFound::Bad, "byte {at}");
        }
    }

    #[test]
    fn what_a_packed_header_covers() {
        let covers = |name_seq, nonce, log_id| {
            let other = SegmentHeader { first_seq: name_seq, nonce, log_id, ..sample() };
            packed().covers(name_seq, Some(&other))
        };
        let id = sample().log_id;
        assert_eq!((sample().link_nonce(), packed().link_nonce()), (sample().nonce, 77));
        assert!(covers(901, 1, id) && covers(1200, 1, id) && covers(1201, 77, id) && packed().covers(950, None));
        assert!(!covers(900, 77, id) && !covers(1201, 1, id) && !covers(5, 77, id) && !covers(1000, 1, 1));
        assert!(!sample().covers(901, None) && !packed().covers(1201, None));
        for (at, bytes) in [(104, [0xff; 8]), (104, 898_u64.to_le_bytes())] {
            assert_eq!(SegmentHeader::decode_region(&with(&packed(), &[(at, &bytes)])), HeaderFound::Bad);
        }
        let none = SegmentHeader { packed: Some(Replaced { last_seq: 899, last_nonce: 77 }), ..sample() };
        assert!(matches!(SegmentHeader::decode_region(&none.encode_region().0), HeaderFound::Valid(h, _) if h == none));
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let region = with(&sample(), &[(8, &[4])]);
        assert_eq!(SegmentHeader::decode_region(&region), HeaderFound::UnknownVersion(4));
    }

    #[test]
    fn file_names() {
        assert_eq!(parse_file_name(&file_name(58_112)), Some(58_112));
        assert_eq!(parse_file_name("00000000000000000000.seg"), None);
        assert_eq!(parse_file_name("1.seg"), None);
        assert_eq!(parse_file_name("+0000000000000000001.seg"), None);
        assert_eq!(parse_file_name("99999999999999999999.seg"), None);
        assert_eq!(parse_file_name("LOCK"), None);
        assert!(is_unfinished_name(&unfinished_name(58_112)) && !is_unfinished_name(&file_name(58_112)));
        assert_eq!(parse_file_name(&unfinished_name(58_112)), None);
        assert!(!is_unfinished_name("notes.packed.tmp"));
    }
}
