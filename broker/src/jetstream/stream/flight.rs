//! Subjects of records that were given to the log and cannot be read yet.
//!
//! What the index says of a subject is true of what can be read; a check that must know a subject's last record, or how
//! many it has, adds what is in flight.

use std::collections::VecDeque;

/// Subjects of a batch's records, in order.
#[derive(Default)]
pub struct Subjects {
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Subjects {
    /// Adds the next record's.
    pub fn push(&mut self, subject: &[u8]) {
        self.text.extend_from_slice(subject);
        // A batch has fewer than 2^32 bytes.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.ends.iter().enumerate().map(|(at, end)| {
            let from = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
            self.text.get(from as usize..*end as usize).unwrap_or_default()
        })
    }
}

struct Batch {
    first_seq: u64,
    subjects: Subjects,
}

/// See the module.
#[derive(Default)]
pub struct Flights(VecDeque<Batch>);

/// What a subject has in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Number of the last record; 0 if there is none.
    pub last_seq: u64,
    /// Records.
    pub count: u64,
}

impl Flights {
    /// A batch was given to the log.
    pub fn add(&mut self, first_seq: u64, subjects: Subjects) {
        self.0.push_back(Batch { first_seq, subjects });
    }

    /// Forgets what can be read.
    pub fn landed(&mut self, readable_seq: u64) {
        while let Some(front) = self.0.front()
            && front.first_seq + front.subjects.ends.len() as u64 <= readable_seq + 1
        {
            self.0.pop_front();
        }
    }

    /// Nothing of it will ever be read.
    pub fn lost(&mut self) {
        self.0.clear();
    }

    /// What matching subjects have in flight behind `readable_seq`.
    #[must_use]
    pub fn of(&self, readable_seq: u64, matches: impl Fn(&[u8]) -> bool) -> InFlight {
        let mut found = InFlight::default();
        for batch in &self.0 {
            for (seq, subject) in (batch.first_seq..).zip(batch.subjects.iter()) {
                if seq > readable_seq && matches(subject) {
                    found.last_seq = seq;
                    found.count += 1;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_cannot_be_read_yet() {
        let mut flights = Flights::default();
        let subjects = |all: &[&str]| {
            let mut subjects = Subjects::default();
            all.iter().for_each(|s| subjects.push(s.as_bytes()));
            subjects
        };
        flights.add(5, subjects(&["a", "b", "a"]));
        flights.add(8, subjects(&["b"]));
        let of = |flights: &Flights, readable, subject: &str| {
            let found = flights.of(readable, |s| s == subject.as_bytes());
            (found.last_seq, found.count)
        };
        assert_eq!(of(&flights, 4, "a"), (7, 2));
        assert_eq!(of(&flights, 5, "a"), (7, 1));
        assert_eq!(of(&flights, 7, "a"), (0, 0));
        assert_eq!(of(&flights, 7, "b"), (8, 1));
        flights.landed(6);
        assert_eq!(flights.0.len(), 2);
        flights.landed(7);
        assert_eq!(flights.0.len(), 1);
        flights.landed(8);
        assert!(flights.0.is_empty());
    }
}
