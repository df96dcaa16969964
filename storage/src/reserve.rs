//! Space kept aside for what must work on a full disk: removals and metadata, which give space back or say where it is.
//!
//! A file that is allocated and holds nothing. When one of these finds no room, the file goes, and there is some; when there is room
//! enough again, it is made again. It is one for all logs of a data folder, since one disk is full at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, OpenMode};
use crate::sync::Mutex;

/// Name of the file.
const RESERVE_NAME: &str = "reserve";
/// It is made only if this many times its size is free: it must not be what fills the disk.
const FREE_TIMES: u64 = 2;

/// See the module.
#[derive(Debug)]
pub struct Reserve {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    bytes: u64,
    held: Mutex<bool>,
}

impl Reserve {
    /// Keeps so many bytes in `dir`, from now on if there is room, otherwise as soon as there is.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, bytes: u64) -> Self {
        let path = dir.join(RESERVE_NAME);
        let reserve = Self { disk, dir: dir.to_path_buf(), path, bytes, held: Mutex::new(false) };
        let found = reserve.disk.open(&reserve.path, OpenMode::Read).and_then(|file| file.len());
        if found.is_ok_and(|len| len >= bytes) {
            *reserve.held.lock() = true;
        } else {
            reserve.remake();
        }
        reserve
    }

    /// Whether the space is there.
    #[must_use]
    pub fn is_held(&self) -> bool {
        *self.held.lock()
    }

    /// Gives the space to whoever comes first; `false` if that was done already.
    pub fn give_up(&self) -> bool {
        let mut held = self.held.lock();
        if !std::mem::replace(&mut *held, false) {
            return false;
        }
        // Some file systems have the space free only when the change of the folder is on disk. What fails here, fails there.
        let gone = self.disk.remove(&self.path).and_then(|()| self.disk.sync_dir(&self.dir));
        match gone {
            Ok(()) => {
                tracing::warn!(path = %self.path.display(), bytes = self.bytes, "the disk is full, the reserve is given up")
            }
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "the reserve cannot be given up"),
        }
        true
    }

    /// Gives the space up if less than `needed` bytes are free.
    pub fn make_room(&self, needed: u64) {
        if self.disk.free_space(&self.dir).is_ok_and(|free| free < needed) {
            self.give_up();
        }
    }

    /// Takes space again, if it was given up and there is plenty. Costs nothing otherwise.
    pub fn remake(&self) {
        let mut held = self.held.lock();
        let plenty = || self.disk.free_space(&self.dir).is_ok_and(|free| free >= self.bytes.saturating_mul(FREE_TIMES));
        if *held || !plenty() {
            return;
        }
        match self.make() {
            Ok(()) => *held = true,
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "no space could be kept aside");
                let _ = self.disk.remove(&self.path);
            }
        }
    }

    fn make(&self) -> io::Result<()> {
        self.disk.open(&self.path, OpenMode::Create)?.allocate(self.bytes)
    }
}
