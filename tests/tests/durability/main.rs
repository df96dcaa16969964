//! What a flush promises: after it, the message is there, whatever happens to the process or the disk.
//!
//! `SUBLOG_JOB_MESSAGES` and `SUBLOG_JOB_KILLS` make the job longer than the size that fits a check before a merge.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod full_disk;
mod job;
mod ledger;

use sublog_tests::TestServer;

/// A server with these flags.
fn server(args: &[&str]) -> TestServer {
    TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), args)
}

/// A number from the environment.
fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}
