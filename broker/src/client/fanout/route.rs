//! What a publisher remembers of a subject: who gets it, and where it is recorded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::account::Account;
use crate::account::links::Link;
use crate::auth::permissions::Permissions;
use crate::client::desks::{Desks, Sink};
use crate::router::Subscription;

/// One subscription as the publisher remembers it.
pub(super) struct Target {
    /// Index into `Fanout::destinations`.
    pub(super) destination: usize,
    pub(super) subscription: Arc<Subscription>,
    pub(super) headers: bool,
    /// It may end by count: every delivery is counted at once.
    pub(super) limited: bool,
    /// What it may get is bounded, which the route's subject is held to, but not what comes under another one.
    pub(super) guarded: bool,
    /// Under which subject it gets messages of the route, where that is another one.
    pub(super) subject: Option<Box<[u8]>>,
    /// It may answer requests, so that they are remembered.
    pub(super) answers: bool,
}

/// Where a message on a subject goes.
#[derive(Clone, Copy)]
pub(in crate::client) struct Way {
    /// The cache slot of its route.
    pub(in crate::client) slot: usize,
    /// Where it is recorded.
    pub(in crate::client) sink: Sink,
    /// Services of other accounts are asked.
    pub(in crate::client) abroad: bool,
}

/// What a subject goes to.
#[derive(Default)]
pub(super) struct Route {
    pub(super) plain: Vec<Target>,
    pub(super) queues: Vec<Vec<Target>>,
    /// Messages of this batch not yet counted on the plain subscriptions.
    pub(super) uncounted: u64,
    /// Where it is recorded.
    pub(super) sink: Sink,
    /// The publisher may not publish here.
    pub(super) denied: bool,
    /// Services of other accounts that are asked.
    pub(super) services: Vec<Arc<Link>>,
}

/// Whose messages these are: whom they are not delivered to, and where they are recorded.
pub(in crate::client) struct Origin<'a> {
    pub(in crate::client) account: &'a Account,
    /// The publisher, if it wants no echo.
    pub(in crate::client) except: Option<u64>,
    /// What the publisher may do; `None` is everything.
    pub(in crate::client) permissions: Option<&'a Permissions>,
    pub(in crate::client) desks: &'a mut Desks,
}

impl Target {
    /// Not every message that takes the route is delivered, so what is has to be counted one by one.
    pub(super) fn counts_each(&self) -> bool {
        self.limited || self.guarded
    }

    /// Whether messages on `subject` are kept from whom it goes to.
    pub(super) fn denies(&self, subject: &[u8]) -> bool {
        self.subscription.client.access.denies(subject, self.subscription.queue.as_deref())
    }
}

impl Route {
    pub(super) fn targets(&self) -> usize {
        self.plain.len() + self.queues.iter().map(Vec::len).sum::<usize>()
    }
}

/// Counts a delivery of a subscription with a limit; false when it is used up. The last one ends it for everybody.
pub(super) fn count_limited(subscription: &Arc<Subscription>) -> bool {
    let (deliver, last) = subscription.take_one();
    if last && subscription.account.router.remove(subscription) {
        subscription.client.stats.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
    deliver
}
