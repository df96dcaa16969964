//! What threads meet at: locks, conditions, atomics, threads. The real ones, or, with the feature `shuttle`, ones whose every
//! interleaving a test can choose. The simulated disk keeps the real ones: nothing else is touched while it holds its own.

#[cfg(feature = "shuttle")]
mod explored;

#[cfg(feature = "shuttle")]
pub(crate) use self::explored::{Condvar, Mutex, MutexGuard, RwLock, atomic, mpsc, now, thread};
#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{atomic, mpsc};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::thread;
