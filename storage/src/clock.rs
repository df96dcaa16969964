//! The one place of the crate that reads a clock: a monotonic one, for waiting and measuring.

use std::sync::OnceLock;
use std::time::Instant;

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
