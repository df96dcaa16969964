//! `connection_rate_limit`: so many handshakes a second.

use parking_lot::Mutex;

/// Counts within seconds that begin with the first handshake after the last one.
pub(super) struct Rate {
    per_second: u64,
    state: Mutex<(u64, u64)>,
}

impl Rate {
    pub(super) fn new(per_second: u64) -> Self {
        Self { per_second, state: Mutex::new((0, 0)) }
    }

    /// Counts one handshake at `now_ms`; false when it is one too many.
    pub(super) fn allows(&self, now_ms: u64) -> bool {
        let (since, count) = &mut *self.state.lock();
        if *count == 0 || now_ms.saturating_sub(*since) >= 1000 {
            (*since, *count) = (now_ms, 0);
        }
        if *count >= self.per_second {
            return false;
        }
        *count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many() {
        let rate = Rate::new(2);
        let answers: Vec<bool> = [0, 10, 999, 1000, 1001, 1002, 5000].map(|at| rate.allows(at)).into();
        assert_eq!(answers, [true, true, false, true, true, false, true]);
    }
}
