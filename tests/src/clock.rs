//! The clock of the tests, and waiting with a deadline.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long anything that ought to happen at once may take on a crowded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks of [`until`].
const POLL: Duration = Duration::from_millis(5);

/// The moment, for measuring.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the tests read the monotonic clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day since the epoch.
///
/// # Panics
/// The clock stands before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the tests read the time of day")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Looks until `look` finds something.
///
/// # Panics
/// It has not after [`PATIENCE`]; `what` names it.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < deadline, "no {what} within {PATIENCE:?}");
        std::thread::sleep(POLL);
    }
}
