//! How copying from one stream goes, as it is told.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::clock;
use crate::jetstream::config::stream::StreamSource;
use crate::jetstream::errors::ApiError;
use crate::jetstream::wire::info::SourceInfo;

/// Nothing was heard yet.
const NEVER: i64 = i64::MIN;

/// See the module.
pub(in crate::jetstream) struct Progress {
    /// What is copied.
    pub(super) source: StreamSource,
    lag: AtomicU64,
    seq: AtomicU64,
    heard_ns: AtomicI64,
    error: Mutex<Option<ApiError>>,
}

impl Progress {
    /// Nothing was copied yet.
    pub(super) fn new(source: &StreamSource) -> Self {
        Self {
            source: source.clone(),
            lag: AtomicU64::new(0),
            seq: AtomicU64::new(0),
            heard_ns: AtomicI64::new(NEVER),
            error: Mutex::default(),
        }
    }

    /// The other stream is there, and so many of its messages are still to be copied.
    pub(super) fn heard(&self, lag: u64) {
        self.lag.store(lag, Ordering::Relaxed);
        self.heard_ns.store(clock::unix_ns(), Ordering::Relaxed);
        *self.error.lock() = None;
    }

    /// The last message that was copied.
    pub(super) fn copied(&self, seq: u64) {
        self.seq.store(seq, Ordering::Relaxed);
    }

    /// It does not go on, and why; whether that is new.
    pub(super) fn failed(&self, error: ApiError) -> bool {
        let mut told = self.error.lock();
        let new = told.as_ref() != Some(&error);
        *told = Some(error);
        new
    }

    /// As it is told; of sources with the last message that was copied.
    pub(super) fn info(&self, with_seq: bool) -> SourceInfo {
        let heard = self.heard_ns.load(Ordering::Relaxed);
        SourceInfo {
            name: self.source.name.clone(),
            external: self.source.external.clone(),
            lag: self.lag.load(Ordering::Relaxed),
            seq: if with_seq { self.seq.load(Ordering::Relaxed) } else { 0 },
            active: if heard == NEVER { -1 } else { clock::unix_ns().saturating_sub(heard).max(0) },
            error: self.error.lock().clone(),
            filter_subject: self.source.filter_subject.clone(),
            subject_transforms: self.source.subject_transforms.clone(),
        }
    }
}
