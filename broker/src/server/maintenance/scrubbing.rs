//! Scrubbing of all logs, the capture stream's and those of declared streams: a few at a time, and all of them together no
//! faster than one may be.
//!
//! Who is due longest goes on, so that no log waits for another's end; only so many passes are under way at once, since each holds
//! a buffer. A log that has nothing sealed costs a look once in an interval.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sublog_storage::{Log, Scrub, ScrubNext, ScrubOptions, ScrubPass};

use super::Job;
use crate::capture::CAPTURE;
use crate::server::Server;

/// Most bytes that one step reads.
const STEP_BYTES: usize = 1024 * 1024;
/// Passes under way at once.
const PASSES_MAX: usize = 4;
/// How late it may be noticed that there are other streams.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Steps of logs that have next to nothing to read, before others have their turn.
const STEPS_MAX: usize = 256;
/// Time that may be made up for when steps come late.
const CATCH_UP: Duration = Duration::from_millis(50);

struct Scrubbed {
    name: Box<str>,
    scrub: Scrub,
    due: Duration,
}

/// See the module.
pub(super) struct Scrubbing {
    server: Weak<Server>,
    options: ScrubOptions,
    logs: HashMap<u64, Scrubbed>,
    /// When each is to be stepped, by number.
    due: BTreeSet<(Duration, u64)>,
    /// Those with a pass under way.
    running: BTreeSet<u64>,
    /// Changes of streams that were taken note of; `None` before the first look.
    changes: Option<u64>,
    /// All together read on then.
    read_on: Duration,
}

impl Scrubbing {
    pub(super) fn new(server: &Arc<Server>, options: ScrubOptions) -> Self {
        Self {
            server: Arc::downgrade(server),
            options,
            logs: HashMap::new(),
            due: BTreeSet::new(),
            running: BTreeSet::new(),
            changes: None,
            read_on: Duration::ZERO,
        }
    }

    /// Takes up streams that are new, and lets go of those that are gone: a log that is remembered here keeps its maps and its
    /// memory, and is not due for days.
    fn look(&mut self, server: &Server, now: Duration) {
        let changes = Some(server.jetstream.streams.changes());
        if std::mem::replace(&mut self.changes, changes) == changes {
            return;
        }
        let mut there = HashSet::new();
        if let Some(log) = server.capture.log() {
            there.insert(0);
            self.take_up(0, CAPTURE, log, now);
        }
        for declared in server.jetstream.streams.all() {
            if let Some(log) = declared.stream.log() {
                there.insert(declared.stream.id);
                self.take_up(declared.stream.id, &declared.config.name, log.log(), now);
            }
        }
        let Self { logs, due, running, .. } = self;
        logs.retain(|id, log| {
            let stays = there.contains(id);
            if !stays {
                due.remove(&(log.due, *id));
                running.remove(id);
            }
            stays
        });
    }

    fn take_up(&mut self, id: u64, name: &str, log: &Log, now: Duration) {
        let due = &mut self.due;
        self.logs.entry(id).or_insert_with(|| {
            due.insert((now, id));
            Scrubbed { name: name.into(), scrub: log.scrub(self.options), due: now }
        });
    }

    /// The one that is due longest; with as many passes under way as may be, of those.
    fn next(&self, now: Duration) -> Option<u64> {
        let due = if self.running.len() < PASSES_MAX {
            self.due.first().copied()
        } else {
            self.running.iter().filter_map(|id| Some((self.logs.get(id)?.due, *id))).min()
        };
        due.filter(|(at, _)| *at <= now).map(|(_, id)| id)
    }

    /// One step of one log; bytes read.
    fn step_one(&mut self, id: u64, now: Duration) -> u64 {
        let Some(log) = self.logs.get_mut(&id) else { return 0 };
        self.due.remove(&(log.due, id));
        let step = log.scrub.step(now, STEP_BYTES);
        if let Some(pass) = step.pass {
            tell(&log.name, &pass);
        }
        self.running.remove(&id);
        match step.next {
            ScrubNext::At(at) => {
                if log.scrub.is_running() {
                    self.running.insert(id);
                }
                log.due = at;
                self.due.insert((at, id));
            }
            ScrubNext::Closed => drop(self.logs.remove(&id)),
        }
        step.read_bytes
    }
}

impl Job for Scrubbing {
    fn step(&mut self, now: Duration) -> Option<Duration> {
        let server = self.server.upgrade()?;
        self.look(&server, now);
        if now < self.read_on {
            return Some(self.read_on);
        }
        for _ in 0..STEPS_MAX {
            let Some(id) = self.next(now) else { break };
            let bytes = self.step_one(id, now);
            if bytes > 0 {
                let ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.options.bytes_per_s.max(1));
                let pause = Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
                self.read_on = self.read_on.max(now.saturating_sub(CATCH_UP)) + pause;
                break;
            }
        }
        let soon = now + LOOK_EVERY.min(self.options.interval);
        let next = match self.next(Duration::MAX).and_then(|id| self.logs.get(&id)) {
            Some(log) => log.due,
            None => soon,
        };
        Some(next.min(soon).max(self.read_on))
    }
}

/// What each finding is, the log has said when it was met.
fn tell(stream: &str, pass: &ScrubPass) {
    let took = pass.ended.saturating_sub(pass.started);
    let (segments, bytes) = (pass.segments, pass.bytes);
    if pass.findings > 0 {
        let (findings, correctable) = (pass.findings, pass.correctable);
        tracing::error!(
            stream,
            "Scrub read {segments} segments, {bytes} bytes in {took:.1?}: {findings} findings, {correctable} of them without loss"
        );
    } else if segments > 0 {
        tracing::debug!(stream, "Scrub read {segments} segments, {bytes} bytes in {took:.1?}, all sound");
    }
}
