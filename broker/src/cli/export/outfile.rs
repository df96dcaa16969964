//! The file that is written: under another name until it is whole.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::cli::client::Failure;

/// Where the bytes of an export go.
pub(super) struct OutFile {
    target: Target,
    written_bytes: u64,
}

enum Target {
    Stdout(io::Stdout),
    File(Part),
}

/// A file that is not whole yet. Removed when it is dropped so.
struct Part {
    file: File,
    part: PathBuf,
    path: PathBuf,
    force: bool,
    done: bool,
}

impl OutFile {
    /// Standard output.
    pub(super) fn stdout() -> Self {
        Self { target: Target::Stdout(io::stdout()), written_bytes: 0 }
    }

    /// A file. With `force` one of that name is replaced, once the new one is whole.
    pub(super) fn create(path: &Path, force: bool) -> Result<Self, Failure> {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(refuse(path, "is a folder")),
            Ok(found) if !found.is_file() => return Err(refuse(path, "is not a regular file; - is stdout")),
            Ok(_) if !force => return Err(refuse(path, "exists; --force replaces it")),
            _ => {}
        }
        let mut part = OsString::from(path);
        part.push(".part");
        let part = PathBuf::from(part);
        // Not through a link that somebody has put there.
        let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let file = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(nofollow).open(&part);
        let file = file.map_err(|error| refuse(&part, &format!("cannot be created: {error}")))?;
        // What a killed export left is free to be written over; what a running one writes is not.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refuse(&part, "is being written by another export")),
            Err(TryLockError::Error(error)) => return Err(refuse(&part, &format!("cannot be locked: {error}"))),
        }
        file.set_len(0).map_err(|error| refuse(&part, &format!("cannot be written: {error}")))?;
        let target = Target::File(Part { file, part, path: path.to_owned(), force, done: false });
        Ok(Self { target, written_bytes: 0 })
    }

    /// Bytes written so far.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Gives the file its name. It is on disk by then, also after a power cut.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match &mut self.target {
            Target::Stdout(stdout) => Ok(stdout.flush()?),
            Target::File(part) => part.finish(),
        }
    }
}

impl Part {
    fn finish(&mut self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| refuse(&self.part, &format!("cannot be written: {error}")))?;
        self.rename().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => refuse(&self.path, "has been made by somebody else meanwhile"),
            _ => refuse(&self.path, &format!("cannot be given its name: {error}")),
        })?;
        self.done = true;
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| refuse(dir, &format!("the name of the file may be lost: {error}")))
    }

    fn rename(&self) -> io::Result<()> {
        if self.force {
            return std::fs::rename(&self.part, &self.path);
        }
        match rustix::fs::renameat_with(CWD, &self.part, CWD, &self.path, RenameFlags::NOREPLACE) {
            // A file system that has no such call.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match std::fs::symlink_metadata(&self.path) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => std::fs::rename(&self.part, &self.path),
            },
            other => Ok(other?),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed stays under its own name, which says that it is a part.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.target {
            Target::Stdout(stdout) => stdout.write(bytes),
            Target::File(part) => part.file.write(bytes),
        }?;
        self.written_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout(stdout) => stdout.flush(),
            Target::File(part) => part.file.flush(),
        }
    }
}

fn refuse(path: &Path, why: &str) -> Failure {
    Failure::Other(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_made_meanwhile_is_not_replaced_unless_forced() {
        let dir = std::env::temp_dir().join(format!("sublog-outfile-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, part) = (dir.join("x"), dir.join("x.part"));
        for force in [false, true] {
            let _ = std::fs::remove_file(&path);
            let mut out = OutFile::create(&path, force).unwrap();
            out.write_all(b"ours").unwrap();
            assert!(part.exists() && !path.exists());
            std::fs::write(&path, "theirs").unwrap();
            assert_eq!(out.written_bytes(), 4);
            let outcome = out.finish();
            assert_eq!(outcome.is_ok(), force);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), if force { "ours" } else { "theirs" });
            assert!(!part.exists());
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
