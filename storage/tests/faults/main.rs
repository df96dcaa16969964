//! Faults made on purpose, against a log that real threads and real files serve: power cuts on real file systems, dying
//! processes, failing calls, full disks, flipped bits, and random programs compared with a plain model.
//!
//! Each part prints one line `FAULTS | goal | what | counts | failures`, from which `.ci/faults` makes its table; what
//! this machine cannot do is printed as skipped. Each part is short unless its environment variable says otherwise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

mod blocks;
mod child;
mod common;
mod cuts;
mod errno;
mod kept;
mod kills;
mod ledger;
mod machine;
mod programs;
mod rot;
mod server;
mod space;
mod subject;
