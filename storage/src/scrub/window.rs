//! The part of a file that is in memory while the file is checked from its beginning to its end.

use std::io;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::disk::aligned::{AlignedBuf, BLOCK_BYTES};
use crate::format::index64;

/// Reads a file in order, in whole blocks.
pub(super) struct Window {
    buf: AlignedBuf,
    /// Offset of the buffer's first byte; a block's border.
    start: u64,
    /// Bytes in the buffer.
    filled: usize,
    file_len: u64,
}

impl Window {
    pub(super) fn new(file_len: u64) -> Self {
        Self { buf: AlignedBuf::new(0), start: 0, filled: 0, file_len }
    }

    /// With room for the whole file at once.
    pub(super) fn whole(file_len: u64) -> Self {
        Self { buf: AlignedBuf::new(index64(file_len).next_multiple_of(BLOCK_BYTES)), ..Self::new(file_len) }
    }

    /// What is there from `pos` on.
    pub(super) fn bytes_from(&self, pos: u64) -> &[u8] {
        let Some(at) = pos.checked_sub(self.start) else { return &[] };
        self.buf.bytes().get(index64(at)..self.filled).unwrap_or_default()
    }

    /// What was read, as it is; of a window that kept everything, the file.
    pub(super) fn into_bytes(self) -> Bytes {
        let filled = self.filled;
        Bytes::from_owner(self.buf).slice(..filled)
    }

    /// Offset behind what was read.
    pub(super) fn end(&self) -> u64 {
        self.start + self.filled as u64
    }

    /// Whether the file was read to its end.
    pub(super) fn is_at_end(&self) -> bool {
        self.end() >= self.file_len
    }

    /// Lets go of what is before `pos`.
    pub(super) fn discard_before(&mut self, pos: u64) {
        let keep_from = pos.min(self.end()) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let Some(gone) = keep_from.checked_sub(self.start).map(index64).filter(|&gone| gone > 0) else { return };
        let filled = self.filled;
        self.buf.bytes_mut().copy_within(gone..filled, 0);
        self.filled -= gone;
        self.start = keep_from;
    }

    /// Reads on by `bytes`, rounded up to whole blocks, or to the end. Returns how many came.
    ///
    /// # Errors
    /// What the system says. What came before the error is kept.
    pub(super) fn read(&mut self, file: &dyn DiskFile, bytes: usize) -> io::Result<usize> {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        self.make_room(bytes);
        let before = self.filled;
        while self.filled < before + bytes && !self.is_at_end() {
            let at = self.end();
            let Some(room) = self.buf.bytes_mut().get_mut(self.filled..before + bytes) else { break };
            match file.read_at(room, at) {
                // Shorter than it was.
                Ok(0) => self.file_len = at,
                Ok(n) => self.filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.filled - before)
    }

    /// Puts zeros in the place of the next block, which cannot be read. Returns where, and how many.
    pub(super) fn skip_block(&mut self) -> (u64, u64) {
        let at = self.end();
        let n = index64(self.file_len.saturating_sub(at)).min(BLOCK_BYTES - index64(at % BLOCK_BYTES as u64));
        self.make_room(BLOCK_BYTES);
        if let Some(room) = self.buf.bytes_mut().get_mut(self.filled..self.filled + n) {
            room.fill(0);
        }
        self.filled += n;
        (at, n as u64)
    }

    fn make_room(&mut self, bytes: usize) {
        let needed = self.filled + bytes;
        if needed <= self.buf.len() {
            return;
        }
        let mut larger = AlignedBuf::new(needed.next_multiple_of(BLOCK_BYTES));
        if let (Some(to), Some(from)) = (larger.bytes_mut().get_mut(..self.filled), self.buf.bytes().get(..self.filled))
        {
            to.copy_from_slice(from);
        }
        self.buf = larger;
    }
}
