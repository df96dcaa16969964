//! The subject index of a log: parts on disk for sealed segments, an index in memory for the open one.
//!
//! ```text
//!  segments   ▮▮▮▮▮▮▮▮ ▮▮▮▮▮▮▮▮ ▮▮▮ ▮            sealed … open
//!  parts      [ level 1 ][ level 1 ][0][0][0]        one file each
//!  memory                                   [][]▪    pieces that never change, and the last records
//! ```
//! In memory is what was read of the open segment, and of sealed ones whose part is still to be written. No lock is held
//! for longer than it takes to read the records of a piece: not by a question, not where a segment ends.
//!
//! All of it is made from the segments, by whoever asks first or by [`maintenance`](crate::Log::maintain), and never
//! believed over them: what it names is read from a segment before it is shown.

mod build;
mod count;
mod evict;
mod memory;
mod query;
mod set;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use self::count::Counted;
use self::memory::{Memory, Seen};
pub use self::query::IndexError;
use self::set::{Cover, PartSet};
use crate::disk::Disk;
use crate::index::{Liveness, Part};
use crate::removed::Removed;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Subjects {
    /// Parts of sealed segments. Replaced as a whole.
    parts: RwLock<Arc<PartSet>>,
    memory: RwLock<Memory>,
    /// The last answer of [`PartSet::cover`], and what it was asked of.
    cover: Mutex<Option<Covering>>,
    /// One at a time makes parts.
    building: Mutex<()>,
    /// Whether subjects of new records are noted for a limit per subject.
    notes: AtomicBool,
    noted: Mutex<BTreeSet<Vec<u8>>>,
    counted: Mutex<Option<Counted>>,
    /// Parts written.
    written: AtomicU64,
}

#[derive(Debug)]
struct Covering {
    parts: Arc<PartSet>,
    seen: Seen,
    cover: Arc<Cover>,
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

    fn add(&self, part: Part) {
        let mut parts = self.parts.write();
        let mut set = PartSet::clone(&parts);
        set.add(Arc::new(part));
        *parts = Arc::new(set);
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    fn set(&self) -> Arc<PartSet> {
        Arc::clone(&self.parts.read())
    }

    /// The parts that speak of the sealed ones of the segments, and the pieces in memory.
    fn cover(&self, seen: &Seen) -> Arc<Cover> {
        let parts = self.set();
        let mut last = self.cover.lock();
        if let Some(last) = &*last
            && last.seen.is_as(seen)
            && Arc::ptr_eq(&last.parts, &parts)
        {
            return Arc::clone(&last.cover);
        }
        let sealed = seen.segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
        let mut cover = parts.cover(sealed, &seen.waiting);
        cover.parts.extend(seen.pieces.iter().cloned());
        let cover = Arc::new(cover);
        *last = Some(Covering { parts, seen: seen.clone(), cover: Arc::clone(&cover) });
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
