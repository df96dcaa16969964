//! Which addresses are ours: a table that a signal handler can read.
//!
//! A fixed array, so that the handler meets no memory that can move or go. Writers take a lock among themselves; the
//! handler takes none: a slot that is being changed shows an odd count, or another one afterwards, and is passed over.
//! That is right, because the slot of a thread that faults is at rest: it was filled before the thread got the map, and
//! is not emptied while the thread holds it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use parking_lot::Mutex;

/// Most maps that may live at a time. Linux gives a process 65,530 by default (`vm.max_map_count`), so its own limit
/// comes first; where that was raised, the map beyond is refused rather than left unguarded. The array is zeros, and
/// takes memory only as far as it was used.
const MAPS_MAX: usize = 1 << 16;

/// One map's addresses. An empty slot has length 0.
struct Slot {
    /// Odd while it is being changed.
    turn: AtomicUsize,
    start: AtomicUsize,
    len: AtomicUsize,
    /// Faults in all maps that this slot ever stood for.
    faults: AtomicU64,
}

impl Slot {
    const fn empty() -> Self {
        Self {
            turn: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            faults: AtomicU64::new(0),
        }
    }

    /// Only by whoever owns the slot.
    fn set(&self, start: usize, len: usize) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        // Whoever sees one of the two values also sees the odd count.
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.turn.fetch_add(1, Ordering::Release);
    }

    fn covers(&self, address: usize) -> bool {
        let turn = self.turn.load(Ordering::Acquire);
        let (start, len) = (self.start.load(Ordering::Relaxed), self.len.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let at_rest = turn.is_multiple_of(2) && turn == self.turn.load(Ordering::Relaxed);
        at_rest && address.wrapping_sub(start) < len
    }
}

static SLOTS: [Slot; MAPS_MAX] = [const { Slot::empty() }; MAPS_MAX];
/// Slots behind this one were never used.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Slots below that are empty.
static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());

/// The fault counter of the map that an address lies in. For the signal handler: reads atomics and nothing else.
pub(super) fn find(address: usize) -> Option<&'static AtomicU64> {
    let used = SLOTS.get(..USED.load(Ordering::Acquire))?;
    used.iter().find(|slot| slot.covers(address)).map(|slot| &slot.faults)
}

/// A map's place in the table, given back when dropped.
pub(super) struct Registration(&'static Slot);

impl Registration {
    /// Enters a map; `None` if there is no place.
    pub(super) fn of(start: usize, len: usize) -> Option<Self> {
        let mut free = FREE.lock();
        let slot = match free.pop() {
            Some(slot) => slot,
            None => {
                let used = USED.load(Ordering::Relaxed);
                let slot = SLOTS.get(used)?;
                USED.store(used + 1, Ordering::Release);
                slot
            }
        };
        drop(free);
        slot.set(start, len);
        Some(Self(slot))
    }

    /// The map's faults from now on.
    pub(super) fn faults(&self) -> FaultCount {
        FaultCount { slot: self.0, before: self.0.faults.load(Ordering::Relaxed) }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.0.set(0, 0);
        FREE.lock().push(self.0);
    }
}

/// Faults of one map. To be asked only by those who hold the map: afterwards the slot may count for another.
#[derive(Clone, Copy)]
pub(in crate::disk) struct FaultCount {
    slot: &'static Slot,
    before: u64,
}

impl FaultCount {
    /// The count; not older than anything this thread has read of the map before.
    pub(in crate::disk) fn get(self) -> u64 {
        fence(Ordering::Acquire);
        self.slot.faults.load(Ordering::Relaxed).wrapping_sub(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_while_its_map_is_entered() {
        // Addresses that no map of a test has.
        let base = usize::MAX / 2;
        let first = Registration::of(base, 100).unwrap();
        let second = Registration::of(base + 200, 100).unwrap();
        assert!(find(base - 1).is_none() && find(base + 100).is_none() && find(base + 199).is_none());
        find(base).unwrap().fetch_add(1, Ordering::Relaxed);
        find(base + 299).unwrap().fetch_add(2, Ordering::Relaxed);
        let count = second.faults();
        drop(first);
        assert!(find(base).is_none() && find(base + 200).is_some());
        assert_eq!(count.get(), 0);
        find(base + 200).unwrap().fetch_add(1, Ordering::Relaxed);
        assert_eq!(count.get(), 1);
        drop(second);
        assert!(find(base + 200).is_none());
        // A map in a slot that counted for another begins at nothing.
        let third = Registration::of(base, 1).unwrap();
        assert_eq!(third.faults().get(), 0);
    }

    #[test]
    fn nothing_but_what_was_entered_is_ever_found() {
        let base = usize::MAX / 4;
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The same slots over and over, for lengths that would overlap if mixed up.
                for i in 0..100_000_usize {
                    let (start, len) = if i.is_multiple_of(2) { (base, 10) } else { (base + 1000, 2000) };
                    drop(Registration::of(start, len).unwrap());
                }
                stop.store(true, Ordering::Relaxed);
            });
            while !stop.load(Ordering::Relaxed) {
                // A slot torn between the two would cover this.
                assert!(find(base + 500).is_none());
                assert!(find(base + 3500).is_none());
            }
        });
    }
}
