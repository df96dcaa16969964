//! The subject index: which numbers a subject has, in files that are made once and in memory for the open segment.

mod active;
mod block;
mod bloom;
mod bytes;
mod error;
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
pub use filter::{FilterError, FilterSet, Skip, SubjectFilter};
pub use layout::{PartInfo, Source};
pub use merge::merge;
pub use part::{Part, PartCursor};
pub use postings::{Entry, Postings};
pub use query::{Found, Liveness, Matches, OpenSegment, Snapshot, SubjectState};
pub use writer::PartWriter;
