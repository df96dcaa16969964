//! Who wants to know when somebody subscribes to a subject, or no longer does.
//!
//! It says only that something may have changed: whoever is told looks for himself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use sublog_protocol::subject;
use tokio::sync::Notify;

type Watchers = FxHashMap<Box<[u8]>, Vec<Arc<Notify>>>;

/// See the module.
#[derive(Default)]
pub struct Interest {
    watched: RwLock<Watchers>,
    /// Subjects in there, to be asked without the lock: most servers have none.
    subjects: AtomicUsize,
}

impl Interest {
    /// Has `watcher` told of subscriptions that match `subject`.
    pub fn watch(&self, subject: &[u8], watcher: &Arc<Notify>) {
        let mut watched = self.watched.write();
        watched.entry(subject.into()).or_default().push(watcher.clone());
        self.subjects.store(watched.len(), Ordering::Release);
    }

    /// Ends a [`watch`](Self::watch).
    pub fn forget(&self, subject: &[u8], watcher: &Arc<Notify>) {
        let mut watched = self.watched.write();
        if let Some(watchers) = watched.get_mut(subject) {
            watchers.retain(|other| !Arc::ptr_eq(other, watcher));
            if watchers.is_empty() {
                watched.remove(subject);
            }
        }
        self.subjects.store(watched.len(), Ordering::Release);
    }

    /// A subscription to `filter` has come or gone.
    pub(super) fn changed(&self, filter: &[u8]) {
        if self.subjects.load(Ordering::Acquire) == 0 {
            return;
        }
        let watched = self.watched.read();
        let tell = |watchers: &Vec<Arc<Notify>>| watchers.iter().for_each(|watcher| watcher.notify_one());
        if !subject::has_wildcard(filter) {
            watched.get(filter).into_iter().for_each(tell);
            return;
        }
        watched.iter().filter(|(at, _)| subject::matches(filter, at)).for_each(|(_, watchers)| tell(watchers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_told(watcher: &Notify) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, watcher.notified()).await.is_ok()
    }

    #[tokio::test]
    async fn only_who_watches_a_matching_subject_is_told() {
        let (interest, a, b) = (Interest::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        interest.changed(b">");
        interest.watch(b"x.a", &a);
        interest.watch(b"x.b", &b);
        for (filter, told) in
            [("x.a", [true, false]), ("x.*", [true, true]), ("y", [false, false]), (">", [true, true])]
        {
            interest.changed(filter.as_bytes());
            assert_eq!([is_told(&a).await, is_told(&b).await], told, "{filter}");
        }
        interest.forget(b"x.a", &a);
        interest.changed(b">");
        assert_eq!([is_told(&a).await, is_told(&b).await], [false, true]);
    }
}
