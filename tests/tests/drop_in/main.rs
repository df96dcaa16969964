//! What a server takes of nats-server: its flags, its configuration, its signals, its name.
//!
//! `document` holds `docs/compatibility.md` to what a server does with each of them: nothing in that table is written by hand.
//! `names` is about the program under the name of nats-server.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod accounts;
mod document;
mod flags;
mod keys;
mod names;
mod observed;
mod operators;
mod running;
mod samples;
mod signals;
