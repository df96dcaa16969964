//! A declared stream: its log, and what must be known to take messages in.

pub mod checks;
pub mod dedup;
pub mod flight;
pub mod ingest;
pub mod rollup;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use sublog_protocol::headers;
use sublog_storage::{AppendError, LogError, Visit};

use self::checks::Rules;
use self::ingest::Ingest;
use super::config::StreamConfig;
use super::config::stream::RetentionPolicy;
use super::consumer::Consumers;
use super::store::StreamLog;
use crate::clock;

/// There is nothing that will expire.
const NEVER: i64 = i64::MAX;

/// See the module.
pub struct Stream {
    /// Unique in the server, not over restarts.
    pub id: u64,
    /// Its name.
    pub name: Box<str>,
    /// `Err`: it could not be opened, and takes nothing.
    log: Result<Arc<StreamLog>, LogError>,
    rules: RwLock<Arc<Rules>>,
    ingest: Mutex<Ingest>,
    /// Messages below this size are taken without being looked at.
    plain_below: AtomicUsize,
    /// Publishers get no acknowledgements.
    silent: AtomicBool,
    gone: AtomicBool,
    /// Messages are removed at this age, in nanoseconds; 0: never.
    max_age_ns: AtomicI64,
    /// When the oldest message reaches it, in nanoseconds since 1970; early is no harm.
    expires_ns: AtomicI64,
    /// Its consumers.
    pub consumers: Consumers,
    retention: RwLock<RetentionPolicy>,
    /// A message may be one that no consumer wants, and then it is not kept.
    checks_interest: AtomicBool,
}

impl Stream {
    /// A stream that was opened, or could not be. It takes nothing special before [`set_config`](Self::set_config).
    #[must_use]
    pub fn new(id: u64, name: &str, log: Result<Arc<StreamLog>, LogError>) -> Self {
        Self {
            id,
            name: name.into(),
            log,
            rules: RwLock::default(),
            ingest: Mutex::default(),
            plain_below: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            max_age_ns: AtomicI64::new(0),
            expires_ns: AtomicI64::new(NEVER),
            consumers: Consumers::default(),
            retention: RwLock::default(),
            checks_interest: AtomicBool::new(false),
        }
    }

    /// Its log, if it could be opened.
    #[must_use]
    pub fn log(&self) -> Option<&Arc<StreamLog>> {
        self.log.as_ref().ok()
    }

    /// Its log.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub fn log_or_error(&self) -> Result<&Arc<StreamLog>, AppendError> {
        self.log.as_ref().map_err(|error| AppendError::Failed(error.clone()))
    }

    /// How messages are taken and kept from now on.
    pub fn set_config(&self, config: &StreamConfig) {
        if let Some(log) = self.log() {
            log.log().set_limits(config.limits());
        }
        self.set_rules(config);
    }

    /// How messages are taken from now on.
    pub fn set_rules(&self, config: &StreamConfig) {
        let rules = config.rules();
        let max_age_ns = config.max_stay().map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        // Nobody is in the middle of taking messages by the old ones when this returns.
        let none = self.ingest.lock();
        self.plain_below.store(rules.plain_below(), Ordering::Relaxed);
        self.silent.store(rules.silent, Ordering::Relaxed);
        self.max_age_ns.store(max_age_ns, Ordering::Relaxed);
        self.expires_ns.store(if max_age_ns > 0 { 0 } else { NEVER }, Ordering::Relaxed);
        *self.rules.write() = Arc::new(rules);
        drop(none);
        *self.retention.write() = config.retention;
        self.look_at_interest();
    }

    /// For whom messages are kept.
    #[must_use]
    pub fn retention(&self) -> RetentionPolicy {
        *self.retention.read()
    }

    /// Its consumers, or what they are about, may be others now.
    pub fn look_at_interest(&self) {
        let by_interest = self.retention() == RetentionPolicy::Interest;
        if by_interest {
            self.consumers.look_again();
        }
        self.checks_interest.store(by_interest && self.consumers.are_choosy(), Ordering::Release);
    }

    /// Whether a message on this subject is kept by no consumer, and so not at all.
    pub(super) fn is_unwanted(&self, subject: &[u8]) -> bool {
        self.checks_interest.load(Ordering::Acquire) && !self.consumers.want(subject)
    }

    /// Reads the ids of the newest messages again, those of the window before `now_ns`.
    pub fn remember_ids(&self, now_ns: i64) {
        let Some(log) = self.log() else { return };
        let window_ns = self.rules().window_ns;
        let mut ingest = self.ingest.lock();
        let read = log.log().seek_time(now_ns.saturating_sub(window_ns)).and_then(|first| {
            let mut reader = log.log().reader();
            reader.seek(first);
            reader.visit(usize::MAX, &mut |visit| {
                if let Visit::Record(record) = visit {
                    ingest.last_id.clear();
                    if let Some(id) = headers::get(record.headers, b"Nats-Msg-Id").filter(|id| !id.is_empty()) {
                        ingest.dedup.add(id, record.seq, record.ts_ns);
                        ingest.last_id.extend_from_slice(id);
                    }
                }
                ControlFlow::Continue(())
            })
        });
        if let Err(error) = read {
            tracing::error!(stream = &*self.name, "Message ids cannot be read again, duplicates may be taken: {error}");
        }
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.read().clone()
    }

    /// Last number given out, also to what cannot be read yet.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.log().map_or(0, |log| self.ingest.lock().last_seq(log))
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// It is deleted.
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Whether publishers get no acknowledgements.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Whether a message of that size has to be looked at even if it asks for nothing.
    #[must_use]
    pub fn looks_at(&self, bytes: usize) -> bool {
        bytes >= self.plain_below.load(Ordering::Relaxed) || self.checks_interest.load(Ordering::Relaxed)
    }

    /// Something was appended: it will be too old some time.
    pub(super) fn expires_after_append(&self) {
        let age = self.max_age_ns.load(Ordering::Relaxed);
        if age > 0 && self.expires_ns.load(Ordering::Relaxed) == NEVER {
            self.expires_ns.fetch_min(clock::unix_ns().saturating_add(age), Ordering::Relaxed);
        }
    }

    /// Whether messages may be too old at `now_ns`.
    #[must_use]
    pub fn is_expiry_due(&self, now_ns: i64) -> bool {
        self.expires_ns.load(Ordering::Relaxed) <= now_ns
    }

    /// Removes what is too old at `now_ns`; may wait for the disk.
    pub fn expire(&self, now_ns: i64) {
        let (age, Some(log)) = (self.max_age_ns.load(Ordering::Relaxed), self.log()) else { return };
        if age <= 0 {
            self.expires_ns.store(NEVER, Ordering::Relaxed);
            return;
        }
        // An append from here on finds NEVER and sets its own time.
        self.expires_ns.store(NEVER, Ordering::Relaxed);
        let log = log.log();
        let removed = log.seek_time(now_ns.saturating_sub(age).saturating_add(1)).map(|first_kept| {
            let oldest = log.state().first_seq;
            if first_kept > oldest { log.remove_now(vec![(oldest, first_kept - 1)]).map(|_| ()) } else { Ok(()) }
        });
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(stream = &*self.name, "Old messages cannot be removed: {error}"),
            Err(error) => tracing::warn!(stream = &*self.name, "Expiry cannot read the log: {error}"),
        }
        let state = log.state();
        if state.messages > 0 {
            // Not sooner than a moment from now: one that cannot be removed would be tried all the time.
            let next = state.first_ts_ns.saturating_add(age).max(now_ns.saturating_add(EXPIRY_PAUSE_NS));
            self.expires_ns.fetch_min(next, Ordering::Relaxed);
        } else if log.durable_seq() < self.ingest.lock().last_given() {
            self.expires_ns.fetch_min(now_ns.saturating_add(EXPIRY_PAUSE_NS), Ordering::Relaxed);
        }
    }
}

/// Expiry of one stream is looked at no more often than this.
const EXPIRY_PAUSE_NS: i64 = 100_000_000;
