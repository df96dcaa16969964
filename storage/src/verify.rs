//! Looking at a log without opening it: read only, and without its lock.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::disk::real::RealDisk;
use crate::disk::{Disk, OpenMode, read_full};
use crate::error::{LogError, Operation};
use crate::format::footer::{self, Footer};
use crate::format::packed::Codec;
use crate::format::segment::{HeaderFound, SegmentHeader, is_unfinished_name, parse_file_name};
use crate::format::{SEGMENT_HEADER_BYTES, index};
use crate::journal::{JOURNAL_NAME, JOURNAL_TMP_NAME};
use crate::owner::{LOCK_NAME, Ownership};
use crate::record::LostReason;
use crate::recovery::{self, ScanFrom};
use crate::segment::path_of;
use crate::shared::lost;
use crate::state::Damage;
use crate::walk;

/// One segment as found.
#[derive(Debug, Clone)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// First number, as the file's name and header say.
    pub first_seq: u64,
    /// Last number; one less than the first if it has no record.
    pub last_seq: u64,
    /// Records that are whole.
    pub messages: u64,
    /// Frames that are whole.
    pub frames: u64,
    /// Length of the file, in bytes.
    pub file_bytes: u64,
    /// Length of the valid part, in bytes.
    pub data_bytes: u64,
    /// Whether it has its footer.
    pub sealed: bool,
    /// Whether the footer, if there is one, agrees with the frames.
    pub footer_ok: bool,
    /// How its records are stored if it was rewritten from others; `None` if it is as it was appended.
    pub packed: Option<Codec>,
    /// Sum of record lengths before compression, in bytes.
    pub record_bytes: u64,
    /// Whether records were acknowledged without waiting for the disk.
    pub weak: bool,
    /// First record's time, nanoseconds since 1970; 0 if none.
    pub first_ts_ns: i64,
    /// Last record's time, nanoseconds since 1970; 0 if none.
    pub last_ts_ns: i64,
}

/// A log as found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Its segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Damage; nothing of it is repaired.
    pub damage: Vec<Damage>,
    /// Bytes of a torn tail that the next opening will cut.
    pub torn_bytes: u64,
    /// Where the torn tail begins.
    pub torn_at: Option<(PathBuf, u64)>,
    /// Files that do not belong to a log.
    pub strangers: Vec<PathBuf>,
    /// What a rewriting left that did not come to its end; the next opening removes it.
    pub leftovers: Vec<PathBuf>,
    /// Whether the last owner closed the log.
    pub clean: bool,
}

impl VerifyReport {
    /// Whether nothing is damaged. A torn tail is not damage.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// How far [`verify`] is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Bytes checked.
    pub done_bytes: u64,
    /// Bytes to check in all.
    pub total_bytes: u64,
}

/// Headers and footers only: quick, whatever the size. The last segment, which has no footer yet, is walked.
///
/// # Errors
/// If the folder or a file in it cannot be read.
pub fn inspect(dir: &Path) -> Result<VerifyReport, LogError> {
    look(&RealDisk, dir, false, &mut |_| {})
}

/// Every byte of every segment. `progress` is called before and after each segment.
///
/// # Errors
/// If the folder or a file in it cannot be read.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<VerifyReport, LogError> {
    look(&RealDisk, dir, true, progress)
}

/// [`verify`] on any disk.
///
/// # Errors
/// If the folder or a file in it cannot be read.
pub fn verify_on(disk: &dyn Disk, dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<VerifyReport, LogError> {
    look(disk, dir, true, progress)
}

/// Whether a file belongs to a log without being a segment.
fn is_own_name(name: &str) -> bool {
    [LOCK_NAME, JOURNAL_NAME, JOURNAL_TMP_NAME].contains(&name) || name.ends_with(".idx") || name.ends_with(".idx.tmp")
}

/// A segment file, read as far as its header.
struct Found {
    path: PathBuf,
    name_seq: u64,
    file_bytes: u64,
    view: Bytes,
    header: Option<(SegmentHeader, u32)>,
}

impl Found {
    fn covers(&self, other: &Self) -> bool {
        let headers = (self.header.map(|(header, _)| header), other.header.map(|(header, _)| header));
        headers.0.is_some_and(|header| header.covers(other.name_seq, headers.1.as_ref()))
    }

    /// Nonce, and whether it is packed: as its header says, or if that is lost, its first frame.
    fn identity(&self) -> (u64, bool) {
        let salvaged = || walk::salvage(&self.view, self.file_bytes);
        self.header.map_or_else(salvaged, |(header, _)| (header.nonce, header.packed.is_some()))
    }
}

fn look(
    disk: &dyn Disk,
    dir: &Path,
    everything: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<VerifyReport, LogError> {
    let mut report = VerifyReport::default();
    let owner = read_owner(disk, dir);
    report.clean = owner.is_some_and(|owner| owner.clean);
    let files = find_files(disk, dir, &mut report)?;
    let total_bytes = files.iter().map(|file| file.file_bytes).sum();
    let mut done_bytes = 0;
    let mut before: Option<(u64, u64)> = None;
    for (i, file) in files.iter().enumerate() {
        progress(Progress { done_bytes, total_bytes });
        check_order(file, before, dir, &mut report);
        let next = files.get(i + 1);
        let known = known_of(file, next, owner);
        let (nonce, next_seq) = one_segment(file, known, next.is_none(), everything, &mut report);
        before = Some((nonce, next_seq));
        done_bytes += file.file_bytes;
    }
    progress(Progress { done_bytes, total_bytes });
    Ok(report)
}

fn read_owner(disk: &dyn Disk, dir: &Path) -> Option<Ownership> {
    let file = disk.open(&dir.join(LOCK_NAME), OpenMode::Read).ok()?;
    let mut line = [0_u8; 512];
    let n = read_full(&*file, &mut line, 0).ok()?;
    Ownership::decode(line.get(..n)?)
}

fn find_files(disk: &dyn Disk, dir: &Path, report: &mut VerifyReport) -> Result<Vec<Found>, LogError> {
    let mut names = disk.list(dir).map_err(|e| LogError::from_io(Operation::List, dir, None, &e))?;
    names.sort_unstable();
    let mut files = Vec::new();
    for name in names {
        let path = dir.join(&name);
        let Some(name_seq) = parse_file_name(&name) else {
            if is_unfinished_name(&name) {
                report.leftovers.push(path);
            } else if !is_own_name(&name) {
                report.strangers.push(path);
            }
            continue;
        };
        let failed = |operation, e: &std::io::Error| LogError::from_io(operation, &path, None, e);
        let file = disk.open(&path, OpenMode::Read).map_err(|e| failed(Operation::Open, &e))?;
        let file_bytes = file.len().map_err(|e| failed(Operation::Read, &e))?;
        let view = file.view(file_bytes).map_err(|e| failed(Operation::Map, &e))?.bytes;
        let header = match SegmentHeader::decode_region(&view) {
            HeaderFound::Valid(header, crc) if header.first_seq == name_seq => Some((header, crc)),
            _ => None,
        };
        let found = Found { path, name_seq, file_bytes, view, header };
        if files.last().is_some_and(|before: &Found| before.covers(&found)) {
            report.leftovers.push(found.path);
        } else {
            files.push(found);
        }
    }
    Ok(files)
}

/// What is known of a segment from outside it: how much was durable, and the number behind that.
fn known_of(file: &Found, next: Option<&Found>, owner: Option<Ownership>) -> (u64, u64) {
    if file.identity().1 {
        let covered = file.header.and_then(|(header, _)| header.packed).map(|replaced| replaced.last_seq);
        let told = next.and_then(|next| next.header).map(|(header, _)| header.previous.last_seq);
        return (file.file_bytes, covered.or(told).map_or(0, |last_seq| last_seq + 1));
    }
    if let Some(next) = next {
        let told =
            next.header.map(|(header, _)| header.previous).filter(|previous| previous.first_seq == file.name_seq);
        return told.map_or((SEGMENT_HEADER_BYTES, next.name_seq), |p| (u64::from(p.data_len), p.last_seq + 1));
    }
    let nonce = file.header.map(|(header, _)| header.nonce);
    let owner = owner.filter(|owner| owner.segment == file.name_seq && nonce.is_none_or(|nonce| nonce == owner.nonce));
    owner.map_or((SEGMENT_HEADER_BYTES, 0), |owner| (owner.durable, owner.next_seq))
}

/// Whether a segment follows on the one before it, given that one's nonce and the number behind its last record.
fn check_order(file: &Found, before: Option<(u64, u64)>, dir: &Path, report: &mut VerifyReport) {
    let (Some((nonce, next_seq)), Some((header, _))) = (before, file.header) else { return };
    if header.previous.nonce == nonce || next_seq > header.previous.last_seq {
        return;
    }
    let reason = LostReason::MissingSegment;
    report.damage.push(Damage {
        path: path_of(dir, header.previous.first_seq),
        offset: 0,
        bytes: 0,
        lost: Some(lost(next_seq, header.previous.last_seq, reason)),
        reason,
    });
}

/// Reports on one segment; the nonce that the one behind it names, and the number behind its last record.
fn one_segment(
    file: &Found,
    (durable, durable_next_seq): (u64, u64),
    last: bool,
    everything: bool,
    report: &mut VerifyReport,
) -> (u64, u64) {
    let (nonce, packed) = file.identity();
    let footer = read_footer(file, nonce);
    let reason = LostReason::Damage;
    if file.header.is_none() {
        report.damage.push(Damage {
            path: file.path.clone(),
            offset: 0,
            bytes: SEGMENT_HEADER_BYTES,
            lost: None,
            reason,
        });
    }
    let mut segment = SegmentReport {
        path: file.path.clone(),
        first_seq: file.name_seq,
        last_seq: 0,
        messages: 0,
        frames: 0,
        file_bytes: file.file_bytes,
        data_bytes: 0,
        sealed: footer.is_some(),
        footer_ok: footer.is_some(),
        packed: None,
        record_bytes: 0,
        weak: file.header.is_some_and(|(header, _)| header.weak),
        first_ts_ns: 0,
        last_ts_ns: 0,
    };
    let (end, next_seq, totals) = match footer.filter(|_| !everything && !last) {
        Some(footer) => (u64::from(footer.header.offset), footer.header.first_seq, footer.totals),
        None => {
            let scan = recovery::scan(
                &file.view,
                &ScanFrom {
                    nonce,
                    first_seq: file.name_seq,
                    packed,
                    header_crc: file.header.map(|(_, crc)| crc),
                    base_max_ts: file.header.map_or(i64::MIN, |(header, _)| header.base_max_ts),
                    durable,
                    durable_next_seq,
                },
            );
            report.damage.extend(scan.lost.iter().map(|stretch| Damage {
                path: file.path.clone(),
                offset: stretch.offset,
                bytes: stretch.bytes,
                lost:
                    (stretch.first_seq <= stretch.last_seq).then(|| lost(stretch.first_seq, stretch.last_seq, reason)),
                reason,
            }));
            if let Some((from, to)) = scan.torn.filter(|_| last) {
                report.torn_bytes += to - from;
                report.torn_at = Some((file.path.clone(), from));
            }
            segment.footer_ok = footer.is_some_and(|f| f.totals == scan.totals && f.header.first_seq == scan.next_seq);
            (scan.end, scan.next_seq, scan.totals)
        }
    };
    segment.last_seq = next_seq.saturating_sub(1);
    segment.data_bytes = end;
    segment.messages = totals.messages;
    segment.record_bytes = totals.record_bytes;
    segment.packed = packed.then_some(if totals.compressed > 0 { Codec::Zstd } else { Codec::None });
    segment.frames = u64::from(totals.frames);
    segment.first_ts_ns = totals.first_ts;
    segment.last_ts_ns = totals.last_ts;
    report.segments.push(segment);
    (file.header.map_or(nonce, |(header, _)| header.link_nonce()), next_seq)
}

fn read_footer(file: &Found, nonce: u64) -> Option<Footer> {
    let trailer = file.view.get(file.view.len().checked_sub(footer::TRAILER_BYTES)?..)?;
    let offset = footer::find(trailer, nonce)?;
    footer::decode(file.view.get(index(offset)..)?, nonce, u64::from(offset), file.file_bytes)
}
