//! One simulated file: what the page cache shows, and what is on stable storage.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Chance, CrashReport, SECTOR_BYTES};
use crate::format::index64;

/// A file. The bytes are shared between forks until one of them writes.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) cache: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Sectors that differ and that the next sync writes.
    dirty: BTreeSet<usize>,
    /// The length was changed since the last sync.
    resized: bool,
    pub(super) locked: bool,
}

impl Inode {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        let bytes = Arc::new(bytes);
        Self { cache: Arc::clone(&bytes), durable: bytes, ..Self::default() }
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64, medium: bool) -> usize {
        let bytes = if medium { &self.durable } else { &self.cache };
        let from = bytes.get(index64(offset)..).unwrap_or_default();
        let n = from.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(from) {
            *to = *from;
        }
        n
    }

    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let start = index64(offset);
        let end = start + bytes.len();
        let cache = Arc::make_mut(&mut self.cache);
        if cache.len() < end {
            cache.resize(end, 0);
            self.resized = true;
        }
        if let Some(slot) = cache.get_mut(start..end) {
            slot.copy_from_slice(bytes);
        }
        self.dirty.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    pub(super) fn set_len(&mut self, len: u64) {
        let len = index64(len);
        let cache = Arc::make_mut(&mut self.cache);
        if len < cache.len() {
            // Bytes behind the end are gone; the sector with the end is rewritten.
            self.dirty.retain(|&sector| sector * SECTOR_BYTES < len);
            self.dirty.insert(len / SECTOR_BYTES);
        }
        cache.resize(len, 0);
        self.resized = true;
    }

    pub(super) fn sync(&mut self) {
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(self.cache.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.cache, durable, sector);
        }
        self.resized = false;
    }

    /// A sync that fails: some of it may be written, nothing stays dirty, the page cache goes on showing all of it.
    pub(super) fn fail_sync(&mut self, chance: &mut Chance) {
        let durable = Arc::make_mut(&mut self.durable);
        if chance.percent(50) {
            durable.resize(self.cache.len(), 0);
            self.resized = false;
        }
        for sector in std::mem::take(&mut self.dirty) {
            if chance.percent(30) {
                copy_sector(&self.cache, durable, sector);
            }
        }
    }

    /// The power goes.
    pub(super) fn crash(&mut self, chance: &mut Chance, percent: u64, report: &mut CrashReport) {
        self.locked = false;
        let durable = Arc::make_mut(&mut self.durable);
        if std::mem::take(&mut self.resized) {
            if chance.percent(percent) {
                durable.resize(self.cache.len(), 0);
                report.names_kept += 1;
            } else {
                report.names_lost += 1;
            }
        }
        for sector in std::mem::take(&mut self.dirty) {
            if chance.percent(percent) {
                copy_sector(&self.cache, durable, sector);
                report.sectors_kept += 1;
            } else {
                report.sectors_lost += 1;
            }
        }
        self.cache = Arc::clone(&self.durable);
    }

    pub(super) fn flip_bit(&mut self, bit: u64) -> bool {
        flip(&mut self.cache, bit) && flip(&mut self.durable, bit)
    }

    pub(super) fn rot_bit(&mut self, bit: u64) -> bool {
        flip(&mut self.durable, bit)
    }
}

fn flip(bytes: &mut Arc<Vec<u8>>, bit: u64) -> bool {
    match Arc::make_mut(bytes).get_mut(index64(bit / 8)) {
        Some(byte) => {
            *byte ^= 1_u8 << (bit % 8);
            true
        }
        None => false,
    }
}

/// Copies one sector as far as both have it; what the target lacks is not made longer.
fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR_BYTES;
    let end = (start + SECTOR_BYTES).min(from.len()).min(to.len());
    if let (Some(from), Some(to)) = (from.get(start..end), to.get_mut(start..end)) {
        to.copy_from_slice(from);
    }
}
