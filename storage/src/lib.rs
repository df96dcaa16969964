//! Append-only segment logs that keep what they acknowledged.
//!
//! The format on disk is described in `docs/storage-format.md`.

mod batch;
mod clock;
mod committer;
pub mod disk;
mod error;
mod format;
mod lock;
mod log;
mod meta;
mod open;
mod options;
mod owner;
#[cfg(feature = "planted-bugs")]
pub mod planted;
mod queue;
mod reader;
mod record;
mod recovery;
mod segment;
mod shared;
mod state;
mod verify;
mod walk;
mod writer;

pub use batch::RecordBatch;
pub use committer::{Committer, Next};
pub use disk::real::RealDisk;
pub use error::{AppendError, FailureKind, LogError, OpenError, Operation, ReadError, RecordTooLarge};
pub use format::RECORD_BYTES_MAX;
pub use lock::DataDir;
pub use log::{Log, Waiter};
pub use meta::{Meta, MetaError, ServerIdentity, StoredSync, StreamRecord};
pub use options::{LogOptions, SyncMode};
pub use reader::Reader;
pub use record::{LostRange, LostReason, ReadEnd, ReadOutcome, Record, RecordRef, Visit};
pub use state::{
    Appended, Counters, DAMAGE_KEPT_MAX, Damage, Health, LogObserver, LogState, NoObserver, RecoveryReport, Removed,
};
pub use verify::{Progress, SegmentReport, VerifyReport, inspect, verify, verify_on};
