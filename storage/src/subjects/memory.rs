//! The index in memory: of the open segment, as far as it was read, and of those sealed since whose part is not written yet.
//!
//! What was read becomes a piece again and again: a small part of the index that never changes, in the form of a file's. So
//! what can change is small, and is copied rather than waited for when somebody publishes while somebody asks.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::IndexError;
use super::set::FAN;
use crate::disk::View;
use crate::error::ReadError;
use crate::index::{Active, ActiveError, Part, PartWriter, Source, merge_as};
#[cfg(doc)]
use crate::options::LogOptions;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::sync::atomic::Ordering;
use crate::walk::{Bounds, Cursor, Step};

/// So many times [`LogOptions::index_piece_subjects`] records of fewer subjects become a piece as well.
const PIECE_RECORDS_EACH: u64 = 8;
/// So many records are read under the lock at a time.
const READ_AT_ONCE: u64 = 32 << 10;
/// So many sealed segments may wait for maintenance to write their part. Beyond, whoever comes by writes it.
const WAITING_MAX: usize = 3;

/// Pieces in ascending order. Replaced as a whole.
pub(super) type Pieces = Arc<Vec<Arc<Part>>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) open: Option<Open>,
    pub(super) waiting: Arc<Vec<Waiting>>,
}

/// A sealed segment that was read while it was open.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) segment: Arc<Segment>,
    pub(super) pieces: Pieces,
}

/// What of the log a question is about, but for what can still change.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) segments: Arc<Vec<Arc<Segment>>>,
    pub(super) waiting: Arc<Vec<Waiting>>,
    pub(super) pieces: Pieces,
}

impl Seen {
    pub(super) fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.segments, &other.segments)
            && Arc::ptr_eq(&self.waiting, &other.waiting)
            && Arc::ptr_eq(&self.pieces, &other.pieces)
    }
}

/// How far one reading of the open segment went.
enum Read {
    ToTheEnd,
    /// There is as much as a piece is to have.
    APiece,
    /// There may be more.
    Enough,
}

/// The open segment as far as it was read.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) segment: Arc<Segment>,
    /// Offset up to which the file was read; 0 before the first time. No map of it is kept here: each of thousands of logs
    /// would have one for good.
    read_to: u64,
    cursor: Cursor,
    pub(super) pieces: Pieces,
    /// What is behind the last piece.
    pub(super) active: Arc<Active>,
    /// Something could not be read, so that no part must be made of this.
    incomplete: bool,
}

impl Open {
    fn new(segment: &Arc<Segment>) -> Self {
        Self {
            segment: Arc::clone(segment),
            read_to: 0,
            cursor: Cursor::new(crate::format::SEGMENT_HEADER_BYTES, segment.first_seq),
            pieces: Pieces::default(),
            active: Arc::new(Active::new(segment.first_seq)),
            incomplete: false,
        }
    }

    /// The file, as far as it was read.
    pub(super) fn view(&self) -> Result<View, IndexError> {
        if self.read_to == 0 {
            return Ok(View::copied(Bytes::new()));
        }
        Ok(self.segment.view(self.read_to).map_err(ReadError::from)?)
    }

    /// Reads some of what the segment got since the last time, into pieces of so many subjects; `false` if there is more.
    /// What this process wrote, from `own_from` on, is not checked once more: whoever is shown a record checks it.
    fn read_on(&mut self, limits: (u64, u64), noted: Option<&mut BTreeSet<Vec<u8>>>) -> Result<bool, IndexError> {
        let bounds = self.segment.bounds();
        if self.cursor.expected() >= bounds.next_seq {
            return Ok(true);
        }
        self.read_to = bounds.limit;
        let view = self.view()?;
        let read = self.read_records(&view.bytes, &bounds, limits, noted);
        // What turned blank under these steps is missing, and the next map may know nothing of it.
        self.incomplete |= view.was_read().is_err();
        match read? {
            Read::ToTheEnd => return Ok(true),
            Read::APiece => self.end_piece()?,
            Read::Enough => {}
        }
        Ok(false)
    }

    fn read_records(
        &mut self,
        file: &Bytes,
        bounds: &Bounds,
        (piece, own_from): (u64, u64),
        mut noted: Option<&mut BTreeSet<Vec<u8>>>,
    ) -> Result<Read, IndexError> {
        // A question that is being answered keeps what it has.
        let active = Arc::make_mut(&mut self.active);
        for _ in 0..READ_AT_ONCE {
            if active.subjects() >= piece || active.records() >= piece.saturating_mul(PIECE_RECORDS_EACH) {
                return Ok(Read::APiece);
            }
            match self.cursor.step_trusting(file, bounds, own_from) {
                Step::Record { seq, record } => {
                    let Some(parts) = crate::format::record::parts(record) else { continue };
                    let at = offset_in(file, parts.subject).ok_or(IndexError::Active(ActiveError::Full))?;
                    active.push(file, seq, at, parts.subject)?;
                    parts.expires_at_ns.into_iter().for_each(|at_ns| active.push_expiry(at_ns));
                    if let Some(noted) = noted.as_mut().filter(|noted| !noted.contains(parts.subject)) {
                        noted.insert(parts.subject.to_vec());
                    }
                }
                // Readers report it; the index does not speak of it.
                Step::Lost { .. } => self.incomplete = true,
                Step::End => return Ok(Read::ToTheEnd),
            }
        }
        Ok(Read::Enough)
    }

    /// Makes a piece of what is behind the last one.
    fn end_piece(&mut self) -> Result<(), IndexError> {
        let active = &self.active;
        if active.records() == 0 {
            return Ok(());
        }
        let view = self.view()?;
        let (first_seq, next_seq) = (active.first_seq(), active.next_seq());
        let source = Source { first_seq, next_seq, nonce: self.segment.nonce };
        let mut bytes = Vec::new();
        let write = |more: &[u8]| {
            bytes.extend_from_slice(more);
            Ok(())
        };
        let mut writer = PartWriter::new(write, 0, vec![source], active.subjects())?;
        active.write_into(&view.bytes, &mut writer)?;
        writer.finish()?;
        let piece = Part::open_resident(Bytes::from(bytes.into_boxed_slice()))?;
        self.incomplete |= view.was_read().is_err();
        Arc::make_mut(&mut self.pieces).push(Arc::new(piece));
        self.active = Arc::new(Active::new(next_seq));
        Ok(())
    }
}

impl Memory {
    /// Lets go of the pieces of a segment.
    pub(super) fn forget(&mut self, segment: &Arc<Segment>) {
        let others = self.waiting.iter().filter(|waiting| !Arc::ptr_eq(&waiting.segment, segment));
        self.waiting = Arc::new(others.cloned().collect());
    }
}

/// So many adjacent pieces of one level that they are to become one of the next.
fn adjacent(pieces: &[Arc<Part>]) -> Option<Vec<Arc<Part>>> {
    let runs = pieces.chunk_by(|a, b| a.info().level == b.info().level);
    runs.filter_map(|run| run.get(..FAN)).next().map(<[_]>::to_vec)
}

/// Where in `file` a slice of it begins.
pub(super) fn offset_in(file: &[u8], part: &[u8]) -> Option<u32> {
    let offset = part.as_ptr().addr().checked_sub(file.as_ptr().addr())?;
    u32::try_from(offset).ok().filter(|_| offset + part.len() <= file.len())
}

impl Shared {
    /// Lets the index know everything that can be read.
    pub(crate) fn read_on(&self) -> Result<(), IndexError> {
        loop {
            let mut memory = self.subjects.memory.write();
            let mut noted = self.subjects.notes.load(Ordering::Acquire).then(|| self.subjects.noted.lock());
            let segments = self.segments();
            let Some(last) = segments.last() else { return Ok(()) };
            let open = memory.open.get_or_insert_with(|| Open::new(last));
            let is_there = |open: &Open| self.segments().iter().any(|other| Arc::ptr_eq(other, &open.segment));
            let limits = (self.options.index_piece_subjects, self.own_from);
            let read = if is_there(open) { open.read_on(limits, noted.as_deref_mut()) } else { Ok(false) };
            if !is_there(open) {
                // It was sealed, and then rewritten or given back before it was read to its end: what is there now is made a
                // part of from its file.
                let i = segments.partition_point(|other| other.first_seq <= open.segment.first_seq);
                memory.open = segments.get(i).map(Open::new);
                continue;
            }
            if !read? {
                continue;
            }
            if Arc::ptr_eq(&open.segment, last) {
                return Ok(());
            }
            // It was sealed, and has been read to its end now.
            open.end_piece()?;
            let Some(Open { segment, pieces, incomplete, .. }) = memory.open.take() else { continue };
            let i = segments.partition_point(|other| other.first_seq <= segment.first_seq);
            memory.open = segments.get(i).map(Open::new);
            // Of one that could not be read whole, or is gone, a part is made from its file if somebody needs it.
            let there = |waiting: &Waiting| segments.iter().any(|segment| Arc::ptr_eq(segment, &waiting.segment));
            let mut waiting: Vec<Waiting> = memory.waiting.iter().filter(|waiting| there(waiting)).cloned().collect();
            let sealed = Waiting { segment, pieces };
            if !incomplete && !sealed.pieces.is_empty() && there(&sealed) {
                waiting.push(sealed);
            }
            let late = waiting.first().filter(|_| waiting.len() > WAITING_MAX).map(|late| Arc::clone(&late.segment));
            memory.waiting = Arc::new(waiting);
            drop((memory, noted));
            if let Some(segment) = late {
                self.make_late_part(&segment);
            }
        }
    }

    /// Makes one larger piece of several, if there are so many that it is worth it: each question looks into all of them.
    pub(crate) fn merge_pieces(&self) -> Result<bool, IndexError> {
        let (segment, run) = {
            let memory = self.subjects.memory.read();
            let Some(open) = &memory.open else { return Ok(false) };
            let Some(run) = adjacent(&open.pieces) else { return Ok(false) };
            (Arc::clone(&open.segment), run)
        };
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(false) };
        let source = Source { first_seq: first.first_seq(), next_seq: last.next_seq(), nonce: segment.nonce };
        let mut bytes = Vec::new();
        let write = |more: &[u8]| {
            bytes.extend_from_slice(more);
            Ok(())
        };
        let parts: Vec<&Part> = run.iter().map(|piece| &**piece).collect();
        merge_as(vec![source], &parts, first.info().level + 1, |_| true, write)?;
        let merged = Arc::new(Part::open_resident(Bytes::from(bytes.into_boxed_slice()))?);
        let mut memory = self.subjects.memory.write();
        // Unless the segment was sealed meanwhile; then its part is made of what there was.
        if let Some(open) = memory.open.as_mut().filter(|open| Arc::ptr_eq(&open.segment, &segment))
            && let Some(at) = open.pieces.iter().position(|piece| Arc::ptr_eq(piece, first))
        {
            Arc::make_mut(&mut open.pieces).splice(at..at + run.len(), [merged]);
        }
        Ok(true)
    }

    /// Maintenance does not keep up: memory is not to grow for that.
    fn make_late_part(&self, segment: &Arc<Segment>) {
        if let Err(error) = self.make_part(segment) {
            // It is made from the segment's file when somebody needs it.
            tracing::warn!(path = %segment.path.display(), %error, "no index part could be written");
            self.subjects.memory.write().forget(segment);
        }
    }
}
