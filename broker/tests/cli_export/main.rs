//! `sublog export`: the real program on logs with known content, offline and over a server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic anywhere")]

#[path = "../support/program.rs"]
mod program;

mod content;
mod made;
mod ranges;
mod troubles;
