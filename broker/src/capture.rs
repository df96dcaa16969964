//! The capture stream: the log of what no declared stream takes.

use std::path::Path;
use std::sync::Arc;

use sublog_storage::{Codec, DataDir, Log, LogOptions, LogState, OpenError, Reader, RecoveryReport};
use tokio::sync::watch;

use crate::config::CaptureOptions;
use crate::jetstream::store::{RECORD_OVERHEAD_FILE, StreamLog};

/// Name of the stream that records what nobody asked for.
pub const CAPTURE: &str = "CAPTURE";

/// Whether the capture stream takes messages on this subject: all but `$…` and `_…`, which are the system's and
/// clients' inboxes.
#[must_use]
pub fn is_captured(subject: &[u8]) -> bool {
    !matches!(subject.first(), None | Some(b'$' | b'_'))
}

/// See the module.
#[derive(Default, Clone)]
pub struct Capture(Option<Arc<StreamLog>>);

/// Bytes the log queues for its disk before publishers feel it.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Capture {
    /// A server that records nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens (and if necessary recovers) its log in `dir`, which is one of the data folder's.
    ///
    /// # Errors
    /// As the storage tells.
    pub fn open(
        dir: &Path,
        data: &DataDir,
        options: &CaptureOptions,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let log_options = LogOptions {
            sync: options.sync,
            record_overhead: RECORD_OVERHEAD_FILE,
            queue_bytes_max: QUEUE_BYTES_MAX,
            pack: options.compress.then_some(Codec::Zstd),
            reserve: Some(Arc::clone(data.reserve())),
            ..LogOptions::default()
        };
        let (log, report) = StreamLog::open(CAPTURE, dir, log_options, None, runtime)?;
        Ok((Self(Some(log)), report))
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The stream's log with its signals, if anything is recorded.
    #[must_use]
    pub fn stream_log(&self) -> Option<&Arc<StreamLog>> {
        self.0.as_ref()
    }

    /// The log, if anything is recorded.
    #[must_use]
    pub fn log(&self) -> Option<&Log> {
        self.0.as_ref().map(|stream| stream.log())
    }

    /// Figures of the stream.
    #[must_use]
    pub fn state(&self) -> Option<LogState> {
        self.log().map(Log::state)
    }

    /// A reader of the whole stream.
    #[must_use]
    pub fn reader(&self) -> Option<Reader> {
        self.log().map(Log::reader)
    }

    /// Follows the newest readable sequence; of a server that records nothing there is none.
    #[must_use]
    pub fn readable(&self) -> Option<watch::Receiver<u64>> {
        self.0.as_ref().map(|stream| stream.readable())
    }
}
