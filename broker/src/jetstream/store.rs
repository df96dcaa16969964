//! A stream's log as the asynchronous side sees it: what goes in, who waits, who reads.
//!
//! This is the only place where the broker opens logs, and where it meets their committer threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sublog_storage::{
    AppendError, Appended, CommitPool, Health, Log, LogError, LogObserver, LogOptions, OpenError, RecordBatch,
    RecoveryReport,
};
use tokio::sync::{Notify, watch};

use crate::limits::ACKS_INLINE_PER_COMMIT;

/// Bytes that a message counts with besides its subject, headers and payload, as nats-server has it: in a file...
pub const RECORD_OVERHEAD_FILE: u64 = 30;
/// ...and in memory.
pub const RECORD_OVERHEAD_MEMORY: u64 = 16;

/// Sequences that a connection got from a log since its last flush; `last` 0 is none.
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
    stream: Arc<str>,
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
        tracing::error!(stream = &*self.stream, "Message log failed: {error}; publishers are told, reading goes on");
    }

    fn recovered(&self) {
        tracing::info!(stream = &*self.stream, "Message log is writing again");
    }
}

/// See the module.
pub struct StreamLog {
    log: Log,
    signals: Arc<Signals>,
    runtime: tokio::runtime::Handle,
}

impl StreamLog {
    /// Opens (and if necessary recovers) the log in `dir`, with a committer thread of its own or in a pool. `stream` is
    /// what the server's own log calls it.
    ///
    /// # Errors
    /// As the storage tells.
    pub fn open(
        stream: &str,
        dir: &Path,
        options: LogOptions,
        pool: Option<&CommitPool>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(Arc<Self>, RecoveryReport), OpenError> {
        let signals = Arc::new(Signals {
            stream: stream.into(),
            readable: watch::Sender::new(0),
            space: Notify::new(),
            released: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
        });
        let disk = Arc::new(sublog_storage::RealDisk);
        let (log, report) = match pool {
            Some(pool) => Log::open_pooled(pool, disk, dir, options, signals.clone())?,
            None => Log::open(disk, dir, options, signals.clone())?,
        };
        signals.readable.send_replace(log.readable_seq());
        Ok((Arc::new(Self { log, signals, runtime: runtime.clone() }), report))
    }

    /// The log itself.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Times that writing failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.signals.failures.load(Ordering::Acquire)
    }

    /// Whether the record `seq`, and all before it, is acknowledged as the mode promises. 0 stands for nothing. Once the
    /// log has failed anybody, it must be asked about each span (false here), since what failed is not committed by what
    /// came after it.
    #[must_use]
    pub fn is_surely_committed(&self, seq: u64) -> bool {
        seq == 0 || (self.log.committed_seq() >= seq && self.failures() == 0)
    }

    /// Gives a batch to the log, at once or not at all. With `wait_follows` the caller calls
    /// [`when_committed`](Self::when_committed) next.
    ///
    /// # Errors
    /// The queue is full (the batch is untouched), a limit refuses the batch, or the log has failed.
    pub fn append(&self, batch: &mut RecordBatch, wait_follows: bool) -> Result<Appended, AppendError> {
        if wait_follows { self.log.append_then_wait(batch) } else { self.log.append(batch) }
    }

    /// Gives records to the log that replace others of their subject, as [`append`](Self::append) with `wait_follows` does.
    ///
    /// # Errors
    /// As there.
    pub fn append_replacing(&self, batch: &mut RecordBatch) -> Result<Appended, AppendError> {
        self.log.append_replacing(batch)
    }

    /// Calls `attempt` until it is not refused for want of room, each time after the log may have some.
    ///
    /// # Errors
    /// Any other refusal.
    pub async fn append_waiting<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        loop {
            let space = self.signals.space.notified();
            tokio::pin!(space);
            space.as_mut().enable();
            match attempt() {
                Err(AppendError::QueueFull { .. }) => space.await,
                other => return other,
            }
        }
    }

    /// Runs `f` once all of `span` is committed, or part of it failed; see [`Log::when_all_committed`].
    pub fn when_committed(&self, span: Span, f: Box<dyn FnOnce(Result<(), LogError>) + Send>) {
        if span.is_empty() {
            f(Ok(()));
        } else {
            self.log.when_all_committed(span.first, span.last, f);
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

    /// Where work for this log runs that may wait for a disk.
    #[must_use]
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// Follows the newest readable sequence.
    #[must_use]
    pub fn readable(&self) -> watch::Receiver<u64> {
        self.signals.readable.subscribe()
    }
}

/// A log's health as it is shown: a word, and the error behind it.
#[must_use]
pub fn health(health: &Health) -> (&'static str, Option<String>) {
    match health {
        Health::Ok => ("ok", None),
        Health::Slow { lasting } => ("slow", Some(format!("the disk has not answered for {} ms", lasting.as_millis()))),
        Health::Full(error) => ("full", Some(error.to_string())),
        Health::Failed(error) => ("failed", Some(error.to_string())),
    }
}
