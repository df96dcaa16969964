//! What a log needs done now and then, by a thread that has time: its index kept up, dead segments given back.

use crate::error::LogError;
use crate::log::Log;
use crate::subjects::IndexError;

/// What [`Log::maintain`] came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    /// There is more to do at once.
    pub more: bool,
    /// Segments given back.
    pub segments_reclaimed: u64,
    /// Index parts written.
    pub parts_written: u64,
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
        let shared = self.shared();
        let before = shared.parts_written();
        shared.read_on()?;
        let segments = shared.segments();
        let Some((_, sealed)) = segments.split_last() else { return Ok(done) };
        let missing = shared.missing_parts(sealed);
        done.segments_unindexed = missing.len() as u64;
        if let Some(segment) = missing.first() {
            shared.make_part(segment)?;
            done.more = true;
        } else if shared.merge_due(sealed)? {
            done.more = true;
        } else {
            shared.superfluous_parts(sealed).iter().for_each(|part| shared.drop_part(part));
        }
        done.parts_written = shared.parts_written() - before;
        Ok(done)
    }
}
