//! What the process takes of the processors: measured once a second over the second before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock;

const INTERVAL: Duration = Duration::from_secs(1);

/// See the module. 100 percent is one processor.
#[derive(Debug, Default)]
pub struct CpuMeter {
    /// When it was last measured, and what the process had used until then.
    last: Mutex<(Duration, Duration)>,
    tenths: AtomicU64,
}

impl CpuMeter {
    /// Measures, if it is time to; to be called now and then.
    pub fn tick(&self) {
        let now = clock::ticks();
        let mut last = self.last.lock();
        if now.saturating_sub(last.0) >= INTERVAL {
            let used = clock::process_cpu();
            self.tenths.store(tenths(now.saturating_sub(last.0), used.saturating_sub(last.1)), Ordering::Relaxed);
            *last = (now, used);
        }
    }

    /// Percent, with one decimal.
    #[must_use]
    pub fn percent(&self) -> f64 {
        let tenths = u32::try_from(self.tenths.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        f64::from(tenths) / 10.0
    }
}

/// Tenths of a percent.
fn tenths(span: Duration, used: Duration) -> u64 {
    u64::try_from(used.as_micros() * 1000 / span.as_micros().max(1)).unwrap_or(u64::MAX)
}

/// Resident memory in bytes, 0 where the system does not tell.
pub(super) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()));
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_a_hundred_percent() {
        let second = Duration::from_secs(1);
        assert_eq!(tenths(second, second), 1000);
        assert_eq!(tenths(second * 2, second), 500);
        assert_eq!(tenths(second, Duration::from_micros(999)), 0);
        assert_eq!(tenths(Duration::ZERO, Duration::ZERO), 0);
        assert_eq!(tenths(second, second * 64), 64_000);
    }
}
