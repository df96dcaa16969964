//! What the capture stream lets go of: messages past their age, and the oldest ones when the disk fills up.
//!
//! Whole sealed segments go, oldest first, and what went is counted and logged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sublog_storage::{DataDir, Log};

use super::Server;
use crate::clock;
use crate::config::CaptureOptions;

const EVERY: Duration = Duration::from_secs(2);

/// Enforces the limits of the capture stream until it is dropped.
pub(super) async fn run(server: Arc<Server>, data: Arc<DataDir>) {
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let (server, data) = (server.clone(), data.clone());
        // Removal syncs a folder: that is not for a thread that serves connections.
        let _ = tokio::task::spawn_blocking(move || enforce(&server, &data)).await;
    }
}

fn enforce(server: &Server, data: &DataDir) {
    let (Some(log), options) = (server.capture.log(), &server.options.capture) else { return };
    if let Some(age) = options.max_age {
        let oldest = clock::unix_ns().saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        match log.seek_time(oldest) {
            Ok(seq) => remove(server, log, seq, "older than allowed"),
            Err(error) => tracing::warn!("Retention by age cannot read the log: {error}"),
        }
    }
    while over_limit(log, data, options) {
        let before = log.state();
        // One segment's worth at a time: the removal rounds down to whole segments.
        let Some(next) = Some(log.state().first_seq) else { return };
        remove(server, log, next + 1, "over the limit of bytes or the disk reserve");
        if log.state().segments == before.segments {
            return;
        }
    }
}

fn over_limit(log: &Log, data: &DataDir, options: &CaptureOptions) -> bool {
    let state = log.state();
    if state.segments < 2 {
        return false;
    }
    options.max_bytes.is_some_and(|max| state.disk_bytes > max)
        || data.free_space().is_ok_and(|free| free < options.disk_reserve_bytes)
}

fn remove(server: &Server, log: &Log, before_seq: u64, why: &str) {
    match log.remove_before(before_seq) {
        Ok(removed) if removed.messages > 0 || removed.segments > 0 => {
            server.stats.expired_msgs.fetch_add(removed.messages, Ordering::Relaxed);
            server.stats.expired_bytes.fetch_add(removed.bytes, Ordering::Relaxed);
            tracing::info!(
                stream = crate::capture::CAPTURE,
                "Retention removed {} messages ({} bytes, {} segments) {why}",
                removed.messages,
                removed.bytes,
                removed.segments
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!("Retention cannot remove old segments: {error}"),
    }
}
