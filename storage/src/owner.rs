//! The lock file of a log: who owns it, and what the last owner knew when it last wrote here.
//!
//! One sector of text, written whole: process number, then everything else with a checksum.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, read_full, write_all};
use crate::error::{LogError, OpenError, Operation};
use crate::writer::Writer;

/// Name of the file.
pub(crate) const LOCK_NAME: &str = "LOCK";
/// One sector: written whole or not at all.
const LINE_BYTES: usize = 512;

/// What an owner says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership {
    pub(crate) boot_id: u128,
    pub(crate) clean: bool,
    /// Number of the first record of the last segment.
    pub(crate) segment: u64,
    pub(crate) nonce: u64,
    /// Everything of that segment below was synced.
    pub(crate) durable: u64,
    /// Number of the next record.
    pub(crate) next_seq: u64,
}

impl Ownership {
    /// What is known of the open segment now.
    pub(crate) fn of(writer: &Writer, boot_id: u128, clean: bool) -> Self {
        Self {
            boot_id,
            clean,
            segment: writer.segment.first_seq,
            nonce: writer.segment.nonce,
            durable: writer.durable,
            next_seq: writer.next_seq,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = format!(
            "{:<10}\nsublog-log 1 boot={:032x} clean={} segment={:020} nonce={:016x} durable={:010} next={:020}",
            std::process::id(),
            self.boot_id,
            u8::from(self.clean),
            self.segment,
            self.nonce,
            self.durable,
            self.next_seq
        );
        let crc = crc32fast::hash(text.as_bytes());
        text.push_str(&format!(" crc={crc:08x}\n"));
        let mut line = text.into_bytes();
        line.resize(LINE_BYTES, b' ');
        line
    }

    /// What a lock file says; `None` if it is damaged, empty, or of another version.
    pub(crate) fn decode(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?.trim_end();
        let (content, crc) = text.rsplit_once(" crc=")?;
        if crc32fast::hash(content.as_bytes()) != u32::from_str_radix(crc, 16).ok()? {
            return None;
        }
        let (_, fields) = content.split_once('\n')?;
        let mut fields = fields.strip_prefix("sublog-log 1 ")?.split(' ');
        let mut field = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=');
        Some(Self {
            boot_id: u128::from_str_radix(field("boot")?, 16).ok()?,
            clean: field("clean")? == "1",
            segment: field("segment")?.parse().ok()?,
            nonce: u64::from_str_radix(field("nonce")?, 16).ok()?,
            durable: field("durable")?.parse().ok()?,
            next_seq: field("next")?.parse().ok()?,
        })
    }
}

/// The held lock of a log.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl OwnerLock {
    /// Takes the lock, and reads what the last owner said.
    pub(crate) fn take(disk: &dyn Disk, dir: &Path) -> Result<(Self, Option<Ownership>), OpenError> {
        let path = dir.join(LOCK_NAME);
        let file = crate::lock::take(disk, &path)?;
        let mut line = [0_u8; LINE_BYTES];
        let n = read_full(&*file, &mut line, 0).map_err(|e| LogError::from_io(Operation::Read, &path, None, &e))?;
        let last = Ownership::decode(line.get(..n).unwrap_or_default());
        Ok((Self { path, file }, last))
    }

    /// Writes what this owner knows, on disk when it returns.
    pub(crate) fn write(&self, ownership: &Ownership) -> Result<(), LogError> {
        let write = || -> io::Result<()> {
            write_all(&*self.file, &ownership.encode(), 0)?;
            self.file.sync_data()
        };
        write().map_err(|e| LogError::from_io(Operation::Lock, &self.path, None, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_noticed() {
        let said = Ownership { boot_id: 77, clean: true, segment: 5, nonce: 0xfeed, durable: 9000, next_seq: 60 };
        let line = said.encode();
        assert_eq!(line.len(), LINE_BYTES);
        assert_eq!(Ownership::decode(&line), Some(said));
        for bit in 0..line.len() * 8 {
            let mut other = line.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let read = Ownership::decode(&other);
            assert!(read.is_none() || read == Some(said), "bit {bit} made {read:?}");
        }
        assert_eq!(Ownership::decode(b""), None);
    }
}
