//! Who gets what: subscriptions in a subject trie, and the generations that tell publishers when what they remember
//! about a subject is out of date.
//!
//! Invariant: a generation changes only *after* the trie has, so a publisher that reads the generation first and
//! matches second never keeps a result older than the generation it stored with it.

pub mod batches;
pub mod cache;
pub mod interest;
pub mod sinks;
pub mod trie;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use rustc_hash::FxHasher;

use sublog_protocol::subject;

use crate::account::Account;
use crate::account::links::Link;
use crate::client::Client;
use crate::jetstream::stream::Stream;
use trie::{Matches, Member, Trie};

const SHARDS: usize = 256;
/// Nodes of the trie looked at before others may have the lock.
const NODES_PER_LOCK: usize = 1024;

/// One subscription of one connection.
pub struct Subscription {
    /// Unique in the server.
    pub id: u64,
    /// Whom it delivers to.
    pub client: Arc<Client>,
    /// The subject or wildcard asked for.
    pub subject: Box<[u8]>,
    /// The queue group, if any.
    pub queue: Option<Box<[u8]>>,
    /// The client's name for it, echoed with every delivery.
    pub sid: Box<[u8]>,
    /// Deliveries so far.
    pub delivered: AtomicU64,
    /// Deliveries after which it ends; 0 is never.
    pub max: AtomicU64,
    /// The account it is in.
    pub account: Arc<Account>,
    /// It stands in another account for one of an importer's.
    pub shadow: Option<Shadow>,
    /// Set when it was removed, for publishers that still remember it.
    pub ended: std::sync::atomic::AtomicBool,
}

/// What a subscription is of that stands in for one of another account.
pub struct Shadow {
    /// The subscription that gets what comes.
    pub of: Arc<Subscription>,
    /// How it comes there.
    pub link: Arc<Link>,
}

impl Shadow {
    /// Under which subject a message on `subject` is delivered, if it is.
    #[must_use]
    pub fn subject_of(&self, subject: &[u8]) -> Option<Vec<u8>> {
        if self.of.ended.load(Ordering::Acquire) || !subject::matches(&self.link.import.subject, subject) {
            return None;
        }
        self.link.renamed(subject).filter(|subject| subject::matches(&self.of.subject, subject))
    }
}

impl Subscription {
    /// Counts one delivery of a subscription that has a limit: whether it may go out, and whether that ends it.
    pub fn take_one(&self) -> (bool, bool) {
        let max = self.max.load(Ordering::Relaxed);
        let before = self.delivered.fetch_add(1, Ordering::Relaxed);
        if max == 0 {
            return (true, false);
        }
        (before < max, before + 1 >= max)
    }
}

impl Member for Arc<Subscription> {
    fn id(&self) -> u64 {
        self.id
    }
}

/// The subscriptions of all connections.
pub struct Router {
    trie: RwLock<Trie<Arc<Subscription>>>,
    /// By hash of the first token: bumped when a subscription that starts with that token comes or goes.
    generations: Box<[AtomicU64]>,
    /// Bumped when a subscription whose first token is a wildcard comes or goes.
    wild_generation: AtomicU64,
    /// Bumped when a client that had subscriptions is gone: publishers then let go of it.
    departures: AtomicU64,
    next_id: AtomicU64,
    removed: AtomicU64,
    /// Publishers that may still deliver by what they matched before.
    pub batches: batches::Batches,
    /// Declared streams by their subjects; changed with [`Router::change_sink`].
    pub sinks: sinks::Sinks,
    /// Who wants to know about subscriptions.
    pub interest: interest::Interest,
}

impl Default for Router {
    fn default() -> Self {
        Self {
            trie: RwLock::new(Trie::default()),
            generations: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            wild_generation: AtomicU64::new(0),
            departures: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            removed: AtomicU64::new(0),
            batches: batches::Batches::default(),
            sinks: sinks::Sinks::default(),
            interest: interest::Interest::default(),
        }
    }
}

/// The shard of generations that a published subject belongs to.
#[must_use]
pub fn shard_of(subject: &[u8]) -> u8 {
    use std::hash::Hasher;
    let first = subject.split(|&b| b == b'.').next().unwrap_or_default();
    let mut hasher = FxHasher::default();
    hasher.write(first);
    // The upper half: FxHash finishes with a rotation that spreads best there.
    u8::try_from((hasher.finish() >> 32) & 0xff).unwrap_or_default()
}

impl Router {
    /// A fresh id for a subscription.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a subscription. From the moment this returns, every publisher's next message sees it.
    pub fn insert(&self, subscription: &Arc<Subscription>) {
        self.trie.write().insert(&subscription.subject, subscription.queue.as_deref(), subscription.clone());
        self.bump(&subscription.subject);
        self.interest.changed(&subscription.subject);
    }

    /// Removes a subscription; true if it was still there, and nobody else removed it.
    pub fn remove(&self, subscription: &Subscription) -> bool {
        if subscription.ended.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.trie.write().remove(&subscription.subject, subscription.queue.as_deref(), subscription.id);
        self.removed.fetch_add(1, Ordering::Relaxed);
        self.bump(&subscription.subject);
        self.interest.changed(&subscription.subject);
        true
    }

    /// A declared stream takes `after` and no longer `before`. From the moment this returns, every publisher's next
    /// message goes where it should.
    pub fn change_sink(&self, stream: &Arc<Stream>, before: &[String], after: &[String]) {
        self.sinks.change(stream, before, after);
        self.bump(b">");
        self.interest.changed(b">");
    }

    /// Makes publishers look again at what they know of subjects that `filter` may match.
    pub fn bump(&self, filter: &[u8]) {
        let first = filter.split(|&b| b == b'.').next().unwrap_or_default();
        if matches!(first, b"*" | b">") {
            self.wild_generation.fetch_add(1, Ordering::Release);
        } else if let Some(generation) = self.generations.get(usize::from(shard_of(filter))) {
            generation.fetch_add(1, Ordering::Release);
        }
    }

    /// The generation of everything that can match a subject of this shard. Never goes back.
    #[must_use]
    pub fn generation(&self, shard: u8) -> u64 {
        let own = self.generations.get(usize::from(shard)).map_or(0, |g| g.load(Ordering::Acquire));
        own.wrapping_add(self.wild_generation.load(Ordering::Acquire))
    }

    /// Counts clients that went away and had subscriptions.
    #[must_use]
    pub fn departures(&self) -> u64 {
        self.departures.load(Ordering::Acquire)
    }

    /// Tells publishers to let go of a client whose subscriptions have been removed.
    pub fn departed(&self) {
        self.departures.fetch_add(1, Ordering::Release);
    }

    /// Collects every subscription that a message on `subject` goes to.
    pub fn matches(&self, subject: &[u8], into: &mut Matches<Arc<Subscription>>) {
        self.trie.read().matches(subject, into);
    }

    /// Whether anybody would get a message on `subject`.
    #[must_use]
    pub fn has_interest(&self, subject: &[u8]) -> bool {
        let mut found = Matches::default();
        self.matches(subject, &mut found);
        !found.plain.is_empty() || !found.queues.is_empty()
    }

    /// Whether anybody has subscribed to just this subject, not only to a wildcard that matches it.
    #[must_use]
    pub fn has_own_interest(&self, subject: &[u8]) -> bool {
        let mut found = Matches::default();
        self.matches(subject, &mut found);
        found.plain.iter().any(|subscription| *subscription.subject == *subject) || !found.queues.is_empty()
    }

    /// All subscriptions. Whoever comes or goes meanwhile may be among them or not; the trie is never locked for long.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        let mut all = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.trie.read().copy_members(from, NODES_PER_LOCK, &mut all);
        }
        all
    }

    /// How many subscriptions came and how many went since the server started.
    #[must_use]
    pub fn changes(&self) -> (u64, u64) {
        let removed = self.removed.load(Ordering::Relaxed);
        (removed + self.len() as u64, removed)
    }

    /// Subscriptions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.trie.read().len()
    }

    /// Whether there is no subscription.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
