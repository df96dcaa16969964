//! Consumers of a stream.
//!
//! What one does is decided by its [`machine`]; its [`driver`] connects that with the stream's log, the clients and the
//! clock. [`setup`] and [`start`] say how one begins, [`info`] what is told about one.

pub mod driver;
pub mod info;
pub mod inlet;
pub mod machine;
pub mod manage;
pub mod positions;
pub mod restore;
pub mod retention;
pub mod setup;
pub mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock};
use sublog_storage::index::{FilterSet, SubjectFilter};

pub use driver::Consumer;

/// The consumers of one stream, by name.
#[derive(Default)]
pub struct Consumers {
    by_name: RwLock<BTreeMap<Box<str>, Arc<Consumer>>>,
    /// What they are about; `None` if that is everything.
    wanted: RwLock<Option<Arc<[FilterSet]>>>,
    /// Messages are being removed of which they are about to be told.
    telling: AtomicUsize,
    /// There is one more that could not be made again: nobody knows what it needs.
    incomplete: AtomicBool,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Consumers {
    /// Held while consumers come, change or go.
    pub(super) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock()
    }

    /// A consumer by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Consumer>> {
        self.by_name.read().get(name).cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Consumer>> {
        self.by_name.read().values().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.read().is_empty()
    }

    /// Whether messages are missing of which they will be told in a moment.
    pub(super) fn are_being_told(&self) -> bool {
        self.telling.load(Ordering::Acquire) > 0
    }

    /// One of them could not be made again.
    pub(super) fn set_incomplete(&self) {
        self.incomplete.store(true, Ordering::Release);
    }

    /// Whether there is one more, of which nothing is known.
    pub(super) fn are_incomplete(&self) -> bool {
        self.incomplete.load(Ordering::Acquire)
    }

    /// Whether any of them is about this subject.
    #[must_use]
    pub fn want(&self, subject: &[u8]) -> bool {
        self.wanted.read().as_ref().is_none_or(|wanted| wanted.iter().any(|filters| filters.matches(subject)))
    }

    /// Whether there may be subjects that none of them is about.
    #[must_use]
    pub fn are_choosy(&self) -> bool {
        self.wanted.read().is_some()
    }

    /// One of them has come, gone or changed.
    pub(super) fn look_again(&self) {
        let all: Vec<FilterSet> = self.all().iter().map(|consumer| setup::filters(&consumer.config())).collect();
        let everything = |filters: &FilterSet| filters.filters().iter().any(SubjectFilter::is_everything);
        let choosy = !self.are_incomplete() && !all.iter().any(everything);
        *self.wanted.write() = choosy.then(|| all.into());
    }

    /// Adds one.
    pub(super) fn add(&self, consumer: Arc<Consumer>) {
        self.by_name.write().insert(consumer.name.clone(), consumer);
    }

    /// Takes all of them out.
    pub(super) fn take_all(&self) -> Vec<Arc<Consumer>> {
        std::mem::take(&mut *self.by_name.write()).into_values().collect()
    }

    /// Takes one out, unless it is another of the same name by now.
    pub(super) fn remove(&self, consumer: &Arc<Consumer>) -> bool {
        let mut by_name = self.by_name.write();
        let is_it = by_name.get(&consumer.name).is_some_and(|there| Arc::ptr_eq(there, consumer));
        if is_it {
            by_name.remove(&consumer.name);
        }
        is_it
    }
}
