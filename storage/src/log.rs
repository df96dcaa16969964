//! The log as its owner sees it.

mod admit;
mod closing;
mod holding;
mod removal;
mod skip;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub(crate) use self::admit::Flights;
pub use self::removal::RemovalWaiter;
use self::removal::Settling;
use crate::batch::RecordBatch;
use crate::committer::pool::CommitPool;
use crate::committer::{self, Committer};
use crate::disk::Disk;
use crate::error::{AppendError, LogError, OpenError, Operation, ReadError};
use crate::expiry::Expiry;
use crate::maintain::Rewritings;
use crate::options::LogOptions;
use crate::owner::Tenure;
use crate::queue::{Park, Queue, Waiting};
use crate::reader::{self, Reader};
use crate::record::Visit;
use crate::scrub::{Scrub, ScrubOptions};
use crate::segment::Segment;
use crate::shared::{AtomicCounters, DamageList, LIMITS_REOPENED, Shared};
use crate::state::{Appended, Health, LogObserver, LogState, RecoveryReport};
use crate::subjects::Subjects;
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex, MutexGuard, RwLock, mpsc};
use crate::{clock, open, watch};

/// Runs once when a record is acknowledged, or cannot be.
pub type Waiter = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// An append-only log. All methods may be called from any thread.
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Whose workers step the committer, if it has no thread.
    pub(crate) pool: Option<CommitPool>,
    settling: Mutex<Option<Settling>>,
    pub(crate) rewriting: Mutex<Rewritings>,
}

impl Log {
    /// Opens or creates the log in `dir`, and starts its committer's thread.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        observer: Arc<dyn LogObserver>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let start = clock::now();
        let (log, committer, mut report) = Self::open_stepped(disk, dir, options, observer)?;
        let name = dir.file_name().map_or_else(|| "log".to_owned(), |name| name.to_string_lossy().into_owned());
        let spawned = thread::Builder::new().name(format!("log {name}")).spawn(move || committer::run(committer));
        *log.thread.lock() = Some(spawned.map_err(|e| LogError::from_io(Operation::Open, dir, None, &e))?);
        report.took_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok((log, report))
    }

    /// Like [`Log::open`], but the caller drives the committer with [`Committer::step`]: for tests that decide what
    /// happens when. [`Log::sync_now`] and [`Log::close`] would wait for ever then.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        observer: Arc<dyn LogObserver>,
    ) -> Result<(Self, Committer, RecoveryReport), OpenError> {
        Self::open_as(Tenure::Held, disk, dir, options, observer)
    }

    /// Opens the log without anybody to drive its committer.
    pub(crate) fn open_as(
        tenure: Tenure,
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        observer: Arc<dyn LogObserver>,
    ) -> Result<(Self, Committer, RecoveryReport), OpenError> {
        let opened = open::open(&disk, dir, &options, &tenure)?;
        let mut damage = DamageList::default();
        for entry in &opened.report.damage {
            damage.add(entry.clone());
            tracing::error!(path = %entry.path.display(), offset = entry.offset, lost = ?entry.lost, "damage in the log");
        }
        if let Some((path, offset)) = &opened.report.torn_at {
            let bytes = opened.report.torn_bytes;
            tracing::warn!(path = %path.display(), offset, bytes, "a torn tail was cut; nothing of it was acknowledged");
        }
        let next_seq = opened.writer.next_seq;
        let limits = options.limits;
        let expiry = Expiry::of(&opened.segments, limits.max_age.is_some());
        let disk_for_index = Arc::clone(&disk);
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            options,
            disk,
            observer,
            queue: Mutex::new(Queue::new(next_seq)),
            wake: Condvar::new(),
            pooled: OnceLock::new(),
            own_from: next_seq,
            committed: AtomicU64::new(next_seq - 1),
            readable: AtomicU64::new(next_seq - 1),
            synced: AtomicU64::new(next_seq - 1),
            segments: RwLock::new(Arc::new(opened.segments)),
            counters: AtomicCounters::default(),
            watch: watch::DiskWatch::default(),
            damage: Mutex::new(damage),
            removed: RwLock::new(Arc::new(opened.removed)),
            limits: Mutex::new(limits),
            expiry,
            flights: Mutex::default(),
            subjects: Subjects::load(&*disk_for_index, dir),
            limits_new: AtomicU8::new(LIMITS_REOPENED),
            held_from: AtomicU64::new(u64::MAX),
            changing_files: Mutex::new(()),
            scrub: Mutex::default(),
        });
        {
            let live = shared.live();
            let mut queue = shared.queue.lock();
            (queue.held_messages, queue.held_bytes) = live;
        }
        let mut committer = Committer::new(Arc::clone(&shared), opened.writer, opened.lock, opened.journal);
        // Before anybody reads: what passed its age while the log was closed.
        committer.settle(opened.report.clean);
        let log = Self {
            shared,
            thread: Mutex::new(None),
            pool: None,
            settling: Mutex::new(None),
            rewriting: Mutex::default(),
        };
        Ok((log, committer, opened.report))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn share(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Takes the batch's records and gives them numbers. Never waits for the disk. An empty batch gets none: its
    /// `last_seq` is one less than its `first_seq`.
    ///
    /// # Errors
    /// See [`AppendError`]; the batch is untouched then.
    pub fn append(&self, batch: &mut RecordBatch) -> Result<Appended, AppendError> {
        let (appended, queue) = self.enqueue(batch, false)?;
        let enough = queue.pending_bytes >= self.shared.options.gather_bytes;
        self.wake_if(queue, |park| park == Park::Idle || (park == Park::Until && enough));
        Ok(appended)
    }

    /// Like [`Log::append`], for a caller that goes on to [`Log::when_all_committed`] or another of its kind at once, or
    /// whose last such call has not been answered: it is left to that to wake the committer, which otherwise would wake
    /// twice for one flush.
    ///
    /// # Errors
    /// See [`AppendError`]; the batch is untouched then.
    pub fn append_then_wait(&self, batch: &mut RecordBatch) -> Result<Appended, AppendError> {
        self.enqueue(batch, false).map(|(appended, _queue)| appended)
    }

    /// Like [`Log::append_then_wait`], for records whose publisher removes the others of their subject when they are
    /// committed: they are not refused because the subject is at its limit.
    ///
    /// # Errors
    /// See [`AppendError`]; the batch is untouched then.
    pub fn append_replacing(&self, batch: &mut RecordBatch) -> Result<Appended, AppendError> {
        self.enqueue(batch, true).map(|(appended, _queue)| appended)
    }

    fn enqueue(
        &self,
        batch: &mut RecordBatch,
        replaces: bool,
    ) -> Result<(Appended, MutexGuard<'_, Queue>), AppendError> {
        let bytes = batch.bytes();
        let limits = *self.shared.limits.lock();
        let mut admitted = self.admit(&limits, batch, replaces)?;
        let mut queue = self.shared.queue.lock();
        if let Some(error) = queue.dead.as_ref().or(queue.full.as_ref()) {
            return Err(AppendError::Failed(error.clone()));
        }
        let max_bytes = self.shared.options.queue_bytes_max;
        let queued_bytes = queue.queued_bytes();
        // A batch larger than the whole queue is taken when nothing else waits.
        if queued_bytes > 0 && queued_bytes + bytes > max_bytes {
            queue.refused = true;
            return Err(AppendError::QueueFull { queued_bytes, max_bytes });
        }
        let (records, bytes) = batch.kept();
        let messages = queue.held_messages + records;
        let body = self.shared.options.counted(messages, queue.held_bytes + bytes);
        let placed =
            admitted.as_ref().is_some_and(|admitted| admitted.takes_a_place(&self.shared, &queue, batch, &limits));
        if let Some((what, limit)) = limits.refuses(messages, body).filter(|_| !placed) {
            return Err(AppendError::Limit { what, limit });
        }
        let first_seq = queue.next_seq + batch.skip;
        if !batch.is_empty() || batch.skip > 0 {
            if let Some(admitted) = &mut admitted {
                admitted.take(first_seq, batch);
            }
            queue.push(batch);
        }
        let last_seq = queue.next_seq - 1;
        Ok((Appended { first_seq, last_seq }, queue))
    }

    /// Lets the committer look at what is not in the queue.
    pub(crate) fn wake_for_limits(&self) {
        self.wake_if(self.shared.queue.lock(), |_| true);
    }

    fn wake_if(&self, mut queue: MutexGuard<'_, Queue>, due: impl Fn(Park) -> bool) {
        if queue.park != Park::Awake && due(queue.park) {
            // Marked at once, so that the next publisher does not wake it again.
            queue.park = Park::Awake;
            drop(queue);
            self.shared.wake_committer();
        }
    }

    /// Runs `f` once the record `seq` is acknowledged as the mode promises (`Always`: a successful sync covers it;
    /// else: it is written), at once if it is already, with the error if the log failed it. A number that was not given
    /// out yet means the last one that was. `f` may run on the committer's thread: it must be quick.
    pub fn when_committed(&self, seq: u64, f: Waiter) {
        self.wait_for(seq, seq, false, f);
    }

    /// Like [`Log::when_committed`] for all records from `first_seq` to `last_seq`: `f` gets an error if any number of
    /// the range failed.
    pub fn when_all_committed(&self, first_seq: u64, last_seq: u64, f: Waiter) {
        self.wait_for(first_seq, last_seq, false, f);
    }

    /// Like [`Log::when_committed`], but for the disk, whatever the mode.
    pub fn when_durable(&self, seq: u64, f: Waiter) {
        self.wait_for(seq, seq, true, f);
    }

    fn wait_for(&self, first_seq: u64, last_seq: u64, durable: bool, f: Waiter) {
        let mut queue = self.shared.queue.lock();
        let last_seq = last_seq.min(queue.next_seq - 1);
        let reached = if durable { &self.shared.synced } else { &self.shared.committed };
        let answer = if let Some(error) = queue.failure_in(first_seq, last_seq) {
            Some(Err(error.clone()))
        } else if last_seq <= reached.load(Ordering::Acquire) {
            Some(Ok(()))
        } else {
            queue.dead.as_ref().map(|error| Err(error.clone()))
        };
        if let Some(answer) = answer {
            drop(queue);
            f(answer);
            return;
        }
        queue.waiting.push(Waiting { last_seq, durable, call: f });
        self.wake_if(queue, |_| true);
    }

    /// Last acknowledged number.
    #[must_use]
    pub fn committed_seq(&self) -> u64 {
        self.shared.committed.load(Ordering::Acquire)
    }

    /// Last readable number.
    #[must_use]
    pub fn readable_seq(&self) -> u64 {
        self.shared.readable.load(Ordering::Acquire)
    }

    /// Last number that is on stable storage.
    #[must_use]
    pub fn durable_seq(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// A moment's view of the log.
    #[must_use]
    pub fn state(&self) -> LogState {
        let (health, queued_bytes) = {
            let queue = self.shared.queue.lock();
            let health = match (&queue.dead, &queue.full) {
                (Some(error), _) => Health::Failed(error.clone()),
                (None, Some(error)) => Health::Full(error.clone()),
                (None, None) => watch::slow_for(&self.shared).map_or(Health::Ok, |lasting| Health::Slow { lasting }),
            };
            (health, queue.queued_bytes() as u64)
        };
        let segments = self.shared.segments();
        let last_seq = self.readable_seq();
        let mut state = LogState {
            first_seq: last_seq + 1,
            last_seq,
            messages: 0,
            bytes: 0,
            disk_bytes: 0,
            segments: segments.len() as u64,
            first_ts_ns: 0,
            last_ts_ns: 0,
            damage: Vec::new(),
            damage_found: 0,
            health,
            queued_bytes,
            counters: self.shared.counters.snapshot(),
            scrub: *self.shared.scrub.lock(),
        };
        for segment in segments.iter() {
            state.disk_bytes += segment.file_bytes();
            // Of the last record there was, removed or not.
            if segment.totals().messages > 0 {
                state.last_ts_ns = segment.totals().last_ts;
            }
            let (messages, bytes) = segment.live();
            if messages == 0 {
                continue;
            }
            if state.messages == 0 {
                (state.first_seq, state.first_ts_ns) = self.first_of(segment);
            }
            state.messages += messages;
            state.bytes += self.shared.options.counted(messages, bytes);
        }
        let damage = self.shared.damage.lock();
        LogState { damage: damage.kept.clone(), damage_found: damage.found, ..state }
    }

    /// Number and time of the first record of a segment that is not removed.
    fn first_of(&self, segment: &Segment) -> (u64, i64) {
        if !segment.has_removed() && !segment.packed {
            return (segment.first_seq, segment.totals().first_ts);
        }
        let mut reader = self.reader();
        reader.seek(segment.first_seq);
        let mut found = (segment.first_seq, 0);
        let _ = reader.visit(usize::MAX, &mut |visit| match visit {
            Visit::Record(record) => {
                found = (record.seq, record.ts_ns);
                ControlFlow::Break(())
            }
            Visit::Lost(_) => ControlFlow::Continue(()),
        });
        found
    }

    /// A reader, at the first record.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// A scrub of the sealed segments, which the caller drives. One at a time is enough for a log.
    #[must_use]
    pub fn scrub(&self, options: ScrubOptions) -> Scrub {
        Scrub::new(Arc::clone(&self.shared), options)
    }

    /// First number whose record's time is at or after `ts_ns`; one more than the last readable if there is none.
    ///
    /// # Errors
    /// A segment cannot be opened or mapped.
    pub fn seek_time(&self, ts_ns: i64) -> Result<u64, ReadError> {
        reader::seek_time(&self.shared, ts_ns)
    }

    /// Returns when everything appended before is on stable storage, whatever the mode.
    ///
    /// # Errors
    /// The log's failure.
    pub fn sync_now(&self) -> Result<(), LogError> {
        let (tell, told) = mpsc::sync_channel(1);
        let call = move |result| {
            // The receiver waits until it is told; there is nobody else to tell.
            let _ = tell.send(result);
        };
        self.when_durable(u64::MAX, Box::new(call));
        told.recv().unwrap_or_else(|_| Err(LogError::closed(&self.shared.dir)))
    }
}
