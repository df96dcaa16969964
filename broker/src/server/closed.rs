//! The connections that ended last, as `/connz?state=closed` shows them.
//!
//! What each had subscribed to is remembered as long as all of that together fits into a bound of bytes; the oldest
//! lists go first. How many subscriptions there were stays.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::client::shown::{Listed, Shown};
use crate::limits::CLOSED_SUBSCRIPTIONS_BYTES;

/// One of them.
#[derive(Debug, Clone)]
pub struct Closed {
    /// As it was in the end.
    pub shown: Arc<Shown>,
    /// What it had subscribed to, in no order; `None`: that is no longer known.
    pub subscriptions: Option<Arc<[Listed]>>,
}

/// See the module.
#[derive(Debug)]
pub struct ClosedRing {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first.
    connections: VecDeque<(Closed, usize)>,
    /// Of all lists.
    bytes: usize,
    /// The first connections have lost their lists.
    without: usize,
}

impl ClosedRing {
    /// Room for so many connections.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// A connection has ended.
    pub fn add(&self, shown: Shown, subscriptions: Vec<Listed>) {
        let bytes = subscriptions.iter().map(Listed::bytes).sum();
        let closed = Closed { shown: Arc::new(shown), subscriptions: Some(subscriptions.into()) };
        let mut dropped = Vec::new();
        let mut kept = self.kept.lock();
        kept.connections.push_back((closed, bytes));
        kept.bytes += bytes;
        while kept.connections.len() > self.most
            && let Some((oldest, bytes)) = kept.connections.pop_front()
        {
            kept.bytes -= bytes;
            kept.without = kept.without.saturating_sub(1);
            dropped.push(oldest);
        }
        while kept.bytes > CLOSED_SUBSCRIPTIONS_BYTES {
            let at = kept.without;
            let Some((oldest, bytes)) = kept.connections.get_mut(at) else { break };
            let freed = std::mem::take(bytes);
            dropped.push(Closed { shown: oldest.shown.clone(), subscriptions: oldest.subscriptions.take() });
            kept.bytes -= freed;
            kept.without += 1;
        }
        drop(kept);
        // Lists may be long: they are freed when nobody waits for the lock.
        drop(dropped);
    }

    /// All of them, in the order they ended.
    #[must_use]
    pub fn all(&self) -> Vec<Closed> {
        self.kept.lock().connections.iter().map(|(closed, _)| closed.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::client::CloseReason;

    fn shown(cid: u64) -> Shown {
        Shown {
            cid,
            ip: [127, 0, 0, 1].into(),
            port: 1,
            websocket: false,
            tls: None,
            start: UNIX_EPOCH,
            last_activity: UNIX_EPOCH,
            stop: Some((UNIX_EPOCH + Duration::from_secs(cid), CloseReason::ClientClosed)),
            rtt: None,
            pending_bytes: 0,
            in_msgs: 0,
            out_msgs: 0,
            in_bytes: 0,
            out_bytes: 0,
            stalls: 0,
            subscriptions: 0,
            name: Box::default(),
            lang: Box::default(),
            version: Box::default(),
            user: Box::default(),
            account: "$G".into(),
            by_token: None,
        }
    }

    fn listed(cid: u64, bytes: usize) -> Vec<Listed> {
        let subject = vec![b'a'; bytes].into();
        vec![Listed { subject, queue: None, sid: b"1".as_slice().into(), msgs: 0, max: 0, cid }]
    }

    fn cids(ring: &ClosedRing) -> Vec<u64> {
        ring.all().iter().map(|closed| closed.shown.cid).collect()
    }

    #[test]
    fn the_newest_stay() {
        let ring = ClosedRing::new(3);
        for cid in 1..=5 {
            ring.add(shown(cid), listed(cid, 10));
        }
        assert_eq!(cids(&ring), [3, 4, 5]);
        let none = ClosedRing::new(0);
        none.add(shown(1), listed(1, 10));
        assert!(none.all().is_empty());
    }

    #[test]
    fn lists_go_first_and_in_their_order() {
        let ring = ClosedRing::new(5);
        let half = CLOSED_SUBSCRIPTIONS_BYTES / 2 - 1000;
        let lists = |ring: &ClosedRing| ring.all().iter().map(|c| c.subscriptions.is_some()).collect::<Vec<_>>();
        for cid in 1..=4 {
            ring.add(shown(cid), listed(cid, half));
        }
        assert_eq!(lists(&ring), [false, false, true, true]);
        // One that is too large alone takes all others with it, and goes as well.
        ring.add(shown(5), listed(5, CLOSED_SUBSCRIPTIONS_BYTES + 1));
        assert_eq!(lists(&ring), [false; 5]);
        for cid in 6..=20 {
            ring.add(shown(cid), listed(cid, 100));
        }
        assert_eq!(cids(&ring), [16, 17, 18, 19, 20]);
        assert_eq!(lists(&ring), [true; 5]);
        let kept = ring.kept.lock();
        assert_eq!((kept.without, kept.bytes), (0, kept.connections.iter().map(|(_, bytes)| bytes).sum()));
    }
}
