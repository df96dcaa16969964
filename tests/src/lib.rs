//! What the end-to-end tests are written with: a server as a child process and a client that sees bytes.
//!
//! Nothing here waits by sleeping for luck. Every wait has a deadline and ends as soon as what it waits for is there;
//! a missed deadline panics with what was seen instead. The server's own log is printed when a test fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests report by panicking, and so does what they are written with"
)]

pub mod client;
pub mod clock;
pub mod configured;
pub mod content;
pub mod http;
pub mod jwt;
pub mod random;
pub mod server;

pub use client::{Message, RawClient, Seen, ask};
pub use configured::Configured;
pub use random::Random;
pub use server::TestServer;
