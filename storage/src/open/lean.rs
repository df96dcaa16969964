//! How a log begins that has no segment; and what opening leaves out for a log of a pool: work that its last owner's clean
//! stop has made needless, and a first segment for a log that has nothing in it.

use super::{Candidate, Opening, open_failure};
use crate::error::{LogError, OpenError, Operation};
use crate::owner::Ownership;
use crate::record::LostReason;
use crate::recovery::Scan;
use crate::segment::path_of;
use crate::writer::{self, NewSegment, Writer};

impl Opening<'_> {
    /// Whether the names of the segments are known to be on stable storage: the last owner closed the log after it had
    /// synced them, and the last one is still the one it named.
    pub(super) fn names_are_durable(&self, files: &[Candidate]) -> bool {
        self.lean
            && match (files.last(), self.owner) {
                (Some(last), Some(owner)) => owner.clean && (last.is_named_by(&owner) || believes_anything()),
                (last, owner) => last.is_none() && owner.is_none(),
            }
    }

    /// Whether nothing of the last segment has to be cut, written again or synced: the owner that closed the log had
    /// synced all of it, it ends where that owner said, and nobody has written since. `owner` is what the lock
    /// file says of this very segment.
    pub(super) fn was_closed_like_this(&self, owner: Option<Ownership>, scan: &Scan) -> bool {
        self.lean && scan.torn.is_none() && owner.is_some_and(|owner| owner.clean && owner.durable == scan.end)
    }

    /// Whether there is no segment because there never was one.
    pub(super) fn was_never_written_to(&self) -> bool {
        self.lean && self.owner.is_none_or(|owner| owner.next_seq <= self.options.first_seq)
    }

    /// Makes the first segment.
    pub(super) fn create_first(&mut self) -> Result<Writer, OpenError> {
        // Files that somebody took away do not make their numbers free.
        let begin = self.options.first_seq;
        let first_seq = self.owner.map_or(begin, |owner| owner.next_seq.max(begin));
        if first_seq > begin {
            self.damage(path_of(self.dir, begin), 0, 0, Some((begin, first_seq - 1)), LostReason::MissingSegment);
        }
        self.report.created = first_seq == begin;
        let new = NewSegment {
            log_id: self.new_log_id()?,
            first_seq,
            ordinal: 1,
            capacity: writer::capacity_for(self.options, 0, 0),
            zero_ahead_bytes: self.options.zero_ahead_bytes,
            weak: self.options.sync.is_weak(),
            base_max_ts: i64::MIN,
            previous: crate::format::segment::Previous::default(),
            replaces: false,
        };
        writer::create(self.disk, self.dir, &new).map_err(open_failure)
    }

    fn new_log_id(&self) -> Result<u128, LogError> {
        let random = || self.disk.random().map_err(|e| LogError::from_io(Operation::Open, self.dir, None, &e));
        Ok(u128::from(random()?) << 64 | u128::from(random()?))
    }

    /// The writer of a log that has no segment: its first frame makes one.
    pub(super) fn nothing_yet(&mut self) -> Result<Writer, LogError> {
        self.report.created = true;
        let first_seq = self.options.first_seq;
        let path = path_of(self.dir, first_seq);
        let file = self.disk.open_later(&path).map_err(|e| LogError::from_io(Operation::Open, &path, None, &e))?;
        Ok(Writer::of_nothing(self.disk, path, file, self.new_log_id()?, first_seq))
    }
}

impl Candidate {
    /// Whether this is the last segment that the owner knew.
    fn is_named_by(&self, owner: &Ownership) -> bool {
        owner.segment == self.name_seq && self.header.is_some_and(|(header, _)| header.nonce == owner.nonce)
    }
}

fn believes_anything() -> bool {
    #[cfg(feature = "planted-bugs")]
    {
        crate::planted::is(crate::planted::Bug::BelieveAnyCleanMark)
    }
    #[cfg(not(feature = "planted-bugs"))]
    {
        false
    }
}
