//! Opening a log: which files there are, whether they follow on each other, and what the last one ends with.

mod lean;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode, read_full, write_all};
use crate::error::{LogError, OpenError, Operation};
use crate::format::footer::{self, Totals};
use crate::format::segment::{HeaderFound, SegmentHeader, parse_file_name};
use crate::format::{FORMAT_VERSION, FRAME_HEADER_BYTES, RECORD_BYTES_MIN, SEGMENT_HEADER_BYTES, index64};
use crate::options::LogOptions;
use crate::owner::{OwnerLock, Ownership, Tenure};
use crate::record::LostReason;
use crate::recovery::{self, Scan, ScanFrom};
use crate::segment::{Segment, SegmentParts, SparseIndex, path_of};
use crate::shared::{Failure, live_bytes, lost};
use crate::state::{Damage, RecoveryReport};
use crate::walk;
use crate::writer::{self, Writer};

/// Bytes written in one call when a tail is zeroed or written again.
const STEP_BYTES: u64 = 1 << 20;

/// An opened log, before it has a queue.
pub(crate) struct Opened {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) writer: Writer,
    pub(crate) lock: OwnerLock,
    pub(crate) report: RecoveryReport,
}

/// One segment file before it is judged.
struct Candidate {
    path: PathBuf,
    name_seq: u64,
    header: Option<(SegmentHeader, u32)>,
    file_len: u64,
}

/// Opens the log in `dir`, or makes it.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &LogOptions,
    tenure: &Tenure,
) -> Result<Opened, OpenError> {
    options.check()?;
    disk.create_dir_all(dir).map_err(|e| LogError::from_io(Operation::Open, dir, None, &e))?;
    let (mut lock, owner) = OwnerLock::take(disk, dir, tenure)?;
    let lean = matches!(tenure, Tenure::Lean(_));
    let mut opening =
        Opening { disk, dir, options, owner, lean, report: RecoveryReport::default(), missing_last: None };
    let (segments, writer) = opening.run()?;
    lock.opened(&writer, disk.boot_id())?;
    Ok(Opened { segments, writer, lock, report: opening.report })
}

struct Opening<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    options: &'a LogOptions,
    owner: Option<Ownership>,
    /// What a clean stop left is believed, and a log that nothing was ever in gets no file.
    lean: bool,
    report: RecoveryReport,
    /// Last number of a last segment that somebody took away.
    missing_last: Option<u64>,
}

impl Opening<'_> {
    fn run(&mut self) -> Result<(Vec<Arc<Segment>>, Writer), OpenError> {
        self.report.clean = self.owner.is_some_and(|owner| owner.clean);
        let mut files = self.candidates()?;
        if !self.names_are_durable(&files) {
            self.disk.sync_dir(self.dir).map_err(|e| LogError::from_io(Operation::SyncDir, self.dir, None, &e))?;
        }
        self.drop_unfinished(&mut files)?;
        self.report.segments = files.len() as u64;
        let Some(last) = files.pop() else {
            if self.was_never_written_to() {
                return Ok((Vec::new(), self.nothing_yet()?));
            }
            let writer = self.create_first()?;
            return Ok((vec![Arc::clone(&writer.segment)], writer));
        };
        let mut segments = Vec::with_capacity(files.len() + 1);
        for (i, file) in files.iter().enumerate() {
            let next = files.get(i + 1).unwrap_or(&last);
            segments.push(self.sealed_segment(file, next)?);
        }
        let mut writer = self.last_segment(&last)?;
        segments.push(Arc::clone(&writer.segment));
        self.check_sequence(&segments);
        if self.needs_new_segment(&mut writer) {
            writer = self.follow_with_new(writer, &mut segments)?;
        }
        Ok((segments, writer))
    }

    /// All segment files, by number, with their headers.
    fn candidates(&self) -> Result<Vec<Candidate>, OpenError> {
        let names = self.disk.list(self.dir).map_err(|e| LogError::from_io(Operation::List, self.dir, None, &e))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| parse_file_name(name)).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|name_seq| self.candidate(name_seq)).collect()
    }

    fn candidate(&self, name_seq: u64) -> Result<Candidate, OpenError> {
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

    fn open_file(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn DiskFile>, LogError> {
        self.disk.open(path, mode).map_err(|e| LogError::from_io(Operation::Open, path, None, &e))
    }

    fn whole_file(&self, candidate: &Candidate) -> Result<bytes::Bytes, LogError> {
        let file = self.open_file(&candidate.path, OpenMode::Read)?;
        let view = file.view(candidate.file_len);
        Ok(view.map_err(|e| LogError::from_io(Operation::Map, &candidate.path, None, &e))?.bytes)
    }

    /// Removes a last file whose creation was never finished: no valid header, no valid frame, and nobody ever said that
    /// something of it was durable.
    fn drop_unfinished(&mut self, files: &mut Vec<Candidate>) -> Result<(), OpenError> {
        while let Some(last) = files.last() {
            if last.header.is_some() {
                return Ok(());
            }
            let bytes = self.whole_file(last)?;
            let has_frame = walk::find_header(&bytes, None, SEGMENT_HEADER_BYTES, last.file_len).is_some();
            let held_something =
                self.owner.is_some_and(|owner| owner.segment == last.name_seq && owner.durable > SEGMENT_HEADER_BYTES);
            if has_frame || held_something {
                return Ok(());
            }
            self.disk.remove(&last.path).map_err(|e| LogError::from_io(Operation::Remove, &last.path, None, &e))?;
            self.disk.sync_dir(self.dir).map_err(|e| LogError::from_io(Operation::SyncDir, self.dir, None, &e))?;
            self.report.unfinished.push(last.path.clone());
            files.pop();
        }
        Ok(())
    }

    fn damage(&mut self, path: PathBuf, offset: u64, bytes: u64, seqs: Option<(u64, u64)>, reason: LostReason) {
        let lost = seqs.filter(|(first, last)| first <= last).map(|(first, last)| lost(first, last, reason));
        self.report.damage.push(Damage { path, offset, bytes, lost, reason });
    }

    /// A segment that another one follows: everything of it was durable, so whatever is wrong in it is damage.
    fn sealed_segment(&mut self, file: &Candidate, next: &Candidate) -> Result<Arc<Segment>, OpenError> {
        let told = next.header.map(|(header, _)| header.previous).filter(|p| p.first_seq == file.name_seq);
        if let Some((header, crc)) = file.header
            && let Some(footer) = self.read_footer(file, header.nonce)?
            && footer.first_seq == header.first_seq
            && told.is_none_or(|p| p.nonce == header.nonce)
        {
            return Ok(Segment::new(
                self.disk,
                SegmentParts {
                    end: u64::from(footer.header.offset),
                    next_seq: footer.header.first_seq,
                    totals: footer.totals,
                    index: SparseIndex::Footer { offset: footer.header.offset, entries: footer.entries },
                    ..parts_of(file, header.nonce, Some((header, crc)), header.base_max_ts)
                },
            ));
        }
        // The footer is only a cache, but the walk has to look at every byte.
        let bytes = self.whole_file(file)?;
        let (durable, durable_next_seq) = match told {
            Some(told) => (u64::from(told.data_len), told.last_seq + 1),
            None => (SEGMENT_HEADER_BYTES, next.header.map_or(next.name_seq, |(h, _)| h.previous.last_seq + 1)),
        };
        let (nonce, scan) = self.scan(file, &bytes, durable, durable_next_seq);
        self.report_header(file);
        self.report_scan(file, &scan);
        Ok(Segment::new(
            self.disk,
            SegmentParts {
                end: scan.end.min(file.file_len),
                next_seq: scan.next_seq,
                totals: scan.totals,
                index: SparseIndex::Memory(scan.entries),
                ..parts_of(file, nonce, file.header, i64::MIN)
            },
        ))
    }

    fn read_footer(&self, file: &Candidate, nonce: u64) -> Result<Option<footer::Footer>, OpenError> {
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

    /// Walks a segment; without a header its frames say which nonce is theirs.
    fn scan(&mut self, file: &Candidate, bytes: &[u8], durable: u64, durable_next_seq: u64) -> (u64, Scan) {
        let salvaged =
            || walk::find_header(bytes, None, SEGMENT_HEADER_BYTES, file.file_len).map_or(0, |header| header.nonce);
        let nonce = file.header.map_or_else(salvaged, |(header, _)| header.nonce);
        let from = ScanFrom {
            nonce,
            first_seq: file.name_seq,
            header_crc: file.header.map(|(_, crc)| crc),
            base_max_ts: file.header.map_or(i64::MIN, |(header, _)| header.base_max_ts),
            durable,
            durable_next_seq,
        };
        (nonce, recovery::scan(bytes, &from))
    }

    fn report_header(&mut self, file: &Candidate) {
        if file.header.is_none() {
            self.damage(file.path.clone(), 0, SEGMENT_HEADER_BYTES, None, LostReason::Damage);
        }
    }

    fn report_scan(&mut self, file: &Candidate, scan: &Scan) {
        for stretch in &scan.lost {
            let seqs = Some((stretch.first_seq, stretch.last_seq));
            self.damage(file.path.clone(), stretch.offset, stretch.bytes, seqs, LostReason::Damage);
        }
    }

    /// The last segment: walked whole; a torn tail is cut; what is kept is made durable.
    fn last_segment(&mut self, file: &Candidate) -> Result<Writer, OpenError> {
        let bytes = self.whole_file(file)?;
        let owner = self.owner.filter(|owner| owner.segment == file.name_seq);
        let owner = owner.filter(|owner| file.header.is_none_or(|(header, _)| header.nonce == owner.nonce));
        let (durable, next_seq) = owner.map_or((SEGMENT_HEADER_BYTES, 0), |owner| (owner.durable, owner.next_seq));
        #[cfg_attr(not(feature = "planted-bugs"), expect(unused_mut, reason = "only a planted mistake changes it"))]
        let (nonce, mut scan) = self.scan(file, &bytes, durable, next_seq);
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::TrustStaleIndex) {
            self.believe_footer(file, nonce, &mut scan)?;
        }
        self.report_header(file);
        self.report_scan(file, &scan);
        self.report.scanned_bytes = scan.end.min(file.file_len) - SEGMENT_HEADER_BYTES.min(file.file_len);
        self.report.scanned_frames = u64::from(scan.totals.frames);
        if self.was_closed_like_this(owner, &scan) {
            let handle = self.disk.open_later(&file.path);
            let handle = handle.map_err(|e| LogError::from_io(Operation::Open, &file.path, None, &e))?;
            return Ok(self.writer_of(file, nonce, handle, scan));
        }
        let handle = self.open_file(&file.path, OpenMode::Write)?;
        let settled = self.settle_tail(file, &*handle, &bytes, &scan);
        settled.map_err(|e| LogError::from_io(Operation::Write, &file.path, Some(scan.end), &e))?;
        Ok(self.writer_of(file, nonce, handle, scan))
    }

    /// The planted mistake: what the footer says is taken for what the segment holds.
    #[cfg(feature = "planted-bugs")]
    fn believe_footer(&self, file: &Candidate, nonce: u64, scan: &mut Scan) -> Result<(), OpenError> {
        if let Some(footer) = self.read_footer(file, nonce)? {
            scan.end = u64::from(footer.header.offset);
            scan.next_seq = footer.header.first_seq;
            scan.totals = footer.totals;
            scan.footer = Some(footer.header);
            scan.torn = None;
        }
        Ok(())
    }

    /// Zeros over the torn tail, the kept tail written again, one sync.
    fn settle_tail(&mut self, file: &Candidate, handle: &dyn DiskFile, bytes: &[u8], scan: &Scan) -> io::Result<()> {
        if let Some((from, to)) = scan.torn {
            self.report.torn_bytes = to - from;
            self.report.torn_at = Some((file.path.clone(), from));
            let zeros = vec![0_u8; index64(STEP_BYTES.min(to - from))];
            let mut at = from;
            while at < to {
                let n = index64((to - at).min(STEP_BYTES));
                write_all(handle, zeros.get(..n).unwrap_or_default(), at)?;
                at += n as u64;
            }
        }
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::NoTailSync) {
            return Ok(());
        }
        // After a failed sync the page cache may show these bytes as clean although the disk never got them: they are
        // dirtied again, so that the sync has something to do.
        // With nothing known to be durable that goes for the header as well.
        let header_too = scan.watermark <= SEGMENT_HEADER_BYTES && file.header.is_some();
        let mut at = if header_too { 0 } else { scan.watermark };
        let footer_end = scan.footer.map_or(scan.end, |header| header.end());
        while at < footer_end {
            let n = (footer_end - at).min(STEP_BYTES);
            let copy = bytes.get(index64(at)..index64(at + n)).unwrap_or_default().to_vec();
            write_all(handle, &copy, at)?;
            at += n;
        }
        handle.sync_data()
    }

    fn writer_of(&self, file: &Candidate, nonce: u64, handle: Arc<dyn DiskFile>, scan: Scan) -> Writer {
        let log_id = file.header.map_or(0, |(header, _)| header.log_id);
        let index = match &scan.footer {
            Some(header) => SparseIndex::Footer { offset: header.offset, entries: header.count },
            None => SparseIndex::Memory(scan.entries),
        };
        let segment = Segment::new(
            self.disk,
            SegmentParts {
                end: scan.end.min(file.file_len),
                next_seq: scan.next_seq,
                totals: scan.totals,
                index,
                ..parts_of(file, nonce, file.header, i64::MIN)
            },
        );
        Writer {
            segment,
            file: handle,
            log_id,
            capacity: file.file_len,
            pos: scan.end,
            next_seq: scan.next_seq,
            durable: scan.end,
            last_crc: scan.last_crc,
            max_ts: scan.max_ts,
            totals: scan.totals,
            new_entries: Vec::new(),
            next_entry_at: scan.next_entry_at,
            zeroed: writer::zeroed_at_once(self.options.zero_ahead_bytes, file.file_len)
                .unwrap_or_else(|| scan.torn.map_or(scan.end, |(_, to)| to)),
            // Nothing more goes into a file whose header is lost: a new one would be in the same danger.
            sealed: scan.footer.is_some() || file.header.is_none(),
            gone: false,
        }
    }

    /// Whether each segment follows on the one before; what is missing between them is reported.
    fn check_sequence(&mut self, segments: &[Arc<Segment>]) {
        for pair in segments.windows(2) {
            let [before, after] = pair else { continue };
            let expected = before.next_seq();
            let Some(previous) = after.previous else {
                if expected < after.first_seq {
                    let seqs = Some((expected, after.first_seq - 1));
                    self.damage(after.path.clone(), 0, 0, seqs, LostReason::Damage);
                }
                continue;
            };
            if previous.nonce != before.nonce && before.previous.is_some() {
                let path = path_of(self.dir, previous.first_seq);
                let seqs = Some((expected, previous.last_seq));
                self.damage(path, 0, 0, seqs, LostReason::MissingSegment);
            } else if expected <= previous.last_seq {
                let seqs = Some((expected, previous.last_seq));
                self.damage(before.path.clone(), before.bounds().limit, 0, seqs, LostReason::Damage);
            }
        }
        // LOCK may name a segment that is not there any more.
        if let (Some(owner), Some(last)) = (self.owner, segments.last())
            && owner.next_seq > last.next_seq()
            && owner.segment > last.first_seq
            // One that held nothing may be gone: it was being replaced by a larger one of the same name.
            && owner.durable > SEGMENT_HEADER_BYTES
        {
            let path = path_of(self.dir, owner.segment);
            self.missing_last = Some(owner.next_seq - 1);
            self.damage(path, 0, 0, Some((last.next_seq(), owner.next_seq - 1)), LostReason::MissingSegment);
        }
    }

    /// Whether the log must go on in a new segment, and from which number on (set in the writer).
    fn needs_new_segment(&mut self, writer: &mut Writer) -> bool {
        let mut first_seq = writer.next_seq;
        // Numbers of a last segment that somebody took away are not free either.
        first_seq = first_seq.max(self.owner.map_or(0, |owner| owner.next_seq));
        let same_boot = self.owner.is_some_and(|owner| owner.boot_id != 0 && owner.boot_id == self.disk.boot_id());
        let mut seen_unsynced = writer.segment.weak && !self.report.clean && !same_boot;
        #[cfg(feature = "planted-bugs")]
        {
            seen_unsynced &= !crate::planted::is(crate::planted::Bug::ReuseNumbers);
        }
        #[cfg(not(feature = "planted-bugs"))]
        {
            seen_unsynced &= true;
        }
        if seen_unsynced {
            first_seq = first_seq.max(writer.segment.first_seq + writer.segment.file_bytes() / RECORD_BYTES_MIN);
        }
        let known = writer.next_seq.max(self.missing_last.map_or(0, |last| last + 1));
        if first_seq > known {
            self.report.skipped = Some(lost(known, first_seq - 1, LostReason::NeverWritten));
        }
        first_seq > writer.next_seq || writer.segment.weak != self.options.sync.is_weak()
    }

    fn follow_with_new(&self, mut writer: Writer, segments: &mut Vec<Arc<Segment>>) -> Result<Writer, OpenError> {
        let known = writer.next_seq.max(self.missing_last.map_or(0, |last| last + 1));
        let first_seq = self.report.skipped.map_or(known, |skipped| skipped.last_seq + 1);
        if first_seq == writer.segment.first_seq {
            writer.discard_empty(self.disk).map_err(open_failure)?;
            segments.pop();
        } else {
            writer.seal().map_err(open_failure)?;
        }
        let capacity = writer::capacity_for(self.options, live_bytes(segments), 0);
        let mut new = writer.successor(self.options, capacity, first_seq);
        if let Some(last) = self.missing_last {
            // Readers, and everybody who opens the log later, are told that these were there.
            new.previous.last_seq = new.previous.last_seq.max(last);
        }
        let writer = writer::create(self.disk, self.dir, &new).map_err(open_failure)?;
        segments.push(Arc::clone(&writer.segment));
        Ok(writer)
    }
}

fn parts_of(file: &Candidate, nonce: u64, header: Option<(SegmentHeader, u32)>, base_max_ts: i64) -> SegmentParts {
    SegmentParts {
        path: file.path.clone(),
        first_seq: file.name_seq,
        nonce,
        ordinal: header.map_or(1, |(header, _)| header.ordinal),
        weak: header.is_some_and(|(header, _)| header.weak),
        previous: header.map(|(header, _)| header.previous),
        base_max_ts: header.map_or(base_max_ts, |(header, _)| header.base_max_ts),
        end: SEGMENT_HEADER_BYTES,
        next_seq: file.name_seq,
        file_bytes: file.file_len,
        totals: Totals::default(),
        index: SparseIndex::Memory(Vec::new()),
    }
}

fn open_failure(failure: Failure) -> OpenError {
    match failure {
        Failure::Full(error) | Failure::Dead(error) => OpenError::Io(error),
    }
}

/// The header region (shorter if the file is) and the file's length.
fn read_head(file: &dyn DiskFile) -> io::Result<(Vec<u8>, u64)> {
    let mut region = vec![0_u8; index64(SEGMENT_HEADER_BYTES)];
    let n = read_full(file, &mut region, 0)?;
    region.truncate(n);
    Ok((region, file.len()?))
}
