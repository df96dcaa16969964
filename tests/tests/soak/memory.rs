//! Whether the server's anonymous memory grows.

use std::time::Duration;

use sublog_tests::TestServer;

use crate::ledger::{Ledger, Promise};

/// A server that has just started has not met its load yet.
const WARM_UP: Duration = Duration::from_secs(5);
/// What the last third of a run may have more than the first: this ...
const MORE_BYTES: u64 = 4 << 20;
/// ... and so many hundredths.
const MORE_PERCENT: u64 = 20;

/// See the module.
pub(crate) struct Watch(Vec<u64>);

impl Watch {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Looks, unless the server is too young.
    pub(crate) fn sample(&mut self, server: &TestServer, age: Duration) {
        if age >= WARM_UP {
            self.0.push(server.resident_bytes());
        }
    }

    pub(crate) fn judge(&self, ledger: &Ledger) {
        let third = self.0.len() / 3;
        if third < 5 {
            return ledger.fault(Promise::Memory, format!("only {} samples", self.0.len()));
        }
        let (first, last) = (median(&self.0[..third]), median(&self.0[self.0.len() - third..]));
        let most = self.0.iter().max().copied().unwrap_or_default();
        println!(
            "memory: median of the first third {first}, of the last {last}, at most {most} bytes, {} looks",
            self.0.len()
        );
        if last > first + first * MORE_PERCENT / 100 + MORE_BYTES {
            ledger.fault(Promise::Memory, format!("from {first} to {last} bytes"));
        }
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[test]
fn growth_is_seen() {
    let ledger = Ledger::new(&[]);
    Watch((0..30).map(|at| (40 << 20) + at % 3).collect()).judge(&ledger);
    assert!(!ledger.has(Promise::Memory));
    Watch((0..30).map(|at| (40 << 20) + at * (1 << 20)).collect()).judge(&ledger);
    assert!(ledger.has(Promise::Memory));
}
