//! JetStream: declared streams, their consumers and the `$JS.API` over them.

pub mod consumer;
