//! What this server does not have yet. It is refused, rather than taken and not done.
//!
//! This is the only list: to have a feature is to remove its line.

use super::consumer::ConsumerConfig;
use crate::jetstream::errors::ApiError;

/// A feature's name and whether a configuration asks for it.
type Feature<C> = (&'static str, fn(&C) -> bool);

/// Of consumers: what servers make of each other's streams to copy them. Here copies read the other stream's log.
pub const CONSUMER: &[Feature<ConsumerConfig>] =
    &[("direct", |config| config.direct), ("sourcing", |config| config.sourcing)];

fn check<C>(features: &[Feature<C>], config: &C) -> Result<(), ApiError> {
    match features.iter().find(|(_, asks)| asks(config)) {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::stream_invalid_config(format_args!("{name} is not supported by this server"))),
    }
}

/// Whether this server has all that a consumer asks for.
///
/// # Errors
/// 10052 with the feature's name.
pub fn check_consumer(config: &ConsumerConfig) -> Result<(), ApiError> {
    check(CONSUMER, config)
}
