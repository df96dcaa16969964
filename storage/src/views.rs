//! The maps that segments keep for their readers, bounded for the whole process.
//!
//! A reader that finds its segment's map there takes that segment's lock only, and leaves a mark. A map that is made goes
//! onto one list; when the list is too long its oldest entry is looked at: one with a mark loses the mark and goes to the
//! end, one without loses its map (a clock, which comes close to "least recently used"). Whoever holds a map keeps it.
//!
//! Locks: a segment's, then the list. Whoever gives maps up has the list and only *tries* a segment's lock: one that is taken
//! is in use, and goes to the end as if it had been marked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::disk::View;
use crate::sync::{Mutex, MutexGuard};

/// Maps that are kept unless [`limit_maps`] says otherwise. Linux lets a process have 65,530 of all kinds.
const MAPS_MAX: usize = 2048;

static PROCESS: Views = Views::new(MAPS_MAX / MAPS_PER_VIEW);
/// A file is mapped once for looking and once for handing out what was checked.
const MAPS_PER_VIEW: usize = 2;

/// Limits how many maps of segments are kept for readers to come, in the whole process. Those that are being read from
/// stay as long as they are.
pub fn limit_maps(maps_max: usize) {
    PROCESS.limit(maps_max / MAPS_PER_VIEW);
}

/// A map, and how far it is good.
#[derive(Debug)]
pub(crate) struct CachedView {
    pub(crate) view: View,
    /// How far the bytes show what the file holds.
    pub(crate) good_to: u64,
    /// The file cannot be mapped again: this one stays as long as its segment.
    pub(crate) held: bool,
}

/// The place for one segment's map.
#[derive(Debug)]
pub(crate) struct ViewSlot {
    slot: Arc<Slot>,
    views: &'static Views,
}

#[derive(Debug, Default)]
struct Slot {
    view: Mutex<Option<CachedView>>,
    /// Used since somebody looked at it.
    used: AtomicBool,
    /// On the list. Changed under the list's lock.
    listed: AtomicBool,
}

#[derive(Debug)]
struct Views {
    views_max: AtomicUsize,
    list: parking_lot::Mutex<VecDeque<Weak<Slot>>>,
}

impl ViewSlot {
    pub(crate) fn new() -> Self {
        Self { slot: Arc::default(), views: &PROCESS }
    }

    /// The map kept here. The caller may put one in, with [`ViewSlot::made`] after it has let go of the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<CachedView>> {
        // Mostly it is set already; then the line stays shared among the readers' processors.
        if !self.slot.used.load(Ordering::Relaxed) {
            self.slot.used.store(true, Ordering::Relaxed);
        }
        self.slot.view.lock()
    }

    /// A map was put in: others may have to go.
    pub(crate) fn made(&self) {
        // Making it is not a use: segments that are read through once do not drive out those that are read again.
        self.slot.used.store(false, Ordering::Relaxed);
        // The list outlives the run of a test that chooses interleavings, which its locks do not bear.
        if !cfg!(feature = "shuttle") {
            self.views.add(&self.slot);
        }
    }
}

impl Views {
    const fn new(views_max: usize) -> Self {
        Self { views_max: AtomicUsize::new(views_max), list: parking_lot::Mutex::new(VecDeque::new()) }
    }

    fn limit(&self, views_max: usize) {
        self.views_max.store(views_max, Ordering::Relaxed);
        let given_up = self.give_up(&mut self.list.lock());
        drop(given_up);
    }

    fn add(&self, slot: &Arc<Slot>) {
        let mut list = self.list.lock();
        if !slot.listed.swap(true, Ordering::Relaxed) {
            list.push_back(Arc::downgrade(slot));
        }
        let given_up = self.give_up(&mut list);
        drop(list);
        // Unmapping takes the system a while.
        drop(given_up);
    }

    fn give_up(&self, list: &mut VecDeque<Weak<Slot>>) -> Vec<CachedView> {
        let views_max = self.views_max.load(Ordering::Relaxed);
        let mut given_up = Vec::new();
        // Everybody is spared once; with all of them in use the list stays too long until the next time.
        let mut looks = 2 * list.len();
        while list.len() > views_max && looks > 0 {
            looks -= 1;
            let Some(weak) = list.pop_front() else { break };
            let Some(slot) = weak.upgrade() else { continue };
            if slot.used.swap(false, Ordering::Relaxed) {
                list.push_back(weak);
                continue;
            }
            let Some(mut view) = slot.view.try_lock() else {
                list.push_back(weak);
                continue;
            };
            slot.listed.store(false, Ordering::Relaxed);
            if !view.as_ref().is_some_and(|view| view.held) {
                given_up.extend(view.take());
            }
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn slots(views: &'static Views, n: usize) -> Vec<ViewSlot> {
        (0..n).map(|_| ViewSlot { slot: Arc::default(), views }).collect()
    }

    fn map(slot: &ViewSlot) {
        *slot.lock() = Some(CachedView { view: View::copied(Bytes::from(vec![7])), good_to: 1, held: false });
        slot.made();
    }

    fn has(slot: &ViewSlot) -> bool {
        slot.slot.view.lock().is_some()
    }

    fn held(slots: &[ViewSlot]) -> usize {
        slots.iter().filter(|slot| has(slot)).count()
    }

    #[test]
    fn no_more_maps_are_kept_than_may_be_and_the_used_ones_stay() {
        let views: &'static Views = Box::leak(Box::new(Views::new(4)));
        let slots = slots(views, 100);
        slots.iter().for_each(map);
        assert_eq!(held(&slots), 4);
        for _ in 0..10 {
            for slot in &slots {
                // One is read again and again.
                if !has(&slots[0]) {
                    map(&slots[0]);
                }
                drop(slots[0].lock());
                if !has(slot) {
                    map(slot);
                }
                assert!(held(&slots) <= 4);
            }
        }
        let kept = slots.iter().skip(1).take(20).filter(|slot| {
            drop(slots[0].lock());
            map(slot);
            has(&slots[0])
        });
        assert_eq!(kept.count(), 20, "the one in use was given up");
        views.limit(1);
        assert_eq!(held(&slots), 1);
        // What is gone leaves the list.
        drop(slots);
        map(&ViewSlot { slot: Arc::default(), views });
        assert_eq!(views.list.lock().len(), 1);
    }

    #[test]
    fn a_map_that_is_being_made_keeps_nobody_waiting() {
        let views: &'static Views = Box::leak(Box::new(Views::new(1)));
        let slots = slots(views, 3);
        map(&slots[0]);
        let busy = slots[0].lock();
        map(&slots[1]);
        map(&slots[2]);
        drop(busy);
        map(&slots[1]);
        assert!(held(&slots) <= 2);
        assert!(views.list.lock().len() <= 2);
    }
}
