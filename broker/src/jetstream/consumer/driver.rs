//! A consumer at work: its machine, and the task that connects it with the log, the clients and the clock.
//!
//! Connections leave events in the inbox and wake the task; it takes a turn at a time on the threads that read history.
//! In a turn the machine is locked: events go in, messages and answers are gathered in a [`sending::Parcel`]. That is sent
//! with no lock held. A consumer that has nothing to do is a task that sleeps, and is not woken by what is stored unless
//! it has somebody to give it to.

mod burying;
mod inbox;
mod reading;
mod sending;
mod turn;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use sublog_storage::Selection;
use sublog_storage::index::FilterSet;
use tokio::sync::Notify;

use super::machine::{AckNumbers, Closing, Machine, MachineConfig, Now, Position, Removal, State, World};
use super::setup;
use crate::account::Account;
use crate::client::Client;
use crate::clock;
use crate::jetstream::config::ConsumerConfig;
use crate::jetstream::store::StreamLog;
use crate::jetstream::stream::Stream;
use crate::limits::DELIVERY_PENDING_BYTES;
pub(super) use burying::check as check_dead_letter;
use inbox::Inbox;
use turn::Turn;
use world::{Eyes, Memory};

/// A timer that is further away than this is looked at again before.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Something that happened.
pub(super) enum Event {
    /// A pull request.
    Pull {
        /// Where the messages go.
        reply: Bytes,
        /// What it asks for.
        body: Box<[u8]>,
    },
    /// An ack.
    Ack {
        /// The delivery.
        numbers: AckNumbers,
        /// What it says.
        body: Box<[u8]>,
        /// Where it wants an answer.
        reply: Option<Bytes>,
    },
    /// An answer to a flow control request.
    FlowControl {
        /// Its subject.
        subject: Box<[u8]>,
        /// How far whoever answers is.
        kept_up_to: Position,
    },
    /// Messages were removed by somebody.
    Removed {
        /// The numbers, both ends included.
        ranges: Arc<[(u64, u64)]>,
        /// Many at once, or one by one.
        removal: Removal,
    },
    /// Copies of dead messages are stored, or could not be stored.
    Buried {
        /// Those of which nothing more has to be kept.
        stream_seqs: Vec<u64>,
        /// Whether that is all there were.
        all: bool,
    },
    /// A delivery reached nobody.
    NotDelivered {
        /// The message.
        stream_seq: u64,
    },
}

impl Event {
    /// Bytes that it takes while it waits.
    fn bytes(&self) -> usize {
        let more = match self {
            Self::Pull { reply, body } => reply.len() + body.len(),
            Self::Ack { body, reply, .. } => reply.as_ref().map_or(0, Bytes::len) + body.len(),
            Self::FlowControl { subject, .. } => subject.len(),
            Self::Buried { stream_seqs, .. } => size_of_val(stream_seqs.as_slice()),
            Self::Removed { .. } | Self::NotDelivered { .. } => 0,
        };
        size_of::<Self>() + more
    }

    /// Whether it may be dropped: then something is delivered again, or a request is not answered.
    fn is_from_client(&self) -> bool {
        matches!(self, Self::Pull { .. } | Self::Ack { .. } | Self::FlowControl { .. })
    }
}

/// See the module.
pub struct Consumer {
    /// Its stream's name.
    pub stream: Box<str>,
    /// Under which name the metadata has its stream.
    pub(super) kept: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Created, nanoseconds since 1970.
    pub created_ns: i64,
    config: RwLock<Arc<ConsumerConfig>>,
    log: Arc<StreamLog>,
    inbox: Mutex<Inbox>,
    wake: Notify,
    /// Whether somebody subscribed to its deliver subject, or no longer does, since it last looked.
    interest: Arc<Notify>,
    core: Mutex<Core>,
    /// It outlives the server.
    persists: bool,
    /// Tasks that copy its messages.
    pub(in crate::jetstream) copiers: AtomicUsize,
    /// It is in the line of those whose positions are to be written.
    pub(super) dirty: AtomicBool,
    ended: AtomicBool,
    deleted: AtomicBool,
    finished: AtomicBool,
}

/// What a turn works on.
pub(super) struct Core {
    pub(super) machine: Machine,
    filters: FilterSet,
    memory: Memory,
    /// Reads what is delivered for the first time.
    selection: Option<Selection>,
    /// The stream's first number when it was last looked at.
    first_seq: u64,
    burying: burying::Burying,
    closed: Option<Closing>,
}

/// Now, as machines count.
#[must_use]
pub fn now() -> Now {
    Now { mono: clock::ticks(), wall_ns: clock::unix_ns() }
}

impl Core {
    /// The machine, and what it asks about.
    pub(super) fn split<'a>(
        &'a mut self,
        account: &'a Account,
        log: &'a StreamLog,
    ) -> (&'a mut Machine, impl World + 'a) {
        let Self { machine, filters, memory, .. } = self;
        (machine, Eyes { account, log: log.log(), filters, memory })
    }
}

impl Consumer {
    /// A consumer whose machine is ready. It does nothing before [`Self::run`].
    pub(super) fn new(
        stream: &Stream,
        name: &str,
        created_ns: i64,
        config: ConsumerConfig,
        log: Arc<StreamLog>,
        machine: Machine,
        persists: bool,
    ) -> Arc<Self> {
        let core = Core {
            machine,
            filters: setup::filters(&config),
            memory: Memory::default(),
            selection: None,
            first_seq: 0,
            burying: burying::Burying::default(),
            closed: None,
        };
        Arc::new(Self {
            stream: stream.name.clone(),
            kept: stream.kept.clone(),
            name: name.into(),
            created_ns,
            config: RwLock::new(Arc::new(config)),
            log,
            inbox: Mutex::default(),
            wake: Notify::new(),
            interest: Arc::default(),
            core: Mutex::new(core),
            persists,
            copiers: AtomicUsize::new(0),
            dirty: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        })
    }

    /// What it was asked to be.
    #[must_use]
    pub fn config(&self) -> Arc<ConsumerConfig> {
        self.config.read().clone()
    }

    /// Its stream's log.
    #[must_use]
    pub fn log(&self) -> &StreamLog {
        &self.log
    }

    /// Whether it outlives the server.
    #[must_use]
    pub fn persists(&self) -> bool {
        self.persists
    }

    /// Whether it ended for good.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Whether it has taken its last turn.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Whether it was deleted, or the server stops.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Looks into the machine, or changes it: no turn is taken meanwhile, and one follows.
    pub fn with<T>(&self, account: &Account, f: impl FnOnce(&mut Machine, &dyn World) -> T) -> T {
        let mut core = self.core.lock();
        core.memory.begin(self.log.log());
        let (machine, world) = core.split(account, &self.log);
        let result = f(machine, &world);
        drop(world);
        core.memory.end(self.log.log());
        core.memory.forget_listeners();
        drop(core);
        self.wake.notify_one();
        result
    }

    /// Whether a subject is one of those it is about.
    #[must_use]
    pub fn is_about(&self, subject: &[u8]) -> bool {
        self.core.lock().filters.matches(subject)
    }

    /// Whether a message has to stay for it.
    #[must_use]
    pub fn needs(&self, stream_seq: u64, subject: &[u8]) -> bool {
        let core = self.core.lock();
        core.filters.matches(subject) && core.machine.needs(stream_seq)
    }

    /// Messages were copied for it; see [`Machine::copied`].
    pub fn copied(&self, stream_seqs: &[u64]) {
        let mut core = self.core.lock();
        core.machine.copied(stream_seqs, now());
        if !stream_seqs.is_empty() {
            core.selection = None;
            core.memory.forget_count();
            drop(core);
            self.wake.notify_one();
        }
    }

    /// From where on, and which messages, are to be copied for it; see [`Machine::copies_from`].
    #[must_use]
    pub fn copies_from(&self) -> Option<(u64, FilterSet)> {
        let core = self.core.lock();
        Some((core.machine.copies_from()?, core.filters.clone()))
    }

    /// What is to be kept of it; `None` while a turn lasts longer than that.
    pub(super) fn save(&self, patience: Duration) -> Option<State> {
        Some(self.core.try_lock_for(patience)?.machine.save(now()))
    }

    /// It is something else from now on.
    pub(super) fn change(&self, account: &Account, config: ConsumerConfig, machine: MachineConfig) {
        let filters = setup::filters(&config);
        let old = std::mem::replace(&mut *self.config.write(), Arc::new(config));
        let mut core = self.core.lock();
        core.machine.update(machine, now());
        if filters != core.filters {
            core.filters = filters;
            core.selection = None;
            core.memory.forget_count();
        }
        drop(core);
        self.watch(account, &old);
        self.interest.notify_one();
    }

    /// It ends; who waits for messages is told in its last turn.
    pub(super) fn end(&self, account: &Account, closing: Closing) {
        let mut core = self.core.lock();
        if core.closed.is_none() {
            core.closed = Some(closing);
            core.machine.close(closing);
        }
        drop(core);
        account.router.interest.forget(self.config().deliver_subject.as_bytes(), &self.interest);
        self.deleted.fetch_or(closing == Closing::Deleted, Ordering::AcqRel);
        self.ended.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Has itself told who subscribes to its deliver subject, instead of that of an older configuration.
    fn watch(&self, account: &Account, old: &ConsumerConfig) {
        let config = self.config();
        account.router.interest.forget(old.deliver_subject.as_bytes(), &self.interest);
        if config.is_push() && !self.has_ended() {
            account.router.interest.watch(config.deliver_subject.as_bytes(), &self.interest);
        }
    }

    /// Takes turns until it has ended.
    pub(super) async fn run(self: Arc<Self>, account: Arc<Account>, stream: Arc<Stream>) {
        self.watch(&account, &ConsumerConfig::default());
        let mut readable = self.log.readable();
        loop {
            // Before the turn looks, so that what comes during it is noticed.
            readable.mark_unchanged();
            match self.turn(&account, &stream) {
                Turn::Over => return self.finished.store(true, Ordering::Release),
                Turn::More => tokio::task::yield_now().await,
                Turn::Rest { until, reads, behind } => {
                    let left = until.map_or(SLEEP_MAX, |until| until.saturating_sub(clock::ticks()).min(SLEEP_MAX));
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = self.interest.notified() => {}
                        _ = readable.changed(), if reads => {}
                        () = tokio::time::sleep(left) => {}
                        () = keeps_up(behind.as_ref()), if behind.is_some() => self.look_again(),
                    }
                }
            }
        }
    }

    fn look_again(&self) {
        let mut core = self.core.lock();
        core.memory.look_again();
        core.machine.look_again();
    }
}

/// Waits until a client has taken most of what waits for it, or is gone.
async fn keeps_up(client: Option<&Arc<Client>>) {
    let Some(client) = client else { return };
    tokio::select! {
        () = client.out.wait_for_room(|out| out.pending() <= DELIVERY_PENDING_BYTES / 2) => {}
        () = client.closed() => {}
    }
}
