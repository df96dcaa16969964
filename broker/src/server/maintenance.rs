//! The thread for work that can wait: it is done a little at a time, and nobody waits for it.
//!
//! A thread of its own, since a step may hang on a slow or failing disk, which a thread that serves connections must not.

mod scrubbing;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use sublog_storage::ScrubOptions;

use self::scrubbing::Scrubbing;
use super::Server;
use crate::clock;

/// Jobs that are due all the time still leave this much of it to others.
const PAUSE_MIN: Duration = Duration::from_micros(200);

/// A job that is done in steps.
trait Job: Send {
    /// Does a little, if it is time for it at `now` (as [`ticks`] counts), and says when to come again. `None`: never.
    fn step(&mut self, now: Duration) -> Option<Duration>;
}

/// Tells the thread to end.
#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

/// The running thread. It ends some time after this is dropped: a step that hangs on its disk is not waited for.
pub(super) struct Maintenance(Arc<Stop>);

impl Drop for Maintenance {
    fn drop(&mut self) {
        *self.0.asked.lock() = true;
        self.0.changed.notify_one();
    }
}

/// Time as jobs see it: since the process first asked.
pub(super) fn ticks() -> Duration {
    Duration::from_millis(clock::ticks_ms())
}

/// Starts the thread, if there is anything for it to do.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(server: &Arc<Server>) -> std::io::Result<Option<Maintenance>> {
    let mut jobs: Vec<Box<dyn Job>> = Vec::new();
    let capture = &server.options.capture;
    if let Some(interval) = capture.scrub_interval {
        let options = ScrubOptions { bytes_per_s: capture.scrub_bytes_per_s, interval };
        jobs.push(Box::new(Scrubbing::new(server, options)));
    }
    if jobs.is_empty() {
        return Ok(None);
    }
    let stop = Arc::new(Stop::default());
    let theirs = stop.clone();
    std::thread::Builder::new().name("sublog-maintain".to_owned()).spawn(move || run(jobs, &theirs))?;
    Ok(Some(Maintenance(stop)))
}

fn run(mut jobs: Vec<Box<dyn Job>>, stop: &Stop) {
    while !jobs.is_empty() {
        let mut next = Duration::MAX;
        jobs.retain_mut(|job| match job.step(ticks()) {
            Some(at) => {
                next = next.min(at);
                true
            }
            None => false,
        });
        let mut asked = stop.asked.lock();
        if !*asked {
            stop.changed.wait_for(&mut asked, next.saturating_sub(ticks()).max(PAUSE_MIN));
        }
        if *asked {
            return;
        }
    }
}
