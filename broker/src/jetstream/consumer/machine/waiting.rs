//! The pull requests that wait, in the order in which they are served.
//!
//! A request that was served and wants more goes to the end of the line, so that requests share what comes. With
//! priorities every priority has a line of its own. Requests keep their number while their place changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::pull::GroupRequest;

/// Priority, then ticket.
pub(super) type Place = (u64, u64);

/// A request that waits.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub reply: Bytes,
    /// Messages it still wants.
    pub left: u64,
    /// Whether it got any.
    pub served: bool,
    /// Bytes it still takes. 0 is as many as there are.
    pub bytes_left: u64,
    pub expires: Option<Duration>,
    /// Every so often, and when next.
    pub heartbeat: Option<(Duration, Duration)>,
    pub no_wait: bool,
    pub group: Option<GroupRequest>,
    pub place: Place,
}

impl Request {
    /// When something has to be done about it.
    fn timer(&self) -> Option<Duration> {
        let heartbeat = self.heartbeat.map(|(_, next)| next);
        self.expires.into_iter().chain(heartbeat).min()
    }

    /// Whether it ends where the stream does.
    fn ends_at_end(&self) -> bool {
        self.no_wait && (self.expires.is_none() || self.served)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    requests: FxHashMap<u64, Request>,
    line: BTreeMap<Place, u64>,
    timers: BTreeSet<(Duration, u64)>,
    ending: BTreeSet<u64>,
    next_number: u64,
    next_ticket: u64,
    /// The sum of what all requests still want.
    messages: u64,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many messages all that wait want.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Adds a request at the end of its priority's line.
    pub(super) fn add(&mut self, request: Request, priority: u64) {
        let number = self.next_number;
        self.next_number += 1;
        self.put(number, request, priority);
    }

    fn put(&mut self, number: u64, mut request: Request, priority: u64) {
        request.place = (priority, self.next_ticket);
        self.next_ticket += 1;
        self.line.insert(request.place, number);
        self.timers.extend(request.timer().map(|at| (at, number)));
        if request.ends_at_end() {
            self.ending.insert(number);
        }
        self.messages += request.left;
        self.requests.insert(number, request);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Request> {
        let request = self.requests.remove(&number)?;
        self.line.remove(&request.place);
        if let Some(at) = request.timer() {
            self.timers.remove(&(at, number));
        }
        self.ending.remove(&number);
        self.messages -= request.left;
        Some(request)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Request> {
        self.requests.get(&number)
    }

    /// The request after a place in the line.
    pub(super) fn after(&self, place: Option<Place>) -> Option<(Place, u64)> {
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        self.line.range((from, Bound::Unbounded)).next().map(|(place, number)| (*place, *number))
    }

    /// All requests, in order.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.line.values().copied().collect()
    }

    /// A message of so many bytes goes to the request. Returns it as it is afterwards; when it wants more, it has gone
    /// to the end of its line.
    pub(super) fn serve(&mut self, number: u64, bytes: u64, now: Duration) -> Option<Request> {
        let mut request = self.remove(number)?;
        if request.bytes_left > 0 {
            request.bytes_left = request.bytes_left.saturating_sub(bytes);
            if request.bytes_left == 0 {
                request.left = 1;
            }
        }
        request.left -= 1;
        request.served = true;
        if request.left > 0 {
            if let Some((every, next)) = &mut request.heartbeat {
                *next = now.saturating_add(*every);
            }
            let priority = request.place.0;
            self.put(number, request.clone(), priority);
        }
        Some(request)
    }

    /// A request whose timer has run out; it must be removed, or its heartbeat moved on.
    pub(super) fn first_due(&self, now: Duration) -> Option<u64> {
        self.timers.first().filter(|(at, _)| *at <= now).map(|(_, number)| *number)
    }

    /// When [`Self::first_due`] will have something.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A heartbeat was sent.
    pub(super) fn beat(&mut self, number: u64, now: Duration) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        if let Some(at) = request.timer() {
            self.timers.remove(&(at, number));
        }
        if let Some((every, next)) = &mut request.heartbeat {
            *next = now.saturating_add(*every);
        }
        self.timers.extend(request.timer().map(|at| (at, number)));
    }

    /// A request that ends because the end of the stream is reached.
    pub(super) fn first_ending(&self) -> Option<u64> {
        self.ending.first().copied()
    }

    /// The pin a request was given.
    pub(super) fn set_pin(&mut self, number: u64, id: &str) {
        if let Some(group) = self.requests.get_mut(&number).and_then(|request| request.group.as_mut()) {
            id.clone_into(&mut group.id);
        }
    }
}
