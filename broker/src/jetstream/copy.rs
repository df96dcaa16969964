//! Streams that are filled from others: mirrors, and streams with sources.
//!
//! ```text
//!  origin's log ──► copier: a task for the mirror, or for each source ──► Stream::take_copied ──► this stream's log
//! ```
//! A [`copier`] reads the other stream's log, as a reader does who is not in a hurry, and has no state that must not be lost:
//! a mirror goes on behind its own last number, a source behind what the stream's own last message of it says ([`position`]).
//! A stream that is not there is looked for again, so it may come later, or be made anew.

mod copier;
mod lead;
pub mod log;
mod origin;
mod position;
mod progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::copier::Copier;
pub(in crate::jetstream) use self::origin::STREAM_SOURCE;
use self::progress::Progress;
use super::config::StreamConfig;
use super::streams::Declared;
use super::wire::info::SourceInfo;
use crate::account::{Account, Accounts};

/// How long a stop waits for copying to end.
const LAST_TURNS: Duration = Duration::from_secs(2);

/// What fills a stream.
#[derive(Default)]
pub struct Copies {
    /// Which configuration the copiers are of.
    epoch: AtomicU64,
    changed: Notify,
    running: Mutex<Option<JoinHandle<()>>>,
    mirror: RwLock<Option<Arc<Progress>>>,
    sources: RwLock<Vec<Arc<Progress>>>,
}

impl Copies {
    /// How the mirror's copying goes.
    #[must_use]
    pub fn mirror(&self) -> Option<SourceInfo> {
        self.mirror.read().as_ref().map(|progress| progress.info(false))
    }

    /// How copying from the sources goes.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceInfo> {
        self.sources.read().iter().map(|progress| progress.info(true)).collect()
    }

    /// Whether copiers that began in `epoch` are to go on.
    fn is_current(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch
    }
}

/// Has a stream's information say what will fill it.
pub(super) fn announce(declared: &Declared) -> (Option<Arc<Progress>>, Vec<Arc<Progress>>) {
    let progress = |source: &_| Arc::new(Progress::new(source));
    let mirror = declared.config.mirror.as_ref().map(progress);
    let sources: Vec<_> = declared.config.sources.iter().map(progress).collect();
    declared.stream.copies.mirror.write().clone_from(&mirror);
    declared.stream.copies.sources.write().clone_from(&sources);
    (mirror, sources)
}

/// Fills a stream as its configuration says, from now on. What filled it before has ended when anything new begins.
pub fn start(account: &Arc<Account>, declared: &Declared) {
    let copies = &declared.stream.copies;
    let epoch = copies.epoch.fetch_add(1, Ordering::AcqRel) + 1;
    let (mirror, sources) = announce(declared);
    let mut running = copies.running.lock();
    let before = running.take();
    copies.changed.notify_waiters();
    if declared.stream.log().is_none() || (before.is_none() && mirror.is_none() && sources.is_empty()) {
        return;
    }
    let (account, declared) = (account.clone(), declared.clone());
    *running = Some(account.shared.runtime.clone().spawn(async move {
        if let Some(before) = before {
            // It ends at once, or with what it is writing.
            let _ = before.await;
        }
        let mut copiers = tokio::task::JoinSet::new();
        for (progress, is_mirror) in mirror.iter().map(|it| (it, true)).chain(sources.iter().map(|it| (it, false))) {
            let copier = Copier::new(account.clone(), declared.clone(), progress.clone(), is_mirror, epoch);
            copiers.spawn(copier.run());
        }
        while copiers.join_next().await.is_some() {}
    }));
}

/// Fills a stream whose configuration was `before`, if it is to be filled in another way.
pub fn changed(account: &Arc<Account>, before: &StreamConfig, declared: &Declared) {
    if before.mirror != declared.config.mirror || before.sources != declared.config.sources {
        start(account, declared);
    }
}

/// Forgets where the sources of a stream are that is deleted.
pub fn forget(account: &Account, declared: &Declared) {
    let config = &declared.config;
    let meta = account.jetstream.positions.meta();
    if let Err(error) = position::forget(meta, &declared.stream.kept, &config.sources) {
        // They name the stream's creation: they are not taken for another's.
        tracing::warn!(stream = config.name, "Where its sources were is still noted: {error}");
    }
}

/// Fills all streams.
pub fn start_all(account: &Arc<Account>) {
    account.jetstream.streams.all().iter().for_each(|declared| start(account, declared));
}

/// Ends all copying, because the server does: where sources are is noted.
pub async fn stop(accounts: &Accounts) {
    let mut running = Vec::new();
    for declared in accounts.all().iter().flat_map(|account| account.jetstream.streams.all()) {
        let copies = &declared.stream.copies;
        copies.epoch.fetch_add(1, Ordering::AcqRel);
        copies.changed.notify_waiters();
        running.extend(copies.running.lock().take());
    }
    let ended = async {
        for one in running {
            let _ = one.await;
        }
    };
    if tokio::time::timeout(LAST_TURNS, ended).await.is_err() {
        tracing::warn!("Some streams are still being copied; where their sources are is not noted");
    }
}
