//! Making a route: who gets messages on a subject, where they are recorded, and whom they ask in other accounts.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Fanout;
use super::route::{Origin, Target, Way};
use crate::client::desks::Sink;
use crate::router::{Subscription, shard_of};

impl Fanout {
    pub(super) fn fill(&mut self, origin: Origin<'_>, subject: &[u8], slot: usize) -> Way {
        let Origin { account, except, permissions, desks } = origin;
        let shard = shard_of(subject);
        // Read before matching: a change in between makes this result old, not this generation new.
        let generation = account.router.generation(shard);
        let mut matches = std::mem::take(&mut self.matches);
        matches.clear();
        account.router.matches(subject, &mut matches);
        let Some(entry) = self.cache.get_mut(slot) else { return Way { slot, sink: Sink::Nothing, abroad: false } };
        let mut route = std::mem::take(&mut entry.value);
        self.cached_targets = self.cached_targets.saturating_sub(route.targets());
        route.plain.clear();
        route.queues.clear();
        route.uncounted = 0;
        route.sink = desks.sink_of(account, subject);
        route.denied = permissions.is_some_and(|permissions| !permissions.may_publish(subject));
        route.services.clear();
        if account.has_services() {
            route.services.extend(account.links().services_for(subject).cloned());
            if !route.services.is_empty() && route.sink == Sink::Server && !account.jetstream.is_enabled() {
                // What it asks for is elsewhere.
                route.sink = Sink::Nothing;
            }
        }
        let mut wanted = |s: Arc<Subscription>| {
            if except == Some(s.client.id) {
                return None;
            }
            let (s, renamed) = match &s.shadow {
                None => (s, None),
                Some(shadow) => (shadow.of.clone(), Some(shadow.subject_of(subject)?)),
            };
            let subject = renamed.as_deref().unwrap_or(subject);
            s.client.access.may_receive(subject, s.queue.as_deref()).then(|| self.target(s, renamed))
        };
        for subscription in matches.plain.drain(..) {
            route.plain.extend(wanted(subscription));
        }
        for (_, members) in matches.queues.drain(..) {
            let group: Vec<Target> = members.into_iter().filter_map(&mut wanted).collect();
            if !group.is_empty() {
                route.queues.push(group);
            }
        }
        let way = Way { slot, sink: route.sink, abroad: !route.services.is_empty() };
        self.cached_targets += route.targets();
        self.work += route.targets();
        self.cache.note(slot, route.plain.len() + route.queues.len());
        if let Some(entry) = self.cache.get_mut(slot) {
            entry.value = route;
            entry.shard = shard;
            entry.generation = generation;
        }
        self.matches = matches;
        way
    }

    fn target(&mut self, subscription: Arc<Subscription>, subject: Option<Vec<u8>>) -> Target {
        let client = &subscription.client;
        let destination = self.destination(client);
        let permissions = client.access.permissions();
        Target {
            destination,
            guarded: permissions.as_ref().is_some_and(|permissions| !permissions.subscribe.deny.is_empty()),
            answers: permissions.is_some_and(|permissions| permissions.responses.is_some()),
            headers: client.headers.load(Ordering::Relaxed),
            subject: subject.map(Into::into),
            limited: subscription.max.load(Ordering::Relaxed) > 0,
            subscription,
        }
    }
}
