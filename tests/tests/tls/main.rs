//! Encrypted connections: every option of the `tls` block and every flag, old clients, resumption, reload, monitoring.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod commands;
mod handshake;
mod monitor;
mod official;
mod options;
mod reload;
mod resume;
mod support;
mod traffic;
mod verify;
