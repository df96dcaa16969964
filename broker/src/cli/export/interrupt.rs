//! Ctrl-C during an export: noticed between messages, so that nothing is left half done.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::cli::client::Failure;
use crate::cli::{EXIT_INTERRUPTED, output};

/// Whether the user wants the export to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt {
    asked: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

impl Interrupt {
    /// Listens from now on, on a runtime whose one worker has nothing else to do.
    pub(super) fn listen() -> Result<(Runtime, Self), Failure> {
        let cannot = |error| Failure::Other(format!("cannot start: {error}"));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(cannot)?;
        let interrupt = Self::default();
        let guard = runtime.enter();
        let mut signals =
            (signal(SignalKind::interrupt()).map_err(cannot)?, signal(SignalKind::terminate()).map_err(cannot)?);
        drop(guard);
        let told = interrupt.clone();
        runtime.spawn(async move {
            for round in 0.. {
                tokio::select! {
                    _ = signals.0.recv() => {}
                    _ = signals.1.recv() => {}
                }
                if round > 0 {
                    // Stuck, perhaps in a write that does not end.
                    output::warn("interrupted again");
                    process::exit(i32::from(EXIT_INTERRUPTED));
                }
                told.asked.store(true, Ordering::Release);
                told.notify.notify_one();
            }
        });
        Ok((runtime, interrupt))
    }

    /// Whether it came.
    pub(super) fn came(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Returns when it comes.
    pub(super) async fn wait(&self) {
        while !self.came() {
            self.notify.notified().await;
        }
    }
}
