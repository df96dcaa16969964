//! The small encodings of a part: variable-length numbers, read by a checked cursor, and the hash of a subject.

/// Most bytes of a variable-length number.
const VARINT_BYTES_MAX: u32 = 10;

/// Bytes are not what they should be. Whoever knows the place makes a [`super::PartError`] of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad;

/// A cursor over bytes that may be anything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(Bad)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(Bad)?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Bad> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Bad> {
        self.array().map(u64::from_le_bytes)
    }

    /// Seven bits a byte, the low ones first; the high bit says that another byte follows.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Bad> {
        let (&first, tail) = self.rest.split_first().ok_or(Bad)?;
        if first < 0x80 {
            self.rest = tail;
            return Ok(u64::from(first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Bad> {
        let mut value = 0_u64;
        for i in 0..VARINT_BYTES_MAX {
            let (&byte, tail) = self.rest.split_first().ok_or(Bad)?;
            self.rest = tail;
            let bits = u64::from(byte & 0x7f);
            if i == VARINT_BYTES_MAX - 1 && bits > 1 {
                return Err(Bad);
            }
            value |= bits << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Bad)
    }

    /// A number that must be a length or an index in memory.
    pub(crate) fn len(&mut self) -> Result<usize, Bad> {
        usize::try_from(self.varint()?).map_err(|_| Bad)
    }
}

/// Appends `value` as [`Scan::varint`] reads it.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

const WORD_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const END_FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// Hash of a subject. With seed 0 it is that of the filters on disk, so it must never change.
pub(crate) fn hash(seed: u64, subject: &[u8]) -> u64 {
    let mut state = seed ^ END_FACTOR;
    let (words, rest) = subject.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), WORD_FACTOR);
    }
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(rest) {
        *to = *from;
    }
    state = fold(state ^ u64::from_le_bytes(word), WORD_FACTOR);
    fold(state ^ subject.len() as u64, END_FACTOR)
}

/// Both halves of the product, one over the other.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product ^ (product >> 64)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive() {
        let mut bytes = Vec::new();
        let numbers: Vec<u64> = (0..64).flat_map(|i| [(1 << i) - 1, 1 << i]).chain([u64::MAX]).collect();
        numbers.iter().for_each(|n| put_varint(&mut bytes, *n));
        let mut scan = Scan::new(&bytes);
        assert_eq!(numbers.iter().map(|_| scan.varint().unwrap()).collect::<Vec<_>>(), numbers);
        assert!(scan.is_empty());
        assert_eq!(scan.varint(), Err(Bad));
        assert_eq!(Scan::new(&[0xff; 10]).varint(), Err(Bad), "more than 64 bits");
        assert_eq!(Scan::new(&[0x80; 9]).varint(), Err(Bad), "the end is missing");
    }

    #[test]
    fn the_hash_is_the_one_on_disk() {
        assert_eq!(
            [hash(0, b""), hash(0, b"a.b"), hash(0, b"orders.new.12345")],
            [0x1137509a84ab7784, 0x98d21560e829aac4, 0x32debff3f6a8458a]
        );
    }
}
