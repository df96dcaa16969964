//! What a server takes of nats-server: its flags, its configuration, its signals, its name.
//!
//! `table` writes what `docs/compatibility.md` says of them, from what a server does with each; `names` is about the program
//! under the name of nats-server.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod names;
mod running;
