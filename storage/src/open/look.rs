//! Opening for reading only: the same judgement of the same files, without the lock and without a change on disk.
//!
//! The owner may be at work meanwhile. It appends to the last segment, seals it and cuts it behind its footer, makes new
//! segments, removes old ones and puts packed ones in the place of others. So what is found is a moment's picture: segments
//! made later are not in it, the last one is never mapped further than something was written to it, which no sealing cuts,
//! and a file that is not the one that was judged is as good as gone.

use std::io;

use bytes::Bytes;

use super::leftovers::split_covered;
use super::removals::Removals;
use super::{Arc, Candidate, Disk, LogError, OpenError, OpenMode, Opening, Operation, Path, Segment};
use crate::disk::{DiskFile, read_full};
use crate::format::{SEGMENT_HEADER_BYTES, index64};
use crate::options::LogOptions;
use crate::owner::{LOCK_NAME, Ownership};
use crate::record::LostReason;
use crate::removed::Removed;
use crate::segment::{SegmentParts, SparseIndex};
use crate::state::RecoveryReport;
use crate::walk;

/// Bytes read in one call when the end of the open segment is looked for.
const STEP_BYTES: usize = 256 << 10;
/// A frame ends with a directory entry, of which only the checksum can be zeros.
const ZEROS_AT_END_MAX: u64 = 4;
/// Unit in which memory is mapped.
const PAGE_BYTES: u64 = 4096;
/// How often a folder is looked at anew because a file went away while it was.
const TRIES_MAX: u32 = 100;

/// A log as it lies on disk.
pub(crate) struct Looked {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) report: RecoveryReport,
    /// Number behind the last readable record.
    pub(crate) next_seq: u64,
    pub(crate) removed: Removed,
}

/// Looks at the log in `dir`.
pub(crate) fn look(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Looked, OpenError> {
    let options = LogOptions::default();
    let mut tries = 0;
    loop {
        let owner = last_word(&**disk, dir);
        let report = RecoveryReport::default();
        let mut opening = Opening {
            disk,
            dir,
            options: &options,
            owner,
            lean: false,
            report,
            missing_last: None,
            removals: Removals::none(),
        };
        match opening.look() {
            // Its owner removes old segments while this one counts them.
            Err(OpenError::Io(error)) if error.is_not_found() && tries < TRIES_MAX && dir_exists(&**disk, dir) => {
                tries += 1;
            }
            Err(error) => return Err(error),
            Ok((segments, next_seq)) => {
                let Opening { removals, mut report, .. } = opening;
                let removed = removals.count(&segments, &mut report)?;
                return Ok(Looked { segments, report, next_seq, removed });
            }
        }
    }
}

fn dir_exists(disk: &dyn Disk, dir: &Path) -> bool {
    disk.list(dir).is_ok()
}

/// What the owner said when it last wrote its lock file.
fn last_word(disk: &dyn Disk, dir: &Path) -> Option<Ownership> {
    let file = disk.open(&dir.join(LOCK_NAME), OpenMode::Read).ok()?;
    let mut line = [0_u8; 512];
    let n = read_full(&*file, &mut line, 0).ok()?;
    Ownership::decode(line.get(..n)?)
}

impl Opening<'_> {
    /// The segments, and the number behind the last readable record.
    fn look(&mut self) -> Result<(Vec<Arc<Segment>>, u64), OpenError> {
        self.report.clean = self.owner.is_some_and(|owner| owner.clean);
        let names = self.disk.list(self.dir).map_err(|e| LogError::from_io(Operation::List, self.dir, None, &e))?;
        let mut files = self.candidates(&names)?;
        split_covered(&mut files);
        self.pass_over_unfinished(&mut files)?;
        self.report.segments = files.len() as u64;
        let Some(last) = files.pop() else {
            let next_seq = self.owner.map_or(1, |owner| owner.next_seq.max(1));
            if next_seq > 1 {
                let path = super::path_of(self.dir, 1);
                self.damage(path, 0, 0, Some((1, next_seq - 1)), LostReason::MissingSegment);
            }
            return Ok((Vec::new(), next_seq));
        };
        let mut segments = Vec::with_capacity(files.len() + 1);
        for (i, file) in files.iter().enumerate() {
            let next = files.get(i + 1).unwrap_or(&last);
            segments.push(self.sealed_segment(file, next)?);
        }
        segments.push(self.look_at_last(&last)?);
        files.push(last);
        self.check_same(&files, &segments)?;
        let next_seq = segments.last().map_or(1, |segment| segment.next_seq());
        let log_id = files.last().and_then(|file| file.header).map_or(0, |(header, _)| header.log_id);
        self.removals = Removals::load(self.disk, self.dir, log_id, next_seq, OpenMode::Read, &mut self.report)?;
        self.check_sequence(&segments);
        Ok((segments, next_seq))
    }

    /// Whether every file is still the one that its segment was made from: one that was exchanged between the reading of its
    /// header and of its frames looks damaged, and is not.
    fn check_same(&self, files: &[Candidate], segments: &[Arc<Segment>]) -> Result<(), LogError> {
        for (file, segment) in files.iter().zip(segments) {
            let mut head = vec![0; index64(SEGMENT_HEADER_BYTES)];
            let failed = |e: &io::Error| LogError::from_io(Operation::Read, &file.path, Some(0), e);
            let handle = self.open_file(&file.path, OpenMode::Read)?;
            let n = read_full(&*handle, &mut head, 0).map_err(|e| failed(&e))?;
            if segment.is_another(head.get(..n).unwrap_or_default()) {
                return Err(failed(&rustix::io::Errno::NOENT.into()));
            }
            segment.watch();
        }
        Ok(())
    }

    /// Leaves out a last file whose creation is not finished.
    fn pass_over_unfinished(&mut self, files: &mut Vec<Candidate>) -> Result<(), OpenError> {
        while let Some(last) = files.last() {
            if last.header.is_some() {
                return Ok(());
            }
            let bytes = self.written_part(last)?;
            let has_frame = walk::find_header(&bytes, None, SEGMENT_HEADER_BYTES, bytes.len() as u64).is_some();
            let held_something =
                self.owner.is_some_and(|owner| owner.segment == last.name_seq && owner.durable > SEGMENT_HEADER_BYTES);
            if has_frame || held_something {
                return Ok(());
            }
            self.report.unfinished.push(last.path.clone());
            files.pop();
        }
        Ok(())
    }

    /// The last segment: walked whole, up to its last whole frame.
    fn look_at_last(&mut self, file: &Candidate) -> Result<Arc<Segment>, OpenError> {
        let bytes = self.written_part(file)?;
        let owner = self.owner.filter(|owner| owner.segment == file.name_seq);
        let owner = owner.filter(|owner| file.header.is_none_or(|(header, _)| header.nonce == owner.nonce));
        let (durable, next_seq) = owner.map_or((SEGMENT_HEADER_BYTES, 0), |owner| (owner.durable, owner.next_seq));
        let (who, scan) = self.scan(file, &bytes, durable, next_seq);
        self.report_header(file);
        self.report_scan(file, &scan);
        self.report.scanned_bytes = scan.end.saturating_sub(SEGMENT_HEADER_BYTES);
        self.report.scanned_frames = u64::from(scan.totals.frames);
        if let Some((from, to)) = scan.torn {
            self.report.torn_bytes = to - from;
            self.report.torn_at = Some((file.path.clone(), from));
        }
        let end = scan.end.min(bytes.len() as u64);
        let (index, file_bytes) = match &scan.footer {
            Some(header) => (SparseIndex::Footer { offset: header.offset, entries: header.count }, bytes.len() as u64),
            None => (SparseIndex::Memory(scan.entries), end),
        };
        Ok(Segment::new(
            self.disk,
            SegmentParts {
                end,
                next_seq: scan.next_seq,
                totals: scan.totals,
                index,
                file_bytes,
                ..super::parts_of(file, who, i64::MIN)
            },
        ))
    }

    /// The bytes of a file up to the last page that something was written to.
    fn written_part(&self, file: &Candidate) -> Result<Bytes, LogError> {
        let handle = self.open_file(&file.path, OpenMode::Read)?;
        let failed = |operation, e: &io::Error| LogError::from_io(operation, &file.path, None, e);
        let mut tries = 0;
        loop {
            let len = written_bytes(&*handle).map_err(|e| failed(Operation::Read, &e))?;
            let view = handle.view(len).map_err(|e| failed(Operation::Map, &e))?;
            // If it was cut between the two calls, the view ends with zeros that the file does not have.
            if tries == TRIES_MAX || handle.len().map_err(|e| failed(Operation::Read, &e))? >= len {
                return Ok(view.bytes);
            }
            tries += 1;
        }
    }
}

/// Length of a file without the zeros reserved at its end, in whole pages.
fn written_bytes(file: &dyn DiskFile) -> io::Result<u64> {
    let len = file.len()?;
    let mut buffer = vec![0_u8; STEP_BYTES];
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(STEP_BYTES as u64);
        let chunk = buffer.get_mut(..index64(end - start)).unwrap_or_default();
        let n = read_full(file, chunk, start)?;
        if let Some(written) = walk::last_nonzero(chunk.get(..n).unwrap_or_default(), 0) {
            let written = start + written + ZEROS_AT_END_MAX;
            return Ok(written.next_multiple_of(PAGE_BYTES).min(len));
        }
        end = start;
    }
    Ok(0)
}
