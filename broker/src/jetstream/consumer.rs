//! Consumers of a stream.

pub mod machine;
