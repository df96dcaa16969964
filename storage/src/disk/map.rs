//! The read-only memory map: the one place of the crate with `unsafe`.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

/// Maps the first `len` bytes of `file` for reading.
///
/// # Errors
/// What the system says, or `UnexpectedEof` if the file is shorter than `len`: bytes behind the end of a file must never
/// be in reach, touching them is a fatal signal.
#[expect(
    unsafe_code,
    reason = "mapping a file cannot be expressed safely; the conditions are kept by the segment code"
)]
pub(crate) fn map_read_only(file: &File, len: u64) -> io::Result<Bytes> {
    if len == 0 {
        return Ok(Bytes::new());
    }
    if file.metadata()?.len() < len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    // SAFETY: the map is read-only and the file belongs to one process (the lock file of its folder). Bytes below a
    // segment's published length never change again: frames are only appended, a torn tail is cut before anything is
    // published, and a segment is truncated only behind its published length. Readers slice below the published
    // length before they look, so no live reference covers memory that is still written to. Sealed segments are
    // unlinked, never truncated, and an unlinked file stays mapped.
    let map: Mmap = unsafe { MmapOptions::new().len(len).map(file)? };
    Ok(Bytes::from_owner(map))
}
