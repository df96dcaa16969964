//! When something of a log is next to go because of its time: records with one of their own, and the oldest by its age.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::index::{OpenSegment, Part, PartError, Snapshot};
use crate::log::Log;
use crate::purge::PurgeError;
use crate::record::{RecordRef, Visit};
use crate::removed::Removed;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::subjects::{IndexError, Live};
use crate::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Nothing will.
const NEVER: i64 = i64::MAX;
/// It is not known: somebody must look.
const UNKNOWN: i64 = i64::MIN;

/// Times in nanoseconds since 1970, never later than the truth about what can be read.
#[derive(Debug)]
pub(crate) struct Expiry {
    /// When the next record with a time of its own expires.
    own_ns: AtomicI64,
    /// When the oldest record reaches the age limit.
    age_ns: AtomicI64,
    /// The committer is to remove what has expired.
    asked: AtomicBool,
    /// What expires after this is not to be removed yet.
    until_ns: AtomicI64,
}

impl Default for Expiry {
    fn default() -> Self {
        Self {
            own_ns: AtomicI64::new(NEVER),
            age_ns: AtomicI64::new(NEVER),
            asked: AtomicBool::new(false),
            until_ns: AtomicI64::new(NEVER),
        }
    }
}

impl Expiry {
    /// Of a log that was just opened.
    pub(crate) fn of(segments: &[Arc<Segment>], ages: bool) -> Self {
        let when = |known: bool| AtomicI64::new(if known { UNKNOWN } else { NEVER });
        let own = segments.iter().any(|segment| segment.totals().expiring > 0);
        Self { own_ns: when(own), age_ns: when(ages), ..Self::default() }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    pub(crate) fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }

    /// A record that can be read soon expires then.
    pub(crate) fn expires_at(&self, at_ns: i64) {
        self.own_ns.fetch_min(at_ns, Ordering::AcqRel);
    }

    /// So the index says of all that can be read.
    pub(crate) fn set_own(&self, next_ns: Option<i64>) {
        self.own_ns.store(next_ns.unwrap_or(NEVER), Ordering::Release);
    }

    /// The age limit is new, or there is something again that has an age.
    pub(crate) fn look_at_ages(&self) {
        self.age_ns.store(UNKNOWN, Ordering::Release);
    }

    pub(crate) fn set_age(&self, next_ns: Option<i64>) {
        self.age_ns.store(next_ns.unwrap_or(NEVER), Ordering::Release);
    }

    pub(crate) fn knows_of_age(&self) -> bool {
        self.age_ns.load(Ordering::Acquire) != NEVER
    }

    /// When something of its own time is next to go; `None` if nothing is.
    pub(crate) fn own(&self) -> Option<i64> {
        Some(self.own_ns.load(Ordering::Acquire)).filter(|&at_ns| at_ns != NEVER)
    }

    pub(crate) fn age(&self) -> Option<i64> {
        Some(self.age_ns.load(Ordering::Acquire)).filter(|&at_ns| at_ns != NEVER)
    }

    /// Until when the committer may remove what has expired.
    pub(crate) fn until(&self) -> i64 {
        self.until_ns.load(Ordering::Acquire)
    }

    fn next(&self) -> Option<i64> {
        [self.own(), self.age()].into_iter().flatten().min()
    }
}

impl Shared {
    /// Whether a record that expires at `at_ns` is past its time.
    pub(crate) fn has_expired(&self, at_ns: i64) -> bool {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::ServeExpired) {
            return false;
        }
        at_ns <= self.options.clock.now_ns()
    }

    /// What is removed, and what has expired and is about to be: a question must not count on either.
    pub(crate) fn with_expired(
        &self,
        removed: Arc<Removed>,
        parts: &[Arc<Part>],
        open: Option<OpenSegment<'_>>,
    ) -> Result<Arc<Removed>, PartError> {
        let Some(due_ns) = self.expiry.own() else { return Ok(removed) };
        let now_ns = self.options.clock.now_ns();
        if now_ns < due_ns {
            return Ok(removed);
        }
        let expired = Snapshot::new(parts, open, &Live(&removed)).expired(now_ns, usize::MAX)?;
        if expired.numbers.is_empty() {
            return Ok(removed);
        }
        let mut more = Removed::clone(&removed);
        for seq in expired.numbers {
            more.insert(seq, seq);
        }
        Ok(Arc::new(more))
    }
}

impl Log {
    /// Whether something is past its time and still to be removed. Next to free.
    #[must_use]
    pub fn is_expiry_due(&self) -> bool {
        self.shared.expiry.next().is_some_and(|next_ns| next_ns <= self.shared.options.clock.now_ns())
    }

    /// Lets the committer remove what is past its time: records that expire, and those beyond the age limit. To be called
    /// when it [is due](Log::is_expiry_due), by [`Log::maintain`] or more often: it brings the index up to date, which reads
    /// what was appended. Records with a time of their own are not shown after it even if nobody calls this.
    ///
    /// Says when something is next past its time, in nanoseconds since 1970, and never before now; `None` if nothing will be.
    pub fn expire(&self) -> Option<i64> {
        let expiry = &self.shared.expiry;
        // What is held is due for its owner, not for the committer.
        let own_ns = expiry.own().filter(|&own_ns| own_ns <= expiry.until());
        let next_ns = [own_ns, expiry.age()].into_iter().flatten().min()?;
        let now_ns = self.shared.options.clock.now_ns();
        if next_ns > now_ns {
            return Some(next_ns);
        }
        if own_ns.is_some_and(|own_ns| own_ns <= now_ns) {
            // Not on the committer's time. If it fails the committer meets the same and says so.
            let _ = self.shared.read_on();
        }
        expiry.ask();
        self.wake_for_limits();
        Some(now_ns)
    }

    /// From now on records that expire are removed only when they do so at or before `until_ns`, nanoseconds since 1970: for
    /// an owner who has something to do for each of them first, which it finds with [`Log::visit_expired`]. `i64::MAX`, as
    /// it is without this, leaves everything to [`Log::expire`].
    pub fn hold_expired(&self, until_ns: i64) {
        self.shared.expiry.until_ns.store(until_ns, Ordering::Release);
    }

    /// Visits records that expired at or before `now_ns`, nanoseconds since 1970, and are not removed yet: up to `limit`
    /// of them by number, until `f` breaks. No other reader is shown these.
    ///
    /// # Errors
    /// The index or the log cannot be read.
    pub fn visit_expired(
        &self,
        now_ns: i64,
        limit: usize,
        f: &mut dyn FnMut(RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), PurgeError> {
        if self.shared.expiry.own().is_none_or(|own_ns| own_ns > now_ns) {
            return Ok(());
        }
        self.shared.read_on()?;
        let mut numbers = match self.shared.expired(now_ns, limit) {
            Ok(expired) => expired.numbers,
            Err(IndexError::Building { segments_left: 0 }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        numbers.sort_unstable();
        let mut reader = self.reader();
        reader.show_expired();
        for wanted in numbers {
            reader.seek(wanted);
            let mut flow = ControlFlow::Continue(());
            reader.visit(1, &mut |visit| {
                if let Visit::Record(record) = visit
                    && record.seq == wanted
                {
                    flow = f(record);
                }
                ControlFlow::Break(())
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }
}
