//! The primitives of `shuttle` with the faces that this crate uses. Time stands still until somebody waits for it.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64 as RealAtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

pub(crate) use shuttle::sync::{atomic, mpsc};
pub(crate) use shuttle::thread;

/// A deadline further away than this never comes: so that a wake-up that a deadline would make good can be missed.
const FAR: Duration = Duration::from_secs(600);

static PASSED_NS: RealAtomicU64 = RealAtomicU64::new(0);

/// The moment: the program's beginning and all deadlines that passed.
#[expect(clippy::disallowed_methods, reason = "where time begins")]
pub(crate) fn now() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now) + Duration::from_nanos(PASSED_NS.load(Ordering::Relaxed))
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

/// Holds nothing only while a condition is waited for.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>, &'a Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)), self)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(held) => Some(MutexGuard(Some(held), self)),
            Err(TryLockError::Poisoned(held)) => Some(MutexGuard(Some(held.into_inner()), self)),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[expect(clippy::expect_used, reason = "only a waiting condition has taken it, and its caller waits as well")]
impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("held")
    }
}

#[expect(clippy::expect_used, reason = "only a waiting condition has taken it, and its caller waits as well")]
impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("held")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.0.take() {
            guard.0 = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Lets others go on, and then it is `until`; what is far away never is.
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) {
        let left = until.saturating_duration_since(now());
        if left > FAR {
            return self.wait(guard);
        }
        guard.0 = None;
        thread::yield_now();
        PASSED_NS.fetch_add(u64::try_from(left.as_nanos()).unwrap_or(0), Ordering::Relaxed);
        *guard = guard.1.lock();
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(shuttle::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
