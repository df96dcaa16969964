//! The NATS client protocol as a pure library: bytes in, operations out, and back.
//!
//! This crate never does IO, reads no clock, starts no thread and has no `unsafe`. It knows what a
//! line on the wire looks like and which error text belongs to which mistake; it does not know
//! connections, subscriptions or storage.
//!
//! Entry points: [`decode::decode_client`] for what a client sends, [`decode::decode_server`] for what
//! a server sends, [`encode`] for writing either, [`error::ServerError`] for every `-ERR` text,
//! [`info`] for the two JSON documents of the handshake, [`headers`] for message header blocks and
//! [`subject`] for subject syntax and matching.

pub mod decode;
pub mod encode;
pub mod error;
pub mod headers;
pub mod info;
pub mod limits;
pub mod subject;
