//! What a disk was told, in its order, and the disks that a power cut may leave of it.

use std::sync::Arc;

use sublog_storage::disk::sim::Chance;

const BLOCK: usize = 4096;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A disk's content. Copies share what none of them changed.
#[derive(Clone)]
pub(crate) struct Image(Vec<Option<Arc<[u8; BLOCK]>>>);

impl Image {
    /// All zeros; the length is rounded down to whole blocks.
    pub(crate) fn zeros(bytes: usize) -> Self {
        Self(vec![None; bytes / BLOCK])
    }

    /// The same bytes; zeros take no memory.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut image = Self::zeros(bytes.len());
        for (i, block) in bytes.chunks_exact(BLOCK).enumerate() {
            if block.iter().any(|&byte| byte != 0) {
                image.write(i * BLOCK, block);
            }
        }
        image
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len() * BLOCK
    }

    /// What is there from `offset` on, at most `len` bytes.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let end = (offset + len).min(self.len());
        let mut bytes = Vec::with_capacity(end.saturating_sub(offset));
        let mut at = offset;
        while at < end {
            let within = at % BLOCK;
            let n = (BLOCK - within).min(end - at);
            match &self.0[at / BLOCK] {
                Some(block) => bytes.extend_from_slice(&block[within..within + n]),
                None => bytes.resize(bytes.len() + n, 0),
            }
            at += n;
        }
        bytes
    }

    /// Writes as much as there is room for; returns how much.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) -> usize {
        let end = (offset + data.len()).min(self.len());
        let mut at = offset;
        while at < end {
            let within = at % BLOCK;
            let n = (BLOCK - within).min(end - at);
            let block = self.0[at / BLOCK].get_or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[within..within + n].copy_from_slice(&data[at - offset..at - offset + n]);
            at += n;
        }
        end.saturating_sub(offset)
    }
}

/// One thing that a disk was told. A position on the tape is a number of them.
pub(crate) enum Op {
    Write {
        offset: usize,
        data: Arc<[u8]>,
    },
    /// Answered once everything before it was on stable storage.
    Flush,
}

/// What became of the writes that no flush covered.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) pending: u64,
    pub(crate) lost: u64,
    pub(crate) torn: u64,
}

/// Makes crash states, at positions that never go back.
pub(crate) struct Player<'a> {
    ops: &'a [Op],
    durable: Image,
    /// So many operations are in `durable`.
    flushed: usize,
}

impl<'a> Player<'a> {
    pub(crate) fn new(before: Image, ops: &'a [Op]) -> Self {
        Self { ops, durable: before, flushed: 0 }
    }

    /// A disk whose power went when it had been told `at` things: what was flushed is there; of the other writes any
    /// subset, whatever their order was, and of some only some sectors.
    pub(crate) fn state_at(&mut self, at: usize, chance: &mut Chance) -> (Image, Fate) {
        let told = &self.ops[..at];
        let covered = told.iter().rposition(|op| matches!(op, Op::Flush)).unwrap_or(0);
        if covered > self.flushed {
            for op in &told[self.flushed..covered] {
                apply(&mut self.durable, op);
            }
            self.flushed = covered;
        }
        let mut image = self.durable.clone();
        let mut fate = Fate::default();
        let [kept, torn] = match chance.below(8) {
            0 => [0, 0],
            1 => [100, 0],
            2 => [100, 60],
            3 => [90, 20],
            4 => [10, 20],
            _ => [20 + chance.below(60), 30],
        };
        for op in &told[self.flushed..] {
            let Op::Write { offset, data } = op else { continue };
            fate.pending += 1;
            if !chance.percent(kept) {
                fate.lost += 1;
            } else if data.len() > SECTOR && chance.percent(torn) {
                fate.torn += 1;
                tear(&mut image, *offset, data, chance);
            } else {
                image.write(*offset, data);
            }
        }
        (image, fate)
    }
}

fn apply(image: &mut Image, op: &Op) {
    if let Op::Write { offset, data } = op {
        image.write(*offset, data);
    }
}

/// Writes some sectors of a write: its beginning, its end, or any of them.
fn tear(image: &mut Image, offset: usize, data: &[u8], chance: &mut Chance) {
    let sectors = data.len().div_ceil(SECTOR) as u64;
    let border = 1 + chance.below(sectors - 1);
    let kind = chance.below(3);
    for (i, sector) in data.chunks(SECTOR).enumerate() {
        let written = match kind {
            0 => (i as u64) < border,
            1 => (i as u64) >= border,
            _ => chance.percent(50),
        };
        if written {
            image.write(offset + i * SECTOR, sector);
        }
    }
}
