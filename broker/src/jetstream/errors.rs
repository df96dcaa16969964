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

    /// A configuration that is refused.
    #[must_use]
    pub fn stream_invalid_config(why: &str) -> Self {
        Self { code: 500, err_code: 10052, description: why.to_owned() }
    }

    /// Replicas > 1 not supported in non-clustered mode.
    #[must_use]
    pub fn stream_replicas_not_supported() -> Self {
        Self { code: 500, err_code: 10074, description: "replicas > 1 not supported in non-clustered mode".to_owned() }
    }

    /// Stream not found.
    #[must_use]
    pub fn stream_not_found() -> Self {
        Self { code: 404, err_code: 10059, description: "stream not found".to_owned() }
    }

    /// Stream name already in use with a different configuration.
    #[must_use]
    pub fn stream_name_exists() -> Self {
        Self {
            code: 400,
            err_code: 10058,
            description: "stream name already in use with a different configuration".to_owned(),
        }
    }

    /// Stream name in subject does not match request.
    #[must_use]
    pub fn stream_mismatch() -> Self {
        Self { code: 400, err_code: 10056, description: "stream name in subject does not match request".to_owned() }
    }

    /// Subjects overlap with an existing stream.
    #[must_use]
    pub fn stream_subject_overlap() -> Self {
        Self { code: 400, err_code: 10065, description: "subjects overlap with an existing stream".to_owned() }
    }

    /// A stream could not be made.
    #[must_use]
    pub fn stream_create(why: &str) -> Self {
        Self { code: 500, err_code: 10049, description: why.to_owned() }
    }

    /// A stream could not be changed.
    #[must_use]
    pub fn stream_update(why: &str) -> Self {
        Self { code: 500, err_code: 10069, description: why.to_owned() }
    }

    /// A stream could not be deleted.
    #[must_use]
    pub fn stream_delete(why: &str) -> Self {
        Self { code: 500, err_code: 10050, description: why.to_owned() }
    }

    /// Stream is offline.
    #[must_use]
    pub fn stream_offline() -> Self {
        Self { code: 500, err_code: 10118, description: "stream is offline".to_owned() }
    }

    /// Bad request.
    #[must_use]
    pub fn bad_request() -> Self {
        Self { code: 400, err_code: 10003, description: "bad request".to_owned() }
    }

    /// A request that is no JSON, or not of the right shape.
    #[must_use]
    pub fn invalid_json(why: &str) -> Self {
        Self { code: 400, err_code: 10025, description: format!("invalid JSON: {why}") }
    }

    /// No message found.
    #[must_use]
    pub fn no_message_found() -> Self {
        Self { code: 404, err_code: 10037, description: "no message found".to_owned() }
    }

    /// No message has that number.
    #[must_use]
    pub fn sequence_not_found(seq: u64) -> Self {
        Self { code: 400, err_code: 10043, description: format!("sequence {seq} not found") }
    }

    /// A message could not be deleted.
    #[must_use]
    pub fn stream_msg_delete_failed(why: &str) -> Self {
        Self { code: 500, err_code: 10057, description: why.to_owned() }
    }

    /// A stream could not be purged.
    #[must_use]
    pub fn stream_purge_failed(why: &str) -> Self {
        Self { code: 500, err_code: 10110, description: why.to_owned() }
    }

    /// JetStream minimum api level required.
    #[must_use]
    pub fn required_api_level() -> Self {
        Self { code: 412, err_code: 10185, description: "JetStream minimum api level required".to_owned() }
    }

    /// Something that has no code of its own.
    #[must_use]
    pub fn general(why: &str) -> Self {
        Self { code: 500, err_code: 10051, description: why.to_owned() }
    }
}
