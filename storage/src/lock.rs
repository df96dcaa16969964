//! One owner of a folder: a locked file that says who owns it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode, read_full, real::RealDisk, write_all};
use crate::error::{LogError, OpenError, Operation};
use crate::reserve::Reserve;

/// Opens `path` and takes its lock, or says who has it. The first line of such a file is the owner's process number.
pub(crate) fn take(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>, OpenError> {
    let file = disk.open(path, OpenMode::Create).map_err(|e| LogError::from_io(Operation::Lock, path, None, &e))?;
    take_file(&*file, path)?;
    Ok(file)
}

/// Takes the lock of an open file, or says who has it.
pub(crate) fn take_file(file: &dyn DiskFile, path: &Path) -> Result<(), OpenError> {
    if file.try_lock().map_err(|e| LogError::from_io(Operation::Lock, path, None, &e))? {
        return Ok(());
    }
    let mut head = [0_u8; 16];
    let n = read_full(file, &mut head, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(head.get(..n).unwrap_or_default()).into_owned();
    let owner_pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    Err(OpenError::Locked { path: path.to_path_buf(), owner_pid })
}

/// Bytes kept aside on the disk of a data folder.
const RESERVE_BYTES: u64 = 4 << 20;

/// The data folder of a server: `LOCK`, `reserve`, `meta/` and `streams/`. Held as long as the value lives.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    lock: Arc<dyn DiskFile>,
    reserve: Arc<Reserve>,
}

impl DataDir {
    /// Makes the folder if it does not exist, and takes it.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process has it, or what the system says.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let disk = RealDisk;
        disk.create_dir_all(root).map_err(|e| LogError::from_io(Operation::Open, root, None, &e))?;
        let path = root.join("LOCK");
        let lock = take(&disk, &path)?;
        let line = format!("{:<10}\n", std::process::id());
        let write = || {
            lock.set_len(0)?;
            write_all(&*lock, line.as_bytes(), 0)?;
            lock.sync_data()
        };
        write().map_err(|e| LogError::from_io(Operation::Lock, &path, None, &e))?;
        let reserve = Arc::new(Reserve::new(RealDisk::shared(), root, RESERVE_BYTES));
        Ok(Self { root: root.to_path_buf(), lock, reserve })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Space kept aside for removals and metadata.
    #[must_use]
    pub fn reserve(&self) -> &Arc<Reserve> {
        &self.reserve
    }

    /// Where the small metadata lives.
    #[must_use]
    pub fn meta(&self) -> PathBuf {
        self.root.join("meta")
    }

    /// Where a stream's log lives. The caller has checked that the name is a plain file name.
    #[must_use]
    pub fn stream(&self, name: &str) -> PathBuf {
        self.root.join("streams").join(name)
    }

    /// Bytes that may still be written here.
    ///
    /// # Errors
    /// What the system says.
    pub fn free_space(&self) -> io::Result<u64> {
        // The lock is held by `self`, which this reads only to keep the field in use.
        let _ = &self.lock;
        RealDisk.free_space(&self.root)
    }
}
