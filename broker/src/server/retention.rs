//! What is done for streams now and then, and what they let go of: messages past their age, and of the capture stream the
//! oldest ones when the disk fills up.
//!
//! Whole sealed segments go, oldest first, and what went is counted and logged.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sublog_storage::{DataDir, Log, LogError, Removed};

use super::Server;
use crate::capture::CAPTURE;
use crate::clock;
use crate::config::CaptureOptions;

const EVERY: Duration = Duration::from_secs(2);
/// How often streams are asked for messages past their age.
const EXPIRY_EVERY: Duration = Duration::from_millis(100);
/// So many streams are asked then; of ten thousand, each is asked twice a second.
const ASKED_AT_ONCE: usize = 2000;
/// How long maintenance goes on before limits are looked at again, in milliseconds.
const MAINTAIN_MS: u64 = 1000;
/// A declared stream's turn at that while others wait for theirs, in milliseconds.
const TURN_MS: u64 = 250;
/// Streams looked up at a time.
const PAGE: usize = 256;

/// Enforces the limits of the capture stream, and keeps all logs up, until it is dropped.
pub(super) async fn run(server: Arc<Server>, data: Arc<DataDir>) {
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut round = Round::default();
    loop {
        interval.tick().await;
        let mut more = true;
        while more {
            let (server, data) = (server.clone(), data.clone());
            // Removal syncs a folder: that is not for a thread that serves connections.
            let work = move || {
                enforce(&server, &data);
                let capture = server.capture.log().is_some_and(|log| maintain(&server, CAPTURE, log, MAINTAIN_MS));
                let declared = round.go_on(&server);
                (round, capture || declared)
            };
            (round, more) = tokio::task::spawn_blocking(work).await.unwrap_or_default();
        }
    }
}

/// A round through the declared streams, in which each has its turn.
#[derive(Default)]
struct Round {
    /// The account whose streams have their turns, among all of them.
    account: usize,
    /// Its stream that had the last turn; the next one is behind it.
    at: Option<String>,
    /// Some have more to do than their turn allowed.
    unfinished: bool,
}

impl Round {
    /// Goes on for a while; whether there is more to do at once.
    fn go_on(&mut self, server: &Server) -> bool {
        let begin = clock::ticks_ms();
        let accounts = server.accounts.all();
        loop {
            let Some(account) = accounts.get(self.account) else {
                self.account = 0;
                return std::mem::take(&mut self.unfinished);
            };
            let page = account.jetstream.streams.page(self.at.as_deref(), PAGE);
            if page.is_empty() {
                self.at = None;
                self.account += 1;
                continue;
            }
            for declared in page {
                let name = &declared.config.name;
                declared.stream.forget_ids(clock::unix_ns());
                if let Some(log) = declared.stream.log() {
                    self.unfinished |= maintain(server, name, log.log(), TURN_MS);
                }
                self.at = Some(name.clone());
                if clock::ticks_ms().saturating_sub(begin) >= MAINTAIN_MS {
                    return true;
                }
            }
        }
    }
}

/// Removes messages of declared streams that are past their time, until it is dropped.
pub(super) async fn expire(server: Arc<Server>) {
    let mut interval = tokio::time::interval(EXPIRY_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Of each account, the stream that was asked last.
    let mut asked: HashMap<Arc<str>, String> = HashMap::new();
    loop {
        interval.tick().await;
        for account in server.accounts.all() {
            let streams = &account.jetstream.streams;
            let after = asked.remove(&account.name);
            let (due, at) = streams.those(after.as_deref(), ASKED_AT_ONCE, |found| found.stream.is_due());
            asked.extend(at.map(|at| (account.name.clone(), at)));
            for declared in due {
                // Looking for what is past its time reads.
                let account = account.clone();
                let _ = tokio::task::spawn_blocking(move || declared.stream.tick(&account)).await;
            }
        }
    }
}

fn enforce(server: &Server, data: &DataDir) {
    let Some(log) = server.capture.log() else { return };
    let current = server.current();
    let options = &current.capture;
    if let Some(age) = options.max_age {
        let oldest = clock::unix_ns().saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        match log.seek_time(oldest) {
            Ok(seq) => {
                report(server, log.remove_before(seq), "older than allowed");
            }
            Err(error) => tracing::warn!("Retention by age cannot read the log: {error}"),
        }
    }
    while over_limit(log, data, options) {
        if !report(server, log.remove_oldest(), "over the limit of bytes or the disk reserve") {
            break;
        }
    }
}

/// Keeps the log's index up, packs what is to be packed, and gives space back, for a while; whether there is more to do.
/// Rests as long as it works, since others want the processor and the disk as well.
fn maintain(server: &Server, stream: &str, log: &Log, turn_ms: u64) -> bool {
    let begin = clock::ticks_ms();
    while !server.shared.stopping.load(Ordering::Acquire) {
        let piece = clock::ticks_ms();
        match log.maintain() {
            Ok(done) if done.more => {}
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(stream, "Maintenance of the log failed: {error}");
                return false;
            }
        }
        let now = clock::ticks_ms();
        if now.saturating_sub(begin) >= turn_ms {
            return true;
        }
        std::thread::sleep(Duration::from_millis(now.saturating_sub(piece)));
    }
    false
}

fn over_limit(log: &Log, data: &DataDir, options: &CaptureOptions) -> bool {
    let state = log.state();
    if state.segments < 2 {
        return false;
    }
    options.max_bytes.is_some_and(|max| state.disk_bytes > max)
        || data.free_space().is_ok_and(|free| free < options.disk_reserve_bytes)
}

/// Counts and tells what was removed; whether anything was.
fn report(server: &Server, outcome: Result<Removed, LogError>, why: &str) -> bool {
    match outcome {
        Ok(removed) if removed.segments > 0 => {
            server.stats.expired_msgs.fetch_add(removed.messages, Ordering::Relaxed);
            server.stats.expired_bytes.fetch_add(removed.bytes, Ordering::Relaxed);
            tracing::info!(
                stream = CAPTURE,
                "Retention removed {} messages ({} bytes, {} segments) {why}",
                removed.messages,
                removed.bytes,
                removed.segments
            );
            true
        }
        Ok(_) => false,
        Err(error) => {
            tracing::warn!("Retention cannot remove old segments: {error}");
            false
        }
    }
}
