//! The bytes on disk. The only module that knows offsets and magic numbers; `docs/storage-format.md` is its paper.
//!
//! Decoders take any bytes and return `None` for what is not valid; nothing here reads or writes a file.

pub(crate) mod footer;
pub(crate) mod frame;
pub(crate) mod packed;
pub(crate) mod record;
pub(crate) mod removal;
pub(crate) mod segment;
pub(crate) mod varint;

/// Version of the segments that are written; those of versions 1 and 2 open as well.
pub(crate) const FORMAT_VERSION: u32 = 3;
/// From this version on the records of a segment may have a time at which they expire.
pub(crate) const EXPIRING_VERSION: u32 = 3;
/// Bytes before the first frame of a segment.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4096;
/// Smallest segment a log may be told to use, in bytes.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 8 << 10;
/// Largest segment a log may be told to use, in bytes.
pub(crate) const SEGMENT_BYTES_LIMIT: u64 = 1 << 30;
/// Bytes of a frame header.
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
/// Bytes of a record before its subject.
pub(crate) const RECORD_HEADER_BYTES: usize = 20;
/// Bytes of the time at which a record expires, behind the header of one that does.
pub(crate) const EXPIRY_BYTES: usize = 8;
/// Bytes of one directory entry.
pub(crate) const DIR_ENTRY_BYTES: usize = 8;
/// Largest record, in bytes: 64 MiB of payload with headers, and its subject.
pub const RECORD_BYTES_MAX: usize = (64 << 20) + (128 << 10);
/// Bytes of log for which the sparse index has about one entry.
pub(crate) const INDEX_STEP_BYTES: u64 = 64 << 10;
/// Least bytes that a record takes, with the directory entry: what bounds the numbers in a segment.
pub(crate) const RECORD_BYTES_MIN: u64 = (RECORD_HEADER_BYTES + DIR_ENTRY_BYTES) as u64;

/// The `N` bytes at `at`, or `None` behind the end.
pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Number in a file name that is 20 digits and `ending`; `None` for any other name.
pub(crate) fn number_in_name(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&seq| seq > 0)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

pub(crate) fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    bytes_at(bytes, at).map(i64::from_le_bytes)
}

/// Fills a fixed-size header field by field. What does not fit is left out, which the round-trip tests would show.
pub(crate) struct FieldWriter<'a> {
    rest: &'a mut [u8],
}

impl<'a> FieldWriter<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { rest: out }
    }

    pub(crate) fn put(&mut self, field: &[u8]) -> &mut Self {
        let rest = std::mem::take(&mut self.rest);
        match rest.split_at_mut_checked(field.len()) {
            Some((slot, tail)) => {
                slot.copy_from_slice(field);
                self.rest = tail;
            }
            None => debug_assert!(false, "a header field does not fit"),
        }
        self
    }
}

/// A length or offset of 32 bits as memory index. The crate needs pointers of at least 32 bits.
pub(crate) const fn index(value: u32) -> usize {
    value as usize
}

/// An offset as memory index; what does not fit can only lie behind the end of everything.
pub(crate) fn index64(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
