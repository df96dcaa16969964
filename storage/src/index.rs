//! The subject index: which numbers a subject has, in files that are made once and in memory for the open segment.

mod filter;

pub use filter::{FilterError, FilterSet, Skip, SubjectFilter};
