//! The removal journal: the file that says which records are gone although their bytes are still in a segment.
//!
//! Entries are appended and never changed. When it has grown well beyond what it says, a new file with only that takes
//! its place. Only the committer writes it, and only about records that are as safe as the log's mode makes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode, write_all};
use crate::error::{FailureKind, LogError, OpenError, Operation};
use crate::format::index64;
use crate::format::removal::{
    self, Bodies, EntryFound, Group, JOURNAL_HEADER_BYTES, JournalFound, JournalHeader, Statement, encode_entry,
};
use crate::record::LostReason;
use crate::removed::Removed;
use crate::reserve::Reserve;
use crate::segment::Segment;
use crate::state::Damage;
use crate::walk;

/// Name of the file.
pub(crate) const JOURNAL_NAME: &str = "removed";
/// Name of the one that is to take its place.
pub(crate) const JOURNAL_TMP_NAME: &str = "removed.tmp";
/// Space is reserved in steps, so that removing works on a full disk.
const STEP_BYTES_MIN: u64 = 16 << 10;
const STEP_BYTES_MAX: u64 = 256 << 10;
/// A journal is written anew when it is larger than this and than four times what was in it when it was made.
const LARGE_BYTES: u64 = 256 << 10;

/// The open journal of a log. There is no file until something is removed.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    log_id: u128,
    file: Option<Arc<dyn DiskFile>>,
    nonce: u64,
    /// Where the next entry goes.
    pos: u64,
    /// Reserved up to here.
    reserved: u64,
    /// Where the entries that were there from the beginning end.
    initial: u64,
    unsynced: bool,
    /// So far something lies behind the last entry that is none.
    torn_to: u64,
    /// Given up when there is no room for an entry.
    spare: Option<Arc<Reserve>>,
}

/// What a journal said when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) statements: Vec<Statement>,
    pub(crate) damage: Vec<Damage>,
    /// It must be written anew before anything follows from it.
    pub(crate) rewrite: bool,
}

impl Journal {
    pub(crate) fn new(disk: &Arc<dyn Disk>, dir: &Path, log_id: u128) -> Self {
        Self {
            disk: Arc::clone(disk),
            dir: dir.to_path_buf(),
            path: dir.join(JOURNAL_NAME),
            log_id,
            file: None,
            nonce: 0,
            pos: 0,
            reserved: 0,
            initial: 0,
            unsynced: false,
            torn_to: 0,
            spare: None,
        }
    }

    /// What to give up when there is no room.
    pub(crate) fn set_spare(&mut self, spare: Option<Arc<Reserve>>) {
        self.spare = spare;
    }

    /// Does something, and once more if it found no room and some could be made.
    fn with_spare(&mut self, act: impl Fn(&mut Self) -> Result<(), LogError>) -> Result<(), LogError> {
        match act(self) {
            Err(error) if error.kind() == FailureKind::NoSpace && self.spare.as_ref().is_some_and(|s| s.give_up()) => {
                act(self)
            }
            done => done,
        }
    }

    /// Removes a new file that was never finished.
    pub(crate) fn remove_unfinished(disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), LogError> {
        let tmp = dir.join(JOURNAL_TMP_NAME);
        match disk.remove(&tmp) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(LogError::from_io(Operation::Remove, &tmp, None, &e))
            }
            _ => Ok(()),
        }
    }

    /// Reads what is there. Changes nothing on disk.
    pub(crate) fn load(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        log_id: u128,
        mode: OpenMode,
    ) -> Result<(Self, Loaded), OpenError> {
        let mut journal = Self::new(disk, dir, log_id);
        let failed = |operation, path: &Path, e: &std::io::Error| LogError::from_io(operation, path, None, e);
        let mut loaded = Loaded::default();
        let file = match disk.open(&journal.path, mode) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((journal, loaded)),
            other => other.map_err(|e| failed(Operation::Open, &journal.path, &e))?,
        };
        let len = file.len().map_err(|e| failed(Operation::Read, &journal.path, &e))?;
        let view = file.view(len).map_err(|e| failed(Operation::Map, &journal.path, &e))?;
        let path = journal.path.clone();
        let was_read = || view.was_read().map_err(|e| failed(Operation::Read, &path, &e));
        let region = view.bytes.get(..index64(JOURNAL_HEADER_BYTES)).unwrap_or(&view.bytes);
        let found = JournalHeader::decode(region);
        was_read()?;
        match found {
            // With no segment header left to ask, the journal is the only one that knows the identity.
            JournalFound::Valid(header) if header.log_id == log_id || log_id == 0 => journal.nonce = header.nonce,
            JournalFound::UnknownVersion(found) => {
                return Err(OpenError::UnknownVersion { path: journal.path, found, known: 1 });
            }
            // Its name is only given to a file that was synced, so this is damage: what it said is not known any more.
            _ => {
                loaded.damage.push(journal.damage(0, len));
                loaded.rewrite = true;
                return Ok((journal, loaded));
            }
        }
        journal.read(&view.bytes, &mut loaded);
        was_read()?;
        journal.file = Some(file);
        journal.reserved = len;
        journal.initial = journal.pos;
        Ok((journal, loaded))
    }

    fn damage(&self, offset: u64, bytes: u64) -> Damage {
        Damage { path: self.path.clone(), offset, bytes, lost: None, reason: LostReason::Damage }
    }

    fn read(&mut self, bytes: &[u8], loaded: &mut Loaded) {
        let mut at = JOURNAL_HEADER_BYTES;
        loop {
            let found = removal::entry_at(bytes, self.nonce, at);
            if let EntryFound::Entry { statements, next, corrected } = found {
                loaded.statements.extend(statements);
                loaded.rewrite |= corrected;
                at = next;
                continue;
            }
            self.pos = at;
            let Some(end) = walk::last_nonzero(bytes, at) else { return };
            // What is not valid here was the last thing written, unless something valid follows.
            match removal::find_entry(bytes, self.nonce, at + 1) {
                Some(next) => {
                    loaded.damage.push(self.damage(at, next - at));
                    loaded.rewrite = true;
                    at = next;
                }
                None => {
                    tracing::warn!(path = %self.path.display(), offset = at, bytes = end - at, "a torn removal was cut; it was not acknowledged");
                    self.torn_to = end;
                    return;
                }
            }
        }
    }

    /// Appends entries with these bodies. Not synced.
    ///
    /// # Errors
    /// The position is unchanged then.
    pub(crate) fn append(&mut self, bodies: &[Vec<u8>]) -> Result<(), LogError> {
        if self.file.is_none() {
            return self.replace(bodies);
        }
        self.with_spare(|journal| journal.append_here(bodies))
    }

    fn append_here(&mut self, bodies: &[Vec<u8>]) -> Result<(), LogError> {
        let mut bytes = Vec::new();
        for body in bodies {
            let offset = self.pos + bytes.len() as u64;
            bytes.extend_from_slice(&encode_entry(self.nonce, offset, body));
        }
        let end = self.pos + bytes.len() as u64;
        self.reserve(end)?;
        let Some(file) = &self.file else { return Ok(()) };
        write_all(&**file, &bytes, self.pos)
            .map_err(|e| LogError::from_io(Operation::Write, &self.path, Some(self.pos), &e))?;
        self.pos = end;
        self.unsynced = true;
        Ok(())
    }

    /// Reserves ahead; what is reserved already serves when there is no room for more.
    fn reserve(&mut self, end: u64) -> Result<(), LogError> {
        if end + STEP_BYTES_MIN / 4 <= self.reserved {
            return Ok(());
        }
        let step = end.next_power_of_two().clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        let Some(file) = &self.file else { return Ok(()) };
        match file.allocate(end + step) {
            Ok(()) => {
                self.reserved = end + step;
                Ok(())
            }
            Err(_) if end <= self.reserved => Ok(()),
            Err(e) => Err(LogError::from_io(Operation::Allocate, &self.path, Some(end), &e)),
        }
    }

    /// Flushes what was appended.
    ///
    /// # Errors
    /// The end of writing, as with segments.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        if !self.unsynced {
            return Ok(());
        }
        if let Some(file) = &self.file {
            file.sync_data().map_err(|e| LogError::from_io(Operation::Sync, &self.path, None, &e))?;
        }
        self.unsynced = false;
        Ok(())
    }

    /// Whether it should be [replaced](Journal::replace) by what still matters of it.
    pub(crate) fn is_large(&self) -> bool {
        self.pos > LARGE_BYTES.max(self.initial.saturating_mul(4))
    }

    /// Puts a new file with these entries into its place, synced.
    ///
    /// # Errors
    /// The old one stays then.
    pub(crate) fn replace(&mut self, bodies: &[Vec<u8>]) -> Result<(), LogError> {
        self.with_spare(|journal| journal.replace_with(bodies))
    }

    fn replace_with(&mut self, bodies: &[Vec<u8>]) -> Result<(), LogError> {
        let tmp = self.dir.join(JOURNAL_TMP_NAME);
        let failed = |operation, e: &std::io::Error| LogError::from_io(operation, &tmp, None, e);
        let nonce = self.disk.random().map_err(|e| failed(Operation::Open, &e))?;
        let mut bytes = JournalHeader { log_id: self.log_id, nonce }.encode();
        for body in bodies {
            let offset = bytes.len() as u64;
            bytes.extend_from_slice(&encode_entry(nonce, offset, body));
        }
        let end = bytes.len() as u64;
        let reserved = end + STEP_BYTES_MIN;
        let file = self.disk.open(&tmp, OpenMode::Create).map_err(|e| failed(Operation::Open, &e))?;
        let fill = || {
            file.set_len(0).map_err(|e| failed(Operation::Allocate, &e))?;
            file.allocate(reserved).map_err(|e| failed(Operation::Allocate, &e))?;
            write_all(&*file, &bytes, 0).map_err(|e| failed(Operation::Write, &e))
        };
        if let Err(error) = fill() {
            // Gives the room back; opening removes what cannot be removed now.
            let _ = self.disk.remove(&tmp);
            return Err(error);
        }
        #[cfg(feature = "planted-bugs")]
        let sync = !crate::planted::is(crate::planted::Bug::RemovalNotSynced);
        #[cfg(not(feature = "planted-bugs"))]
        let sync = true;
        if sync {
            file.sync_data().map_err(|e| failed(Operation::Sync, &e))?;
        }
        self.disk.rename(&tmp, &self.path).map_err(|e| LogError::from_io(Operation::Remove, &tmp, None, &e))?;
        file.renamed(&self.path);
        self.disk.sync_dir(&self.dir).map_err(|e| LogError::from_io(Operation::SyncDir, &self.dir, None, &e))?;
        self.file = Some(file);
        self.nonce = nonce;
        self.pos = end;
        self.initial = end;
        self.reserved = reserved;
        (self.torn_to, self.unsynced) = (0, false);
        Ok(())
    }

    /// Makes what is there durable, and cuts what is behind it, where there is no room for a new file.
    ///
    /// # Errors
    /// The end of writing.
    pub(crate) fn write_again(&mut self) -> Result<(), LogError> {
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |operation, e: &std::io::Error| LogError::from_io(operation, &self.path, None, e);
        let view = file.view(self.pos).map_err(|e| failed(Operation::Map, &e))?;
        // A copy: the file is written to while it is read.
        let mut bytes = view.bytes.to_vec();
        view.was_read().map_err(|e| failed(Operation::Read, &e))?;
        bytes.resize(index64(self.torn_to.max(self.pos)), 0);
        write_all(&**file, &bytes, 0).map_err(|e| failed(Operation::Write, &e))?;
        file.sync_data().map_err(|e| failed(Operation::Sync, &e))?;
        (self.torn_to, self.unsynced) = (0, false);
        Ok(())
    }

    /// Whether something lies behind the last entry that must be cut.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn_to > 0
    }

    /// Whether there is a file.
    pub(crate) fn exists(&self) -> bool {
        self.file.is_some()
    }
}

/// The bodies that say what a set of removed numbers is: its floor and its groups.
pub(crate) fn bodies_of(floor: u64, groups: &[Group]) -> Vec<Vec<u8>> {
    let mut bodies = Bodies::default();
    if floor > 1 {
        bodies.floor(floor);
    }
    for group in groups {
        bodies.removed(group);
    }
    bodies.finish()
}

/// Everything that is removed, as a journal says it.
pub(crate) fn groups_of(segments: &[Arc<Segment>], removed: &Removed) -> (u64, Vec<Group>) {
    let floor = removed.floor();
    let mut groups = Vec::new();
    let mut hole_from = floor;
    for segment in segments {
        if segment.first_seq > hole_from {
            push_hole(&mut groups, removed, hole_from, segment.first_seq - 1);
        }
        hole_from = hole_from.max(segment.next_seq());
        let Some(last) = segment.next_seq().checked_sub(1).filter(|&last| last >= floor) else { continue };
        let ranges = removed.removed_in(segment.first_seq, last);
        let (live_messages, live_bytes) = segment.live();
        let totals = segment.totals();
        // Also what a packed file does not have any more: when that file goes, nothing else says why.
        if totals.messages > live_messages || !ranges.is_empty() {
            // Those below the floor are counted here as well, so that the bytes belong to all of them.
            let mut all = Vec::new();
            if segment.first_seq < floor {
                all.push((segment.first_seq, floor - 1));
            }
            all.extend(ranges);
            groups.push(Group {
                segment: segment.first_seq,
                nonce: segment.nonce,
                messages: totals.messages.saturating_sub(live_messages),
                bytes: totals.record_bytes.saturating_sub(live_bytes),
                ranges: all,
            });
        }
    }
    (floor, groups)
}

fn push_hole(groups: &mut Vec<Group>, removed: &Removed, first: u64, last: u64) {
    let ranges = removed.removed_in(first, last);
    if !ranges.is_empty() {
        groups.push(Group { segment: first, ranges, ..Group::default() });
    }
}
