//! Putting the packed segment in the place of its originals, on disk and for readers.
//!
//! On disk the order is everything: the packed file is whole and synced, then it takes the first original's name, then the
//! folder is synced, and only then the other originals go. A stop before the rename leaves the originals; one behind it leaves
//! originals that the packed segment covers, and the next opening removes them.

use std::path::Path;
use std::sync::Arc;

use super::{NotRewritten, PackedFile, Rewrite, RewriteStep, Rewritten, Run, Stop};
use crate::error::{LogError, Operation};
use crate::segment::{Segment, SegmentParts, SparseIndex, path_of};

impl Rewrite {
    pub(super) fn exchange(&self, run: &Run, mut file: PackedFile) -> Result<RewriteStep, Stop> {
        let shared = &self.shared;
        let _one_at_a_time = shared.changing_files.lock();
        self.refuse_if_closed()?;
        if !shared.has_run(&run.originals) {
            return Err(NotRewritten::Changed.into());
        }
        // Before their names go or stand for something else: whoever still reads them finds them by these maps.
        for original in &run.originals {
            original.hold_view()?;
        }
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::UnlinkBeforeRename) {
            self.remove_others(run);
        }
        file.rename(&path_of(&shared.dir, run.header.first_seq))?;
        let synced = self.sync_dir();
        // Whether or not the new name would outlive a power cut: it is the one that is there.
        self.replace(run, &file, synced.is_ok());
        synced?;
        self.remove_others(run);
        Ok(RewriteStep::Done(Rewritten {
            first_seq: run.header.first_seq,
            last_seq: run.header.packed.map_or(0, |replaced| replaced.last_seq),
            segments: run.originals.len() as u64,
            messages: file.totals.messages,
            messages_dropped: run.dropped.len(),
            file_bytes_before: run.originals.iter().map(|original| original.file_bytes()).sum(),
            file_bytes: file.len(),
        }))
    }

    /// Lets readers find the packed segment. The removals that it has seen to are forgotten if it will outlive a power cut: else
    /// the originals could come back, and with them what was removed.
    fn replace(&self, run: &Run, file: &PackedFile, lasting: bool) {
        let segment = self.segment_of(run, file);
        let dropped = Arc::new(run.dropped.clone());
        let mut removed = self.shared.removed.write();
        let (mut messages, mut bytes) = (0, 0);
        for original in &run.originals {
            original.leave_out(&dropped);
            let gone = original.removed();
            messages += gone.0;
            bytes += gone.1;
        }
        // What was removed after it was copied is still in the new file.
        segment.count_removed(messages.saturating_sub(dropped.len()), bytes.saturating_sub(run.dropped_bytes));
        self.shared.replace_run(&run.originals, &segment);
        if lasting {
            Arc::make_mut(&mut removed).forget(&dropped);
        }
    }

    fn segment_of(&self, run: &Run, file: &PackedFile) -> Arc<Segment> {
        let header = &run.header;
        Segment::new(
            &self.shared.disk,
            SegmentParts {
                path: path_of(&self.shared.dir, header.first_seq),
                first_seq: header.first_seq,
                nonce: file.nonce,
                link_nonce: header.link_nonce(),
                ordinal: header.ordinal,
                weak: header.weak,
                packed: true,
                previous: Some(header.previous),
                base_max_ts: header.base_max_ts,
                end: u64::from(file.footer_at),
                next_seq: header.packed.map_or(header.first_seq, |replaced| replaced.last_seq + 1),
                file_bytes: file.len(),
                totals: file.totals,
                index: SparseIndex::Footer { offset: file.footer_at, entries: file.entries() },
            },
        )
    }

    /// Removes all originals but the first, whose name is the packed segment's now. What cannot be removed is covered by it,
    /// and the next opening removes it.
    fn remove_others(&self, run: &Run) {
        let others = run.originals.get(1..).unwrap_or_default();
        for original in others {
            match self.shared.disk.remove(&original.path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => not_yet(&original.path, &e),
                _ => {}
            }
        }
        if !others.is_empty()
            && let Err(e) = self.shared.disk.sync_dir(&self.shared.dir)
        {
            not_yet(&self.shared.dir, &e);
        }
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        let dir = &self.shared.dir;
        self.shared.disk.sync_dir(dir).map_err(|e| LogError::from_io(Operation::SyncDir, dir, None, &e))
    }
}

fn not_yet(path: &Path, error: &std::io::Error) {
    tracing::warn!(path = %path.display(), %error, "a segment that was rewritten is removed at the next opening");
}
