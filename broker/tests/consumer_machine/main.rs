//! The consumer's state machine: every rule by itself, then all of them against a plain model.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod acks;
mod changes;
mod dead;
mod model;
mod priority;
mod pull;
mod push;
mod restore;
mod support;
