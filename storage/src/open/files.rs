//! The segment files of a log before they are judged: headers, footers, and a walk where those do not do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Opening;
use crate::disk::{DiskFile, OpenMode, View, read_full};
use crate::error::{LogError, OpenError, Operation};
use crate::format::footer::{self, Totals};
use crate::format::segment::{HeaderFound, SegmentHeader, parse_file_name};
use crate::format::{FORMAT_VERSION, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, index64};
use crate::recovery::{self, Scan, ScanFrom};
use crate::segment::{SegmentParts, SparseIndex, path_of};
use crate::walk;

/// One segment file before it is judged.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) name_seq: u64,
    pub(super) header: Option<(SegmentHeader, u32)>,
    pub(super) file_len: u64,
}

impl Opening<'_> {
    /// All segment files, by number, with their headers.
    pub(super) fn candidates(&self, names: &[String]) -> Result<Vec<Candidate>, OpenError> {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| parse_file_name(name)).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|name_seq| self.candidate(name_seq)).collect()
    }

    pub(super) fn candidate(&self, name_seq: u64) -> Result<Candidate, OpenError> {
        let path = path_of(self.dir, name_seq);
        let file = self.open_file(&path, OpenMode::Read)?;
        let (region, file_len) =
            read_head(&*file).map_err(|e| LogError::from_io(Operation::Read, &path, Some(0), &e))?;
        let header = match SegmentHeader::decode_region(&region) {
            HeaderFound::Valid(header, crc) if header.first_seq == name_seq => Some((header, crc)),
            HeaderFound::UnknownVersion(found) => {
                return Err(OpenError::UnknownVersion { path, found, known: FORMAT_VERSION });
            }
            _ => None,
        };
        Ok(Candidate { path, name_seq, header, file_len })
    }

    pub(super) fn open_file(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn DiskFile>, LogError> {
        self.disk.open(path, mode).map_err(|e| LogError::from_io(Operation::Open, path, None, &e))
    }

    pub(super) fn whole_file(&self, candidate: &Candidate) -> Result<View, LogError> {
        let file = self.open_file(&candidate.path, OpenMode::Read)?;
        let view = file.view(candidate.file_len);
        view.map_err(|e| LogError::from_io(Operation::Map, &candidate.path, None, &e))
    }

    /// Whether a file without a header has any frame.
    pub(super) fn has_frame(&self, file: &Candidate) -> Result<bool, LogError> {
        let view = self.whole_file(file)?;
        let found = walk::find_header(&view.bytes, None, SEGMENT_HEADER_BYTES, file.file_len).is_some();
        view.was_read().map_err(|e| LogError::from_io(Operation::Read, &file.path, None, &e))?;
        Ok(found)
    }

    pub(super) fn read_footer(&self, file: &Candidate, nonce: u64) -> Result<Option<footer::Footer>, OpenError> {
        let handle = self.open_file(&file.path, OpenMode::Read)?;
        let failed = |e: &io::Error| LogError::from_io(Operation::Read, &file.path, None, e);
        let mut trailer = [0_u8; footer::TRAILER_BYTES];
        let Some(at) = file.file_len.checked_sub(footer::TRAILER_BYTES as u64) else { return Ok(None) };
        read_full(&*handle, &mut trailer, at).map_err(|e| failed(&e))?;
        let Some(offset) = footer::find(&trailer, nonce).map(u64::from) else { return Ok(None) };
        let Some(len) = file.file_len.checked_sub(offset) else { return Ok(None) };
        if len > footer::footer_bytes_max(file.file_len) + FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut frame = vec![0_u8; index64(len)];
        read_full(&*handle, &mut frame, offset).map_err(|e| failed(&e))?;
        Ok(footer::decode(&frame, nonce, offset, file.file_len))
    }

    /// Walks a segment; without a header its frames say which nonce is theirs. Of a packed one everything is durable.
    pub(super) fn scan(&mut self, file: &Candidate, bytes: &[u8], durable: u64, durable_next_seq: u64) -> (Who, Scan) {
        let header = file.header.map(|(header, _)| header);
        let who = match header {
            Some(header) => Who { nonce: header.nonce, packed: header.packed.is_some() },
            None => {
                let (nonce, packed) = walk::salvage(bytes, file.file_len);
                Who { nonce, packed }
            }
        };
        let covered = header.and_then(|header| header.packed).map(|replaced| replaced.last_seq + 1);
        let from = ScanFrom {
            nonce: who.nonce,
            first_seq: file.name_seq,
            packed: who.packed,
            header_crc: file.header.map(|(_, crc)| crc),
            base_max_ts: header.map_or(i64::MIN, |header| header.base_max_ts),
            durable: if who.packed { file.file_len } else { durable },
            durable_next_seq: covered.unwrap_or(durable_next_seq),
        };
        (who, recovery::scan(bytes, &from))
    }
}

/// What is known of a segment also without its header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub(super) nonce: u64,
    pub(super) packed: bool,
}

pub(super) fn parts_of(file: &Candidate, who: Who, base_max_ts: i64) -> SegmentParts {
    let header = file.header.map(|(header, _)| header);
    SegmentParts {
        path: file.path.clone(),
        first_seq: file.name_seq,
        nonce: who.nonce,
        link_nonce: header.map_or(who.nonce, |header| header.link_nonce()),
        ordinal: header.map_or(1, |header| header.ordinal),
        weak: header.is_some_and(|header| header.weak),
        packed: who.packed,
        previous: header.map(|header| header.previous),
        base_max_ts: header.map_or(base_max_ts, |header| header.base_max_ts),
        end: SEGMENT_HEADER_BYTES,
        next_seq: file.name_seq,
        file_bytes: file.file_len,
        totals: Totals::default(),
        index: SparseIndex::Memory(Vec::new()),
    }
}

/// The header region (shorter if the file is) and the file's length.
fn read_head(file: &dyn DiskFile) -> io::Result<(Vec<u8>, u64)> {
    let mut region = vec![0_u8; index64(SEGMENT_HEADER_BYTES)];
    let n = read_full(file, &mut region, 0)?;
    region.truncate(n);
    Ok((region, file.len()?))
}
