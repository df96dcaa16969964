//! Errors as the API tells them.

use serde::Serialize;

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// As in HTTP.
    pub code: u16,
    /// Which error it is.
    pub err_code: u16,
    /// What people read.
    pub description: String,
}

impl ApiError {
    /// A message was not stored.
    #[must_use]
    pub fn stream_store_failed(why: &str) -> Self {
        Self { code: 503, err_code: 10077, description: why.to_owned() }
    }

    /// message size exceeds maximum allowed.
    #[must_use]
    pub fn message_too_large() -> Self {
        Self { code: 400, err_code: 10054, description: "message size exceeds maximum allowed".to_owned() }
    }

    /// message size exceeds maximum allowed.
    #[must_use]
    pub fn stream_message_exceeds_maximum() -> Self {
        Self { code: 400, err_code: 10054, description: "message size exceeds maximum allowed".to_owned() }
    }

    /// invalid operation on sealed stream.
    #[must_use]
    pub fn stream_sealed() -> Self {
        Self { code: 400, err_code: 10109, description: "invalid operation on sealed stream".to_owned() }
    }

    /// expected stream does not match.
    #[must_use]
    pub fn stream_not_match() -> Self {
        Self { code: 400, err_code: 10060, description: "expected stream does not match".to_owned() }
    }

    /// atomic publish is disabled.
    #[must_use]
    pub fn atomic_publish_disabled() -> Self {
        Self { code: 400, err_code: 10174, description: "atomic publish is disabled".to_owned() }
    }

    /// message counters is disabled.
    #[must_use]
    pub fn message_incr_disabled() -> Self {
        Self { code: 400, err_code: 10168, description: "message counters is disabled".to_owned() }
    }

    /// per-message TTL is disabled.
    #[must_use]
    pub fn message_ttl_disabled() -> Self {
        Self { code: 400, err_code: 10166, description: "per-message TTL is disabled".to_owned() }
    }

    /// message schedules is disabled.
    #[must_use]
    pub fn message_schedules_disabled() -> Self {
        Self { code: 400, err_code: 10188, description: "message schedules is disabled".to_owned() }
    }

    /// format!("wrong last sequence: {last}").
    #[must_use]
    pub fn stream_wrong_last_sequence(last: u64) -> Self {
        Self { code: 400, err_code: 10071, description: format!("wrong last sequence: {last}") }
    }

    /// format!("wrong last msg ID: {last}").
    #[must_use]
    pub fn stream_wrong_last_msg_id(last: &str) -> Self {
        Self { code: 400, err_code: 10070, description: format!("wrong last msg ID: {last}") }
    }

    /// why.
    #[must_use]
    pub fn stream_rollup_failed(why: &str) -> Self {
        Self { code: 500, err_code: 10111, description: why.to_owned() }
    }
}
