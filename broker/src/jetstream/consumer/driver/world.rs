//! What a machine asks about: who listens to a subject, whether they keep up, how much there is still to deliver.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Log, Visit};

use crate::account::Account;
use crate::client::Client;
use crate::clock;
use crate::jetstream::consumer::machine::World;
use crate::jetstream::consumer::setup;
use crate::jetstream::read::{self, Unreadable};
use crate::limits::{DELIVERY_PENDING_BYTES, LISTENERS_KEPT_MAX};
use crate::router::shard_of;
use crate::router::trie::Matches;

/// So few new messages are counted by looking at them: that is quicker than asking the index.
const COUNTED_BY_READING: u64 = 256;

/// Messages whose acks are waited for to be told of.
const SAMPLES_MAX: usize = 100_000;

/// Who listens to one subject.
struct Listeners {
    shard: u8,
    generation: u64,
    clients: Vec<Arc<Client>>,
    /// A stream records what is sent there.
    recorded: bool,
}

/// How many messages are still to be delivered, kept up to date as they are and as new ones come.
#[derive(Clone, Copy)]
struct Counted {
    /// From this number on ...
    from: u64,
    /// ... up to this one ...
    to: u64,
    /// ... so many messages are selected.
    count: u64,
    /// Numbers of that range that were removed.
    removed: u64,
    /// Numbers of the whole log that were removed.
    removed_in_all: u64,
}

/// What is remembered from question to question.
#[derive(Default)]
pub(super) struct Memory {
    listeners: RefCell<FxHashMap<Bytes, Listeners>>,
    counted: Cell<Option<Counted>>,
    /// A client that was passed over because it does not keep up.
    behind: RefCell<Option<Arc<Client>>>,
    /// When messages were sent whose acks may be told of.
    sent: RefCell<FxHashMap<u64, Duration>>,
}

impl Memory {
    /// A message was sent, `percent` of a hundred acks are to be told of.
    pub(super) fn sent(&self, seq: u64, percent: u8) {
        if percent == 0 || setup::random() % 100 >= u64::from(percent) {
            return;
        }
        let mut sent = self.sent.borrow_mut();
        if sent.len() >= SAMPLES_MAX {
            // Most of these will not be acked any more.
            sent.clear();
        }
        sent.insert(seq, clock::ticks());
    }

    /// A message was acked: how long that took, if it is to be told.
    pub(super) fn acked(&self, seq: u64) -> Option<Duration> {
        Some(clock::ticks().saturating_sub(self.sent.borrow_mut().remove(&seq)?))
    }

    /// The filters or the log's beginning are others now.
    pub(super) fn forget_count(&self) {
        self.counted.set(None);
    }

    /// A client that was passed over since [`look_again`](Self::look_again).
    pub(super) fn behind(&self) -> Option<Arc<Client>> {
        self.behind.borrow().clone()
    }

    /// The client may keep up now.
    pub(super) fn look_again(&self) {
        self.behind.take();
    }

    /// Lets go of clients: between turns nothing is known of them.
    pub(super) fn forget_listeners(&self) {
        self.listeners.borrow_mut().clear();
    }

    /// A turn begins: what was removed meanwhile counts no longer.
    pub(super) fn begin(&self, log: &Log) {
        let Some(counted) = self.counted.get() else { return };
        let removed_in_all = log.removed_count(1, u64::MAX - 1);
        if removed_in_all == counted.removed_in_all {
            return;
        }
        if log.removed_count(counted.from, counted.to) == counted.removed {
            self.counted.set(Some(Counted { removed_in_all, ..counted }));
        } else {
            self.counted.set(None);
        }
    }

    /// A turn ends: what is removed from here on will be noticed.
    pub(super) fn end(&self, log: &Log) {
        let Some(counted) = self.counted.get() else { return };
        let removed = log.removed_count(counted.from, counted.to);
        let unchanged = log.removed_count(1, u64::MAX - 1) == counted.removed_in_all;
        self.counted.set(unchanged.then_some(Counted { removed, ..counted }));
    }

    /// Nothing up to `seq` is selected that was not delivered.
    pub(super) fn skipped(&self, seq: u64) {
        if let Some(counted) = self.counted.get()
            && seq >= counted.from
            && seq <= counted.to
        {
            self.counted.set(Some(Counted { from: seq.saturating_add(1), ..counted }));
        }
    }

    /// The selected message `seq` is being delivered for the first time: what comes behind it is left.
    pub(super) fn passed(&self, seq: u64) {
        if let Some(counted) = self.counted.get()
            && seq >= counted.from
        {
            let rest = Counted { from: seq.saturating_add(1), count: counted.count.saturating_sub(1), ..counted };
            self.counted.set((seq <= counted.to).then_some(rest));
        }
    }
}

/// See the module.
pub(super) struct Eyes<'a> {
    pub(super) account: &'a Account,
    pub(super) log: &'a Log,
    pub(super) filters: &'a FilterSet,
    pub(super) memory: &'a Memory,
}

impl Eyes<'_> {
    fn listeners<T>(&self, subject: &[u8], of: impl FnOnce(&Listeners) -> T) -> T {
        let mut known = self.memory.listeners.borrow_mut();
        if let Some(found) = known.get(subject)
            && self.account.router.generation(found.shard) == found.generation
        {
            return of(found);
        }
        let shard = shard_of(subject);
        // Read before matching, so that a change in between is noticed.
        let generation = self.account.router.generation(shard);
        let mut found = Matches::default();
        // An answer to a request from another account reaches who asked there.
        let (mut account, mut at, mut abroad) = (None, Arc::from(subject), false);
        while let Some((next, reply)) = account.as_deref().unwrap_or(self.account).responses.find(&at) {
            (account, at, abroad) = (Some(next), reply, true);
        }
        let router = &account.as_deref().unwrap_or(self.account).router;
        router.matches(&at, &mut found);
        let groups = found.queues.into_iter().flat_map(|(_, members)| members);
        let clients: Vec<Arc<Client>> = found
            .plain
            .into_iter()
            .chain(groups)
            .filter(|listener| listener.client.access.may_receive(&at, listener.queue.as_deref()))
            .map(|listener| listener.client.clone())
            .collect();
        let recorded = router.sinks.of(&at).is_some();
        let listeners = Listeners { shard, generation, clients, recorded };
        let answer = of(&listeners);
        if known.len() >= LISTENERS_KEPT_MAX {
            known.clear();
        }
        if !abroad {
            // The generation here says nothing of who is there.
            known.insert(Bytes::copy_from_slice(subject), listeners);
        }
        answer
    }

    /// How many selected messages there are from one number to another.
    fn count(&self, from: u64, to: u64) -> Result<u64, Unreadable> {
        if from > to {
            return Ok(0);
        }
        if self.filters.filters().iter().any(SubjectFilter::is_everything) {
            return Ok(self.log.live_count(from, to));
        }
        if to - from >= COUNTED_BY_READING {
            match read::or_nothing(self.log.count(self.filters, from, to)) {
                Ok(count) => return Ok(count),
                Err(error) => tracing::debug!("Counting what is to be delivered without the index: {error}"),
            }
        }
        let mut count = 0;
        self.log.select(self.filters.clone(), from).visit(usize::MAX, &mut |visit| match visit {
            Visit::Record(record) if record.seq > to => ControlFlow::Break(()),
            Visit::Record(_) => {
                count += 1;
                ControlFlow::Continue(())
            }
            Visit::Lost(_) => ControlFlow::Continue(()),
        })?;
        Ok(count)
    }

    fn counted(&self, from: u64) -> Result<u64, Unreadable> {
        let to = self.log.readable_seq();
        let known = self.memory.counted.get().filter(|counted| counted.from == from && counted.to <= to);
        let counted = match known {
            Some(counted) => {
                Counted { to, count: counted.count + self.count(from.max(counted.to + 1), to)?, ..counted }
            }
            None => Counted {
                from,
                to,
                removed_in_all: self.log.removed_count(1, u64::MAX - 1),
                removed: self.log.removed_count(from, to),
                count: self.count(from, to)?,
            },
        };
        self.memory.counted.set(Some(counted));
        Ok(counted.count)
    }
}

impl World for Eyes<'_> {
    fn interested(&self, subject: &[u8]) -> bool {
        self.listeners(subject, |found| found.recorded || found.clients.iter().any(|client| !client.is_closing()))
    }

    fn keeps_up(&self, subject: &[u8]) -> bool {
        let behind = self.listeners(subject, |found| {
            found.clients.iter().find(|client| client.out.pending() > DELIVERY_PENDING_BYTES).cloned()
        });
        let keeps_up = behind.is_none();
        if let Some(behind) = behind.filter(|client| !client.is_closing()) {
            *self.memory.behind.borrow_mut() = Some(behind);
        }
        keeps_up
    }

    fn pending(&self, from_seq: u64) -> u64 {
        self.counted(from_seq).unwrap_or_else(|error| {
            tracing::warn!("What is to be delivered cannot be counted: {error}");
            0
        })
    }
}
