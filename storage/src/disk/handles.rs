//! Open files in a bounded number: a disk whose files are opened when they are used and closed when others need the room.
//!
//! **Why a file with unsynced writes is never closed here.** Since Linux 4.13 a failed write-back is reported once to each
//! open file description, by its next `fsync`. A description that is closed takes its report with it, and
//! one that is opened later is told only while nobody else has seen the error and the inode is still in memory. So a file
//! is closed only when everything written through it was followed by a successful sync. After a sync that failed it
//! stays open: its log is finished, and nothing may ever ask again and be told that all is well.
//!
//! Zeros written ahead are the exception ([`DiskFile::write_zeros_at`]): nothing was promised of them. If their write-back
//! fails, the place reads as zeros all the same or is written again with the next records, under a sync of
//! its own, and the sectors before them were synced when they were written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, OpenMode, View};

/// Files with unsynced writes that may be open beyond the limit. With more, a write is followed by a sync at once: the
/// modes that sync late would otherwise keep a file open for each log that was ever written to.
const UNSYNCED_MORE: usize = 64;

/// Files that are kept open for logs that share them. Clones are the same.
#[derive(Clone)]
pub struct FileCache {
    inner: Arc<Mutex<Cache>>,
}

/// What a [`FileCache`] holds and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileCacheState {
    /// Files that are open now.
    pub open: usize,
    /// Those of them with writes that no sync covers.
    pub unsynced: usize,
    /// Files opened again since the cache was made.
    pub reopened: u64,
}

struct Cache {
    files_max: usize,
    open: HashMap<u64, Open>,
    /// By last use, oldest first; only files without unsynced writes.
    idle: BTreeMap<u64, u64>,
    next: u64,
    reopened: u64,
    /// Folders of logs that are open.
    claimed: BTreeSet<PathBuf>,
}

struct Open {
    file: Arc<dyn DiskFile>,
    used: u64,
    unsynced: bool,
}

impl fmt::Debug for FileCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileCache").field(&self.state()).finish()
    }
}

impl FileCache {
    /// Keeps up to `files_max` files open, and those with unsynced writes.
    #[must_use]
    pub fn new(files_max: usize) -> Self {
        let cache = Cache {
            files_max,
            open: HashMap::new(),
            idle: BTreeMap::new(),
            next: 0,
            reopened: 0,
            claimed: BTreeSet::new(),
        };
        Self { inner: Arc::new(Mutex::new(cache)) }
    }

    /// What it holds now.
    #[must_use]
    pub fn state(&self) -> FileCacheState {
        let cache = self.inner.lock();
        FileCacheState {
            open: cache.open.len(),
            unsynced: cache.open.len() - cache.idle.len(),
            reopened: cache.reopened,
        }
    }

    /// The disk, with files opened for writing kept in this cache.
    pub(crate) fn over(&self, disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
        Arc::new(CachedDisk { disk, files: self.clone() })
    }

    /// Takes a folder for one log; `None` if another log in this cache has it.
    pub(crate) fn claim(&self, dir: &Path) -> Option<Claim> {
        let new = self.inner.lock().claimed.insert(dir.to_path_buf());
        new.then(|| Claim { files: self.clone(), dir: dir.to_path_buf() })
    }

    /// The file if it is open.
    fn find(&self, id: u64, will_write: bool) -> Option<Arc<dyn DiskFile>> {
        self.inner.lock().use_now(id, will_write)
    }

    fn insert(&self, id: u64, file: &Arc<dyn DiskFile>, again: bool, will_write: bool) {
        let mut cache = self.inner.lock();
        cache.reopened += u64::from(again);
        cache.open.insert(id, Open { file: Arc::clone(file), used: 0, unsynced: false });
        cache.use_now(id, will_write);
        let closed = cache.close_idle();
        drop(cache);
        // Closing a file is a call to the system, which the others need not wait for.
        drop(closed);
    }

    fn synced(&self, id: u64) {
        let mut cache = self.inner.lock();
        if let Some(open) = cache.open.get_mut(&id) {
            open.unsynced = false;
        }
        cache.use_now(id, false);
        let closed = cache.close_idle();
        drop(cache);
        drop(closed);
    }

    fn forget(&self, id: u64) {
        let mut cache = self.inner.lock();
        let gone = cache.open.remove(&id);
        if let Some(open) = &gone {
            cache.idle.remove(&open.used);
        }
        drop(cache);
        drop(gone);
    }

    /// Whether writes are to be synced at once.
    fn is_pressed(&self) -> bool {
        let cache = self.inner.lock();
        cache.open.len() - cache.idle.len() > cache.files_max + UNSYNCED_MORE
    }

    fn close_all_idle(&self) {
        let mut cache = self.inner.lock();
        let files_max = std::mem::take(&mut cache.files_max);
        let closed = cache.close_idle();
        cache.files_max = files_max;
        drop(cache);
        drop(closed);
    }
}

impl Cache {
    fn use_now(&mut self, id: u64, will_write: bool) -> Option<Arc<dyn DiskFile>> {
        #[cfg(feature = "planted-bugs")]
        let will_write = will_write && !crate::planted::is(crate::planted::Bug::CloseUnsynced);
        self.next += 1;
        let now = self.next;
        let open = self.open.get_mut(&id)?;
        self.idle.remove(&open.used);
        open.used = now;
        open.unsynced |= will_write;
        if !open.unsynced {
            self.idle.insert(now, id);
        }
        Some(Arc::clone(&open.file))
    }

    fn close_idle(&mut self) -> Vec<Open> {
        let mut closed = Vec::new();
        while self.open.len() > self.files_max
            && let Some((_, id)) = self.idle.pop_first()
        {
            closed.extend(self.open.remove(&id));
        }
        closed
    }
}

/// A folder that one log has.
#[derive(Debug)]
pub(crate) struct Claim {
    files: FileCache,
    dir: PathBuf,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.files.inner.lock().claimed.remove(&self.dir);
    }
}

#[derive(Debug)]
struct CachedDisk {
    disk: Arc<dyn Disk>,
    files: FileCache,
}

impl CachedDisk {
    fn closed(&self, path: &Path) -> CachedFile {
        let id = {
            let mut cache = self.files.inner.lock();
            cache.next += 1;
            cache.next
        };
        let (path, disk, files) = (path.to_path_buf(), Arc::clone(&self.disk), self.files.clone());
        CachedFile { id, path: Mutex::new(path), disk, files, opening: Mutex::new(()) }
    }
}

impl Disk for CachedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = retry_open(&self.files, || self.disk.open(path, mode))?;
        if matches!(mode, OpenMode::Read | OpenMode::ReadMedium) {
            return Ok(file);
        }
        let cached = self.closed(path);
        self.files.insert(cached.id, &file, false, false);
        Ok(Arc::new(cached))
    }

    fn open_later(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.closed(path)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        retry_open(&self.files, || self.disk.sync_dir(dir))
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        self.disk.free_space(dir)
    }

    fn boot_id(&self) -> u128 {
        self.disk.boot_id()
    }

    fn random(&self) -> io::Result<u64> {
        self.disk.random()
    }
}

/// If the process has no file to spare, idle ones are given up for it.
fn retry_open<T>(files: &FileCache, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match open() {
        Err(e) if crate::error::is_too_many_files(&e) => {
            files.close_all_idle();
            open()
        }
        result => result,
    }
}

/// A file that is open when it is used.
struct CachedFile {
    id: u64,
    path: Mutex<PathBuf>,
    disk: Arc<dyn Disk>,
    files: FileCache,
    /// One opens it at a time.
    opening: Mutex<()>,
}

impl fmt::Debug for CachedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedFile").field("path", &*self.path.lock()).finish_non_exhaustive()
    }
}

impl CachedFile {
    /// The open file. If it `will` be `write`n to it stays open until a sync.
    fn file(&self, will_write: bool) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.files.find(self.id, will_write) {
            return Ok(file);
        }
        let _one_at_a_time = self.opening.lock();
        if let Some(file) = self.files.find(self.id, will_write) {
            return Ok(file);
        }
        let path = self.path.lock().clone();
        let file = retry_open(&self.files, || self.disk.open(&path, OpenMode::Write))?;
        self.files.insert(self.id, &file, true, will_write);
        Ok(file)
    }

    fn sync_if_pressed(&self) -> io::Result<()> {
        if !self.files.is_pressed() {
            return Ok(());
        }
        // A failed sync is the end of the log whatever its number says: "no space" would look like a write to retry.
        self.sync_data().map_err(|e| io::Error::other(format!("sync after the write: {e}")))
    }
}

impl Drop for CachedFile {
    fn drop(&mut self) {
        self.files.forget(self.id);
    }
}

impl DiskFile for CachedFile {
    fn len(&self) -> io::Result<u64> {
        self.file(false)?.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file(false)?.read_at(buf, offset)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let written = self.file(true)?.write_vectored_at(parts, offset)?;
        self.sync_if_pressed()?;
        Ok(written)
    }

    fn write_zeros_at(&self, zeros: &[u8], offset: u64) -> io::Result<()> {
        self.file(false)?.write_zeros_at(zeros, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file(true)?.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file(true)?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // A file that was closed has nothing to sync.
        if let Some(file) = self.files.find(self.id, true) {
            file.sync_data()?;
            self.files.synced(self.id);
        }
        Ok(())
    }

    fn view(&self, len: u64) -> io::Result<View> {
        self.file(false)?.view(len)
    }

    fn renamed(&self, path: &Path) {
        path.clone_into(&mut self.path.lock());
    }

    fn try_lock(&self) -> io::Result<bool> {
        // A lock ends with the open file, and this one may be closed at any time.
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{Call, Fault, SimDisk};
    use crate::disk::write_all;

    fn file(disk: &Arc<dyn Disk>, i: u64) -> Arc<dyn DiskFile> {
        disk.open(&PathBuf::from(format!("/sim/file{i}")), OpenMode::Create).unwrap()
    }

    #[test]
    fn synced_files_are_closed_the_longest_unused_first_and_opened_again() {
        let files = FileCache::new(3);
        let disk = files.over(SimDisk::new(1).shared());
        let all: Vec<_> = (0..5).map(|i| file(&disk, i)).collect();
        assert_eq!(files.state(), FileCacheState { open: 3, unsynced: 0, reopened: 0 });
        // 2, 3 and 4 are open; 2 is used, so that 3 is the longest unused.
        all[2].len().unwrap();
        write_all(&*all[0], b"x", 0).unwrap();
        assert_eq!(files.state(), FileCacheState { open: 3, unsynced: 1, reopened: 1 });
        all[2].len().unwrap();
        all[4].len().unwrap();
        assert_eq!(files.state().reopened, 1);
        all[3].len().unwrap();
        assert_eq!(files.state(), FileCacheState { open: 3, unsynced: 1, reopened: 2 });
        drop(all);
        assert_eq!(files.state().open, 0);
    }

    #[test]
    fn a_file_with_unsynced_writes_stays_open_until_a_sync_succeeds() {
        let files = FileCache::new(0);
        let sim = SimDisk::new(2);
        let disk = files.over(sim.shared());
        let one = file(&disk, 1);
        assert_eq!(files.state().open, 0);
        for change in 0..3 {
            match change {
                0 => write_all(&*one, b"x", 0).unwrap(),
                1 => one.set_len(1).unwrap(),
                _ => one.allocate(10).unwrap(),
            }
            let _other = file(&disk, 2);
            assert_eq!(files.state().unsynced, 1, "change {change}");
            one.sync_data().unwrap();
            assert_eq!(files.state().open, 0, "change {change}");
        }
        one.write_zeros_at(&[0; 10], 0).unwrap();
        assert_eq!(files.state().unsynced, 0, "zeros are nothing to wait for");
        // After a failed sync it stays open, so that no other open file answers for it.
        write_all(&*one, b"y", 0).unwrap();
        sim.fail(Call::Sync, 1, 1, Fault::Io);
        assert!(one.sync_data().is_err());
        let reopened = files.state().reopened;
        let _other = file(&disk, 2);
        one.len().unwrap();
        assert_eq!(files.state(), FileCacheState { open: 1, unsynced: 1, reopened });
    }

    #[test]
    fn too_many_unsynced_files_are_synced_as_they_are_written() {
        let files = FileCache::new(2);
        let sim = SimDisk::new(3);
        let disk = files.over(sim.shared());
        let most = 2 + UNSYNCED_MORE;
        let all: Vec<_> = (0..200).map(|i| file(&disk, i)).collect();
        for file in &all {
            write_all(&**file, b"x", 0).unwrap();
        }
        assert_eq!(files.state().unsynced, most);
        assert_eq!(sim.calls(Call::Sync), (200 - most) as u64);
        // A sync that fails there is an error of the write, and none that passes.
        sim.fail(Call::Sync, 1, 1, Fault::NoSpace);
        let error = write_all(&*all[199], b"y", 0).unwrap_err();
        assert!(!crate::error::is_no_space(&error), "{error}");
    }

    #[test]
    fn a_folder_has_one_log() {
        let files = FileCache::new(1);
        let claim = files.claim(Path::new("/a")).unwrap();
        assert!(files.claim(Path::new("/a")).is_none());
        assert!(files.claim(Path::new("/b")).is_some());
        drop(claim);
        assert!(files.claim(Path::new("/a")).is_some());
    }
}
