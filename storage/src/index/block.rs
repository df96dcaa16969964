//! Blocks of a part: each under a checksum that also says which file it belongs to, where, and as what.
//!
//! Inner and leaf blocks of the dictionary hold sorted keys, each without what it shares with the one before. Every
//! [`RESTART_ENTRIES`]th key is whole, and the offsets of those are at the end, so that a key is found by halves.

use std::io;

use super::bytes::{Bad, Scan, put_varint};

/// Length and checksum before the content.
pub(crate) const BLOCK_HEADER_BYTES: usize = 8;
/// Content after which a dictionary block is closed.
pub(crate) const BLOCK_BYTES: usize = 4096;
const RESTART_ENTRIES: u32 = 16;

/// What a block holds. It is part of what the checksum covers, not of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Leaf = 1,
    Node = 2,
    Numbers = 3,
    Skips = 4,
    Bloom = 5,
    Expiries = 6,
    Footer = 7,
}

fn checksum(seed: u32, kind: Kind, offset: u64, content: &[u8]) -> u32 {
    let mut bound = [0; 13];
    let (head, tail) = bound.split_at_mut(4);
    head.copy_from_slice(&seed.to_le_bytes());
    let (place, last) = tail.split_at_mut(8);
    place.copy_from_slice(&offset.to_le_bytes());
    last.fill(kind as u8);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bound);
    hasher.update(content);
    hasher.finalize()
}

/// The content of the block at `offset`, if it is what was written there. Without a seed that is believed.
pub(crate) fn open(file: &[u8], seed: Option<u32>, kind: Kind, offset: u64) -> Result<&[u8], Bad> {
    let at = usize::try_from(offset).map_err(|_| Bad)?;
    let mut scan = Scan::new(file.get(at..).ok_or(Bad)?);
    let len = scan.u32()?;
    let crc = scan.u32()?;
    let content = scan.take(len as usize)?;
    if seed.is_some_and(|seed| checksum(seed, kind, offset, content) != crc) {
        return Err(Bad);
    }
    Ok(content)
}

/// Where the blocks go, in order.
pub(crate) struct Sink<W> {
    write: W,
    offset: u64,
    seed: u32,
    frame: Vec<u8>,
}

impl<W: FnMut(&[u8]) -> io::Result<()>> Sink<W> {
    pub(crate) fn new(write: W, seed: u32) -> Self {
        Self { write, offset: 0, seed, frame: Vec::new() }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that are no block.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.write)(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Appends a block and returns its offset.
    pub(crate) fn block(&mut self, kind: Kind, content: &[u8]) -> io::Result<u64> {
        let len = u32::try_from(content.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let at = self.offset;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.extend_from_slice(&len.to_le_bytes());
        frame.extend_from_slice(&checksum(self.seed, kind, at, content).to_le_bytes());
        frame.extend_from_slice(content);
        let written = self.raw(&frame);
        self.frame = frame;
        written.map(|()| at)
    }
}

/// What stands behind a key.
pub(crate) trait Value<'a>: Copy {
    fn read(scan: &mut Scan<'a>) -> Result<Self, Bad>;
}

/// Offset of a child.
impl Value<'_> for u64 {
    fn read(scan: &mut Scan<'_>) -> Result<Self, Bad> {
        scan.varint()
    }
}

/// A dictionary block being filled.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    entries: u32,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    /// Appends a key, greater than the last one, and what stands behind it.
    pub(crate) fn push(&mut self, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let shared = if self.entries.is_multiple_of(RESTART_ENTRIES) {
            self.restarts.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
            0
        } else {
            common(&self.last_key, key)
        };
        let suffix = key.get(shared..).unwrap_or_default();
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, suffix.len() as u64);
        self.bytes.extend_from_slice(suffix);
        value(&mut self.bytes);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(suffix);
        self.entries += 1;
    }

    pub(crate) fn entries(&self) -> u32 {
        self.entries
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Writes the block out and begins anew; the last key stays known.
    pub(crate) fn flush<W: FnMut(&[u8]) -> io::Result<()>>(
        &mut self,
        kind: Kind,
        sink: &mut Sink<W>,
    ) -> io::Result<u64> {
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        let count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&count.to_le_bytes());
        let at = sink.block(kind, &self.bytes)?;
        self.bytes.clear();
        self.restarts.clear();
        self.entries = 0;
        Ok(at)
    }
}

/// Bytes that both begin with.
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A cursor over the entries of a dictionary block.
pub(crate) struct Entries<'a, V> {
    bytes: &'a [u8],
    restarts: &'a [[u8; 4]],
    rest: Scan<'a>,
    key: Vec<u8>,
    value: Option<V>,
}

impl<'a, V: Value<'a>> Entries<'a, V> {
    /// Stands before the first entry. `key` is memory to use again.
    pub(crate) fn open(content: &'a [u8], mut key: Vec<u8>) -> Result<Self, Bad> {
        let (rest, count) = content.split_last_chunk::<4>().ok_or(Bad)?;
        let restarts_len = (u32::from_le_bytes(*count) as usize).checked_mul(4).ok_or(Bad)?;
        let entries_len = rest.len().checked_sub(restarts_len).ok_or(Bad)?;
        let (bytes, restarts) = rest.split_at_checked(entries_len).ok_or(Bad)?;
        let (restarts, _) = restarts.as_chunks();
        key.clear();
        Ok(Self { bytes, restarts, rest: Scan::new(bytes), key, value: None })
    }

    /// The key at which it stands; of use only if there is a value.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// What stands behind the key; `None` before the first and behind the last.
    pub(crate) fn value(&self) -> Option<V> {
        self.value
    }

    pub(crate) fn into_key(self) -> Vec<u8> {
        self.key
    }

    /// To the next entry; `false` behind the last one.
    pub(crate) fn advance(&mut self) -> Result<bool, Bad> {
        self.value = None;
        if self.rest.is_empty() {
            return Ok(false);
        }
        let shared = self.rest.len()?;
        let suffix_len = self.rest.len()?;
        let suffix = self.rest.take(suffix_len)?;
        if shared > self.key.len() {
            return Err(Bad);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.value = Some(V::read(&mut self.rest)?);
        Ok(true)
    }

    /// To the first key that is not before `target`; `false` if there is none.
    pub(crate) fn seek(&mut self, target: &[u8]) -> Result<bool, Bad> {
        self.jump(|key| key < target)?;
        while self.advance()? {
            if self.key.as_slice() >= target {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The value of the last key that is not behind `target`, or of the first one. Stands at the entry behind it.
    pub(crate) fn descend(&mut self, target: &[u8]) -> Result<V, Bad> {
        self.jump(|key| key <= target)?;
        self.advance()?;
        let mut found = self.value.ok_or(Bad)?;
        while self.advance()? && self.key.as_slice() <= target {
            found = self.value.ok_or(Bad)?;
        }
        Ok(found)
    }

    /// Before the last whole key that is `before`, or the first one.
    fn jump(&mut self, before: impl Fn(&[u8]) -> bool) -> Result<(), Bad> {
        let (mut low, mut high) = (0, self.restarts.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let mut scan = self.restart(middle)?;
            let shared = scan.varint()?;
            let len = scan.len()?;
            if shared != 0 {
                return Err(Bad);
            }
            if before(scan.take(len)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.rest = self.restart(low.saturating_sub(1))?;
        self.key.clear();
        Ok(())
    }

    fn restart(&self, i: usize) -> Result<Scan<'a>, Bad> {
        let at = u32::from_le_bytes(*self.restarts.get(i).ok_or(Bad)?);
        self.bytes.get(at as usize..).map(Scan::new).ok_or(Bad)
    }
}

/// Makes the checksum of the block at `offset` right again, whatever it holds now.
#[cfg(test)]
pub(crate) fn seal_again(file: &mut [u8], seed: u32, kind: Kind, offset: usize) {
    let len = u32::from_le_bytes(*file[offset..].first_chunk().unwrap()) as usize;
    let at = offset + BLOCK_HEADER_BYTES;
    let crc = checksum(seed, kind, offset as u64, &file[at..at + len]);
    file[offset + 4..at].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(keys: &[String]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut builder = BlockBuilder::default();
        for (i, key) in keys.iter().enumerate() {
            builder.push(key.as_bytes(), |out| put_varint(out, i as u64 * 1000));
        }
        let mut sink = Sink::new(
            |bytes: &[u8]| {
                file.extend_from_slice(bytes);
                Ok(())
            },
            7,
        );
        builder.flush(Kind::Node, &mut sink).unwrap();
        file
    }

    #[test]
    fn keys_are_found() {
        let keys: Vec<String> = (0..200).map(|i| format!("key.{:04}", i * 2)).collect();
        let file = block(&keys);
        let content = open(&file, Some(7), Kind::Node, 0).unwrap();
        for i in 0..402 {
            let target = format!("key.{i:04}");
            let mut entries = Entries::<u64>::open(content, Vec::new()).unwrap();
            let at = i_usize(i).div_ceil(2);
            assert_eq!(entries.seek(target.as_bytes()).unwrap(), at < keys.len(), "{target}");
            assert_eq!(entries.value(), (at < keys.len()).then_some(at as u64 * 1000));
            let below = (i_usize(i) / 2).min(keys.len() - 1);
            assert_eq!(entries.descend(target.as_bytes()).unwrap(), below as u64 * 1000);
            assert_eq!(entries.value(), (below + 1 < keys.len()).then_some((below as u64 + 1) * 1000));
        }
    }

    fn i_usize(i: u32) -> usize {
        i as usize
    }

    #[test]
    fn a_block_is_bound_to_file_place_and_kind() {
        let file = block(&["a".into()]);
        assert!(open(&file, Some(7), Kind::Node, 0).is_ok());
        assert_eq!(open(&file, Some(8), Kind::Node, 0), Err(Bad));
        assert_eq!(open(&file, Some(7), Kind::Leaf, 0), Err(Bad));
        let mut moved = vec![0; 5];
        moved.extend_from_slice(&file);
        assert_eq!(open(&moved, Some(7), Kind::Node, 5), Err(Bad));
        assert_eq!(open(&file, Some(7), Kind::Node, u64::MAX), Err(Bad));
    }

    #[test]
    fn content_of_any_bytes_is_read_without_panic() {
        let file = block(&(0..40).map(|i| format!("k{i:02}")).collect::<Vec<_>>());
        let content = &file[BLOCK_HEADER_BYTES..];
        for bit in 0..content.len() * 8 {
            let mut wrong = content.to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let Ok(mut entries) = Entries::<u64>::open(&wrong, Vec::new()) else { continue };
            while entries.advance() == Ok(true) {}
            let _ = entries.seek(b"k17");
            let _ = entries.descend(b"k17");
        }
    }
}
