//! What this server does not have yet. It is refused, rather than taken and not done.
//!
//! These are the only two lists: to have a feature is to remove its line.

use super::consumer::ConsumerConfig;
use super::stream::StreamConfig;
use crate::jetstream::errors::ApiError;

/// A feature's name and whether a configuration asks for it.
type Feature<C> = (&'static str, fn(&C) -> bool);

/// Of streams.
pub const STREAM: &[Feature<StreamConfig>] = &[("a consumer of a mirror or source", |config| {
    config.mirror.iter().chain(&config.sources).any(|source| source.consumer.is_some())
})];

/// Of consumers: what mirrors and sources need of the stream that they copy.
pub const CONSUMER: &[Feature<ConsumerConfig>] =
    &[("direct", |config| config.direct), ("sourcing", |config| config.sourcing)];

fn check<C>(features: &[Feature<C>], config: &C) -> Result<(), ApiError> {
    match features.iter().find(|(_, asks)| asks(config)) {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::stream_invalid_config(format_args!("{name} is not supported by this server"))),
    }
}

/// Whether this server has all that a stream asks for.
///
/// # Errors
/// 10052 with the feature's name.
pub fn check_stream(config: &StreamConfig) -> Result<(), ApiError> {
    check(STREAM, config)
}

/// Whether this server has all that a consumer asks for.
///
/// # Errors
/// 10052 with the feature's name.
pub fn check_consumer(config: &ConsumerConfig) -> Result<(), ApiError> {
    check(CONSUMER, config)
}
