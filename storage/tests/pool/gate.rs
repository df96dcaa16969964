//! The real disk with a gate: syncs of files below a chosen folder wait until they are let through. None of them really
//! syncs, so that only the gate makes them slow.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use sublog_storage::RealDisk;
use sublog_storage::disk::{Disk, DiskFile, OpenMode, View};

/// What the gate stops.
#[derive(Debug, Default)]
struct State {
    /// Syncs below these folders wait.
    closed: Vec<PathBuf>,
    waiting: usize,
}

/// A disk with a gate; clones share it.
#[derive(Clone, Default)]
pub(crate) struct GateDisk {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl fmt::Debug for GateDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GateDisk")
    }
}

impl GateDisk {
    /// From now on syncs below `dir` wait.
    pub(crate) fn close(&self, dir: &Path) {
        self.state.0.lock().closed.push(dir.to_path_buf());
    }

    /// Lets all through when it is dropped, so that a test that fails does not wait for ever.
    pub(crate) fn opens_at_end(&self) -> OpensAtEnd {
        OpensAtEnd(self.clone())
    }

    /// Lets all through.
    pub(crate) fn open_all(&self) {
        self.state.0.lock().closed.clear();
        self.state.1.notify_all();
    }

    /// Syncs that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.0.lock().waiting
    }

    pub(crate) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }
}

/// See [`GateDisk::opens_at_end`].
pub(crate) struct OpensAtEnd(GateDisk);

impl Drop for OpensAtEnd {
    fn drop(&mut self) {
        self.0.open_all();
    }
}

impl Disk for GateDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(GateFile { file, path: path.to_path_buf(), gate: self.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_space(dir)
    }

    fn boot_id(&self) -> u128 {
        RealDisk.boot_id()
    }

    fn random(&self) -> io::Result<u64> {
        RealDisk.random()
    }
}

#[derive(Debug)]
struct GateFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    gate: GateDisk,
}

impl DiskFile for GateFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_vectored_at(&self, parts: &[io::IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.file.write_vectored_at(parts, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (state, opened) = &*self.gate.state;
        let mut state = state.lock();
        while state.closed.iter().any(|dir| self.path.starts_with(dir)) {
            state.waiting += 1;
            opened.wait(&mut state);
            state.waiting -= 1;
        }
        Ok(())
    }

    fn view(&self, len: u64) -> io::Result<View> {
        self.file.view(len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
