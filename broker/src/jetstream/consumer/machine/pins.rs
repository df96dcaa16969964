//! The client a consumer is pinned to, and the ids that only the one it was given to knows.

use std::time::Duration;

use super::outgoing::Advisory;
use super::{Machine, Now};

/// See the module.
#[derive(Debug)]
pub(super) struct Pin {
    pub id: String,
    pub group: String,
    /// Wall time, in nanoseconds.
    pub since_ns: i64,
    /// When it is lost unless its client asks again.
    pub until: Duration,
}

/// A stream of numbers from a seed (splitmix64): unlike each other, and nothing a client could count on.
#[derive(Debug)]
pub(super) struct Ids(u64);

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn text(&mut self, length: usize) -> String {
        const DIGITS: [char; 62] = {
            let mut digits = ['0'; 62];
            let mut at = 0;
            while at < 62 {
                let base = if at < 10 {
                    b'0'
                } else if at < 36 {
                    b'A' - 10
                } else {
                    b'a' - 36
                };
                #[expect(clippy::indexing_slicing, reason = "evaluated when compiling")]
                {
                    digits[at] = (base + at as u8) as char;
                }
                at += 1;
            }
            digits
        };
        (0..length).filter_map(|_| DIGITS.get((self.number() % 62) as usize)).collect()
    }

    /// For flow control subjects.
    pub(super) fn short(&mut self) -> String {
        self.text(4)
    }

    /// For pins.
    fn long(&mut self) -> String {
        self.text(22)
    }
}

impl Machine {
    /// Pins the consumer to the client of a request.
    pub(super) fn assign_pin(&mut self, number: u64, group: &str, now: Now) {
        let id = self.ids.long();
        self.waiting.set_pin(number, &id);
        let until = self.pin_until(now);
        self.pin = Some(Pin { id: id.clone(), group: group.to_owned(), since_ns: now.wall_ns, until });
        self.advise(Advisory::Pinned { group: group.to_owned(), id });
    }

    pub(super) fn pin_until(&self, now: Now) -> Duration {
        self.config.pull().map_or(Duration::MAX, |pull| now.mono.saturating_add(pull.pin_timeout))
    }

    pub(super) fn lose_pin(&mut self, reason: &'static str) {
        if let Some(pin) = self.pin.take() {
            self.advise(Advisory::Unpinned { group: pin.group, reason });
            self.no_eligible = false;
        }
    }

    /// Takes the pin from the client that has it. Says whether one had it.
    pub fn unpin(&mut self) -> bool {
        let had = self.pin.is_some();
        self.lose_pin("admin");
        had
    }
}
