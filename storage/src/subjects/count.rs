//! How many subjects a log has. A walk over all of them tells, and is only made if something was removed since the last one:
//! else those that came meanwhile are added.

use std::sync::{Arc, Weak};

use super::IndexError;
use crate::log::Log;
use crate::removed::Removed;

/// The last count.
#[derive(Debug)]
pub(super) struct Counted {
    /// What was removed by then. Whoever removes more finds that nobody else holds it, and so makes it another one.
    removed: Weak<Removed>,
    /// Everything up to this number was counted.
    seq: u64,
    count: u64,
}

impl Log {
    /// How many subjects have records. Costs next to nothing if nothing happened since it was last asked, little if records were
    /// only added, else a look at every subject: a tenth of a second or so for a million of them.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn subject_count(&self) -> Result<u64, IndexError> {
        let shared = self.shared();
        // Held while it is counted: others who ask want the same.
        let mut last = shared.subjects.counted.lock();
        let (count, counted) = shared.ask_beside_removed(&|snapshot, removed| {
            let seq = snapshot.last_seq();
            let known = last.as_ref().filter(|last| last.removed.as_ptr() == Arc::as_ptr(removed) && last.seq <= seq);
            let count = match known {
                Some(last) if last.seq == seq => Some(last.count),
                Some(last) => snapshot.subjects_new_since(last.seq)?.map(|new| last.count + new),
                None => None,
            };
            let count = match count {
                Some(count) => count,
                None => snapshot.subject_count()?,
            };
            Ok((count, Counted { removed: Arc::downgrade(removed), seq, count }))
        })?;
        *last = Some(counted);
        Ok(count)
    }
}
