//! The subject index of a log: parts on disk for sealed segments, an index in memory for the open one.
//!
//! ```text
//!  segments   ▮▮▮▮▮▮▮▮ ▮▮▮▮▮▮▮▮ ▮▮▮ ▮            sealed … open
//!  parts      [ level 1 ][ level 1 ][0][0][0]        one file each
//!  memory                                   active   records read since the segment was begun
//! ```
//! All of it is made from the segments, by whoever asks first or by [`maintenance`](crate::Log::maintain), and never
//! believed over them: what it names is read from a segment before it is shown.

mod build;
mod evict;
mod query;
mod set;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub use self::query::IndexError;
use self::set::{Cover, PartSet};
use crate::disk::{Disk, View};
use crate::error::ReadError;
use crate::index::{Active, ActiveError, Liveness};
use crate::removed::Removed;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::walk::{Cursor, Step};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Subjects {
    /// Parts of sealed segments. Replaced as a whole.
    parts: RwLock<Arc<PartSet>>,
    open: RwLock<Option<Open>>,
    /// The last answer of [`PartSet::cover`], and what it was asked of.
    cover: Mutex<Option<Covering>>,
    /// One at a time makes parts.
    building: Mutex<()>,
    /// Whether subjects of new records are noted for a limit per subject.
    notes: AtomicBool,
    noted: Mutex<BTreeSet<Vec<u8>>>,
    /// Parts written.
    written: AtomicU64,
}

#[derive(Debug)]
struct Covering {
    segments: Arc<Vec<Arc<Segment>>>,
    parts: Arc<PartSet>,
    cover: Arc<Cover>,
}

/// The open segment as far as it was read.
#[derive(Debug)]
struct Open {
    segment: Arc<Segment>,
    view: View,
    cursor: Cursor,
    active: Active,
}

impl Open {
    fn new(segment: &Arc<Segment>) -> Self {
        Self {
            segment: Arc::clone(segment),
            view: View::copied(Bytes::new()),
            cursor: Cursor::new(crate::format::SEGMENT_HEADER_BYTES, segment.first_seq),
            active: Active::new(segment.first_seq),
        }
    }

    /// Reads what the segment got since the last time.
    fn read_on(&mut self, mut noted: Option<&mut BTreeSet<Vec<u8>>>) -> Result<(), IndexError> {
        let bounds = self.segment.bounds();
        if self.cursor.expected() >= bounds.next_seq {
            return Ok(());
        }
        self.view = self.segment.view(bounds.limit).map_err(ReadError::from)?;
        let file = &self.view.bytes;
        loop {
            match self.cursor.step(file, &bounds) {
                Step::Record { seq, record } => {
                    let Some(parts) = crate::format::record::parts(record) else { continue };
                    let at = offset_in(file, parts.subject).ok_or(IndexError::Active(ActiveError::Full))?;
                    self.active.push(file, seq, at, parts.subject)?;
                    if let Some(noted) = noted.as_mut().filter(|noted| !noted.contains(parts.subject)) {
                        noted.insert(parts.subject.to_vec());
                    }
                }
                // Readers report it; the index does not speak of it.
                Step::Lost { .. } => {}
                Step::End => return Ok(()),
            }
        }
    }
}

/// Where in `file` a slice of it begins.
fn offset_in(file: &[u8], part: &[u8]) -> Option<u32> {
    let offset = part.as_ptr().addr().checked_sub(file.as_ptr().addr())?;
    u32::try_from(offset).ok().filter(|_| offset + part.len() <= file.len())
}

impl Shared {
    /// Lets the index know everything that can be read. Sealed segments that were still open the last time get their
    /// parts later, from what was read of them or from their files.
    pub(crate) fn read_on(&self) -> Result<(), IndexError> {
        let mut open = self.subjects.open.write();
        let mut noted = self.subjects.notes.load(Ordering::Acquire).then(|| self.subjects.noted.lock());
        loop {
            let segments = self.segments();
            let Some(last) = segments.last() else { return Ok(()) };
            let state = open.get_or_insert_with(|| Open::new(last));
            state.read_on(noted.as_deref_mut())?;
            if Arc::ptr_eq(&state.segment, last) {
                return Ok(());
            }
            // It was sealed, and has been read to its end now.
            let i = segments.partition_point(|segment| segment.first_seq <= state.segment.first_seq);
            let sealed = Arc::clone(&state.segment);
            if segments.iter().any(|segment| Arc::ptr_eq(segment, &sealed)) {
                let part = build::part_of_open(self, state);
                self.take_part(part, &sealed);
            }
            *open = segments.get(i).map(Open::new);
        }
    }

    fn take_part(&self, part: Result<crate::index::Part, IndexError>, segment: &Segment) {
        match part {
            Ok(part) => self.subjects.add(part),
            // It is made from the segment's file when somebody needs it.
            Err(error) => tracing::warn!(path = %segment.path.display(), %error, "no index part could be written"),
        }
    }
}

impl Subjects {
    /// With the parts that lie in a log's folder.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Self {
        let mut set = PartSet::default();
        for part in build::load(disk, dir) {
            set.add(Arc::new(part));
        }
        Self { parts: RwLock::new(Arc::new(set)), ..Self::default() }
    }

    fn add(&self, part: crate::index::Part) {
        let mut parts = self.parts.write();
        let mut set = PartSet::clone(&parts);
        set.add(Arc::new(part));
        *parts = Arc::new(set);
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    fn set(&self) -> Arc<PartSet> {
        Arc::clone(&self.parts.read())
    }

    /// The parts that speak of the sealed ones of these segments.
    fn cover(&self, segments: &Arc<Vec<Arc<Segment>>>) -> Arc<Cover> {
        let parts = self.set();
        let mut last = self.cover.lock();
        if let Some(last) = &*last
            && Arc::ptr_eq(&last.segments, segments)
            && Arc::ptr_eq(&last.parts, &parts)
        {
            return Arc::clone(&last.cover);
        }
        let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
        let cover = Arc::new(parts.cover(sealed));
        *last = Some(Covering { segments: Arc::clone(segments), parts, cover: Arc::clone(&cover) });
        cover
    }
}

/// What the index asks about removals.
pub(crate) struct Live<'a>(pub(crate) &'a Removed);

impl Liveness for Live<'_> {
    fn floor(&self) -> u64 {
        self.0.floor()
    }

    fn is_removed(&self, seq: u64) -> bool {
        self.0.contains(seq)
    }

    fn removed_in(&self, first_seq: u64, last_seq: u64) -> bool {
        self.0.count(first_seq, last_seq) > 0
    }

    fn removed_count(&self, first_seq: u64, last_seq: u64) -> u64 {
        self.0.count(first_seq, last_seq)
    }
}
