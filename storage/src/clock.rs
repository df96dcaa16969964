//! The one place of the crate that reads a clock: a monotonic one, for waiting and measuring.

#[cfg(not(feature = "shuttle"))]
use std::time::Instant;

/// The moment.
#[cfg(not(feature = "shuttle"))]
#[expect(clippy::disallowed_methods, reason = "this is the file that may")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(feature = "shuttle")]
pub(crate) use crate::sync::now;
