//! Configurations of streams and consumers: what clients send, what it becomes, and which of it is allowed.
//!
//! Everything here is a function of its arguments: no IO, no clock. Fields are named as they are sent; durations are
//! nanoseconds, times are [`Time`]. A configuration is read leniently by [`json::parse`], then
//! [`StreamConfig::checked`] or [`ConsumerConfig::checked`] fills in what was left out and refuses what makes no sense,
//! with nats-server's numbers and words.

pub mod check;
pub mod consumer;
pub mod json;
pub mod limits;
pub mod metadata;
pub mod stream;
pub mod time;
pub mod transform;
pub mod unsupported;

pub use consumer::ConsumerConfig;
pub use limits::Limits;
pub use stream::StreamConfig;
pub use time::Time;
