//! What a log needs done now and then, by a thread that has time: its index kept up, dead segments given back.

use crate::sync::atomic::Ordering;

use crate::error::LogError;
use crate::format::packed::Codec;
use crate::log::Log;
use crate::rewrite::RewriteStep;
use crate::segment::Segment;
use crate::subjects::IndexError;

/// Bytes of records that a piece of rewriting reads.
const REWRITE_STEP_BYTES: u64 = 8 << 20;
/// Most segments made one.
const RUN_MAX: usize = 32;

/// What [`Log::maintain`] came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    /// There is more to do at once.
    pub more: bool,
    /// Segments given back.
    pub segments_reclaimed: u64,
    /// Index parts written.
    pub parts_written: u64,
    /// Segments that were rewritten.
    pub segments_rewritten: u64,
    /// Sealed segments that are not in the index yet.
    pub segments_unindexed: u64,
}

/// Why maintenance could not do its work; it may succeed another time.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    /// Space could not be given back.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index could not be kept up.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl Log {
    /// Does a piece of what is due: at most one index part, which takes up to about a second.
    ///
    /// # Errors
    /// See [`MaintainError`].
    pub fn maintain(&self) -> Result<Maintained, MaintainError> {
        let mut done = Maintained { segments_reclaimed: self.reclaim()?.segments, ..Maintained::default() };
        match self.rewrite_on()? {
            Rewriting::Nothing => {}
            Rewriting::Working => done.more = true,
            Rewriting::Done(segments) => {
                done.more = true;
                done.segments_rewritten = segments;
            }
        }
        let shared = self.shared();
        let before = shared.parts_written();
        shared.read_on()?;
        let segments = shared.segments();
        let Some((_, sealed)) = segments.split_last() else { return Ok(done) };
        let missing = shared.missing_parts(sealed);
        done.segments_unindexed = missing.len() as u64;
        let being_rewritten = self.rewriting.lock().is_some();
        if let Some(segment) = missing.first() {
            shared.make_part(segment)?;
            done.more = true;
        } else if being_rewritten {
            // What is about to change is not worth a merge.
        } else if shared.merge_due(sealed)? {
            done.more = true;
        } else {
            shared.superfluous_parts(sealed).iter().for_each(|part| shared.drop_part(part));
        }
        done.parts_written = shared.parts_written() - before;
        Ok(done)
    }
}

/// How a piece of rewriting ended.
enum Rewriting {
    Nothing,
    Working,
    Done(u64),
}

impl Log {
    /// Goes on with a rewriting, or begins one if it pays.
    fn rewrite_on(&self) -> Result<Rewriting, LogError> {
        let mut rewriting = self.rewriting.lock();
        if rewriting.is_none() {
            *rewriting =
                self.due_for_rewriting().map(|(first_seq, count, codec)| self.compact(first_seq, count, codec));
        }
        let Some(rewrite) = rewriting.as_mut() else { return Ok(Rewriting::Nothing) };
        let step = rewrite.step(REWRITE_STEP_BYTES);
        match step {
            Ok(RewriteStep::Working { .. }) => Ok(Rewriting::Working),
            Ok(RewriteStep::Done(done)) => {
                *rewriting = None;
                tracing::debug!(?done, dir = %self.shared.dir.display(), "segments rewritten");
                Ok(Rewriting::Done(done.segments))
            }
            Ok(RewriteStep::NotDone(why)) => {
                *rewriting = None;
                tracing::debug!(?why, dir = %self.shared.dir.display(), "segments not rewritten");
                self.shared.not_rewritten.fetch_add(1, Ordering::Relaxed);
                Ok(Rewriting::Nothing)
            }
            Err(error) => {
                *rewriting = None;
                Err(error)
            }
        }
    }

    /// The next run of segments of which rewriting would give space back: most of what they hold was removed, or they are
    /// to be packed and are not. Runs grow as long as what is kept of them makes one segment of ordinary size.
    fn due_for_rewriting(&self) -> Option<(u64, usize, Codec)> {
        let options = &self.shared.options;
        let segments = self.shared.segments();
        let (_, sealed) = segments.split_last()?;
        let dead = |segment: &Segment| {
            let (_, live) = segment.live();
            let held = segment.totals().record_bytes;
            live > 0 && held - live.min(held) > held / 2
        };
        let unpacked = |segment: &Segment| options.pack.is_some() && !segment.packed && segment.live().0 > 0;
        // What could not be rewritten, because it is damaged, is not tried for ever: later ones have their turn.
        let skip = usize::try_from(self.shared.not_rewritten.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let due = sealed.iter().enumerate().filter(|(_, segment)| dead(segment) || unpacked(segment));
        let count_due = due.clone().count();
        let (at, first) = due.clone().nth(skip.checked_rem(count_due)?)?;
        let mut bytes = 0;
        let mut next_seq = first.first_seq;
        let run = sealed.iter().skip(at).take_while(|segment| {
            bytes += segment.live().1;
            let follows = segment.first_seq == next_seq && segment.previous.is_some();
            next_seq = segment.next_seq();
            let small = segment.file_bytes() < options.segment_bytes_max / 8;
            let joins = dead(segment) || unpacked(segment) || small;
            follows && joins && (bytes <= options.segment_bytes_max || segment.first_seq == first.first_seq)
        });
        let codec = if first.codec() == Some(Codec::Zstd) { Codec::Zstd } else { options.pack.unwrap_or(Codec::None) };
        Some((first.first_seq, run.take(RUN_MAX).count().max(1), codec))
    }
}
