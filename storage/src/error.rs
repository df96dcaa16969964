//! Error types: one per operation, each with the path, the offset and the system error that caused it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was being done to a file when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating a file or folder.
    Open,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Reserving space, or changing a file's length.
    Allocate,
    /// Flushing a file's data to stable storage.
    Sync,
    /// Flushing a folder's entries to stable storage.
    SyncDir,
    /// Mapping a file into memory.
    Map,
    /// Removing or renaming a file.
    Remove,
    /// Listing a folder.
    List,
    /// Taking the lock of a folder.
    Lock,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Allocate => "allocate",
            Self::Sync => "sync",
            Self::SyncDir => "sync folder",
            Self::Map => "map",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Lock => "lock",
        })
    }
}

/// The kind of a failure, as far as callers act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No space, no quota, a file size limit, or no file to spare for the process: writing resumes by itself when there is room again.
    NoSpace,
    /// The device or the kernel failed a write or a sync: writing has ended for good.
    Io,
    /// The log was closed by its owner.
    Closed,
}

/// Why a log could not take or keep something. Cheap to clone: every waiter of a failed commit gets one.
#[derive(Debug, Clone)]
pub struct LogError {
    inner: Arc<LogErrorInner>,
}

#[derive(Debug)]
struct LogErrorInner {
    operation: Operation,
    path: PathBuf,
    offset: Option<u64>,
    kind: FailureKind,
    errno: Option<i32>,
    message: String,
}

impl LogError {
    /// Wraps a system error with what was done, where.
    #[must_use]
    pub fn from_io(operation: Operation, path: &Path, offset: Option<u64>, error: &io::Error) -> Self {
        // A sync that finds no room has lost what it should have written, like any other that fails.
        let passes = (is_no_space(error) || is_too_many_files(error))
            && !matches!(operation, Operation::Sync | Operation::SyncDir);
        let kind = if passes { FailureKind::NoSpace } else { FailureKind::Io };
        Self {
            inner: Arc::new(LogErrorInner {
                operation,
                path: path.to_path_buf(),
                offset,
                kind,
                errno: error.raw_os_error(),
                message: error.to_string(),
            }),
        }
    }

    pub(crate) fn closed(path: &Path) -> Self {
        Self {
            inner: Arc::new(LogErrorInner {
                operation: Operation::Write,
                path: path.to_path_buf(),
                offset: None,
                kind: FailureKind::Closed,
                errno: None,
                message: "the log is closed".to_owned(),
            }),
        }
    }

    /// The kind of the failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.inner.kind
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.inner.operation
    }

    /// The file or folder it was done to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Offset in the file, in bytes, where that makes sense.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.inner.offset
    }

    /// The system's error number, if it was the system that refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.inner.errno
    }

    /// Whether the file was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.inner.errno == Some(rustix::io::Errno::NOENT.raw_os_error())
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.inner.operation, self.inner.path.display())?;
        if let Some(offset) = self.inner.offset {
            write!(f, " at {offset}")?;
        }
        write!(f, ": {}", self.inner.message)
    }
}

impl std::error::Error for LogError {}

/// Whether a system error says "no room", which passes, unlike an IO error.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Whether a system error says that the process or the system has no open file to spare, which passes as well.
pub(crate) fn is_too_many_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A record is larger than the format can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record of {bytes} bytes is larger than the {max} a log takes")]
pub struct RecordTooLarge {
    /// Size of the refused record, in bytes.
    pub bytes: usize,
    /// Largest size a log takes, in bytes.
    pub max: usize,
}

/// Why [`crate::Log::append`] took nothing. The batch is untouched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// More bytes wait for the disk than the options allow; [`crate::LogObserver::space`] says when to try again.
    #[error("{queued_bytes} bytes wait for the disk, {max_bytes} may")]
    QueueFull {
        /// Bytes that wait to be written.
        queued_bytes: usize,
        /// Limit of the options.
        max_bytes: usize,
    },
    /// A limit that refuses new records is reached.
    #[error("maximum {what} reached: {limit}")]
    Limit {
        /// What is limited: `messages`, `bytes` or `messages per subject`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The limit per subject refuses new records, and how many there are cannot be found out.
    #[error("the records of a subject cannot be counted: {why}")]
    Uncounted {
        /// Why not.
        why: String,
    },
    /// The log cannot write: its disk is full, a sync failed, or it is closed.
    #[error(transparent)]
    Failed(#[from] LogError),
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another `Log` in this one) owns the folder.
    #[error("{} is in use by process {}", path.display(), owner_pid.map_or_else(|| "unknown".to_owned(), |p| p.to_string()))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Process that holds it, if it wrote its number.
        owner_pid: Option<u32>,
    },
    /// A file is of a format version that this program does not know. Nothing was changed.
    #[error("{} has format version {found}, this program reads up to {known}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Version found in it.
        found: u32,
        /// Newest version this program reads.
        known: u32,
    },
    /// The options contradict themselves.
    #[error("bad options: {0}")]
    BadOptions(String),
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] LogError),
}

/// Why a read could not be done at all. Damage is not an error: it is shown as a lost range.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The system refused to open or map a segment.
    #[error(transparent)]
    Io(#[from] LogError),
}

impl ReadError {
    /// Whether a segment was gone: its owner removed it since the log was opened.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let Self::Io(error) = self;
        error.is_not_found()
    }
}
