//! Rewriting sealed segments: one packed segment in the place of a run of others, without the records that were removed.
//!
//! ```text
//!   originals --records--> <first>.packed.tmp --sync--> exchange: name, folder synced, readers sent on, originals removed
//!       |  damage, a gap, a removal meanwhile, an error: the unfinished file is removed, the originals stay
//! ```
//! A state machine that does a bounded piece of work a step, so that one thread can do this for many logs and leave the disk to
//! those who publish. At most a block of records is held in memory.

mod exchange;
mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roaring::RoaringTreemap;

use self::file::PackedFile;
use crate::cursor::{Found, SegmentCursor};
use crate::disk::{Disk, View};
use crate::error::{LogError, Operation};
use crate::format::packed::{Codec, TAIL_BYTES};
use crate::format::segment::{HeaderFound, Replaced, SegmentHeader, unfinished_name};
use crate::format::{FRAME_HEADER_BYTES, record};
use crate::log::Log;
use crate::record::{LostRange, LostReason};
use crate::segment::Segment;
use crate::shared::{Shared, lost};
use crate::walk::Bounds;

/// Most bytes that the records of a run may take, uncompressed: offsets in a segment have 32 bits.
const RUN_BYTES_MAX: u64 = 2 << 30;

/// Whether a number was removed.
type IsRemoved = Arc<dyn Fn(u64) -> bool + Send + Sync>;

/// What came of a run of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewritten {
    /// First number that the packed segment covers.
    pub first_seq: u64,
    /// Last number that it covers; one less than the first if there is none.
    pub last_seq: u64,
    /// Segments it replaced.
    pub segments: u64,
    /// Records it holds.
    pub messages: u64,
    /// Records that were left out.
    pub messages_dropped: u64,
    /// Length of the replaced files, in bytes.
    pub file_bytes_before: u64,
    /// Length of its file, in bytes.
    pub file_bytes: u64,
}

/// Why a run of segments is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRewritten {
    /// There is no such run of sealed segments. The open one is never rewritten.
    NoSuchRun,
    /// Numbers are missing between two of its segments; what is said of them would be lost.
    Gap(LostRange),
    /// A record, or a header (then with no number), is damaged. Rewriting would hide that.
    Damaged(Option<LostRange>),
    /// Its records are more than a packed segment holds.
    TooLarge,
    /// It is being rewritten already.
    Busy,
    /// One of its segments was removed or replaced meanwhile.
    Changed,
    /// This rewriting came to its end before.
    Over,
}

/// How far a rewriting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewriteStep {
    /// There is more to do.
    Working {
        /// Bytes of records read.
        read_bytes: u64,
        /// Bytes of records to read in all.
        total_bytes: u64,
    },
    /// The packed segment is in its place.
    Done(Rewritten),
    /// Nothing was changed.
    NotDone(NotRewritten),
}

/// A segment of a log, for those who decide what is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// First number it covers.
    pub first_seq: u64,
    /// Last number it covers; one less than the first if there is none.
    pub last_seq: u64,
    /// Readable records in it.
    pub messages: u64,
    /// Bytes of these records, with their record headers, before compression.
    pub record_bytes: u64,
    /// Length of its file, in bytes.
    pub file_bytes: u64,
    /// First record's time, nanoseconds since 1970; 0 if none.
    pub first_ts_ns: i64,
    /// Last record's time, nanoseconds since 1970; 0 if none.
    pub last_ts_ns: i64,
    /// Whether nothing is appended to it any more.
    pub sealed: bool,
    /// How its records are stored if it is packed.
    pub codec: Option<Codec>,
}

impl Log {
    /// The segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let segments = self.shared.segments();
        let sealed = segments.len().saturating_sub(1);
        let info = |(i, segment): (usize, &Arc<Segment>)| {
            let totals = segment.totals();
            SegmentInfo {
                first_seq: segment.first_seq,
                last_seq: segment.next_seq().saturating_sub(1),
                messages: totals.messages,
                record_bytes: totals.record_bytes,
                file_bytes: segment.file_bytes(),
                first_ts_ns: totals.first_ts,
                last_ts_ns: totals.last_ts,
                sealed: i < sealed,
                codec: segment.codec(),
            }
        };
        segments.iter().enumerate().map(info).collect()
    }

    /// A rewriting of `segments` sealed segments that follow on each other, from the one whose first number is `first_seq` on,
    /// without the records for which `is_removed` holds when they are come across. Nothing happens before its first step.
    #[must_use]
    pub fn rewrite(&self, first_seq: u64, segments: usize, codec: Codec, is_removed: IsRemoved) -> Rewrite {
        let state = State::New { first_seq, segments, codec };
        Rewrite { shared: Arc::clone(&self.shared), is_removed, state }
    }
}

impl Log {
    /// A [rewriting](Log::rewrite) without the records that are [removed](Log::remove).
    #[must_use]
    pub fn compact(&self, first_seq: u64, segments: usize, codec: Codec) -> Rewrite {
        let shared = Arc::clone(&self.shared);
        self.rewrite(first_seq, segments, codec, Arc::new(move |seq| shared.removed.read().contains(seq)))
    }
}

/// A rewriting under way. Dropped before its end it leaves everything as it was.
pub struct Rewrite {
    shared: Arc<Shared>,
    is_removed: IsRemoved,
    state: State,
}

enum State {
    New {
        first_seq: u64,
        segments: usize,
        codec: Codec,
    },
    Copying(Box<Copying>),
    /// The file has all its bytes.
    Written(Box<Run>, PackedFile),
    /// And they are on disk.
    Synced(Box<Run>, PackedFile),
    Over,
}

/// What is rewritten.
struct Run {
    originals: Vec<Arc<Segment>>,
    header: SegmentHeader,
    dropped: RoaringTreemap,
    dropped_bytes: u64,
    read_bytes: u64,
    total_bytes: u64,
}

/// Copying records from the originals.
struct Copying {
    run: Run,
    file: PackedFile,
    /// Which of the originals is being read.
    at: usize,
    input: Input,
}

/// The original that is being read.
struct Input {
    path: PathBuf,
    view: View,
    bounds: Bounds,
    cursor: SegmentCursor,
}

/// How a piece of work ended that did not fail.
enum Stop {
    NotRewritten(NotRewritten),
    Failed(LogError),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

impl From<NotRewritten> for Stop {
    fn from(why: NotRewritten) -> Self {
        Self::NotRewritten(why)
    }
}

impl Rewrite {
    /// Does a piece of the work: reads and writes about `budget_bytes` of records, or syncs, or exchanges the files.
    ///
    /// # Errors
    /// What the system says. The originals stay, or the exchange is complete and only not known to outlive a power cut; in
    /// either case nothing is lost, and the rewriting is over.
    pub fn step(&mut self, budget_bytes: u64) -> Result<RewriteStep, LogError> {
        let done = match std::mem::replace(&mut self.state, State::Over) {
            State::Over => return Ok(RewriteStep::NotDone(NotRewritten::Over)),
            State::New { first_seq, segments, codec } => self.start(first_seq, segments, codec),
            State::Copying(copying) => self.copy(copying, budget_bytes),
            State::Written(run, file) => self.sync(run, file),
            State::Synced(run, file) => self.exchange(&run, file),
        };
        match done {
            Ok(step) => Ok(step),
            Err(Stop::NotRewritten(why)) => Ok(RewriteStep::NotDone(why)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn start(&mut self, first_seq: u64, segments: usize, codec: Codec) -> Result<RewriteStep, Stop> {
        self.refuse_if_closed()?;
        let run = plan(&self.shared, first_seq, segments)?;
        let path = self.shared.dir.join(unfinished_name(first_seq));
        let how = (codec, self.shared.options.block_bytes);
        let file = PackedFile::create(&self.shared.disk, path, &run.header, how)?.ok_or(NotRewritten::Busy)?;
        let first = run.originals.first().ok_or(NotRewritten::NoSuchRun)?;
        let input = Input::of(first)?;
        let working = run.working();
        self.state = State::Copying(Box::new(Copying { run, file, at: 0, input }));
        Ok(working)
    }

    fn copy(&mut self, mut copying: Box<Copying>, budget_bytes: u64) -> Result<RewriteStep, Stop> {
        self.refuse_if_closed()?;
        let until = copying.run.read_bytes.saturating_add(budget_bytes.max(1));
        while copying.run.read_bytes < until {
            if copying.record(&self.is_removed)? {
                continue;
            }
            let Some(next) = copying.run.originals.get(copying.at + 1) else {
                let Copying { run, mut file, .. } = *copying;
                file.finish(&run.header)?;
                let working = run.working();
                self.state = State::Written(Box::new(run), file);
                return Ok(working);
            };
            copying.input = Input::of(next)?;
            copying.at += 1;
        }
        let working = copying.run.working();
        self.state = State::Copying(copying);
        Ok(working)
    }

    fn sync(&mut self, run: Box<Run>, mut file: PackedFile) -> Result<RewriteStep, Stop> {
        self.refuse_if_closed()?;
        file.sync()?;
        let working = run.working();
        self.state = State::Synced(run, file);
        Ok(working)
    }

    /// A log that is closed, or can no longer write, is left as it is.
    fn refuse_if_closed(&self) -> Result<(), LogError> {
        let queue = self.shared.queue.lock();
        match &queue.dead {
            Some(error) => Err(error.clone()),
            None if queue.closing => Err(LogError::closed(&self.shared.dir)),
            None => Ok(()),
        }
    }
}

impl Run {
    fn working(&self) -> RewriteStep {
        RewriteStep::Working { read_bytes: self.read_bytes, total_bytes: self.total_bytes }
    }
}

impl Input {
    fn of(segment: &Segment) -> Result<Self, LogError> {
        let bounds = segment.bounds();
        let view = segment.view(bounds.limit)?;
        Ok(Self { path: segment.path.clone(), view, bounds, cursor: segment.cursor_once() })
    }
}

impl Copying {
    /// Takes the next record of the original; `false` if there is none.
    fn record(&mut self, is_removed: &IsRemoved) -> Result<bool, Stop> {
        match self.input.cursor.step(&self.input.view.bytes, &self.input.bounds) {
            Found::Record { seq, record, .. } => {
                self.run.read_bytes += record.len() as u64;
                if is_removed(seq) {
                    self.run.dropped.insert(seq);
                    self.run.dropped_bytes += record.len() as u64;
                } else {
                    let damaged = NotRewritten::Damaged(Some(lost(seq, seq, LostReason::Damage)));
                    let ts_ns = record::parts(record).ok_or(damaged)?.ts_ns;
                    self.file.push(seq, ts_ns, record)?;
                }
                Ok(true)
            }
            Found::Lost { first_seq, last_seq, .. } => {
                Err(NotRewritten::Damaged(Some(lost(first_seq, last_seq, LostReason::Damage))).into())
            }
            Found::End => {
                // Nothing that was copied had turned blank by then.
                let failed = |e| LogError::from_io(Operation::Read, &self.input.path, None, &e);
                self.input.view.was_read().map_err(failed)?;
                Ok(false)
            }
        }
    }
}

/// Which segments are to be rewritten, and what the header of the packed one says.
fn plan(shared: &Shared, first_seq: u64, count: usize) -> Result<Run, Stop> {
    let segments = shared.segments();
    let at = segments.iter().position(|segment| segment.first_seq == first_seq).ok_or(NotRewritten::NoSuchRun)?;
    let end = at.checked_add(count).filter(|&end| end < segments.len() && end > at).ok_or(NotRewritten::NoSuchRun)?;
    let originals = segments.get(at..end).unwrap_or_default().to_vec();
    let mut headers = Vec::with_capacity(count);
    for segment in &originals {
        let view = segment.view(segment.bounds().limit)?;
        match SegmentHeader::decode_region(&view.bytes) {
            HeaderFound::Valid(header, _) if header.nonce == segment.nonce => headers.push(header),
            _ => return Err(NotRewritten::Damaged(None).into()),
        }
    }
    for (segments, headers) in originals.windows(2).zip(headers.windows(2)) {
        let ([before, after], [header_before, header_after]) = (segments, headers) else { continue };
        if after.first_seq != before.next_seq() || header_after.previous.nonce != header_before.link_nonce() {
            let gap = lost(before.next_seq(), after.first_seq.saturating_sub(1), LostReason::NeverWritten);
            return Err(NotRewritten::Gap(gap).into());
        }
    }
    let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
        return Err(NotRewritten::NoSuchRun.into());
    };
    let (mut records, mut most_bytes) = (0, 0);
    for totals in originals.iter().map(|segment| segment.totals()) {
        records += totals.record_bytes;
        most_bytes += totals.record_bytes + totals.messages * (TAIL_BYTES + FRAME_HEADER_BYTES) as u64;
    }
    if records > RUN_BYTES_MAX || most_bytes > u64::from(u32::MAX) {
        return Err(NotRewritten::TooLarge.into());
    }
    let replaced = Replaced {
        last_seq: originals.last().map_or(0, |segment| segment.next_seq()).saturating_sub(1),
        last_nonce: last.link_nonce(),
    };
    let header = SegmentHeader {
        weak: headers.iter().any(|header| header.weak),
        nonce: 0,
        capacity: 0,
        ordinal: last.ordinal,
        packed: Some(replaced),
        ..*first
    };
    Ok(Run { originals, header, dropped: RoaringTreemap::new(), dropped_bytes: 0, read_bytes: 0, total_bytes: records })
}

/// Removes the unfinished file; if that fails the next opening does it.
fn remove_unfinished(disk: &Arc<dyn Disk>, path: &Path) {
    if let Err(e) = disk.remove(path) {
        tracing::warn!(path = %path.display(), error = %e, "an unfinished packed segment could not be removed");
    }
}
