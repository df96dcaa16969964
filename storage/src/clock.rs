//! The one place of the crate that reads clocks: a monotonic one, for waiting and measuring, and the time of day, for what
//! expires.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

/// What tells a log the time of day, by which records expire.
#[derive(Debug, Clone, Default)]
pub enum WallClock {
    /// The system's clock.
    #[default]
    System,
    /// Somebody sets it: nanoseconds since 1970.
    Given(Arc<AtomicI64>),
}

impl WallClock {
    /// Nanoseconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    pub(crate) fn now_ns(&self) -> i64 {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
            }
            Self::Given(now_ns) => now_ns.load(Ordering::Acquire),
        }
    }
}

/// The moment.
#[cfg(not(feature = "shuttle"))]
#[expect(clippy::disallowed_methods, reason = "this is the file that may")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(feature = "shuttle")]
pub(crate) use crate::sync::now;

/// A moment that stays the same as long as the process lives, before most others.
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(now)
}
