//! The one place that reads clocks.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<Instant> = OnceLock::new();

/// Now, for measuring spans.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Time since the process first asked, for deadlines.
#[must_use]
pub fn ticks() -> Duration {
    now().duration_since(*START.get_or_init(now))
}

/// Processor time the process has used so far.
#[must_use]
pub fn process_cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(used).unwrap_or_default()
}

/// Milliseconds since the process first asked, for activity marks that live in atomics.
#[must_use]
pub fn ticks_ms() -> u64 {
    u64::try_from(ticks().as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds since the Unix epoch, as stored with every message.
#[must_use]
pub fn unix_ns() -> i64 {
    let since = wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
