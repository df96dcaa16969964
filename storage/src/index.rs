//! The subject index: which numbers a subject has, in files that are made once and in memory for the open segment.
//!
//! A [`Part`] is such a file, read from a map; [`PartWriter`] makes one from sorted subjects, [`merge`] one of several.
//! [`Active`] is the open segment's index. A [`Snapshot`] of parts and [`Active`] answers questions, exactly, with the help
//! of [`Liveness`], which knows what was removed; [`Matches`] reads on for as long as it likes.
//!
//! Never here: IO, threads, the log. All of it is a cache of the segments: what is damaged says so, and is made again. The
//! bytes are described in `docs/index-format.md`.

mod active;
mod block;
mod bloom;
mod bytes;
mod error;
mod expiry;
mod filter;
mod layout;
mod merge;
mod part;
mod postings;
mod query;
mod rows;
mod writer;

pub use active::{Active, ActiveError};
pub use error::{PartError, PartWriteError};
pub use expiry::Expired;
pub use filter::{FilterError, FilterSet, Skip, SubjectFilter};
pub use layout::{PartInfo, Source};
pub use merge::merge;
pub(crate) use merge::merge_as;
pub use part::{Part, PartCursor};
pub use postings::{Entry, Postings};
pub use query::{Found, Liveness, Matches, Newest, OpenSegment, Snapshot, SubjectState};
pub use writer::PartWriter;
