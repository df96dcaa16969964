//! The one place of the crate that reads a clock: a monotonic one, for waiting and measuring.

use std::time::Instant;

/// The moment.
#[expect(clippy::disallowed_methods, reason = "this is the file that may")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
