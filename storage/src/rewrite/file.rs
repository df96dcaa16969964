//! The file of a packed segment while it is written.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::remove_unfinished;
use crate::disk::{Disk, DiskFile, OpenMode, write_all, write_all_vectored};
use crate::error::{LogError, Operation};
use crate::format::footer::{self, IndexEntry, Totals};
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::packed::{Block, Builder, Codec};
use crate::format::segment::SegmentHeader;
use crate::format::{INDEX_STEP_BYTES, SEGMENT_HEADER_BYTES, record};

/// The file is synced each time this much was written, so that no sync makes the log's own ones wait for long.
const SYNC_BYTES: u64 = 8 << 20;

/// The file, written from its beginning to its end. Removed again if it is dropped before it has a segment's name.
pub(super) struct PackedFile {
    disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    file: Arc<dyn DiskFile>,
    builder: Builder,
    pub(super) nonce: u64,
    /// Where the next frame goes.
    pos: u64,
    synced: u64,
    last_crc: u32,
    /// Largest time of any record before the block that is gathered, and with it.
    max_ts_before: i64,
    max_ts: i64,
    pub(super) totals: Totals,
    entries: Vec<IndexEntry>,
    next_entry_at: u64,
    pub(super) footer_at: u32,
    named: bool,
}

impl PackedFile {
    /// Makes the file with its header; `None` if somebody else is making it. The header's nonce is set.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        header: &SegmentHeader,
        (codec, block_bytes): (Codec, usize),
    ) -> Result<Option<Self>, LogError> {
        let failed = |operation, e: &io::Error| LogError::from_io(operation, &path, None, e);
        let nonce = disk.random().map_err(|e| failed(Operation::Open, &e))?;
        let builder = Builder::new(codec, block_bytes).map_err(|e| failed(Operation::Open, &e))?;
        let file = match disk.open(&path, OpenMode::CreateNew) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            other => other.map_err(|e| failed(Operation::Open, &e))?,
        };
        let (region, crc) = SegmentHeader { nonce, ..*header }.encode_region();
        let made = Self {
            disk: Arc::clone(disk),
            path,
            file,
            builder,
            nonce,
            pos: SEGMENT_HEADER_BYTES,
            synced: 0,
            last_crc: crc,
            max_ts_before: header.base_max_ts,
            max_ts: header.base_max_ts,
            totals: Totals::default(),
            entries: Vec::new(),
            next_entry_at: 0,
            footer_at: 0,
            named: false,
        };
        write_all(&*made.file, &region, 0).map_err(|e| made.failed(Operation::Write, &e))?;
        Ok(Some(made))
    }

    /// Adds a record; writes the block before it if that is full.
    pub(super) fn push(&mut self, seq: u64, ts_ns: i64, record: &[u8]) -> Result<(), LogError> {
        if !self.builder.takes(seq, record) {
            self.write_block()?;
        }
        if self.totals.messages == 0 {
            self.totals.first_ts = ts_ns;
        }
        self.totals.messages += 1;
        self.totals.record_bytes += record.len() as u64;
        self.totals.last_ts = ts_ns;
        self.totals.expiring += u32::from(record::expires(record));
        self.max_ts = self.max_ts.max(ts_ns);
        self.builder.push(seq, record);
        Ok(())
    }

    fn write_block(&mut self) -> Result<(), LogError> {
        let failed = |e: &io::Error| LogError::from_io(Operation::Write, &self.path, Some(self.pos), e);
        let Some(stored) = self.builder.finish() else { return Ok(()) };
        let mut header = FrameHeader {
            kind: FrameKind::Packed(stored.packing),
            offset: narrow(self.pos),
            durable: 0,
            nonce: self.nonce,
            first_seq: stored.first_seq,
            max_ts: self.max_ts,
            count: stored.count,
            body_len: narrow(stored.bytes.len() as u64),
            prev_crc: self.last_crc,
            dir_crc: stored.crc,
            crc: 0,
        };
        let encoded = header.encode();
        let compressed = stored.packing.codec == Codec::Zstd;
        // The originals will be gone: what cannot be read again must not take their place.
        if compressed && !Block::decode(&header, Bytes::copy_from_slice(stored.bytes)).is_some_and(|b| b.all_good()) {
            return Err(failed(&io::Error::other("a compressed block does not become what it was made from")));
        }
        let mut parts = [IoSlice::new(&encoded), IoSlice::new(stored.bytes)];
        if let (_, Some(e)) = write_all_vectored(&*self.file, &mut parts, self.pos) {
            return Err(failed(&e));
        }
        if self.pos >= self.next_entry_at {
            let entry = IndexEntry { seq: header.first_seq, max_ts_before: self.max_ts_before, offset: header.offset };
            self.entries.push(entry);
            self.next_entry_at = self.pos + INDEX_STEP_BYTES;
        }
        self.totals.frames += 1;
        self.totals.compressed += u32::from(compressed);
        self.max_ts_before = self.max_ts;
        self.last_crc = header.crc;
        self.pos = header.end();
        self.builder.clear();
        if self.pos - self.synced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Writes what is left, and the footer.
    pub(super) fn finish(&mut self, segment: &SegmentHeader) -> Result<(), LogError> {
        self.write_block()?;
        let header = FrameHeader {
            kind: FrameKind::Footer,
            offset: narrow(self.pos),
            durable: 0,
            nonce: self.nonce,
            first_seq: segment.packed.map_or(segment.first_seq, |replaced| replaced.last_seq + 1),
            max_ts: self.max_ts,
            count: 0,
            body_len: 0,
            prev_crc: self.last_crc,
            dir_crc: 0,
            crc: 0,
        };
        let bytes = footer::encode(header, &self.totals, segment.first_seq, &self.entries);
        write_all(&*self.file, &bytes, self.pos).map_err(|e| self.failed(Operation::Write, &e))?;
        self.footer_at = header.offset;
        self.pos += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::RenameBeforeSync) {
            return Ok(());
        }
        self.file.sync_data().map_err(|e| self.failed(Operation::Sync, &e))?;
        self.synced = self.pos;
        Ok(())
    }

    /// Gives the file its name, over whatever has it.
    pub(super) fn rename(&mut self, to: &Path) -> Result<(), LogError> {
        self.disk.rename(&self.path, to).map_err(|e| self.failed(Operation::Remove, &e))?;
        self.named = true;
        Ok(())
    }

    /// Length of the file, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.pos
    }

    /// Entries of its index.
    pub(super) fn entries(&self) -> u32 {
        narrow(self.entries.len() as u64)
    }

    fn failed(&self, operation: Operation, error: &io::Error) -> LogError {
        LogError::from_io(operation, &self.path, Some(self.pos), error)
    }
}

impl Drop for PackedFile {
    fn drop(&mut self) {
        if !self.named {
            remove_unfinished(&self.disk, &self.path);
        }
    }
}

/// Narrows what the limit of a run keeps below 4 GiB.
fn narrow(value: u64) -> u32 {
    debug_assert!(u32::try_from(value).is_ok(), "{value} is beyond the 32 bits of the format");
    u32::try_from(value).unwrap_or(u32::MAX)
}
