//! Making a segment file.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use super::capacity::{zeroed_at_once, zeros};
use super::{NewSegment, UNFINISHED, Writer, by_kind};
use crate::disk::{Disk, OpenMode, write_all_vectored};
use crate::error::{LogError, Operation};
use crate::format::footer::Totals;
use crate::format::segment::SegmentHeader;
use crate::format::{FORMAT_VERSION, SEGMENT_HEADER_BYTES};
use crate::segment::{Segment, SegmentParts, SparseIndex, path_of};
use crate::shared::Failure;

/// Makes a segment file: reserved, header written, both it and its name synced. One that takes another's place gets its
/// name when it is whole, so that there is one of the two at any time.
///
/// # Errors
/// `Full` if there is no room; the file is removed again. Else the end of writing.
pub(crate) fn create(disk: &Arc<dyn Disk>, dir: &Path, new: &NewSegment) -> Result<Writer, Failure> {
    let path = path_of(dir, new.first_seq);
    let failed = |operation, e: &std::io::Error| LogError::from_io(operation, &path, None, e);
    let nonce = disk.random().map_err(|e| Failure::Dead(failed(Operation::Open, &e)))?;
    let made_at = if new.replaces { path.with_extension(UNFINISHED) } else { path.clone() };
    let file = disk.open(&made_at, OpenMode::Create).map_err(|e| by_kind(failed(Operation::Open, &e)))?;
    let header = SegmentHeader {
        version: FORMAT_VERSION,
        weak: new.weak,
        nonce,
        log_id: new.log_id,
        first_seq: new.first_seq,
        capacity: new.capacity,
        base_max_ts: new.base_max_ts,
        ordinal: new.ordinal,
        previous: new.previous,
        packed: None,
    };
    let (region, header_crc) = header.encode_region();
    let zeroed = zeroed_at_once(new.zero_ahead_bytes, new.capacity).unwrap_or(SEGMENT_HEADER_BYTES);
    let fill = || {
        // A file of that name can only be left from an attempt that found no room.
        file.set_len(0).map_err(|e| failed(Operation::Allocate, &e))?;
        file.allocate(new.capacity).map_err(|e| failed(Operation::Allocate, &e))?;
        let zeros = zeros().get(..crate::format::index64(zeroed - SEGMENT_HEADER_BYTES)).unwrap_or_default();
        let mut parts = [IoSlice::new(&region), IoSlice::new(zeros)];
        match write_all_vectored(&*file, &mut parts, 0) {
            (_, Some(e)) => Err(failed(Operation::Write, &e)),
            (_, None) => Ok(()),
        }
    };
    if let Err(error) = fill() {
        // Gives the room back. If this fails as well, the next attempt or the next opening cleans up.
        if let Err(e) = disk.remove(&made_at) {
            tracing::warn!(path = %path.display(), error = %e, "an unfinished segment could not be removed");
        }
        // The next attempt may have another name: an unfinished file is only known for what it is while it is the last.
        sync_dir(disk, dir)?;
        return Err(by_kind(error));
    }
    file.sync_data().map_err(|e| Failure::Dead(failed(Operation::Sync, &e)))?;
    if new.replaces {
        disk.rename(&made_at, &path).map_err(|e| Failure::Dead(failed(Operation::Remove, &e)))?;
        file.renamed(&path);
    }
    sync_dir(disk, dir)?;
    let segment = Segment::new(
        disk,
        SegmentParts {
            path,
            first_seq: new.first_seq,
            nonce,
            link_nonce: nonce,
            ordinal: new.ordinal,
            weak: new.weak,
            packed: false,
            previous: Some(new.previous),
            base_max_ts: new.base_max_ts,
            end: SEGMENT_HEADER_BYTES,
            next_seq: new.first_seq,
            file_bytes: new.capacity,
            totals: Totals::default(),
            index: SparseIndex::Memory(Vec::new()),
        },
    );
    Ok(Writer {
        segment,
        file,
        log_id: new.log_id,
        capacity: new.capacity,
        pos: SEGMENT_HEADER_BYTES,
        next_seq: new.first_seq,
        durable: SEGMENT_HEADER_BYTES,
        last_crc: header_crc,
        max_ts: new.base_max_ts,
        totals: Totals::default(),
        new_entries: Vec::new(),
        next_entry_at: 0,
        zeroed,
        sealed: false,
        absent: false,
        takes_expiring: true,
    })
}

fn sync_dir(disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), Failure> {
    #[cfg(feature = "planted-bugs")]
    if crate::planted::is(crate::planted::Bug::NoDirSync) {
        return Ok(());
    }
    disk.sync_dir(dir).map_err(|e| Failure::Dead(LogError::from_io(Operation::SyncDir, dir, None, &e)))
}
