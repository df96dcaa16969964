//! The one place that reads a clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Monotonic time now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since the first call in this process: small enough to travel in a message.
pub(crate) fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(now);
    nanos(now().saturating_duration_since(start))
}

/// A duration as whole nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
