//! The capture stream, as the rest of the broker sees it: what goes in, who waits, who reads.
//!
//! This is the only place where the asynchronous side meets the log's committer thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sublog_storage::{
    AppendError, Appended, Codec, Log, LogError, LogObserver, LogOptions, LogState, OpenError, Reader, RecordBatch,
    RecoveryReport,
};
use tokio::sync::{Notify, watch};

use crate::config::CaptureOptions;
use crate::limits::ACKS_INLINE_PER_COMMIT;

/// Name of the stream that records what nobody asked for.
pub const CAPTURE: &str = "CAPTURE";

/// Whether the capture stream takes messages on this subject: all but `$…` and `_…`, which are the system's and
/// clients' inboxes.
#[must_use]
pub fn is_captured(subject: &[u8]) -> bool {
    !matches!(subject.first(), None | Some(b'$' | b'_'))
}

/// Sequences that a connection got from the log since its last flush; `last` 0 is none.
///
/// Others' messages may lie in between. If one of those failed, this connection is told of a failure that was not its
/// own: a retry too many, never an acknowledgement too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First sequence.
    pub first: u64,
    /// Last sequence.
    pub last: u64,
}

impl Span {
    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// Takes in what the log gave out next.
    pub fn extend(&mut self, first: u64, last: u64) {
        if self.last == 0 {
            self.first = first;
        }
        self.last = last;
    }
}

/// What the committer thread tells the broker.
struct Signals {
    readable: watch::Sender<u64>,
    space: Notify,
    /// Acknowledgements released since the last commit.
    released: AtomicUsize,
    failures: AtomicU64,
}

impl LogObserver for Signals {
    fn published(&self, last_seq: u64) {
        self.released.store(0, Ordering::Relaxed);
        self.readable.send_replace(last_seq);
    }

    fn space(&self) {
        self.space.notify_waiters();
    }

    fn failed(&self, error: &LogError) {
        self.failures.fetch_add(1, Ordering::Release);
        self.space.notify_waiters();
        tracing::error!(stream = CAPTURE, "Message log failed: {error}; publishers are told, reading goes on");
    }

    fn recovered(&self) {
        tracing::info!(stream = CAPTURE, "Message log is writing again");
    }
}

/// See the module.
pub struct Capture {
    log: Option<Log>,
    signals: Arc<Signals>,
    runtime: tokio::runtime::Handle,
}

/// Bytes the log queues for its disk before publishers feel it.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Capture {
    /// A server that records nothing.
    #[must_use]
    pub fn off() -> Arc<Self> {
        Arc::new(Self { log: None, signals: Arc::new(signals()), runtime: tokio::runtime::Handle::current() })
    }

    /// Opens (and if necessary recovers) the log in `dir`.
    ///
    /// # Errors
    /// As the storage tells.
    pub fn open(dir: PathBuf, options: &CaptureOptions) -> Result<(Arc<Self>, RecoveryReport), OpenError> {
        let signals = Arc::new(signals());
        let log_options = LogOptions {
            sync: options.sync,
            queue_bytes_max: QUEUE_BYTES_MAX,
            pack: options.compress.then_some(Codec::Zstd),
            ..LogOptions::default()
        };
        let disk = Arc::new(sublog_storage::RealDisk);
        let (log, report) = Log::open(disk, &dir, log_options, signals.clone())?;
        signals.readable.send_replace(log.readable_seq());
        let capture = Self { log: Some(log), signals, runtime: tokio::runtime::Handle::current() };
        Ok((Arc::new(capture), report))
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.log.is_some()
    }

    /// The log, if anything is recorded.
    #[must_use]
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// Figures of the stream.
    #[must_use]
    pub fn state(&self) -> Option<LogState> {
        self.log.as_ref().map(Log::state)
    }

    /// A reader of the whole stream.
    #[must_use]
    pub fn reader(&self) -> Option<Reader> {
        self.log.as_ref().map(Log::reader)
    }

    /// Whether the record `seq`, and all before it, is acknowledged as the mode promises. 0 stands for nothing. Once the
    /// log has failed anybody, it must be asked about each span (false here), since what failed is not committed by what
    /// came after it.
    #[must_use]
    pub fn is_surely_committed(&self, seq: u64) -> bool {
        let Some(log) = self.log.as_ref() else { return true };
        seq == 0 || (log.committed_seq() >= seq && self.signals.failures.load(Ordering::Acquire) == 0)
    }

    /// Gives a batch to the log, at once or not at all. With `flush_follows` the caller waits for it next, through
    /// [`crate::client::acks::answer_when_committed`].
    ///
    /// # Errors
    /// The queue is full (the batch is untouched) or the log has failed.
    pub fn append(&self, batch: &mut RecordBatch, flush_follows: bool) -> Result<Option<Appended>, AppendError> {
        match &self.log {
            Some(log) if flush_follows => log.append_then_wait(batch).map(Some),
            Some(log) => log.append(batch).map(Some),
            None => Ok(None),
        }
    }

    /// Waits until the log may have room, then tries again.
    ///
    /// # Errors
    /// The log has failed.
    pub async fn append_waiting(&self, batch: &mut RecordBatch) -> Result<Option<Appended>, AppendError> {
        loop {
            let space = self.signals.space.notified();
            tokio::pin!(space);
            space.as_mut().enable();
            match self.append(batch, false) {
                Ok(appended) => return Ok(appended),
                Err(AppendError::QueueFull { .. }) => space.await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs `f` once all of `span` is committed, or part of it failed; see [`Log::when_all_committed`].
    pub fn when_committed(&self, span: Span, f: Box<dyn FnOnce(Result<(), LogError>) + Send>) {
        match &self.log {
            Some(log) if span.last > 0 => log.when_all_committed(span.first, span.last, f),
            Some(_) => f(Ok(())),
            None => f(Ok(())),
        }
    }

    /// Runs the work of one acknowledgement: the first few of a commit on the committer's own thread, which saves a
    /// lone publisher the wake-up; the rest on the runtime, so that a crowd does not hold up the next commit.
    pub fn release(&self, f: impl FnOnce() + Send + 'static) {
        if self.signals.released.fetch_add(1, Ordering::Relaxed) < ACKS_INLINE_PER_COMMIT {
            f();
        } else {
            self.runtime.spawn(async move { f() });
        }
    }

    /// Follows the newest readable sequence.
    #[must_use]
    pub fn readable(&self) -> watch::Receiver<u64> {
        self.signals.readable.subscribe()
    }
}

fn signals() -> Signals {
    Signals {
        readable: watch::Sender::new(0),
        space: Notify::new(),
        released: AtomicUsize::new(0),
        failures: AtomicU64::new(0),
    }
}
