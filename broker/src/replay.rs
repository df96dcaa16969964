//! Replay by subscription: history first, then live, from one source.
//!
//! A replay reads the log from its start to its end and then follows the log's end. Live messages reach it through the
//! log too, so there is no seam to get wrong: no gap, no duplicate, no reordering. It runs on threads of its own, since
//! a page of history that is not in memory stalls whoever touches it, and live delivery must not wait for a disk.

pub mod feed;
pub mod grammar;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sublog_protocol::error::ServerError;
use tokio::sync::Notify;

use crate::account::Account;
use crate::client::Client;
use crate::server::Server;

/// One running replay.
#[derive(Debug)]
pub struct Replay {
    /// What was subscribed to.
    pub subject: Box<[u8]>,
    /// The client's name for it.
    pub sid: Box<[u8]>,
    ended: AtomicBool,
    end: Notify,
    delivered: AtomicU64,
    /// Deliveries after which it ends; 0 is never.
    max: AtomicU64,
}

/// Whether a subscription's subject asks for a replay.
#[must_use]
pub fn is_replay(filter: &[u8]) -> bool {
    filter.starts_with(grammar::PREFIX) || filter == b"$REPLAY"
}

/// The filter inside the subject of a replay; `None` for other subjects, and for replays that are not well-formed, which
/// nobody gets.
#[must_use]
pub fn inner_filter(subject: &[u8]) -> Option<Box<[u8]>> {
    if !is_replay(subject) {
        return None;
    }
    grammar::parse(subject).ok().map(|request| request.filter)
}

/// Prepares what a subscription asks for. Its feed is still to be [started](start).
///
/// # Errors
/// What to tell the client.
pub fn prepare(
    (server, account): (&Arc<Server>, &Account),
    client: &Arc<Client>,
    subject: &[u8],
    queue: Option<&[u8]>,
    sid: &[u8],
) -> Result<(Arc<Replay>, feed::Feed), ServerError> {
    if queue.is_some() {
        return Err(grammar::no_queue_groups());
    }
    let request = grammar::parse(subject)?;
    let Some(reader) = account.capture.reader() else { return Err(grammar::nothing_recorded()) };
    let replay = Arc::new(Replay {
        subject: subject.into(),
        sid: sid.into(),
        ended: AtomicBool::new(false),
        end: Notify::new(),
        delivered: AtomicU64::new(0),
        max: AtomicU64::new(0),
    });
    let feed = feed::Feed::new(server.clone(), client.clone(), replay.clone(), request, subject, reader);
    Ok((replay, feed))
}

/// Lets a prepared replay run.
pub fn start(server: &Server, feed: feed::Feed) {
    server.stats.replays.fetch_add(1, Ordering::Relaxed);
    server.shared.runtime.spawn(feed.run());
}

impl Replay {
    /// Deliveries so far, and after how many it ends (0: never).
    #[must_use]
    pub fn deliveries(&self) -> (u64, u64) {
        (self.delivered.load(Ordering::Acquire), self.max.load(Ordering::Acquire))
    }

    /// Whether it is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends it; true if it was still running.
    pub fn end(&self) -> bool {
        let was_running = !self.ended.swap(true, Ordering::AcqRel);
        self.end.notify_one();
        was_running
    }

    /// Ends it after `max` deliveries in all; true when there have been as many already.
    pub fn limit(&self, max: u64) -> bool {
        self.max.store(max, Ordering::Release);
        self.delivered.load(Ordering::Acquire) >= max
    }

    /// Counts one delivery: whether it may go out, and whether it is the last.
    fn take_one(&self) -> (bool, bool) {
        let max = self.max.load(Ordering::Acquire);
        let before = self.delivered.fetch_add(1, Ordering::AcqRel);
        (max == 0 || before < max, max > 0 && before + 1 >= max)
    }

    async fn ended(&self) {
        while !self.has_ended() {
            self.end.notified().await;
        }
    }
}
