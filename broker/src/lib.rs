//! The broker: connections, routing, capture and replay, and the command line around them.
//!
//! This is the only crate that knows tokio, configuration and the wall clock. Start at [`server::run`]; a message's way
//! is `client::connection` (read) → `client::operations` (what it means) → `client::fanout` (who gets it) →
//! [`client::outbound`] (the socket), with [`capture`] beside it for the log.

pub mod account;
pub mod auth;
pub mod capture;
pub mod cli;
pub mod client;
pub mod clock;
pub mod conf;
pub mod config;
pub mod jetstream;
pub mod jwt;
pub mod limits;
pub mod logging;
pub mod monitor;
pub mod operator;
pub mod replay;
pub mod rfc3339;
pub mod router;
pub mod server;
pub mod tls;
pub mod websocket;
