//! The log file: appended to, opened anew when asked, set aside when it has grown large.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::{LogError, now};

/// Bytes that a file holds before it is set aside are at least this many, so that no line makes a file of its own.
pub(super) const ROTATE_BYTES_MIN: u64 = 1024;

/// When the file is set aside for a new one, as `<file>.YYYY.MM.DD.hh.mm.ss.nnnnnnnnn`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Before it grows beyond this many bytes; 0 is never.
    pub bytes_max: u64,
    /// Files that are kept in all, the current one too; 0 keeps every one.
    pub files_max: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotation: Rotation,
}

impl LogFile {
    pub(super) fn open(path: &Path, rotation: Rotation) -> Result<Self, LogError> {
        let file = open(path)?;
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Self { path: path.to_owned(), file, bytes, rotation })
    }

    pub(super) fn reopen(&mut self) -> Result<(), LogError> {
        *self = Self::open(&self.path, self.rotation)?;
        Ok(())
    }

    pub(super) fn write(&mut self, line: &str) {
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let most = self.rotation.bytes_max.max(ROTATE_BYTES_MIN);
        if self.rotation.bytes_max > 0 && self.bytes > 0 && self.bytes.saturating_add(bytes) > most {
            self.set_aside();
        }
        // Nobody is left to tell when the log itself fails.
        if self.file.write_all(line.as_bytes()).is_ok() {
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    /// Goes on in a new file. Where that fails, the old one grows further: a log that is too large is better than none.
    fn set_aside(&mut self) {
        let stamp = now().to_zoned(TimeZone::system()).strftime("%Y.%m.%d.%H.%M.%S.%9f").to_string();
        let mut aside = self.path.clone().into_os_string();
        aside.push(".");
        aside.push(stamp);
        if std::fs::rename(&self.path, &aside).is_err() || self.reopen().is_err() {
            // Tried again after as many bytes, not at every line.
            self.bytes = 0;
            return;
        }
        if self.rotation.files_max > 0 {
            let mut old = self.old_files();
            let keep = self.rotation.files_max - 1;
            old.truncate(old.len().saturating_sub(keep));
            for path in old {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Files that were set aside, oldest first.
    fn old_files(&self) -> Vec<PathBuf> {
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let Some(name) = self.path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let is_stamp = |tail: &str| tail.len() == 29 && tail.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let mut old: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| {
                let tail = entry
                    .file_name()
                    .to_str()
                    .and_then(|file| file.strip_prefix(name)?.strip_prefix('.').map(is_stamp));
                tail == Some(true)
            })
            .map(|entry| entry.path())
            .collect();
        old.sort_unstable();
        old
    }
}

/// Log lines name users and addresses, so the file is not for everybody.
fn open(path: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|source| LogError::Open { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_set_aside_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(dir.path().join("log.of-somebody-else"), "x").unwrap();
        let rotation = Rotation { bytes_max: 2000, files_max: 3 };
        let mut log = LogFile::open(&path, rotation).unwrap();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..200 {
            log.write(&line);
        }
        let old = log.old_files();
        assert_eq!(old.len(), 2, "{old:?}");
        for file in old.iter().chain([&path]) {
            let size = std::fs::metadata(file).unwrap().len();
            assert!(size > 0 && size <= 2000 && size.is_multiple_of(100), "{file:?}: {size}");
        }
        assert!(dir.path().join("log.of-somebody-else").exists());
    }

    #[test]
    fn without_a_limit_nothing_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, Rotation::default()).unwrap();
        for _ in 0..200 {
            log.write("0123456789012345678901234567890123456789\n");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 200 * 41);
        assert!(log.old_files().is_empty());
    }
}
