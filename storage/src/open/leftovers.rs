//! What a rewriting left that a stop interrupted: its unfinished file, and originals whose records the packed segment holds.

use std::path::Path;

use super::Opening;
use super::files::Candidate;
use crate::error::{LogError, OpenError, Operation};
use crate::format::segment::{SegmentHeader, is_unfinished_name};
use crate::writer::UNFINISHED;

impl Opening<'_> {
    /// Removes files that were never renamed to a segment's name: nobody read them, and what they were to replace is there.
    pub(super) fn remove_unfinished_packed(&mut self, names: &[String]) -> Result<(), OpenError> {
        for name in names.iter().filter(|name| is_unfinished_name(name) || name.ends_with(UNFINISHED)) {
            self.remove_leftover(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// Removes the originals that a packed segment covers. It was whole and on disk before it had its name, and the name
    /// that is seen here is flushed before; so its records cannot go with them.
    pub(super) fn remove_covered(&mut self, files: &mut Vec<Candidate>) -> Result<(), OpenError> {
        let covered = split_covered(files);
        if self.lean && !covered.is_empty() {
            // A log that is said to be as it was closed may have been rewritten since.
            self.disk.sync_dir(self.dir).map_err(|e| LogError::from_io(Operation::SyncDir, self.dir, None, &e))?;
        }
        covered.iter().try_for_each(|file| self.remove_leftover(&file.path))
    }

    fn remove_leftover(&mut self, path: &Path) -> Result<(), OpenError> {
        self.disk.remove(path).map_err(|e| LogError::from_io(Operation::Remove, path, None, &e))?;
        self.report.leftovers.push(path.to_path_buf());
        Ok(())
    }
}

/// Takes those out whose records a packed segment holds.
pub(super) fn split_covered(files: &mut Vec<Candidate>) -> Vec<Candidate> {
    let mut packed: Option<SegmentHeader> = None;
    let (mut kept, mut covered) = (Vec::with_capacity(files.len()), Vec::new());
    for file in files.drain(..) {
        let header = file.header.map(|(header, _)| header);
        if packed.is_some_and(|packed| packed.covers(file.name_seq, header.as_ref())) {
            covered.push(file);
        } else {
            packed = header.filter(|header| header.packed.is_some());
            kept.push(file);
        }
    }
    *files = kept;
    covered
}
