//! A disk in memory that behaves as badly as a real one may.
//!
//! Each file has what the page cache shows and what is on stable storage, compared per 512-byte sector; the names in a
//! folder have the same two states. [`SimDisk::crash`] lets chance decide for every unsynced sector and every unsynced
//! name whether it made it. Everything follows from seeds, so every state can be made again.

mod chance;
mod fault;
mod file;
mod inode;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

pub use self::chance::Chance;
use self::fault::Faults;
pub use self::fault::{Call, Fault};
use self::file::SimFile;
use self::inode::Inode;
use super::{Disk, DiskFile, OpenMode};

/// The smallest piece that is written whole or not at all, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// What a crash did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Unsynced sectors that were kept.
    pub sectors_kept: u64,
    /// Unsynced sectors that were lost.
    pub sectors_lost: u64,
    /// Unsynced changes of names or lengths that were kept.
    pub names_kept: u64,
    /// Unsynced changes of names or lengths that were lost.
    pub names_lost: u64,
}

impl CrashReport {
    /// Whether some of what was unsynced made it and some did not.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.sectors_kept > 0 && self.sectors_lost > 0
    }
}

/// A simulated disk. Clones share it; [`SimDisk::fork`] makes one that goes its own way.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone)]
struct State {
    chance: Chance,
    boot: u64,
    /// Handles of an earlier life fail.
    life: u64,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced: Vec<NameChange>,
    faults: Faults,
    /// Bytes that all files may have together.
    space: u64,
    /// Calls until the state is kept aside.
    snapshot_in: u64,
    snapshot: Option<Box<State>>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Added(PathBuf, usize),
    Removed(PathBuf),
    Renamed(PathBuf, PathBuf, usize),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Added(path, _) | Self::Removed(path) | Self::Renamed(path, _, _) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Added(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Removed(path) => {
                names.remove(path);
            }
            Self::Renamed(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk; what it decides follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            chance: Chance::new(seed),
            boot: 1,
            life: 1,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced: Vec::new(),
            faults: Faults::default(),
            space: u64::MAX,
            snapshot_in: 0,
            snapshot: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A shared handle, as [`crate::Log::open`] takes it.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// A copy in the same state, with other choices ahead. Handles stay with the original.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        Self::from_state(self.state.lock().clone(), seed)
    }

    fn from_state(mut state: State, seed: u64) -> Self {
        state.chance = Chance::new(seed);
        state.life += 1;
        for inode in &mut state.inodes {
            inode.locked = false;
        }
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Keeps the state aside as it is just before the `k`-th changing call from now (1 is the next): a moment in the
    /// middle of whatever is done then.
    pub fn snapshot_before(&self, k: u64) {
        let mut state = self.state.lock();
        state.snapshot_in = k;
        state.snapshot = None;
    }

    /// The state kept aside, if that call came.
    #[must_use]
    pub fn take_snapshot(&self, seed: u64) -> Option<Self> {
        let mut state = self.state.lock();
        state.snapshot_in = 0;
        state.snapshot.take().map(|state| Self::from_state(*state, seed))
    }

    /// The power goes: chance decides what of the unsynced made it. Handles of before fail from now on.
    pub fn crash(&self) -> CrashReport {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut report = CrashReport::default();
        // From "all lost" to "all kept", so that both ends and everything between are seen.
        let percent = [0, 100, 50, 10, 90].get(state.chance.below(5) as usize).copied().unwrap_or(50);
        let mut names = std::mem::take(&mut state.durable_names);
        for change in state.unsynced.drain(..) {
            if state.chance.percent(percent) {
                change.apply(&mut names);
                report.names_kept += 1;
            } else {
                report.names_lost += 1;
            }
        }
        state.names = names.clone();
        state.durable_names = names;
        for inode in &mut state.inodes {
            inode.crash(&mut state.chance, percent, &mut report);
        }
        state.boot += 1;
        state.life += 1;
        state.faults = Faults::default();
        report
    }

    /// The process dies: the page cache stays, locks and handles do not.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.life += 1;
        state.faults = Faults::default();
        for inode in &mut state.inodes {
            inode.locked = false;
        }
    }

    /// The `k`-th call of this kind from now (1 is the next) fails like this, and `times - 1` more after it.
    pub fn fail(&self, call: Call, k: u64, times: u64, fault: Fault) {
        self.state.lock().faults.plan(call, k, times, fault);
    }

    /// Calls made since the last crash, kill or planned fault, of one kind.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.state.lock().faults.calls(call)
    }

    /// Limits what all files may hold together, in bytes.
    pub fn set_space(&self, bytes: u64) {
        self.state.lock().space = bytes;
    }

    /// Flips one bit of a file, in the page cache and on stable storage. `false` if there is no such bit.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> bool {
        let mut state = self.state.lock();
        let inode = state.names.get(path).copied();
        inode.and_then(|i| state.inodes.get_mut(i)).is_some_and(|inode| inode.flip_bit(bit))
    }

    /// Flips one bit of a file on stable storage only: the page cache goes on showing the right one. `false` if there is no
    /// such bit.
    pub fn rot_bit(&self, path: &Path, bit: u64) -> bool {
        let mut state = self.state.lock();
        let inode = state.names.get(path).copied();
        inode.and_then(|i| state.inodes.get_mut(i)).is_some_and(|inode| inode.rot_bit(bit))
    }

    /// What the page cache shows of a file.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let inode = state.names.get(path)?;
        state.inodes.get(*inode).map(|inode| inode.cache.to_vec())
    }

    /// Replaces a file, durably.
    pub fn set_contents(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let i = state.names.get(path).copied().unwrap_or(state.inodes.len());
        if i == state.inodes.len() {
            state.inodes.push(Inode::default());
        }
        state.names.insert(path.to_path_buf(), i);
        state.durable_names.insert(path.to_path_buf(), i);
        if let Some(inode) = state.inodes.get_mut(i) {
            *inode = Inode::durable(bytes);
        }
    }
}

impl State {
    /// Counts a call that changes something.
    fn tick(&mut self) {
        if self.snapshot_in == 1 {
            self.snapshot = Some(Box::new(self.clone()));
        }
        self.snapshot_in = self.snapshot_in.saturating_sub(1);
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|&i| self.inodes.get(i)).map(|inode| inode.cache.len() as u64).sum()
    }
}

fn no_such_file() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.tick();
        state.faults.check(Call::Open)?;
        let found = state.names.get(path).copied();
        let inode = match (found, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            (Some(inode), _) => inode,
            (None, OpenMode::Read | OpenMode::ReadMedium | OpenMode::Write) => return Err(no_such_file()),
            (None, _) => {
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                state.names.insert(path.to_path_buf(), inode);
                state.unsynced.push(NameChange::Added(path.to_path_buf(), inode));
                inode
            }
        };
        let medium = mode == OpenMode::ReadMedium;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, life: state.life, medium, holds: AtomicBool::new(false) }))
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.tick();
        state.faults.check(Call::Remove)?;
        let inode = state.names.remove(from).ok_or_else(no_such_file)?;
        state.names.insert(to.to_path_buf(), inode);
        state.unsynced.push(NameChange::Renamed(from.to_path_buf(), to.to_path_buf(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.tick();
        state.faults.check(Call::Remove)?;
        state.names.remove(path).ok_or_else(no_such_file)?;
        state.unsynced.push(NameChange::Removed(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.tick();
        state.faults.check(Call::SyncDir)?;
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.unsynced).into_iter().partition(|change| change.dir() == Some(dir));
        state.unsynced = elsewhere;
        for change in here {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn free_space(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.space.saturating_sub(state.used()))
    }

    fn boot_id(&self) -> u128 {
        u128::from(self.state.lock().boot)
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.state.lock().chance.bits())
    }
}
