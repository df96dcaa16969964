//! The JSON of the JetStream API: responses, requests, and how answers are cut into pages.
//!
//! Every response is an [`Response`] envelope around what its kind of request is answered with; fields stand in the
//! order, and are left out, as clients know it from nats-server. Requests are read from any bytes at all, and what cannot
//! be read is an [`ApiError`](super::errors::ApiError).

pub mod create;
pub mod envelope;
pub mod info;
pub mod message;
pub mod paging;
pub mod requests;
pub mod responses;

pub use envelope::{Kind, Response};
