//! The lock file of a log: who owns it, and what the last owner knew when it last wrote here.
//!
//! One sector of text, written whole: process number, then everything else with a checksum.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::handles::{Claim, FileCache};
use crate::disk::{Disk, DiskFile, OpenMode, read_full, write_all};
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

/// How the folder of a log is kept to one owner.
#[derive(Debug, Clone)]
pub(crate) enum Tenure {
    /// By the lock of its own file, which stays open.
    Held,
    /// By whoever owns the folder above it, and among the logs of this process by the cache: no file stays open.
    Lean(FileCache),
}

#[derive(Debug)]
enum Hold {
    Held(Arc<dyn DiskFile>),
    /// `said` is what the file says; `None` if nothing that could be read, or if that is not known.
    Lean {
        disk: Arc<dyn Disk>,
        said: Option<Ownership>,
        _claim: Claim,
    },
}

/// The held lock of a log.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    path: PathBuf,
    hold: Hold,
}

impl OwnerLock {
    /// Takes the lock, and reads what the last owner said.
    pub(crate) fn take(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        tenure: &Tenure,
    ) -> Result<(Self, Option<Ownership>), OpenError> {
        let path = dir.join(LOCK_NAME);
        match tenure {
            Tenure::Held => {
                let file = crate::lock::take(&**disk, &path)?;
                let last = read_line(&*file, &path)?;
                Ok((Self { path, hold: Hold::Held(file) }, last))
            }
            Tenure::Lean(files) => {
                let Some(claim) = files.claim(dir) else {
                    return Err(OpenError::Locked { path, owner_pid: Some(std::process::id()) });
                };
                let last = match disk.open(&path, OpenMode::Read) {
                    Ok(file) => {
                        // For this moment only, so that an owner who holds it is noticed.
                        crate::lock::take_file(&*file, &path)?;
                        read_line(&*file, &path)?
                    }
                    Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                    Err(e) => return Err(LogError::from_io(Operation::Lock, &path, None, &e).into()),
                };
                let hold = Hold::Lean { disk: Arc::clone(disk), said: last, _claim: claim };
                Ok((Self { path, hold }, last))
            }
        }
    }

    /// After opening: everything that was found is durable. Says so, unless the file does already.
    ///
    /// A file that stays open says "not clean" from here on. Without one that is said before the first write, so that
    /// logs that are only opened cost no write: until then "clean" is what the log is.
    pub(crate) fn opened(&mut self, writer: &Writer, boot_id: u128) -> Result<(), LogError> {
        match &self.hold {
            Hold::Held(_) => self.write(&Ownership::of(writer, boot_id, false)),
            Hold::Lean { .. } => self.say_clean(writer, boot_id),
        }
    }

    /// Before the log is written to: that it is as a clean one says must be gone from the disk by then.
    pub(crate) fn before_write(&mut self, writer: &Writer, boot_id: impl FnOnce() -> u128) -> Result<(), LogError> {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::WriteUnderCleanMark) {
            return Ok(());
        }
        match &self.hold {
            Hold::Held(_) | Hold::Lean { said: Some(Ownership { clean: false, .. }), .. } => Ok(()),
            Hold::Lean { .. } => self.write(&Ownership::of(writer, boot_id(), false)),
        }
    }

    /// Everything is durable, and nothing will be written any more.
    pub(crate) fn closing(&mut self, writer: &Writer, boot_id: u128) -> Result<(), LogError> {
        self.say_clean(writer, boot_id)
    }

    fn say_clean(&mut self, writer: &Writer, boot_id: u128) -> Result<(), LogError> {
        let now = Ownership::of(writer, boot_id, true);
        match &self.hold {
            // What is said of a clean log does not depend on the boot.
            Hold::Lean { said: Some(said), .. } if Ownership { boot_id, ..*said } == now => Ok(()),
            // Nothing was ever in the log, and nothing said of it.
            Hold::Lean { said: None, .. } if writer.absent => Ok(()),
            _ => self.write(&now),
        }
    }

    /// Writes what this owner knows, on disk when it returns.
    fn write(&mut self, ownership: &Ownership) -> Result<(), LogError> {
        let failed = |operation, e: &io::Error| LogError::from_io(operation, &self.path, None, e);
        let file = match &mut self.hold {
            Hold::Held(file) => Arc::clone(file),
            Hold::Lean { disk, said, .. } => {
                // If this fails the file may say the old or the new.
                *said = None;
                disk.open(&self.path, OpenMode::Create).map_err(|e| failed(Operation::Lock, &e))?
            }
        };
        write_all(&*file, &ownership.encode(), 0).map_err(|e| failed(Operation::Lock, &e))?;
        file.sync_data().map_err(|e| failed(Operation::Sync, &e))?;
        if let Hold::Lean { said, .. } = &mut self.hold {
            *said = Some(*ownership);
        }
        Ok(())
    }
}

fn read_line(file: &dyn DiskFile, path: &Path) -> Result<Option<Ownership>, LogError> {
    let mut line = [0_u8; LINE_BYTES];
    let n = read_full(file, &mut line, 0).map_err(|e| LogError::from_io(Operation::Read, path, None, &e))?;
    Ok(Ownership::decode(line.get(..n).unwrap_or_default()))
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
