//! Opening a log: which files there are, whether they follow on each other, and what the last one ends with.

mod files;
mod lean;
mod leftovers;
mod look;
mod removals;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::files::{Candidate, Who, parts_of};
pub(crate) use self::look::look;
use self::removals::Removals;
use crate::disk::{Disk, DiskFile, OpenMode, View, write_all};
use crate::error::{LogError, OpenError, Operation};
use crate::format::{EXPIRING_VERSION, RECORD_BYTES_MIN, SEGMENT_HEADER_BYTES, index64};
use crate::journal::Journal;
use crate::options::LogOptions;
use crate::owner::{OwnerLock, Ownership, Tenure};
use crate::record::LostReason;
use crate::recovery::Scan;
use crate::removed::Removed;
use crate::segment::{Segment, SegmentParts, SparseIndex, path_of};
use crate::shared::{Failure, live, lost};
use crate::state::{Damage, RecoveryReport};
use crate::writer::{self, Writer};

/// Bytes written in one call when a tail is zeroed or written again.
const STEP_BYTES: u64 = 1 << 20;

/// An opened log, before it has a queue.
pub(crate) struct Opened {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) writer: Writer,
    pub(crate) lock: OwnerLock,
    pub(crate) journal: Journal,
    pub(crate) removed: Removed,
    pub(crate) report: RecoveryReport,
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
    let mut opening = Opening {
        disk,
        dir,
        options,
        owner,
        lean: matches!(tenure, Tenure::Lean(_)),
        report: RecoveryReport::default(),
        missing_last: None,
        removals: Removals::none(),
    };
    let (segments, writer) = opening.run()?;
    let Opening { removals, mut report, .. } = opening;
    let (journal, removed) =
        removals.settle(disk, dir, writer.log_id, options.reserve.as_ref(), &segments, &mut report)?;
    lock.opened(&writer, disk.boot_id())?;
    Ok(Opened { segments, writer, lock, journal, removed, report })
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
    removals: Removals,
}

impl Opening<'_> {
    fn run(&mut self) -> Result<(Vec<Arc<Segment>>, Writer), OpenError> {
        self.report.clean = self.owner.is_some_and(|owner| owner.clean);
        let names = self.disk.list(self.dir).map_err(|e| LogError::from_io(Operation::List, self.dir, None, &e))?;
        let mut files = self.candidates(&names)?;
        if !self.names_are_durable(&files) {
            self.disk.sync_dir(self.dir).map_err(|e| LogError::from_io(Operation::SyncDir, self.dir, None, &e))?;
        }
        self.remove_unfinished_packed(&names)?;
        self.remove_covered(&mut files)?;
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
        Journal::remove_unfinished(self.disk, self.dir)?;
        let (log_id, next_seq) = (writer.log_id, writer.next_seq);
        self.removals = Removals::load(self.disk, self.dir, log_id, next_seq, OpenMode::Write, &mut self.report)?;
        self.check_sequence(&segments);
        if self.needs_new_segment(&mut writer) {
            writer = self.follow_with_new(writer, &mut segments)?;
        }
        Ok((segments, writer))
    }

    /// Removes a last file whose creation was never finished: no valid header, no valid frame, and nobody ever said that
    /// something of it was durable.
    fn drop_unfinished(&mut self, files: &mut Vec<Candidate>) -> Result<(), OpenError> {
        while let Some(last) = files.last() {
            if last.header.is_some() {
                return Ok(());
            }
            let has_frame = self.has_frame(last)?;
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
        if let Some((header, _)) = file.header
            && let Some(footer) = self.read_footer(file, header.nonce)?
            && footer.first_seq == header.first_seq
            && match header.packed {
                Some(replaced) => replaced.last_seq == footer.last_seq,
                None => told.is_none_or(|p| p.nonce == header.nonce),
            }
        {
            return Ok(Segment::new(
                self.disk,
                SegmentParts {
                    end: u64::from(footer.header.offset),
                    next_seq: footer.header.first_seq,
                    totals: footer.totals,
                    index: SparseIndex::Footer { offset: footer.header.offset, entries: footer.entries },
                    ..parts_of(file, Who { nonce: header.nonce, packed: header.packed.is_some() }, header.base_max_ts)
                },
            ));
        }
        // The footer is only a cache, but the walk has to look at every byte.
        let bytes = self.whole_file(file)?.bytes;
        let (durable, durable_next_seq) = match told {
            Some(told) => (u64::from(told.data_len), told.last_seq + 1),
            None => (SEGMENT_HEADER_BYTES, next.header.map_or(next.name_seq, |(h, _)| h.previous.last_seq + 1)),
        };
        let (who, scan) = self.scan(file, &bytes, durable, durable_next_seq);
        self.report_header(file);
        self.report_scan(file, &scan);
        Ok(Segment::new(
            self.disk,
            SegmentParts {
                end: scan.end.min(file.file_len),
                next_seq: scan.next_seq,
                totals: scan.totals,
                index: SparseIndex::Memory(scan.entries),
                ..parts_of(file, who, i64::MIN)
            },
        ))
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
        let view = self.whole_file(file)?;
        let owner = self.owner.filter(|owner| owner.segment == file.name_seq);
        let owner = owner.filter(|owner| file.header.is_none_or(|(header, _)| header.nonce == owner.nonce));
        let (durable, next_seq) = owner.map_or((SEGMENT_HEADER_BYTES, 0), |owner| (owner.durable, owner.next_seq));
        #[cfg_attr(not(feature = "planted-bugs"), expect(unused_mut, reason = "only a planted mistake changes it"))]
        let (who, mut scan) = self.scan(file, &view.bytes, durable, next_seq);
        view.was_read().map_err(|e| LogError::from_io(Operation::Read, &file.path, None, &e))?;
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::TrustStaleIndex) {
            self.believe_footer(file, who.nonce, &mut scan)?;
        }
        self.report_header(file);
        self.report_scan(file, &scan);
        self.report.scanned_bytes = scan.end.min(file.file_len) - SEGMENT_HEADER_BYTES.min(file.file_len);
        self.report.scanned_frames = u64::from(scan.totals.frames);
        if self.was_closed_like_this(owner, &scan) {
            let handle = self.disk.open_later(&file.path);
            let handle = handle.map_err(|e| LogError::from_io(Operation::Open, &file.path, None, &e))?;
            return Ok(self.writer_of(file, who, handle, scan));
        }
        let handle = self.open_file(&file.path, OpenMode::Write)?;
        let settled = self.settle_tail(file, &*handle, &view, &scan);
        settled.map_err(|e| LogError::from_io(Operation::Write, &file.path, Some(scan.end), &e))?;
        Ok(self.writer_of(file, who, handle, scan))
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
    fn settle_tail(&mut self, file: &Candidate, handle: &dyn DiskFile, view: &View, scan: &Scan) -> io::Result<()> {
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
            let copy = view.bytes.get(index64(at)..index64(at + n)).unwrap_or_default().to_vec();
            view.was_read().and_then(|()| write_all(handle, &copy, at))?;
            at += n;
        }
        handle.sync_data()
    }

    fn writer_of(&self, file: &Candidate, who: Who, handle: Arc<dyn DiskFile>, scan: Scan) -> Writer {
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
                ..parts_of(file, who, i64::MIN)
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
            sealed: scan.footer.is_some() || file.header.is_none() || who.packed,
            absent: false,
            takes_expiring: file.header.is_some_and(|(header, _)| header.version >= EXPIRING_VERSION),
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
            if self.removals.covers(expected, previous.last_seq) {
                continue;
            }
            if previous.nonce != before.link_nonce && before.previous.is_some() {
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
        let mut seen_unsynced = writer.segment.weak && !writer.segment.packed && !self.report.clean && !same_boot;
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
            writer.shrink_empty().map_err(open_failure)?;
            segments.pop();
        } else {
            writer.seal().map_err(open_failure)?;
        }
        let capacity = writer::capacity_for(self.options, live(segments).1, 0);
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

fn open_failure(failure: Failure) -> OpenError {
    match failure {
        Failure::Full(error) | Failure::Dead(error) => OpenError::Io(error),
    }
}
