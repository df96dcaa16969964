//! A split-block bloom filter: each subject sets eight bits of one block of 32 bytes, so a look-up touches one place.
//!
//! The block is `(hash >> 32) * blocks >> 32`. Bit `i` of the eight lies in the block's `u32` number `i`, at
//! `(low half of the hash * SALTS[i]) >> 27`. About one in a hundred absent subjects is taken for present.

use super::bytes::hash;

/// Bits of filter for each subject.
const SUBJECT_BITS: u64 = 10;
pub(crate) const ROW_BYTES: usize = 32;
/// The number of blocks is a multiple of this, so that the filter can be halved when fewer subjects came than expected.
const HALVINGS: u64 = 16;
const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

type Row = [u32; 8];

/// A filter being filled.
#[derive(Debug)]
pub(crate) struct BloomBuilder {
    rows: Vec<Row>,
    subjects: u64,
}

impl BloomBuilder {
    /// For up to about so many subjects; more of them make it less useful, not wrong.
    pub(crate) fn new(subjects_expected: u64) -> Self {
        let rows = rows_for(subjects_expected).next_multiple_of(HALVINGS);
        Self { rows: vec![[0; 8]; usize::try_from(rows).unwrap_or(usize::MAX)], subjects: 0 }
    }

    pub(crate) fn insert(&mut self, subject: &[u8]) {
        let hash = hash(0, subject);
        let row = row_of(hash, self.rows.len() as u64);
        if let Some(row) = usize::try_from(row).ok().and_then(|row| self.rows.get_mut(row)) {
            row.iter_mut().zip(bits(hash)).for_each(|(word, bit)| *word |= bit);
        }
        self.subjects += 1;
    }

    /// The blocks, halved as often as the subjects that came allow.
    pub(crate) fn finish(mut self) -> impl Iterator<Item = [u8; ROW_BYTES]> {
        let wanted = rows_for(self.subjects);
        // Half as many blocks put what was in blocks 2i and 2i + 1 into block i.
        while self.rows.len().is_multiple_of(2) && self.rows.len() as u64 / 2 >= wanted {
            let (pairs, _) = self.rows.as_chunks::<2>();
            self.rows = pairs.iter().map(|[a, b]| std::array::from_fn(|i| word(a, i) | word(b, i))).collect();
        }
        self.rows.into_iter().map(|row| {
            let mut bytes = [0; ROW_BYTES];
            let (words, _) = bytes.as_chunks_mut::<4>();
            words.iter_mut().zip(row).for_each(|(to, from)| *to = from.to_le_bytes());
            bytes
        })
    }
}

fn word(row: &Row, i: usize) -> u32 {
    row.get(i).copied().unwrap_or(0)
}

fn rows_for(subjects: u64) -> u64 {
    subjects.saturating_mul(SUBJECT_BITS).div_ceil(ROW_BYTES as u64 * 8).max(1)
}

/// Which of `rows` blocks a subject of this hash is in.
pub(crate) fn row_of(hash: u64, rows: u64) -> u64 {
    let product = u128::from(hash >> 32) * u128::from(rows);
    (product >> 32) as u64
}

/// Whether a subject of this hash may be in the block.
pub(crate) fn may_hold(row: &[u8], hash: u64) -> bool {
    let (words, _) = row.as_chunks::<4>();
    words.iter().zip(bits(hash)).all(|(word, bit)| u32::from_le_bytes(*word) & bit != 0)
}

fn bits(hash: u64) -> impl Iterator<Item = u32> {
    let low = (hash & u64::from(u32::MAX)) as u32;
    SALTS.iter().map(move |salt| 1 << (low.wrapping_mul(*salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(expected: u64, came: u64) -> (usize, usize) {
        let mut filter = BloomBuilder::new(expected);
        (0..came).for_each(|i| filter.insert(format!("orders.{i}.new").as_bytes()));
        let rows: Vec<_> = filter.finish().collect();
        let holds = |subject: String| {
            let hash = hash(0, subject.as_bytes());
            may_hold(&rows[row_of(hash, rows.len() as u64) as usize], hash)
        };
        assert!((0..came).all(|i| holds(format!("orders.{i}.new"))));
        (rows.len(), (0..10_000).filter(|i| holds(format!("orders.{i}.old"))).count())
    }

    #[test]
    fn few_are_taken_for_present() {
        let (rows, wrong) = wrong(10_000, 10_000);
        assert!(wrong < 200, "{wrong} of 10000 in {rows} blocks");
    }

    #[test]
    fn it_shrinks_to_what_came() {
        let (rows, wrong) = wrong(80_000, 10_000);
        assert!(rows <= 800 && wrong < 200, "{wrong} of 10000 in {rows} blocks");
        assert_eq!(self::wrong(1000, 0).0 % 2, 1);
    }
}
