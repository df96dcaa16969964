//! The seam between the log and the system: every byte read, written or flushed goes through these two traits.
//!
//! [`real::RealDisk`] is the file system; [`sim::SimDisk`] is a disk in memory that loses, tears and refuses as told.

pub(crate) mod aligned;
pub mod handles;
pub(crate) mod map;
pub mod real;
pub mod sim;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; it must exist.
    Read,
    /// For reading what the medium holds, not what memory remembers of it, as far as that can be had; it must exist.
    /// Reads whose place, length and memory are multiples of 4096 are the ones that cost least.
    ReadMedium,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; it must not exist.
    CreateNew,
    /// For reading and writing; created if it does not exist.
    Create,
}

/// A read-only view of a file's bytes.
#[derive(Debug, Clone)]
pub struct View {
    /// The bytes. Those behind the length that the log has published may change at any time and are never looked at.
    pub bytes: Bytes,
    /// The same bytes, for handing out what was checked. Where `bytes` had to be filled with zeros, these are missing, so
    /// that the system refuses to send them.
    pub to_share: Bytes,
    /// Whether later writes to the file show in `bytes`. A simulated disk gives a copy.
    pub live: bool,
    /// How often a part of it could not be read.
    pub faults: ReadFaults,
}

impl View {
    /// A view of a copy in memory, which always can be read.
    #[must_use]
    pub fn copied(bytes: Bytes) -> Self {
        Self { to_share: bytes.clone(), bytes, live: false, faults: ReadFaults::default() }
    }

    /// Whether every byte that was looked at so far came from the disk. Whoever goes on to write or to remove must not take
    /// a part that could not be read for one that holds nothing.
    pub(crate) fn was_read(&self) -> io::Result<()> {
        match self.faults.get() {
            0 => Ok(()),
            _ => Err(io::Error::other("parts of the file cannot be read")),
        }
    }
}

/// Counts the pages of a [`View`] that could not be read, and read as zeros from then on.
#[derive(Clone, Copy, Default)]
pub struct ReadFaults([Option<map::FaultCount>; 2]);

impl ReadFaults {
    /// Their number so far. To be asked only while the view is held.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.iter().flatten().map(|count| count.get()).sum()
    }
}

impl fmt::Debug for ReadFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Pages of mapped logs that could not be read, since the process began: the file was truncated by somebody else, or the
/// disk failed. They read as zeros, which no checksum takes for a record.
#[must_use]
pub fn read_faults() -> u64 {
    map::read_faults()
}

/// A file system, or something that behaves like one.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing, at once or when it is first used; it must exist.
    ///
    /// # Errors
    /// What the system says, now or then.
    fn open_later(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, OpenMode::Write)
    }

    /// Makes a folder and its parents, and flushes their entries.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Names of the files in a folder, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Renames a file within its folder.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Whoever has it open or mapped keeps it.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Flushes a folder's entries to stable storage.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that an unprivileged process may still write below this folder.
    ///
    /// # Errors
    /// What the system says.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;

    /// A value that changes with every boot of the machine; zero if it cannot be known.
    fn boot_id(&self) -> u128;

    /// Random bits for nonces and identities.
    ///
    /// # Errors
    /// What the system says.
    fn random(&self) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buf.len()` bytes; 0 means the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the parts one after the other; may write fewer bytes than given and says how many.
    ///
    /// # Errors
    /// What the system says.
    fn write_vectored_at(&self, parts: &[io::IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Writes zeros that nothing was promised of: they are as good as written if they are lost.
    ///
    /// # Errors
    /// What the system says.
    fn write_zeros_at(&self, zeros: &[u8], offset: u64) -> io::Result<()> {
        let mut parts = [io::IoSlice::new(zeros)];
        let mut rest = parts.as_mut_slice();
        let mut at = offset;
        while !rest.is_empty() {
            match self.write_vectored_at(rest, at) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(n) => {
                    at += n as u64;
                    io::IoSlice::advance_slices(&mut rest, n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reserves space for bytes `0..len` and makes the file at least that long; what was not written reads as zero.
    ///
    /// # Errors
    /// What the system says.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Flushes the file's bytes and its length to stable storage.
    ///
    /// # Errors
    /// What the system says. After an error the bytes may be lost even if the next call succeeds.
    fn sync_data(&self) -> io::Result<()>;

    /// The first `len` bytes as memory. Those that the file does not have, or that the disk does not give, are zeros.
    ///
    /// # Errors
    /// What the system says.
    fn view(&self, len: u64) -> io::Result<View>;

    /// Tells an open file that it has another name now, by which it can be opened again.
    fn renamed(&self, path: &Path) {
        let _ = path;
    }

    /// Takes the file's lock for this open file, without waiting. `false` if somebody else has it.
    ///
    /// # Errors
    /// What the system says.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Writes all parts at `offset`, however many calls it takes. Returns how many bytes were written, and the error that
/// stopped it, if one did.
pub(crate) fn write_all_vectored(
    file: &dyn DiskFile,
    parts: &mut [io::IoSlice<'_>],
    offset: u64,
) -> (u64, Option<io::Error>) {
    let mut rest = parts;
    let mut written = 0_u64;
    loop {
        io::IoSlice::advance_slices(&mut rest, 0);
        if rest.is_empty() {
            return (written, None);
        }
        match file.write_vectored_at(rest, offset + written) {
            Ok(0) => return (written, Some(io::Error::from(io::ErrorKind::WriteZero))),
            Ok(n) => {
                written += n as u64;
                io::IoSlice::advance_slices(&mut rest, n);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (written, Some(e)),
        }
    }
}

/// Writes one buffer whole.
pub(crate) fn write_all(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    match write_all_vectored(file, &mut [io::IoSlice::new(bytes)], offset) {
        (_, None) => Ok(()),
        (_, Some(e)) => Err(e),
    }
}

/// Reads until `buf` is full or the file ends; returns how many bytes were read.
pub(crate) fn read_full(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
