//! The seam over the file system.

mod medium;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::{Disk, DiskFile, OpenMode, View, map};

/// Most parts that one vectored write takes on Linux.
const PARTS_MAX: usize = 1024;

/// The file system of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

impl RealDisk {
    /// A shared handle, as [`crate::Log::open`] takes it.
    #[must_use]
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadMedium => {
                let (file, medium) = medium::open(path)?;
                return Ok(Arc::new(RealFile { file, medium: Some(medium) }));
            }
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
        }
        Ok(Arc::new(RealFile { file: options.open(path)?, medium: None }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        // From the deepest folder that exists downwards, each new entry is flushed in its parent.
        let mut missing = Vec::new();
        let mut at = path;
        while !at.as_os_str().is_empty() && !at.exists() {
            missing.push(at);
            match at.parent() {
                Some(parent) => at = parent,
                None => break,
            }
        }
        for dir in missing.into_iter().rev() {
            match fs::create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
            self.sync_dir(parent)?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn boot_id(&self) -> u128 {
        // It outlives the process, so that one look is enough for all logs.
        static BOOT_ID: OnceLock<u128> = OnceLock::new();
        *BOOT_ID.get_or_init(|| {
            let Ok(text) = fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return 0 };
            let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
            u128::from_str_radix(&hex, 16).unwrap_or(0)
        })
    }

    fn random(&self) -> io::Result<u64> {
        let mut bytes = [0_u8; 8];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    /// Read past the page cache.
    medium: Option<medium::Medium>,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.medium {
            Some(medium) => medium.read_at(&self.file, buf, offset),
            None => self.file.read_at(buf, offset),
        }
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let parts = parts.get(..PARTS_MAX).unwrap_or(parts);
        match parts {
            [one] => self.file.write_at(one, offset),
            _ => Ok(rustix::io::pwritev(&self.file, parts, offset)?),
        }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // Not every file system can reserve. Then zeros are written, which reserves as well where writes are in place.
            Err(Errno::OPNOTSUPP) => self.fill_with_zeros(len),
            Err(e) => Err(e.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn view(&self, len: u64) -> io::Result<View> {
        map::map_read_only(&self.file, len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

impl RealFile {
    fn fill_with_zeros(&self, len: u64) -> io::Result<()> {
        const STEP: usize = 1 << 20;
        let zeros = vec![0_u8; STEP];
        let mut at = self.file.metadata()?.len();
        while at < len {
            let n = usize::try_from(len - at).unwrap_or(STEP).min(STEP);
            self.file.write_all_at(zeros.get(..n).unwrap_or_default(), at)?;
            at += n as u64;
        }
        Ok(())
    }
}
