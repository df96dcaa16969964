//! Append-only segment logs that keep what they acknowledged.
//!
//! A publishing thread fills a [`RecordBatch`] (copy and checksum happen there), [`Log::append`] gives the records their
//! numbers, and one committer thread a log writes what has gathered, syncs once, and answers everybody who asked with
//! [`Log::when_committed`]. A [`Reader`] looks at the mapped segments, forward or backward, and checks each record's
//! checksum before it shows it.
//!
//! Never here: sockets, JSON, subjects as more than bytes, tokens and wildcards, the time of day but for what expires (callers stamp their records), an answer
//! before its sync, a change to bytes that were acknowledged. All IO goes through [`disk`], of which [`disk::sim`] is
//! the twin that fails. The bytes are described in `docs/storage-format.md`, and only `format` knows them.

mod batch;
mod blocks;
mod clock;
mod committer;
mod cursor;
pub mod disk;
mod error;
mod expiry;
mod format;
pub mod index;
mod journal;
mod latest;
mod limits;
mod lock;
mod log;
mod maintain;
mod meta;
mod open;
mod options;
mod owner;
mod packed;
#[cfg(feature = "planted-bugs")]
pub mod planted;
mod purge;
mod queue;
mod read_only;
mod reader;
mod record;
mod recovery;
mod removed;
mod reserve;
mod rewrite;
mod scrub;
mod segment;
mod select;
mod shared;
mod state;
mod subjects;
mod sync;
mod verify;
mod views;
mod walk;
mod watch;
mod writer;

pub use batch::RecordBatch;
pub use clock::WallClock;
pub use committer::pool::{CommitPool, PoolLimits};
pub use committer::{Committer, Next};
pub use disk::handles::{FileCache, FileCacheState};
pub use disk::map::give_back_large_buffers;
pub use disk::read_faults;
pub use disk::real::RealDisk;
pub use error::{AppendError, FailureKind, LogError, OpenError, Operation, ReadError, RecordTooLarge};
pub use format::RECORD_BYTES_MAX;
pub use format::packed::Codec;
pub use latest::Latest;
pub use limits::{Discard, Limits};
pub use lock::DataDir;
pub use log::{Log, RemovalWaiter, Waiter};
pub use maintain::{MaintainError, Maintained};
pub use meta::{ConsumerBatch, Definition, Meta, MetaError, ServerIdentity, StoredSync, StreamRecord};
pub use options::{LogOptions, SyncMode};
pub use purge::{Purge, PurgeError, Purging};
pub use read_only::ReadOnlyLog;
pub use reader::Reader;
pub use record::{LostRange, LostReason, ReadEnd, ReadOutcome, Record, RecordRef, Visit};
pub use reserve::Reserve;
pub use rewrite::{NotRewritten, Rewrite, RewriteStep, Rewritten, SegmentInfo};
pub use scrub::{Scrub, ScrubNext, ScrubOptions, ScrubStep};
pub use select::Selection;
pub use state::{
    Appended, Counters, DAMAGE_KEPT_MAX, Damage, Health, LogObserver, LogState, NoObserver, RecoveryReport, Removed,
    ScrubPass, ScrubState,
};
pub use subjects::IndexError;
pub use verify::{Progress, SegmentReport, VerifyReport, inspect, verify, verify_on};
pub use views::limit_maps;
