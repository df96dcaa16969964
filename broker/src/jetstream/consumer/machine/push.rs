//! What holds a push consumer back: no subscriber, its flow control window, its rate.
//!
//! The window starts at a sixteenth of its limit and doubles with each answer. When half of it is on the way a request
//! goes out with the messages; when all of it is, nothing more is sent until the answer, which takes off the window
//! what was on the way when the request went.

use std::time::Duration;

use bytes::Bytes;

use super::RateLimit;

/// Bytes that may be on the way at most.
const WINDOW_LIMIT: u64 = 32 << 20;
/// Bytes that may be on the way at first.
const WINDOW_START: u64 = WINDOW_LIMIT / 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    on_the_way: u64,
    /// What the answer will take off.
    asked_for: u64,
    request: Option<Bytes>,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { size: WINDOW_START, on_the_way: 0, asked_for: 0, request: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.on_the_way > self.size
    }

    /// The request that has not been answered.
    pub(super) fn request(&self) -> Option<&Bytes> {
        self.request.as_ref()
    }

    /// So many bytes were sent. Says whether a request has to follow.
    pub(super) fn sent(&mut self, bytes: u64) -> bool {
        self.on_the_way = self.on_the_way.saturating_add(bytes);
        if self.request.is_some() {
            // Messages larger than the window: the answer has to make room for the next one.
            if self.on_the_way.saturating_sub(self.asked_for) >= self.size {
                self.asked_for = self.asked_for.saturating_add(bytes);
            }
            return false;
        }
        self.on_the_way > self.size / 2
    }

    pub(super) fn ask(&mut self, request: Bytes) {
        self.asked_for = self.on_the_way;
        self.request = Some(request);
    }

    /// Whether the answer was to the request that is open.
    pub(super) fn answered(&mut self, subject: &[u8]) -> bool {
        if self.request.as_deref() != Some(subject) {
            return false;
        }
        self.size = (self.size * 2).min(WINDOW_LIMIT);
        self.on_the_way = self.on_the_way.saturating_sub(self.asked_for);
        (self.asked_for, self.request) = (0, None);
        true
    }
}

/// A bucket of bytes that fills at the configured rate. A message may overdraw it; the next waits until it is even.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    /// When it would be full.
    full_at: Duration,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit, now: Duration) -> Self {
        Self { limit, full_at: now }
    }

    /// The time in which so many bytes flow in.
    fn time_of(&self, bytes: u64) -> Duration {
        let ns = u128::from(bytes) * 8_000_000_000 / u128::from(self.limit.bits_per_second.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    pub(super) fn sent(&mut self, bytes: u64, now: Duration) {
        self.full_at = self.full_at.max(now).saturating_add(self.time_of(bytes));
    }

    /// When something may be sent.
    pub(super) fn open_at(&self) -> Duration {
        self.full_at.saturating_sub(self.time_of(self.limit.burst_bytes))
    }
}

/// What a push consumer has beside its messages.
#[derive(Debug)]
pub(super) struct PushSide {
    /// Whether somebody listens.
    pub(super) active: bool,
    pub(super) window: Option<Window>,
    pub(super) bucket: Option<Bucket>,
    /// When to send a heartbeat.
    pub(super) heartbeat_at: Option<Duration>,
}
