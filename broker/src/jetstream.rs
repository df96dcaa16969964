//! Streams: logs that are declared by clients, and what is answered about them.
//!
//! [`store`] is a log as the rest of the broker sees it; the capture stream is one too. [`stream`] is a declared stream at
//! work, [`publish`] what a publisher's connection keeps for it.

pub mod errors;
pub mod publish;
pub mod read;
pub mod store;
pub mod stream;

/// First bytes of the subjects of requests.
pub const API_PREFIX: &[u8] = b"$JS.API.";
