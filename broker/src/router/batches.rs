//! Publishers in the middle of a batch, and how an unsubscribing client waits for those who still know it.
//!
//! A publisher stages deliveries for a whole batch before it hands them to the sockets. A client that unsubscribes and
//! then gets its PONG takes that for the end: what comes later it drops, and from a queue group it would be lost,
//! since another member could have had it. So the PONG after an UNSUB waits until every batch has ended that began
//! before the subscription was removed. Batches count themselves in one of two phases; whoever waits turns the phase
//! and waits for the old one to empty.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

/// Counters are spread over so many cache lines.
const SHARDS: usize = 16;
/// A batch is computed without waiting for anything, so this is generous. It bounds the damage if one never ends.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard([AtomicUsize; 2]);

/// See the module.
#[derive(Debug, Default)]
pub struct Batches {
    phase: AtomicUsize,
    active: [Shard; SHARDS],
    turn: Mutex<()>,
}

/// A batch that has begun; to be given back to [`Batches::exit`].
#[derive(Debug)]
#[must_use]
pub struct Entered {
    shard: usize,
    phase: usize,
}

impl Batches {
    fn counter(&self, shard: usize, phase: usize) -> Option<&AtomicUsize> {
        self.active.get(shard % SHARDS)?.0.get(phase & 1)
    }

    /// A batch of the connection `cid` begins.
    pub fn enter(&self, cid: u64) -> Entered {
        let shard = usize::try_from(cid).unwrap_or(0);
        loop {
            let phase = self.phase.load(Ordering::SeqCst);
            let entered = Entered { shard, phase };
            if let Some(counter) = self.counter(shard, phase) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            // Counted too late for somebody who has just turned the phase: once more.
            if self.phase.load(Ordering::SeqCst) == phase {
                return entered;
            }
            self.exit(entered);
        }
    }

    /// The batch has ended, its deliveries are handed over.
    pub fn exit(&self, entered: Entered) {
        if let Some(counter) = self.counter(entered.shard, entered.phase) {
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Waits until every batch has ended that began before this call. The caller must not be in one.
    pub async fn settle(&self) {
        let _turn = self.turn.lock().await;
        let old = self.phase.fetch_add(1, Ordering::SeqCst);
        let busy = || (0..SHARDS).any(|shard| self.counter(shard, old).is_some_and(|c| c.load(Ordering::SeqCst) > 0));
        let over = async {
            while busy() {
                tokio::task::yield_now().await;
            }
        };
        // After the timeout the client gets its answer all the same.
        let _ = tokio::time::timeout(PATIENCE, over).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn settling_waits_for_the_batches_before_it_and_no_others() {
        let batches = Batches::default();
        batches.settle().await;
        let before = batches.enter(1);
        let settle = batches.settle();
        tokio::pin!(settle);
        let pending = |polled: std::task::Poll<()>| polled.is_pending();
        assert!(pending(std::future::poll_fn(|cx| std::task::Poll::Ready(settle.as_mut().poll(cx))).await));
        // One that begins now knows the new state of things.
        let after = batches.enter(1);
        assert!(pending(std::future::poll_fn(|cx| std::task::Poll::Ready(settle.as_mut().poll(cx))).await));
        batches.exit(before);
        settle.await;
        batches.exit(after);
        batches.settle().await;
    }
}
