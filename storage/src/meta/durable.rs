//! Makes true that what the store has flushed is on stable storage.
//!
//! The store's own flush ends with `sync_file_range`. That writes pages, but it keeps neither the length of a file that has grown nor
//! the place of what was added to it, and lets the drive keep all of it in its cache: a power cut takes what was
//! called flushed. So each flush is followed by a real sync of its files, as long as that succeeds: after a failure nothing that
//! follows is believed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::real::RealDisk;
use crate::disk::{Disk as _, DiskFile, OpenMode};

/// The store's log.
const LOG_FILE: &str = "db";
/// Its folder of values that are too large for the log.
const LARGE_VALUES: &str = "blobs";

#[derive(Debug)]
pub(super) struct Durable {
    path: PathBuf,
    log: Arc<dyn DiskFile>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Files beside the log that are known to be on disk. None of them changes.
    synced: BTreeSet<PathBuf>,
    failed: bool,
}

impl Durable {
    /// Of a store that is open. What it holds is on disk when this returns.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let log = RealDisk.open(&path.join(LOG_FILE), OpenMode::Write)?;
        let durable = Self { path: path.to_path_buf(), log, state: Mutex::default() };
        durable.sync()?;
        RealDisk.sync_dir(path)?;
        if let Some(parent) = path.parent() {
            RealDisk.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        Ok(durable)
    }

    /// To be called after the store's own flush.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::BelieveStoreFlush) {
            return Ok(());
        }
        let mut state = self.state.lock();
        if state.failed {
            return Err(io::Error::other("an earlier sync failed, what followed it may not be on disk"));
        }
        let synced = self.sync_others(&mut state.synced).and_then(|()| self.log.sync_data());
        state.failed = synced.is_err();
        synced
    }

    /// What the log speaks of goes before it.
    fn sync_others(&self, synced: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let mut there = BTreeSet::new();
        for dir in [self.path.join(LARGE_VALUES), self.path.clone()] {
            let names = match RealDisk.list(&dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                names => names?,
            };
            let mut is_new = false;
            for file in names.iter().map(|name| dir.join(name)).filter(|file| !file.ends_with(LOG_FILE)) {
                if !synced.contains(&file) {
                    match RealDisk.open(&file, OpenMode::Read).and_then(|open| open.sync_data()) {
                        // The store lets go of what it does not need.
                        Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                        done => done?,
                    }
                    is_new = true;
                }
                there.insert(file);
            }
            if is_new {
                RealDisk.sync_dir(&dir)?;
            }
        }
        *synced = there;
        Ok(())
    }
}
