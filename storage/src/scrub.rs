//! Reading all sealed segments now and then, so that damage is found while there is still another copy of what it took.
//!
//! Reads what the medium holds, not what the page cache remembers of it: a reader that finds a page in memory says nothing
//! about the disk. Like the committer it is a state machine: [`Scrub::step`] reads a little and says when it wants to be
//! called again.
//!
//! ```text
//!              every bit right
//!  next segment ------------> next segment ... end of the pass, then the pause until the next one
//!       |  something is not, or cannot be read
//!       '--> looked at again a little later, whole: still in the log? still wrong? --> reported
//! ```
//! The second look costs memory for one segment. It tells bits that are wrong on the disk from those that were wrong once
//! on their way, and from a segment that was removed or replaced meanwhile.

mod check;
mod judge;
mod window;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use self::check::{Check, Verdict};
use self::judge::Finding;
use self::window::Window;
use crate::disk::{DiskFile, OpenMode};
use crate::record::{LostRange, LostReason};
use crate::segment::Segment;
use crate::shared::{Shared, lost};
use crate::state::{Damage, ScrubPass};

/// Most bytes read by one step.
const STEP_BYTES: usize = 1 << 20;
/// Most bytes read by one step while the log writes: a disk that is asked for less at a time serves a sync sooner.
const BUSY_STEP_BYTES: usize = 128 << 10;
/// While the log writes, this share of the rate is used: slow enough to be no load, fast enough that a log that always
/// writes is read as well (100 GB in less than five hours at the default rate).
const BUSY_SHARE: u32 = 16;
/// Time that may be made up for when steps come late.
const CATCH_UP: Duration = Duration::from_millis(50);
/// The first pass begins this long after the first step, or after the pause between passes if that is shorter: a server
/// that starts has other things to read.
const FIRST_PASS_AFTER: Duration = Duration::from_secs(60);
/// From the first look at something wrong to the second.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A file that is not there, or is another one, may be in the middle of being removed or replaced, which waits for the disk.
const MISSED_AFTER: Duration = Duration::from_secs(60);

/// How a log is scrubbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Bytes to read in a second while the log does not write; a sixteenth of it while it does. The default of 100 MB/s
    /// leaves a spinning disk half of what it can do, a solid-state one almost everything, takes a few percent of a core,
    /// and reads a terabyte in three hours.
    pub bytes_per_s: u64,
    /// From the end of a pass to the beginning of the next.
    pub interval: Duration,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self { bytes_per_s: 100_000_000, interval: Duration::from_secs(24 * 3600) }
    }
}

/// When a scrub wants its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubNext {
    /// At this time; earlier ones do nothing.
    At(Duration),
    /// Never: the log is closed.
    Closed,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubStep {
    /// Bytes it read.
    pub read_bytes: u64,
    /// The pass that it ended, if it ended one.
    pub pass: Option<ScrubPass>,
    /// When to call again.
    pub next: ScrubNext,
}

/// Reads a log's sealed segments over and over; see the module. [`crate::Log::scrub`] makes one.
pub struct Scrub {
    shared: Arc<Shared>,
    options: ScrubOptions,
    /// Nothing is done before; `None` before the first step.
    due: Option<Duration>,
    pass: Option<Pass>,
    /// Syncs of the log when it was last asked whether it writes.
    syncs: u64,
}

/// A pass under way.
struct Pass {
    sums: ScrubPass,
    left: VecDeque<Arc<Segment>>,
    /// To be looked at a second time, in the order in which that is due.
    doubtful: VecDeque<Doubt>,
    current: Option<Current>,
}

/// A segment that was not right.
struct Doubt {
    segment: Arc<Segment>,
    look_at: Duration,
    /// It was given [`MISSED_AFTER`] already.
    waited: bool,
}

/// The segment that is being read.
struct Current {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    window: Window,
    how: How,
}

enum How {
    /// The first look.
    Checking(Check),
    /// The second: the whole file is kept. Parts that the disk does not give, by offset and length.
    Gathering { unreadable: Vec<(u64, u64)>, waited: bool },
}

impl Scrub {
    pub(crate) fn new(shared: Arc<Shared>, options: ScrubOptions) -> Self {
        let syncs = shared.counters.syncs.load(Ordering::Relaxed);
        Self { shared, options, due: None, pass: None, syncs }
    }

    /// Whether a pass is under way.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pass.is_some()
    }

    /// Reads at most `budget_bytes` (and at least a block) if it is time for that at `now`, a time since any fixed moment.
    pub fn step(&mut self, now: Duration, budget_bytes: usize) -> ScrubStep {
        let mut step = ScrubStep { read_bytes: 0, pass: None, next: ScrubNext::Closed };
        if self.shared.queue.lock().closing {
            return step;
        }
        let due = *self.due.get_or_insert_with(|| now + self.options.interval.min(FIRST_PASS_AFTER));
        if now >= due {
            let busy = self.log_writes();
            let most = if busy { BUSY_STEP_BYTES } else { STEP_BYTES };
            let mut pass = self.pass.take().unwrap_or_else(|| self.begin(now));
            let next = self.go_on(&mut pass, now, budget_bytes.min(most), &mut step.read_bytes);
            pass.sums.bytes += step.read_bytes;
            self.due = Some(match next {
                Go::On => self.paced(due, now, step.read_bytes, busy),
                Go::At(at) => at,
                Go::Ended => now + self.options.interval,
            });
            if next == Go::Ended {
                pass.sums.ended = now;
                step.pass = Some(pass.sums);
            } else {
                self.pass = Some(pass);
            }
            self.tell(&step);
        }
        step.next = ScrubNext::At(self.due.unwrap_or(now));
        step
    }

    /// When to read on after `bytes`.
    fn paced(&self, due: Duration, now: Duration, bytes: u64, busy: bool) -> Duration {
        let share = if busy { BUSY_SHARE } else { 1 };
        let ns = u128::from(bytes) * 1_000_000_000 * u128::from(share) / u128::from(self.options.bytes_per_s.max(1));
        due.max(now.saturating_sub(CATCH_UP)) + Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// Whether somebody waits for the disk, or the log has synced since this was last asked.
    fn log_writes(&mut self) -> bool {
        let syncs = self.shared.counters.syncs.load(Ordering::Relaxed);
        let synced = std::mem::replace(&mut self.syncs, syncs) != syncs;
        let queue = self.shared.queue.lock();
        synced || queue.queued_bytes() > 0 || !queue.waiting.is_empty()
    }

    fn begin(&self, now: Duration) -> Pass {
        let segments = self.shared.segments();
        // The last one is open.
        let sealed = segments.len().saturating_sub(1);
        Pass {
            sums: ScrubPass { started: now, ..ScrubPass::default() },
            left: segments.iter().take(sealed).cloned().collect(),
            doubtful: VecDeque::new(),
            current: None,
        }
    }

    /// Makes the counters show what a step did.
    fn tell(&self, step: &ScrubStep) {
        let mut state = self.shared.scrub.lock();
        state.bytes += step.read_bytes;
        state.running = self.pass.as_ref().map(|pass| pass.sums.started);
        if let Some(pass) = step.pass {
            state.passes += 1;
            state.last = Some(pass);
        }
    }

    fn go_on(&self, pass: &mut Pass, now: Duration, budget_bytes: usize, read_bytes: &mut u64) -> Go {
        if pass.current.is_none() {
            if let Some(segment) = pass.left.pop_front() {
                self.open(pass, segment, None, now);
            } else if let Some(doubt) = pass.doubtful.front() {
                if now < doubt.look_at {
                    return Go::At(doubt.look_at);
                }
                if let Some(doubt) = pass.doubtful.pop_front() {
                    self.open(pass, doubt.segment, Some(doubt.waited), now);
                }
            } else {
                return Go::Ended;
            }
        }
        if let Some(current) = pass.current.take() {
            match current.how {
                How::Checking(_) => self.check(pass, current, now, budget_bytes, read_bytes),
                How::Gathering { .. } => self.gather(pass, current, now, budget_bytes, read_bytes),
            }
        }
        Go::On
    }

    /// Begins with a segment. `second` is whether this is the second look, and then whether it was waited for already.
    fn open(&self, pass: &mut Pass, segment: Arc<Segment>, second: Option<bool>, now: Duration) {
        if !self.is_held(&segment) {
            return;
        }
        let opened =
            self.shared.disk.open(&segment.path, OpenMode::ReadMedium).and_then(|file| Ok((file.len()?, file)));
        let (len, file) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                match second {
                    None => pass.doubt(segment, now, e.kind() == ErrorKind::NotFound),
                    Some(false) if e.kind() == ErrorKind::NotFound => pass.doubt(segment, now, true),
                    Some(_) => self.report_unopened(pass, &segment, &e),
                }
                return;
            }
        };
        let (window, how) = match second {
            None => (Window::new(len), How::Checking(Check::new(&segment, len))),
            Some(waited) => (Window::whole(len), How::Gathering { unreadable: Vec::new(), waited }),
        };
        pass.current = Some(Current { segment, file, window, how });
    }

    /// The first look: goes on, and ends with the first thing that is not right.
    fn check(&self, pass: &mut Pass, mut current: Current, now: Duration, budget_bytes: usize, read_bytes: &mut u64) {
        let How::Checking(check) = &mut current.how else { return };
        let read = current.window.read(&*current.file, budget_bytes.max(1));
        *read_bytes += *read.as_ref().unwrap_or(&0) as u64;
        let verdict = check.advance(current.window.bytes_from(check.pos()));
        match verdict {
            Verdict::Sound => {
                pass.sums.segments += 1;
                self.shared.scrub.lock().segments += 1;
            }
            Verdict::Needs(_) if read.is_ok() && !current.window.is_at_end() => {
                current.window.discard_before(check.pos());
                pass.current = Some(current);
            }
            _ => {
                let (path, offset) = (current.segment.path.display(), check.pos());
                tracing::debug!(%path, offset, error = ?read.err(), "a segment is not right, it is looked at again");
                pass.doubt(current.segment, now, false);
            }
        }
    }

    /// The second look: the whole file, then the judgement.
    fn gather(&self, pass: &mut Pass, mut current: Current, now: Duration, budget_bytes: usize, read_bytes: &mut u64) {
        let How::Gathering { unreadable, waited } = &mut current.how else { return };
        match current.window.read(&*current.file, budget_bytes.max(1)) {
            Ok(n) => *read_bytes += n as u64,
            Err(error) => {
                // Block by block over the part that fails: one a step, since each may take the disk seconds.
                if let Err(error) = current.window.read(&*current.file, 1) {
                    let (offset, bytes) = current.window.skip_block();
                    let path = current.segment.path.display();
                    tracing::debug!(%path, offset, %error, "a block cannot be read");
                    match unreadable.last_mut() {
                        Some((from, len)) if *from + *len == offset => *len += bytes,
                        _ => unreadable.push((offset, bytes)),
                    }
                    *read_bytes += bytes;
                } else {
                    tracing::debug!(%error, "a read that failed was possible in smaller parts");
                }
            }
        }
        if !current.window.is_at_end() {
            pass.current = Some(current);
            return;
        }
        let (segment, file) = (&current.segment, &current.window.into_bytes());
        if !self.is_held(segment) {
            return;
        }
        if !*waited && judge::is_another(file, segment) {
            pass.doubt(current.segment, now, true);
            return;
        }
        let findings = judge::judge(file, segment, unreadable);
        if findings.is_empty() {
            tracing::warn!(path = %segment.path.display(), "the disk gave wrong bytes once, and right ones the second time");
        }
        pass.sums.segments += 1;
        self.shared.scrub.lock().segments += 1;
        for finding in findings {
            self.report(pass, finding);
        }
    }

    /// Whether the log still has the segment: one that was removed or replaced is nobody's loss.
    fn is_held(&self, segment: &Arc<Segment>) -> bool {
        self.shared.segments().iter().any(|held| Arc::ptr_eq(held, segment))
    }

    fn report_unopened(&self, pass: &mut Pass, segment: &Segment, error: &std::io::Error) {
        tracing::error!(path = %segment.path.display(), %error, "a segment cannot be opened");
        let gone = error.kind() == ErrorKind::NotFound;
        let reason = if gone { LostReason::MissingSegment } else { LostReason::Damage };
        let range = lost(segment.first_seq, segment.next_seq() - 1, reason);
        let lost = (range.first_seq <= range.last_seq).then_some(range);
        let bytes = if gone { 0 } else { segment.file_bytes() };
        let damage = Damage { path: segment.path.clone(), offset: 0, bytes, lost, reason };
        self.report(pass, Finding { damage, correctable: false });
    }

    fn report(&self, pass: &mut Pass, mut finding: Finding) {
        let removed = |range: LostRange| self.shared.is_all_removed(range.first_seq, range.last_seq);
        if finding.damage.lost.is_some_and(removed) {
            // Nobody misses them.
            finding.damage.lost = None;
            finding.correctable = true;
        }
        pass.sums.findings += 1;
        pass.sums.correctable += u64::from(finding.correctable);
        self.shared.report_damage(finding.damage);
    }
}

/// What comes after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    At(Duration),
    Ended,
}

impl Pass {
    fn doubt(&mut self, segment: Arc<Segment>, now: Duration, missing: bool) {
        let look_at = now + if missing { MISSED_AFTER } else { LOOK_AGAIN_AFTER };
        let at = self.doubtful.partition_point(|doubt| doubt.look_at <= look_at);
        self.doubtful.insert(at, Doubt { segment, look_at, waited: missing });
    }
}
