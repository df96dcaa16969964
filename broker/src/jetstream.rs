//! JetStream: declared streams, their consumers and the `$JS.API` over them.

pub mod config;
pub mod consumer;
pub mod errors;
pub mod wire;
