//! What a log needs done now and then, by a thread that has time: its index kept up, dead segments given back.

use std::collections::BTreeSet;

use crate::error::LogError;
use crate::format::packed::Codec;
use crate::log::Log;
use crate::rewrite::{NotRewritten, Rewrite, RewriteStep};
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
    /// When the next record is past its time, in nanoseconds since 1970, or reaches the age limit.
    pub next_expiry_ns: Option<i64>,
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

/// What maintenance remembers of rewriting.
#[derive(Default)]
pub(crate) struct Rewritings {
    /// With the first number of its run.
    running: Option<(u64, Rewrite)>,
    /// Nonces of segments that cannot be rewritten as long as they are what they are.
    refused: BTreeSet<u64>,
}

impl Log {
    /// Does a piece of what is due: at most one index part, which takes up to about a second, and a few megabytes of
    /// rewriting.
    ///
    /// # Errors
    /// See [`MaintainError`]. The other work is done all the same.
    pub fn maintain(&self) -> Result<Maintained, MaintainError> {
        let mut done = Maintained { next_expiry_ns: self.expire(), ..Maintained::default() };
        let reclaimed = self.reclaim();
        if let Some(reserve) = &self.shared.options.reserve {
            reserve.remake();
        }
        let rewritten = self.rewrite_on(&mut done);
        self.tend_index(&mut done)?;
        rewritten?;
        done.segments_reclaimed = reclaimed?.segments;
        Ok(done)
    }

    /// Makes an index part that is missing, or merges some, or removes those that nobody needs.
    fn tend_index(&self, done: &mut Maintained) -> Result<(), IndexError> {
        let shared = self.shared();
        let before = shared.parts_written();
        shared.read_on()?;
        let segments = shared.segments();
        let Some((_, sealed)) = segments.split_last() else { return Ok(()) };
        let missing = shared.missing_parts(sealed);
        done.segments_unindexed = missing.len() as u64;
        if let Some(segment) = missing.first() {
            shared.make_part(segment)?;
            done.more = true;
        } else if shared.merge_pieces()? {
            done.more = true;
        } else if self.rewriting.lock().running.is_some() {
            // What is about to change is not worth a merge.
        } else if shared.merge_due(sealed)? {
            done.more = true;
        } else {
            shared.superfluous_parts(sealed).iter().for_each(|part| shared.drop_part(part));
        }
        done.parts_written = shared.parts_written() - before;
        Ok(())
    }

    /// Goes on with a rewriting, or begins one if it pays.
    fn rewrite_on(&self, done: &mut Maintained) -> Result<(), LogError> {
        let mut rewriting = self.rewriting.lock();
        let Rewritings { running, refused } = &mut *rewriting;
        if running.is_none() {
            let due = self.due_for_rewriting(refused);
            *running = due.map(|(first_seq, count, codec)| (first_seq, self.compact(first_seq, count, codec)));
        }
        let Some((first_seq, mut rewrite)) = running.take() else { return Ok(()) };
        match rewrite.step(REWRITE_STEP_BYTES)? {
            RewriteStep::Working { .. } => {
                *running = Some((first_seq, rewrite));
                done.more = true;
            }
            RewriteStep::Done(rewritten) => {
                tracing::debug!(?rewritten, dir = %self.shared.dir.display(), "segments rewritten");
                done.segments_rewritten = rewritten.segments;
                done.more = true;
            }
            RewriteStep::NotDone(why) => {
                tracing::warn!(?why, dir = %self.shared.dir.display(), "segments cannot be rewritten");
                // With that one out of the way the next may go.
                done.more |= self.hindrance(first_seq, why).is_some_and(|nonce| refused.insert(nonce));
            }
        }
        Ok(())
    }

    /// Nonce of the segment that is to blame, if trying again would come to the same.
    fn hindrance(&self, first_seq: u64, why: NotRewritten) -> Option<u64> {
        let seq = match why {
            NotRewritten::Busy | NotRewritten::Changed | NotRewritten::Over => return None,
            NotRewritten::Damaged(Some(lost)) => lost.first_seq,
            _ => first_seq,
        };
        let segments = self.shared.segments();
        let i = segments.partition_point(|segment| segment.first_seq <= seq).checked_sub(1)?;
        segments.get(i).map(|segment| segment.nonce)
    }

    /// The next run of segments of which rewriting would give space back: most of what they hold was removed, or they are
    /// to be packed and are not. Runs grow as long as what is kept of them makes one segment of ordinary size.
    fn due_for_rewriting(&self, refused: &BTreeSet<u64>) -> Option<(u64, usize, Codec)> {
        let options = &self.shared.options;
        let segments = self.shared.segments();
        let (_, sealed) = segments.split_last()?;
        let dead = |segment: &Segment| {
            let (_, live) = segment.live();
            let held = segment.totals().record_bytes;
            live > 0 && held - live.min(held) > held / 2
        };
        let unpacked = |segment: &Segment| options.pack.is_some() && !segment.packed && segment.live().0 > 0;
        let may = |segment: &Segment| !refused.contains(&segment.nonce) && !self.is_held(segment);
        let due = |segment: &Segment| may(segment) && (dead(segment) || unpacked(segment));
        let at = sealed.iter().position(|segment| due(segment))?;
        let first = sealed.get(at)?;
        let mut bytes = 0;
        let mut next_seq = first.first_seq;
        let run = sealed.iter().skip(at).take_while(|segment| {
            bytes += segment.live().1;
            let follows = segment.first_seq == next_seq && segment.previous.is_some();
            next_seq = segment.next_seq();
            let small = segment.file_bytes() < options.segment_bytes_max / 8;
            let joins = due(segment) || small && may(segment);
            follows && joins && (bytes <= options.segment_bytes_max || segment.first_seq == first.first_seq)
        });
        let codec = if first.codec() == Some(Codec::Zstd) { Codec::Zstd } else { options.pack.unwrap_or(Codec::None) };
        let count = run.take(RUN_MAX).count().max(1);
        // Both stand side by side for a while, and those who publish need room as well.
        let room = bytes.max(first.live().1).saturating_add(options.segment_bytes_max);
        let free = self.shared.disk.free_space(&self.shared.dir).unwrap_or(u64::MAX);
        (free >= room).then_some((first.first_seq, count, codec))
    }
}
