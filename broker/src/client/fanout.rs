//! From one publisher to everybody who gets its messages.
//!
//! Deliveries are staged per destination in plain buffers that only this connection touches, and handed to the
//! sockets once per read batch. What a subject goes to is remembered per publisher and checked against a generation,
//! so the steady path takes no lock, allocates nothing and sends through no channel.

mod fill;
mod route;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;
use sublog_protocol::decode::Publish;
use sublog_protocol::encode;

use super::Client;
use super::outbound::Kind;
use crate::account::links::Link;
use crate::limits::{MATCH_CACHE_TARGETS_MAX, STAGED_BYTES_MAX, STAGING_POOL_BYTES, STAGING_POOL_MAX};
use crate::router::cache::{Facts, Found, MatchCache};
use crate::router::trie::Matches;
use crate::router::{Router, Subscription};
pub(super) use route::{Origin, Way};
use route::{Route, Target, count_limited};

/// Deliveries for one connection.
struct Destination {
    client: Arc<Client>,
    staged: Vec<u8>,
    msgs: u64,
    bytes: u64,
}

/// The publisher's side of one connection.
pub(super) struct Fanout {
    cache: MatchCache<Route>,
    destinations: Vec<Destination>,
    by_client: FxHashMap<u64, usize>,
    /// Destinations with staged deliveries.
    dirty: Vec<usize>,
    /// Cache slots with uncounted deliveries.
    touched: Vec<usize>,
    staged_bytes: usize,
    /// Destinations handed over in this batch: the ones whose pace this publisher has to mind.
    handed_over: Vec<usize>,
    /// Deliveries staged and members matched since the last flush of the batch.
    work: usize,
    /// Targets that the cache holds.
    cached_targets: usize,
    spare: Vec<Vec<u8>>,
    /// What those can hold, in bytes.
    spare_bytes: usize,
    matches: Matches<Arc<Subscription>>,
    departures: u64,
    random: u64,
}

impl Fanout {
    pub(super) fn new(seed: u64, router: &Router) -> Self {
        Self {
            cache: MatchCache::default(),
            destinations: Vec::new(),
            by_client: FxHashMap::default(),
            dirty: Vec::new(),
            touched: Vec::new(),
            staged_bytes: 0,
            handed_over: Vec::new(),
            work: 0,
            cached_targets: 0,
            spare: Vec::new(),
            spare_bytes: 0,
            matches: Matches::default(),
            departures: router.departures(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Stages one message for everybody who gets it, by the route that [`route`](Self::route) gave; false when nobody does.
    /// `foreign`: its subject is not that of the route.
    pub(super) fn publish(&mut self, slot: usize, message: &Publish<'_>, foreign: bool) -> bool {
        self.work += 1;
        // Taken out for the loop, so that staging can borrow the rest; put back below.
        let Some(entry) = self.cache.get_mut(slot) else { return false };
        let mut route = std::mem::take(&mut entry.value);
        let mut any = false;
        for target in &route.plain {
            if target.guarded && foreign && target.denies(message.subject) {
                continue;
            }
            if target.limited && !count_limited(&target.subscription) {
                continue;
            }
            if target.guarded && !target.limited {
                target.subscription.delivered.fetch_add(1, Ordering::Relaxed);
            }
            self.stage(target, message, foreign);
            self.work += 1;
            any = true;
        }
        if any {
            if route.uncounted == 0 {
                self.touched.push(slot);
            }
            route.uncounted += 1;
        }
        for group in &route.queues {
            any |= self.stage_one_of(group, message, foreign);
        }
        if let Some(entry) = self.cache.get_mut(slot) {
            entry.value = route;
        }
        if self.staged_bytes > STAGED_BYTES_MAX {
            self.flush();
        }
        any
    }

    /// The cache slot of a subject, with a route that is up to date, and where the subject is recorded.
    pub(super) fn route(&mut self, origin: Origin<'_>, subject: &[u8]) -> Option<Way> {
        let mut found = self.cache.find(subject);
        if let Found::Fresh(slot) = found
            && self.cache.get_mut(slot).is_some_and(|entry| entry.value.uncounted > 0)
        {
            // The slot was another subject's, which has deliveries of this batch to be counted.
            self.count_touched();
            found = Found::Fresh(slot);
        }
        match found {
            Found::Hit(slot) => {
                let entry = self.cache.get_mut(slot)?;
                if entry.generation == origin.account.router.generation(entry.shard) {
                    return Some(Way { slot, sink: entry.value.sink, abroad: !entry.value.services.is_empty() });
                }
                if entry.value.uncounted > 0 {
                    self.count_touched();
                }
                Some(self.fill(origin, subject, slot))
            }
            Found::Fresh(slot) => Some(self.fill(origin, subject, slot)),
        }
    }

    /// Services of other accounts that the route asks.
    pub(super) fn services(&self, slot: usize) -> Vec<Arc<Link>> {
        self.cache.get(slot).map(|entry| entry.value.services.clone()).unwrap_or_default()
    }

    /// Whether the publisher may not publish where the route goes.
    pub(super) fn is_denied(&self, slot: usize) -> bool {
        self.cache.get(slot).is_some_and(|entry| entry.value.denied)
    }

    fn destination(&mut self, client: &Arc<Client>) -> usize {
        let destinations = &mut self.destinations;
        *self.by_client.entry(client.id).or_insert_with(|| {
            destinations.push(Destination { client: client.clone(), staged: Vec::new(), msgs: 0, bytes: 0 });
            destinations.len() - 1
        })
    }

    /// The staging buffer of a destination, marked as having something to hand over.
    fn staging(&mut self, at: usize) -> Option<&mut Destination> {
        let destination = self.destinations.get_mut(at)?;
        if destination.staged.is_empty() {
            self.dirty.push(at);
            if destination.staged.capacity() == 0
                && let Some(spare) = self.spare.pop()
            {
                self.spare_bytes -= spare.capacity();
                destination.staged = spare;
            }
        }
        Some(destination)
    }

    /// Stages an answer to the publisher itself, among the deliveries it gets.
    pub(super) fn stage_own(&mut self, client: &Arc<Client>, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.destination(client);
        if let Some(destination) = self.staging(at) {
            write(&mut destination.staged);
        }
    }

    fn stage(&mut self, target: &Target, message: &Publish<'_>, foreign: bool) {
        let Some(destination) = self.staging(target.destination) else { return };
        let before = destination.staged.len();
        let out = &mut destination.staged;
        let sid = &target.subscription.sid;
        let subject = target.subject.as_deref().filter(|_| !foreign).unwrap_or(message.subject);
        if target.answers
            && let Some(reply) = message.reply
        {
            target.subscription.client.access.asked(reply);
        }
        if message.header_len > 0 && target.headers {
            encode::hmsg(out, subject, sid, message.reply, message.header_len, message.message);
        } else {
            let payload = message.message.get(message.header_len..).unwrap_or_default();
            encode::msg(out, subject, sid, message.reply, payload);
        }
        destination.msgs += 1;
        destination.bytes += message.message.len() as u64;
        let added = destination.staged.len() - before;
        self.staged_bytes += added;
    }

    /// Stages for one member of a queue group: a random one, or the next that still takes deliveries.
    fn stage_one_of(&mut self, group: &[Target], message: &Publish<'_>, foreign: bool) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let start = usize::try_from(self.random >> 1).unwrap_or(0) % group.len().max(1);
        for step in 0..group.len() {
            let Some(target) = group.get((start + step) % group.len()) else { continue };
            if target.subscription.client.is_closing() || (target.guarded && foreign && target.denies(message.subject))
            {
                continue;
            }
            if target.limited {
                if !count_limited(&target.subscription) {
                    continue;
                }
            } else {
                target.subscription.delivered.fetch_add(1, Ordering::Relaxed);
            }
            self.stage(target, message, foreign);
            return true;
        }
        false
    }

    /// Counts on the subscriptions what was staged so far.
    pub(super) fn count_touched(&mut self) {
        for slot in self.touched.drain(..) {
            let Some(entry) = self.cache.get_mut(slot) else { continue };
            let count = std::mem::take(&mut entry.value.uncounted);
            for target in entry.value.plain.iter().filter(|target| !target.counts_each()) {
                target.subscription.delivered.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Hands everything staged to the sockets.
    pub(super) fn flush(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for &at in &dirty {
            let Some(destination) = self.destinations.get_mut(at) else { continue };
            let stats = &destination.client.stats;
            stats.out_msgs.fetch_add(std::mem::take(&mut destination.msgs), Ordering::Relaxed);
            stats.out_bytes.fetch_add(std::mem::take(&mut destination.bytes), Ordering::Relaxed);
            destination.client.send(&mut destination.staged, Kind::Live);
            let mut buffer = std::mem::take(&mut destination.staged);
            let bytes = self.spare_bytes.saturating_add(buffer.capacity());
            if buffer.capacity() > 0 && self.spare.len() < STAGING_POOL_MAX && bytes <= STAGING_POOL_BYTES {
                self.spare_bytes = bytes;
                buffer.clear();
                self.spare.push(buffer);
            }
        }
        self.handed_over.extend_from_slice(&dirty);
        self.dirty = dirty;
        self.dirty.clear();
        self.staged_bytes = 0;
    }

    /// A new batch begins.
    pub(super) fn begin_turn(&mut self) {
        self.handed_over.clear();
        self.work = 0;
    }

    /// What this batch has cost so far: deliveries staged and members matched.
    pub(super) fn work(&self) -> usize {
        self.work
    }

    /// Gives back memory that only a busy publisher needs.
    pub(super) fn shrink(&mut self) {
        (self.spare, self.spare_bytes) = (Vec::new(), 0);
    }

    /// The publisher's own plain subscription that would get a message on `reply`: where a 503 goes.
    pub(super) fn own_match(
        &mut self,
        router: &Router,
        publisher: &Arc<Client>,
        reply: &[u8],
    ) -> Option<Arc<Subscription>> {
        self.matches.clear();
        router.matches(reply, &mut self.matches);
        self.work += self.matches.plain.len();
        let is_own = |s: &&Arc<Subscription>| s.client.id == publisher.id && publisher.access.may_receive(reply, None);
        let own = self.matches.plain.iter().find(is_own).cloned();
        self.matches.clear();
        own
    }

    /// A destination of this batch that is so far behind that this publisher should wait for it.
    pub(super) fn stalled_by(&self, threshold: usize) -> Option<Arc<Client>> {
        self.handed_over
            .iter()
            .filter_map(|&at| self.destinations.get(at))
            .find(|d| d.client.out.pending() > threshold && !d.client.is_closing())
            .map(|d| d.client.clone())
    }

    /// What is known of its cache, if that has changed.
    pub(super) fn take_facts(&mut self) -> Option<Facts> {
        self.cache.take_facts()
    }

    /// Between batches: counts, grows, and lets go of clients that are gone.
    pub(super) fn settle(&mut self, router: &Router) {
        if !self.touched.is_empty() {
            self.count_touched();
        }
        if self.cached_targets > MATCH_CACHE_TARGETS_MAX {
            // Slots are bounded, what they hold is not: a few huge groups would fill the memory.
            self.cache.clear();
            self.cached_targets = 0;
        }
        self.cache.grow_if_crowded();
        let departures = router.departures();
        if departures != self.departures {
            self.departures = departures;
            if self.destinations.iter().any(|d| d.client.is_closing()) {
                self.forget();
            }
        }
    }

    /// Forgets every route, for instance because the client's own settings changed.
    pub(super) fn forget(&mut self) {
        self.count_touched();
        self.flush();
        self.cache.clear();
        self.cached_targets = 0;
        self.handed_over.clear();
        self.destinations.clear();
        self.by_client.clear();
    }
}
