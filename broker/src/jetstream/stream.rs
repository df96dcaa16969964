//! A declared stream: its log, and what must be known to take messages in.

mod atomic;
pub mod checks;
pub(in crate::jetstream) mod copied;
mod counter;
pub mod dedup;
pub(in crate::jetstream) mod fast;
pub mod flight;
pub mod ingest;
mod leaving;
pub mod republish;
pub mod rollup;
mod schedule;
mod ttl;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use sublog_protocol::headers;
use sublog_storage::{AppendError, LogError};

use self::checks::Rules;
use self::fast::Fast;
use self::ingest::Ingest;
use self::leaving::Leaving;
use self::republish::Republisher;
use self::schedule::Schedules;
use super::advisories;
use super::config::StreamConfig;
use super::config::stream::RetentionPolicy;
use super::consumer::Consumers;
use super::copy::Copies;
use super::store::StreamLog;
use crate::account::Account;
use crate::clock;

/// See the module.
pub struct Stream {
    /// Unique in the server, not over restarts.
    pub id: u64,
    /// Its name.
    pub name: Box<str>,
    /// Under which name the metadata has it.
    pub kept: Box<str>,
    /// `Err`: it could not be opened, and takes nothing.
    log: Result<Arc<StreamLog>, LogError>,
    rules: RwLock<Arc<Rules>>,
    ingest: Mutex<Ingest>,
    fast: Fast,
    republisher: Republisher,
    leaving: Leaving,
    /// Messages below this size are taken without being looked at.
    plain_below: AtomicUsize,
    /// Publishers get no acknowledgements.
    silent: AtomicBool,
    gone: AtomicBool,
    /// Its consumers.
    pub consumers: Consumers,
    /// What fills it from other streams.
    pub copies: Copies,
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
            kept: name.into(),
            log,
            rules: RwLock::default(),
            ingest: Mutex::default(),
            fast: Fast::default(),
            republisher: Republisher::default(),
            leaving: Leaving::default(),
            plain_below: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            consumers: Consumers::default(),
            copies: Copies::default(),
            retention: RwLock::default(),
            checks_interest: AtomicBool::new(false),
        }
    }

    /// The same, known to the metadata under another name.
    #[must_use]
    pub fn kept_as(self, kept: &str) -> Self {
        Self { kept: kept.into(), ..self }
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
        // Nobody is in the middle of taking messages by the old ones when this returns.
        let mut none = self.ingest.lock();
        if !rules.atomic {
            none.batches.clear();
        }
        if !rules.batched {
            self.fast.clear();
        }
        self.plain_below.store(rules.plain_below(), Ordering::Relaxed);
        self.silent.store(rules.silent, Ordering::Relaxed);
        self.leaving.look_again();
        if let Some(log) = self.log() {
            // A mirror's messages have the numbers that they have where they come from.
            log.log().reuse_failed(config.mirror.is_some());
            // What leaves a marker behind goes when that is there.
            log.log().hold_expired(if rules.marker_seconds.is_some() { i64::MIN } else { i64::MAX });
        }
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

    /// Reads the ids of the newest messages again, those of the window before `now_ns`, also of messages that are gone.
    pub fn remember_ids(&self, now_ns: i64) {
        let Some(log) = self.log() else { return };
        let rules = self.rules();
        let mut ingest = self.ingest.lock();
        let read = log.log().visit_written(now_ns.saturating_sub(rules.window_ns), &mut |record| {
            ingest.last_id.clear();
            if let Some(id) = headers::get(record.headers, b"Nats-Msg-Id").filter(|id| !id.is_empty()) {
                ingest.dedup.add(id, record.seq, record.ts_ns);
                ingest.last_id.extend_from_slice(id);
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = read {
            tracing::error!(stream = &*self.name, "Message ids cannot be read again, duplicates may be taken: {error}");
        }
        ingest.hold_ids(log, &rules);
    }

    /// Forgets ids whose time is over, so that what the log holds because of them can go.
    pub fn forget_ids(&self, now_ns: i64) {
        let Some(log) = self.log() else { return };
        let rules = self.rules();
        let mut ingest = self.ingest.lock();
        ingest.dedup.expire(now_ns, rules.window_ns);
        ingest.hold_ids(log, &rules);
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.read().clone()
    }

    /// Last number given out, also to what cannot be read yet.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        let Some(log) = self.log() else { return 0 };
        let mut ingest = self.ingest.lock();
        ingest.look(log);
        ingest.last_seq(log)
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// It is deleted.
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.fast.clear();
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

    /// Whether something is to be done because of its time. Next to free.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let rules = self.rules();
        let ticks = rules.schedules || rules.atomic;
        self.is_expiry_due()
            || ticks && self.ingest.lock().is_due(clock::unix_ns())
            || rules.batched && self.fast.is_due(clock::unix_ns())
    }

    /// Does what is due: messages go, are published because they were planned, or wait no longer for the rest of their batch.
    /// Reads, and may wait for the disk.
    pub fn tick(self: &Arc<Self>, account: &Arc<Account>) {
        self.expire(account);
        let now_ns = clock::unix_ns();
        self.fast.give_up(now_ns);
        let given_up = self.ingest.lock().batches.give_up(now_ns);
        for id in given_up {
            advisories::batch_abandoned(account, &self.name, &id, "timeout");
        }
        if self.rules().schedules {
            self.fire(account, now_ns);
        } else {
            self.ingest.lock().schedules = Schedules::default();
        }
    }

    /// Reads from the log what has to be known of it.
    pub fn remember(&self, now_ns: i64) {
        self.remember_ids(now_ns);
        if self.rules().schedules {
            self.remember_schedules(now_ns);
        }
    }
}
