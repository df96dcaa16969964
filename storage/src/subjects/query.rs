//! Asking the index.

use std::sync::Arc;

use super::memory::{Memory, Seen, Waiting};
use super::set::path_of;
use super::{Live, build};
use crate::disk::View;
use crate::error::ReadError;
use crate::index::{
    Active, ActiveError, Expired, FilterSet, OpenSegment, PartError, PartWriteError, Snapshot, SubjectState,
};
use crate::log::Log;
use crate::removed::Removed;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::sync::atomic::Ordering;

/// Segments without a part are made parts of while somebody waits for an answer, if they are not larger in all, in bytes:
/// a quarter of a second's work, or a third.
const BUILT_MEANWHILE_MAX: u64 = 256 << 20;
/// So often a damaged part is replaced while somebody waits for an answer.
const ATTEMPTS: usize = 8;

/// Why the index cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is being made: so many segments are not in it yet. Reading the log itself is always possible.
    #[error("the subject index is being made, {segments_left} segments are left")]
    Building {
        /// Segments without a part.
        segments_left: usize,
    },
    /// The segments cannot be read, or the index cannot be written.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A part is damaged and could not be made again.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A part could not be written.
    #[error(transparent)]
    Write(#[from] PartWriteError),
    /// The open segment has more than an index in memory takes.
    #[error(transparent)]
    Active(#[from] ActiveError),
}

/// A question that looks at what was removed as well.
type Beside<'a, T> = dyn Fn(&Snapshot<'_>, &Arc<Removed>) -> Result<T, PartError> + 'a;

/// What a question takes along.
struct Asked {
    removed: Arc<Removed>,
    seen: Seen,
    active: Arc<Active>,
    view: View,
}

impl Shared {
    /// Answers a question from the index as it is now.
    pub(crate) fn ask<T>(&self, question: &dyn Fn(&Snapshot<'_>) -> Result<T, PartError>) -> Result<T, IndexError> {
        self.ask_with(BUILT_MEANWHILE_MAX, question)
    }

    /// The same, however many parts must be made for it.
    pub(crate) fn ask_all<T>(&self, question: &dyn Fn(&Snapshot<'_>) -> Result<T, PartError>) -> Result<T, IndexError> {
        self.ask_with(u64::MAX, question)
    }

    /// The same, of all that is held: what has expired counts until it is removed. What a limit removed because of a record
    /// must not come back when that one is past its time.
    pub(crate) fn ask_held<T>(
        &self,
        question: &dyn Fn(&Snapshot<'_>) -> Result<T, PartError>,
    ) -> Result<T, IndexError> {
        self.ask_of(u64::MAX, false, question)
    }

    fn ask_with<T>(
        &self,
        built_meanwhile: u64,
        question: &dyn Fn(&Snapshot<'_>) -> Result<T, PartError>,
    ) -> Result<T, IndexError> {
        self.ask_of(built_meanwhile, true, question)
    }

    /// `hide`: what has expired is as good as removed.
    fn ask_of<T>(
        &self,
        built_meanwhile: u64,
        hide: bool,
        question: &dyn Fn(&Snapshot<'_>) -> Result<T, PartError>,
    ) -> Result<T, IndexError> {
        self.ask_raw(built_meanwhile, hide, &|snapshot, _| question(snapshot))
    }

    /// For a question that wants to know of what was removed whether it still is the same.
    pub(crate) fn ask_beside_removed<T>(&self, question: &Beside<'_, T>) -> Result<T, IndexError> {
        self.ask_raw(BUILT_MEANWHILE_MAX, true, question)
    }

    fn ask_raw<T>(&self, built_meanwhile: u64, hide: bool, question: &Beside<'_, T>) -> Result<T, IndexError> {
        let mut attempts = 0;
        loop {
            self.read_on()?;
            let Some(Asked { removed, seen, active, view }) = self.asked()? else {
                // Sealed since it was read.
                continue;
            };
            let cover = self.subjects.cover(&seen);
            if !cover.missing.is_empty() {
                self.make_missing(&cover.missing, built_meanwhile)?;
                continue;
            }
            let answer = (|| {
                let open = Some(OpenSegment { active: &active, file: &view.bytes });
                let removed = if hide { self.with_expired(removed, &cover.parts, open)? } else { removed };
                question(&Snapshot::new(&cover.parts, open, &Live(&removed)), &removed)
            })();
            match answer {
                Err(PartError::Damaged { first_seq, .. }) if attempts < ATTEMPTS => {
                    attempts += 1;
                    self.forget_damaged(first_seq, &cover.parts);
                }
                other => return Ok(other?),
            }
        }
    }

    /// Which records have expired by `now_ns` and are still there, up to `limit` of them, and when the next one does.
    /// Makes no parts: the committer is not to wait for that.
    pub(crate) fn expired(&self, now_ns: i64, limit: usize) -> Result<Expired, IndexError> {
        self.ask_of(0, false, &|snapshot| snapshot.expired(now_ns, limit))
    }

    /// Takes along what a question needs, so that nobody waits for its answer; `None` if the open segment was sealed.
    fn asked(&self) -> Result<Option<Asked>, IndexError> {
        // First: a rewriting forgets removals once its segment, which is without those records, is in the list.
        let removed = Arc::clone(&self.removed.read());
        let memory = self.subjects.memory.read();
        let segments = self.segments();
        let last = segments.last().ok_or(IndexError::Building { segments_left: 0 })?;
        let open = memory.open.as_ref().filter(|open| Arc::ptr_eq(&open.segment, last));
        let Some(open) = open else { return Ok(None) };
        Ok(Some(Asked {
            removed,
            active: Arc::clone(&open.active),
            view: open.view()?,
            seen: Seen {
                waiting: Arc::clone(&memory.waiting),
                pieces: Arc::clone(&open.pieces),
                segments: Arc::clone(&segments),
            },
        }))
    }

    fn make_missing(&self, missing: &[Arc<Segment>], bytes_max: u64) -> Result<(), IndexError> {
        let bytes = missing.iter().map(|segment| segment.file_bytes()).fold(0, u64::saturating_add);
        if bytes > bytes_max {
            return Err(IndexError::Building { segments_left: missing.len() });
        }
        missing.iter().try_for_each(|segment| self.make_part(segment))
    }

    /// Sealed segments that no part speaks of.
    pub(crate) fn missing_parts(&self, sealed: &[Arc<Segment>]) -> Vec<Arc<Segment>> {
        self.subjects.set().cover(sealed, &[]).missing
    }

    /// Merges parts if some are due.
    pub(crate) fn merge_due(&self, sealed: &[Arc<Segment>]) -> Result<bool, IndexError> {
        let _one_at_a_time = self.subjects.building.lock();
        let Some(run) = self.subjects.set().due(sealed) else { return Ok(false) };
        match build::merged(self, &run) {
            Ok(part) => self.subjects.add(part),
            Err(IndexError::Write(PartWriteError::Source(PartError::Damaged { first_seq, .. }))) => {
                self.forget_damaged(first_seq, &run);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Parts that nobody needs any more.
    pub(crate) fn superfluous_parts(&self, sealed: &[Arc<Segment>]) -> Vec<Arc<crate::index::Part>> {
        self.subjects.set().superfluous(sealed)
    }

    /// Index parts written since the log was opened.
    pub(crate) fn parts_written(&self) -> u64 {
        self.subjects.written.load(Ordering::Relaxed)
    }

    /// Makes the part of a sealed segment, from memory or from its file, unless somebody did meanwhile.
    pub(crate) fn make_part(&self, segment: &Arc<Segment>) -> Result<(), IndexError> {
        let _one_at_a_time = self.subjects.building.lock();
        // Among all of them: a part of several is no more right once one of those was rewritten.
        let segments = self.segments();
        let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
        if self.missing_parts(sealed).iter().any(|missing| Arc::ptr_eq(missing, segment)) {
            let waiting = Arc::clone(&self.subjects.memory.read().waiting);
            let part = match waiting.iter().find(|waiting| Arc::ptr_eq(&waiting.segment, segment)) {
                Some(Waiting { pieces, .. }) => build::part_of_pieces(self, segment, pieces),
                None => build::part_of_segment(self, segment),
            };
            match part {
                Ok(part) => self.subjects.add(part),
                // It was given back meanwhile: nobody asks about it any more.
                Err(IndexError::Read(_)) if !self.segments().iter().any(|other| Arc::ptr_eq(other, segment)) => {}
                Err(error) => return Err(error),
            }
        }
        self.subjects.memory.write().forget(segment);
        Ok(())
    }

    /// A damaged part is of no use: it is taken out, and made again by whoever needs it.
    fn forget_damaged(&self, first_seq: u64, parts: &[Arc<crate::index::Part>]) {
        let Some(part) = parts.iter().find(|part| part.first_seq() == first_seq) else { return };
        if part.is_resident() {
            tracing::error!(first_seq, "a piece of the index in memory is wrong; all of them are made again");
            *self.subjects.memory.write() = Memory::default();
            return;
        }
        let path = path_of(&self.dir, first_seq, part.info().level);
        tracing::warn!(path = %path.display(), "an index part is damaged and is made again");
        self.drop_part(part);
    }

    /// Takes a part out, and its file away.
    pub(crate) fn drop_part(&self, part: &Arc<crate::index::Part>) {
        let mut parts = self.subjects.parts.write();
        let mut set = super::PartSet::clone(&parts);
        set.remove(part.first_seq(), part.info().level);
        *parts = Arc::new(set);
        drop(parts);
        // A file that stays is found when the log is opened again.
        let _ = self.disk.remove(&path_of(&self.dir, part.first_seq(), part.info().level));
    }
}

impl Log {
    /// How many records a subject has, and which are the first and the last; `None` if there is none.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn subject_state(&self, subject: &[u8]) -> Result<Option<SubjectState>, IndexError> {
        self.shared().ask(&|snapshot| snapshot.subject_state(subject))
    }

    /// The last record of a subject up to the number `at_or_before`.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn last_of(&self, subject: &[u8], at_or_before: u64) -> Result<Option<u64>, IndexError> {
        self.shared().ask(&|snapshot| snapshot.last(subject, at_or_before))
    }

    /// Number of the `n`-th record of a subject from its newest on; of its oldest if it has fewer.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn nth_newest(&self, subject: &[u8], n: u64) -> Result<Option<u64>, IndexError> {
        self.shared().ask(&|snapshot| snapshot.nth_newest(subject, n))
    }

    /// How many records from `from_seq` to `to_seq` the filters select, without reading any of them.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn count(&self, filters: &FilterSet, from_seq: u64, to_seq: u64) -> Result<u64, IndexError> {
        self.shared().ask(&|snapshot| snapshot.count(filters, from_seq, to_seq))
    }

    /// Up to `limit` matching subjects that have records, in order of their bytes, from the first one behind `after` on.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn subjects(
        &self,
        filters: &FilterSet,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, SubjectState)>, IndexError> {
        self.shared().ask(&|snapshot| snapshot.subjects(filters, after, limit))
    }

    /// The last record up to `at_or_before` of each matching subject: up to `limit` of them, in order of the subjects'
    /// bytes, from the first one behind `after` on.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn last_per_subject(
        &self,
        filters: &FilterSet,
        at_or_before: u64,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, IndexError> {
        self.shared().ask(&|snapshot| snapshot.last_per_subject(filters, at_or_before, after, limit))
    }
}
