//! Threads of one measurement: when one fails, the others stop soon, and the first cause is what is reported.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

use crate::error::{BenchError, Result};

/// Runs one thread's part, and gives the run up for all when it fails.
pub(crate) fn part<T>(aborted: &AtomicBool, task: impl FnOnce() -> Result<T>) -> Result<T> {
    let result = task();
    if result.is_err() {
        aborted.store(true, Ordering::Relaxed);
    }
    result
}

/// Whether the run was given up.
///
/// # Errors
/// [`BenchError::Aborted`], if it was.
pub(crate) fn go_on(aborted: &AtomicBool) -> Result<()> {
    if aborted.load(Ordering::Relaxed) { Err(BenchError::Aborted) } else { Ok(()) }
}

/// The outcomes of threads.
pub(crate) fn joined<T>(threads: Vec<ScopedJoinHandle<'_, Result<T>>>) -> Vec<Result<T>> {
    let panicked = || Err(BenchError::Setup("a thread of the load generator panicked".into()));
    threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect()
}
