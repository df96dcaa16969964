//! What the protocol crate promises, by kind of claim: golden bytes, round trips, split points, garbage,
//! subjects against a naive model, and the corpus of the fuzz targets.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, a panic is a failure that names its line"
)]

mod checks;
mod corpus;
mod errors;
mod golden;
mod round_trip;
mod split;
mod streams;
mod subjects;
