//! Removing what is past its time.
//!
//! It goes as what limits remove does: out of readers' sight at once, into the journal later, since after a crash it is past
//! its time again before anybody is shown it.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Committer;
use crate::batch::RecordBatch;
use crate::reader::{self, Reader};
use crate::record::Visit;

/// So many expired records go in a step, and somebody who publishes waits no longer than for those.
const EXPIRED_AT_ONCE: usize = 4096;
/// Ages are not looked at more often than this, in nanoseconds.
const AGE_PAUSE_NS: i64 = 100_000_000;

impl Committer {
    /// These were written.
    pub(super) fn note_expiry(&mut self, batches: &[RecordBatch]) {
        let first = batches.iter().filter_map(|batch| batch.first_expiry_ns).min();
        if let Some(at_ns) = first {
            self.first_expiry_ns = Some(self.first_expiry_ns.map_or(at_ns, |first| first.min(at_ns)));
        }
    }

    /// What was written can be read from now on.
    pub(super) fn publish_expiry(&mut self) {
        if let Some(at_ns) = self.first_expiry_ns.take() {
            self.shared.expiry.expires_at(at_ns);
        }
    }

    /// Removes what is past its time, if somebody says it is time for that; whether there is more.
    pub(super) fn expire_if_asked(&mut self, at_any_rate: bool) -> bool {
        let asked = self.shared.expiry.take_asked();
        if asked || at_any_rate {
            self.take_old();
        }
        asked && self.take_expired()
    }

    /// Removes records with a time of their own that is over; whether there are more.
    fn take_expired(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let now_ns = shared.options.clock.now_ns().min(shared.expiry.until());
        if shared.expiry.own().is_none_or(|due_ns| now_ns < due_ns) || shared.segments().is_empty() {
            return false;
        }
        let expired = match shared.expired(now_ns, EXPIRED_AT_ONCE) {
            Ok(expired) => expired,
            Err(error) => {
                // Maintenance makes the index; until then they are only not shown.
                tracing::debug!(%error, "expired records cannot be removed now");
                return false;
            }
        };
        let ranges: Vec<_> = expired.numbers.iter().map(|&seq| (seq, seq)).collect();
        if !ranges.is_empty() {
            self.take_late(&ranges, self.now);
        }
        shared.expiry.set_own(expired.next_ns);
        let more = expired.next_ns.is_some_and(|at_ns| at_ns <= now_ns);
        if more {
            shared.expiry.ask();
        }
        more
    }

    /// Of a log that was just opened, before anybody reads and before limits are enforced. After a crash (not `clean`) the
    /// journal may not know of all that stands for numbers left out: it would be counted, and messages go in its place.
    pub(crate) fn settle(&mut self, clean: bool) {
        if !clean {
            self.find_holes();
        }
        self.take_old();
    }

    /// Looks for what stands for numbers left out where the journal may not have been told of it: in the segment that was
    /// open, which another one may follow by now.
    fn find_holes(&mut self) {
        let segments = self.shared.segments();
        let last = segments.iter().rev().take(2).filter(|segment| segment.totals().expiring > 0);
        let Some(from) = last.map(|segment| segment.first_seq).min() else { return };
        let mut reader = Reader::new(Arc::clone(&self.shared));
        reader.show_expired();
        reader.seek(from);
        let holes = &mut self.holes;
        let read = reader.visit(usize::MAX, &mut |visit| {
            if let Visit::Record(record) = visit
                && record.is_hole()
            {
                match holes.last_mut() {
                    Some(before) if before.1 + 1 == record.seq => before.1 = record.seq,
                    _ => holes.push((record.seq, record.seq)),
                }
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = read {
            tracing::warn!(%error, "numbers that were left out count as messages, the last segment cannot be read");
        }
        self.take_holes();
    }

    /// Removes what is beyond the age limit.
    pub(crate) fn take_old(&mut self) {
        let shared = Arc::clone(&self.shared);
        let limits = *shared.limits.lock();
        let Some(age) = limits.max_age else { return shared.expiry.set_age(None) };
        let now_ns = shared.options.clock.now_ns();
        if shared.expiry.age().is_none_or(|due_ns| now_ns < due_ns) {
            return;
        }
        let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let mut next_ns = Some(now_ns.saturating_add(AGE_PAUSE_NS));
        match reader::seek_time(&shared, now_ns.saturating_sub(age_ns).saturating_add(1)) {
            Ok(first_kept) => {
                if first_kept > shared.removed.read().floor() {
                    self.take_late(&[(1, first_kept - 1)], self.now);
                }
                next_ns = self.oldest_ns().map(|oldest_ns| {
                    // One that goes with another has no time of its own.
                    oldest_ns.saturating_add(age_ns).max(now_ns.saturating_add(AGE_PAUSE_NS))
                });
            }
            Err(error) => tracing::warn!(%error, "the age limit cannot be enforced, the oldest records cannot be read"),
        }
        shared.expiry.set_age(next_ns);
    }

    /// Time of the oldest record that can be read.
    fn oldest_ns(&self) -> Option<i64> {
        let mut found = None;
        let mut reader = Reader::new(Arc::clone(&self.shared));
        // What cannot be read is not what anybody waits for.
        let _ = reader.visit(usize::MAX, &mut |visit| match visit {
            Visit::Record(record) => {
                found = Some(record.ts_ns);
                ControlFlow::Break(())
            }
            Visit::Lost(_) => ControlFlow::Continue(()),
        });
        found
    }
}
