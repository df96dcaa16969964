//! The removal journal's bytes: its header, and entries that say which numbers were removed from which segment.

use super::{FieldWriter, bytes_at, index, index64, u32_at, u64_at};
use crate::format::varint;

const MAGIC: [u8; 8] = *b"SUBLOGRM";
const ENTRY_MAGIC: [u8; 4] = *b"SLR1";
const VERSION: u32 = 1;
/// Bytes before the first entry: two copies of the header, a sector each.
pub(crate) const JOURNAL_HEADER_BYTES: u64 = 1024;
const HEADER_COPY_BYTES: usize = 64;
const SECOND_COPY_AT: usize = 512;
/// Bytes of an entry before its body.
pub(crate) const ENTRY_HEADER_BYTES: usize = 32;
/// Largest body of an entry, in bytes: what does not fit goes into a further entry. Small, so that a body with more than
/// one flipped bit has a chance below one in a hundred thousand of being taken for one with a single flip.
pub(crate) const ENTRY_BODY_MAX: usize = 4 << 10;

/// Header of a removal journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalHeader {
    pub(crate) log_id: u128,
    pub(crate) nonce: u64,
}

/// What the first bytes of a journal are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalFound {
    Valid(JournalHeader),
    UnknownVersion(u32),
    Bad,
}

impl JournalHeader {
    /// The whole region before the first entry.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = [0_u8; HEADER_COPY_BYTES];
        FieldWriter::new(&mut copy)
            .put(&MAGIC)
            .put(&VERSION.to_le_bytes())
            .put(&[0; 4])
            .put(&self.nonce.to_le_bytes())
            .put(&self.log_id.to_le_bytes());
        let (content, slot) = copy.split_at_mut(HEADER_COPY_BYTES - 4);
        slot.copy_from_slice(&crc32fast::hash(content).to_le_bytes());
        let mut region = vec![0_u8; index64(JOURNAL_HEADER_BYTES)];
        for at in [0, SECOND_COPY_AT] {
            if let Some(slot) = region.get_mut(at..at + HEADER_COPY_BYTES) {
                slot.copy_from_slice(&copy);
            }
        }
        region
    }

    /// The first copy that is valid.
    pub(crate) fn decode(region: &[u8]) -> JournalFound {
        let mut found = JournalFound::Bad;
        for at in [0, SECOND_COPY_AT] {
            let Some(copy) = bytes_at::<HEADER_COPY_BYTES>(region, at) else { continue };
            let (content, _) = copy.split_at(HEADER_COPY_BYTES - 4);
            if bytes_at(&copy, 0) != Some(MAGIC)
                || u32_at(&copy, HEADER_COPY_BYTES - 4) != Some(crc32fast::hash(content))
            {
                continue;
            }
            let (Some(version), Some(nonce), Some(id)) = (u32_at(&copy, 8), u64_at(&copy, 16), bytes_at(&copy, 24))
            else {
                continue;
            };
            if version != VERSION {
                found = JournalFound::UnknownVersion(version);
                continue;
            }
            return JournalFound::Valid(Self { nonce, log_id: u128::from_le_bytes(id) });
        }
        found
    }
}

/// Numbers removed from one segment, or from where one was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Group {
    /// First number of the segment, as its file is named.
    pub(crate) segment: u64,
    /// Nonce of the file that the numbers were counted in; 0 if the segment is gone.
    pub(crate) nonce: u64,
    /// Removed records: not more than the numbers of the ranges, of which some may never have been there.
    pub(crate) messages: u64,
    /// Their bytes, with their record headers.
    pub(crate) bytes: u64,
    /// Removed ranges, both ends included, ascending and apart.
    pub(crate) ranges: Vec<(u64, u64)>,
}

/// One statement of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Everything before this number is gone.
    Floor(u64),
    Removed(Group),
}

const KIND_FLOOR: u64 = 0;
const KIND_REMOVED: u64 = 1;

/// Collects statements into bodies of entries.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    done: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Bodies {
    pub(crate) fn floor(&mut self, floor: u64) {
        self.room(20);
        varint::put(&mut self.open, KIND_FLOOR);
        varint::put(&mut self.open, floor);
    }

    /// A group; one with too many ranges for an entry is split, its sums going with the first part.
    pub(crate) fn removed(&mut self, group: &Group) {
        let (mut messages, mut bytes) = (group.messages, group.bytes);
        // A range takes at most 20 bytes.
        for part in group.ranges.chunks(ENTRY_BODY_MAX / 32) {
            self.room(64 + part.len() * 20);
            varint::put(&mut self.open, KIND_REMOVED);
            varint::put(&mut self.open, group.segment);
            self.open.extend_from_slice(&group.nonce.to_le_bytes());
            varint::put(&mut self.open, std::mem::take(&mut messages));
            varint::put(&mut self.open, std::mem::take(&mut bytes));
            varint::put(&mut self.open, part.len() as u64);
            let mut from = group.segment;
            for &(first, last) in part {
                debug_assert!(from <= first && first <= last, "removed ranges ascend");
                varint::put(&mut self.open, first.wrapping_sub(from));
                varint::put(&mut self.open, last.wrapping_sub(first));
                from = last;
            }
        }
    }

    fn room(&mut self, bytes: usize) {
        if self.open.len() + bytes > ENTRY_BODY_MAX && !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open));
        }
    }

    /// All bodies, in order.
    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

/// The statements of a body whose checksum was right; `None` if they are not well formed.
pub(crate) fn statements(mut body: &[u8]) -> Option<Vec<Statement>> {
    let mut out = Vec::new();
    while !body.is_empty() {
        match varint::take(&mut body)? {
            KIND_FLOOR => out.push(Statement::Floor(varint::take(&mut body)?)),
            KIND_REMOVED => out.push(Statement::Removed(group(&mut body)?)),
            _ => return None,
        }
    }
    Some(out)
}

fn group(body: &mut &[u8]) -> Option<Group> {
    let segment = varint::take(body)?;
    let (nonce, rest) = body.split_first_chunk::<8>()?;
    *body = rest;
    let messages = varint::take(body)?;
    let bytes = varint::take(body)?;
    let count = index64(varint::take(body)?);
    // Each range takes two bytes at least.
    if count > body.len() / 2 {
        return None;
    }
    let mut ranges = Vec::with_capacity(count);
    let mut from = segment;
    for _ in 0..count {
        let first = from.checked_add(varint::take(body)?)?;
        let last = first.checked_add(varint::take(body)?)?;
        ranges.push((first, last));
        from = last;
    }
    Some(Group { segment, nonce: u64::from_le_bytes(*nonce), messages, bytes, ranges })
}

/// A whole entry: header and body.
pub(crate) fn encode_entry(nonce: u64, offset: u64, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0_u8; ENTRY_HEADER_BYTES];
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    FieldWriter::new(&mut out)
        .put(&ENTRY_MAGIC)
        .put(&narrow(body.len() as u64))
        .put(&nonce.to_le_bytes())
        .put(&offset.to_le_bytes())
        .put(&crc32fast::hash(body).to_le_bytes());
    let crc = crc32fast::hash(out.get(..ENTRY_HEADER_BYTES - 4).unwrap_or_default());
    if let Some(slot) = out.get_mut(ENTRY_HEADER_BYTES - 4..) {
        slot.copy_from_slice(&crc.to_le_bytes());
    }
    out.extend_from_slice(body);
    out
}

/// What lies where an entry should begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryFound {
    /// A whole entry, with where the next one begins. A single flipped bit was set right.
    Entry { statements: Vec<Statement>, next: u64, corrected: bool },
    /// A valid header whose body is damaged.
    BadBody { next: u64 },
    /// Nothing valid.
    Bad,
}

/// Reads the entry at `offset` of a whole journal.
pub(crate) fn entry_at(file: &[u8], nonce: u64, offset: u64) -> EntryFound {
    let Some(mut header) = bytes_at::<ENTRY_HEADER_BYTES>(file, index64(offset)) else { return EntryFound::Bad };
    let mut corrected = false;
    let stored = u32_at(&header, ENTRY_HEADER_BYTES - 4).unwrap_or(0);
    let (content, _) = header.split_at_mut(ENTRY_HEADER_BYTES - 4);
    if crc32fast::hash(content) != stored {
        corrected = true;
        if !flip::correct(content, stored) {
            return EntryFound::Bad;
        }
    }
    let fits = bytes_at(&header, 0) == Some(ENTRY_MAGIC)
        && u64_at(&header, 8) == Some(nonce)
        && u64_at(&header, 16) == Some(offset);
    let len = u32_at(&header, 4).map_or(usize::MAX, index);
    if !fits || len > ENTRY_BODY_MAX * 2 {
        return EntryFound::Bad;
    }
    let begin = index64(offset) + ENTRY_HEADER_BYTES;
    let Some(body) = file.get(begin..begin + len) else { return EntryFound::Bad };
    let next = (begin + len) as u64;
    let stored = u32_at(&header, 24).unwrap_or(0);
    let mut body = std::borrow::Cow::Borrowed(body);
    if crc32fast::hash(&body) != stored {
        corrected = true;
        if !flip::correct(body.to_mut(), stored) {
            return EntryFound::BadBody { next };
        }
    }
    match statements(&body) {
        Some(statements) => EntryFound::Entry { statements, next, corrected },
        None => EntryFound::BadBody { next },
    }
}

/// The first valid entry header at or behind `from`, as an offset.
pub(crate) fn find_entry(file: &[u8], nonce: u64, from: u64) -> Option<u64> {
    let mut at = index64(from);
    loop {
        at += memchr::memmem::find(file.get(at..)?, &ENTRY_MAGIC)?;
        if !matches!(entry_at(file, nonce, at as u64), EntryFound::Bad) {
            return Some(at as u64);
        }
        at += 1;
    }
}

/// Setting a single flipped bit right with the checksum alone.
mod flip {
    const POLYNOMIAL: u32 = 0xedb8_8320;

    const TABLE: [u32; 256] = {
        let mut table = [0_u32; 256];
        let mut i = 0;
        while i < 256 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
                bit += 1;
            }
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, below 256")]
            {
                table[i] = value;
            }
            i += 1;
        }
        table
    };

    fn step(crc: u32) -> u32 {
        let low = usize::from(crc.to_le_bytes()[0]);
        (crc >> 8) ^ TABLE.get(low).copied().unwrap_or(0)
    }

    /// Flips the one bit of `bytes` after which their checksum is `stored`; `false` if there is none. A flip of the
    /// stored checksum itself counts: then nothing is changed.
    ///
    /// The checksum is linear: what a flip does to it depends on the flip's place only, and moving the place by a byte is
    /// one step of the register.
    pub(super) fn correct(bytes: &mut [u8], stored: u32) -> bool {
        let wrong = crc32fast::hash(bytes) ^ stored;
        if wrong.count_ones() == 1 {
            return true;
        }
        let mut effect: [u32; 8] = std::array::from_fn(|bit| TABLE.get(1 << bit).copied().unwrap_or(0));
        for i in (0..bytes.len()).rev() {
            if let Some(bit) = effect.iter().position(|&e| e == wrong) {
                if let Some(byte) = bytes.get_mut(i) {
                    *byte ^= 1 << bit;
                }
                return crc32fast::hash(bytes) == stored;
            }
            for e in &mut effect {
                *e = step(*e);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Statement> {
        vec![
            Statement::Floor(1 << 40),
            Statement::Removed(Group {
                segment: 7,
                nonce: 9,
                messages: 6,
                bytes: 1000,
                ranges: vec![(7, 7), (9, 12), (300, 300)],
            }),
            Statement::Removed(Group {
                segment: u64::MAX - 5,
                ranges: vec![(u64::MAX - 5, u64::MAX)],
                ..Group::default()
            }),
        ]
    }

    fn encoded(statements: &[Statement]) -> Vec<Vec<u8>> {
        let mut bodies = Bodies::default();
        for statement in statements {
            match statement {
                Statement::Floor(floor) => bodies.floor(*floor),
                Statement::Removed(group) => bodies.removed(group),
            }
        }
        bodies.finish()
    }

    #[test]
    fn any_single_flip_of_an_entry_is_set_right_or_seen() {
        let [body] = encoded(&sample()).try_into().unwrap();
        let offset = JOURNAL_HEADER_BYTES;
        let mut file = vec![0_u8; offset as usize];
        file.extend(encode_entry(77, offset, &body));
        let whole = EntryFound::Entry { statements: sample(), next: file.len() as u64, corrected: false };
        assert_eq!(entry_at(&file, 77, offset), whole);
        assert_eq!(entry_at(&file, 78, offset), EntryFound::Bad, "another journal's");
        assert_eq!(find_entry(&file, 77, 3), Some(offset));
        for bit in offset as usize * 8..file.len() * 8 {
            let mut other = file.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            match entry_at(&other, 77, offset) {
                EntryFound::Entry { statements, corrected, .. } => {
                    assert!(corrected && statements == sample(), "{bit}")
                }
                found => panic!("bit {bit} was not set right: {found:?}"),
            }
            let second = offset as usize + (bit / 8 + 5) % (file.len() - offset as usize);
            other[second] ^= 0x10;
            match entry_at(&other, 77, offset) {
                EntryFound::Entry { statements, .. } => assert_eq!(statements, sample(), "bit {bit}"),
                EntryFound::BadBody { .. } | EntryFound::Bad => {}
            }
        }
        for cut in 0..file.len() {
            let _ = entry_at(&file[..cut], 77, offset);
        }
    }

    #[test]
    fn large_groups_are_split_and_add_up() {
        let ranges: Vec<(u64, u64)> = (0..50_000_u64).map(|i| (10 + i * 1000, 10 + i * 1000 + i % 7)).collect();
        let group = Group { segment: 10, nonce: 3, messages: 7, bytes: 12_345, ranges: ranges.clone() };
        let bodies = encoded(&[Statement::Floor(5), Statement::Removed(group)]);
        assert!(bodies.len() > 1 && bodies.iter().all(|body| body.len() <= ENTRY_BODY_MAX));
        let (mut bytes, mut found) = (0, Vec::new());
        for statement in bodies.iter().flat_map(|body| statements(body).unwrap()) {
            if let Statement::Removed(group) = statement {
                bytes += group.bytes;
                found.extend(group.ranges);
            }
        }
        assert_eq!((bytes, found), (12_345, ranges));
    }

    #[test]
    fn headers() {
        let header = JournalHeader { log_id: 1 << 100, nonce: 5 };
        let region = header.encode();
        assert_eq!(region.len() as u64, JOURNAL_HEADER_BYTES);
        for bit in 0..region.len() * 8 {
            let mut other = region.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(JournalHeader::decode(&other), JournalFound::Valid(header), "bit {bit}");
        }
        assert_eq!(JournalHeader::decode(&[]), JournalFound::Bad);
    }
}
