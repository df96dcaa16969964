//! What stands around every response.

use serde::Serialize;

use crate::jetstream::errors::ApiError;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),+ $(,)?) => {
        /// Which request a response answers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $kind),+ }

        impl Kind {
            /// The `type` field.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => concat!("io.nats.jetstream.api.v1.", $name)),+ }
            }
        }
    };
}

kinds! {
    /// `$JS.API.INFO`
    AccountInfo = "account_info_response",
    /// `$JS.API.STREAM.CREATE.S`
    StreamCreate = "stream_create_response",
    /// `$JS.API.STREAM.UPDATE.S`
    StreamUpdate = "stream_update_response",
    /// `$JS.API.STREAM.INFO.S`
    StreamInfo = "stream_info_response",
    /// `$JS.API.STREAM.DELETE.S`
    StreamDelete = "stream_delete_response",
    /// `$JS.API.STREAM.PURGE.S`
    StreamPurge = "stream_purge_response",
    /// `$JS.API.STREAM.NAMES`
    StreamNames = "stream_names_response",
    /// `$JS.API.STREAM.LIST`
    StreamList = "stream_list_response",
    /// `$JS.API.STREAM.MSG.GET.S`
    MsgGet = "stream_msg_get_response",
    /// `$JS.API.STREAM.MSG.DELETE.S`
    MsgDelete = "stream_msg_delete_response",
    /// `$JS.API.STREAM.SNAPSHOT.S`
    StreamSnapshot = "stream_snapshot_response",
    /// `$JS.API.STREAM.RESTORE.S`
    StreamRestore = "stream_restore_response",
    /// `$JS.API.STREAM.PEER.REMOVE.S`
    StreamRemovePeer = "stream_remove_peer_response",
    /// `$JS.API.STREAM.LEADER.STEPDOWN.S`
    StreamLeaderStepDown = "stream_leader_stepdown_response",
    /// `$JS.API.CONSUMER.CREATE.S...` and `$JS.API.CONSUMER.DURABLE.CREATE.S.C`
    ConsumerCreate = "consumer_create_response",
    /// `$JS.API.CONSUMER.INFO.S.C`
    ConsumerInfo = "consumer_info_response",
    /// `$JS.API.CONSUMER.DELETE.S.C`
    ConsumerDelete = "consumer_delete_response",
    /// `$JS.API.CONSUMER.NAMES.S`
    ConsumerNames = "consumer_names_response",
    /// `$JS.API.CONSUMER.LIST.S`
    ConsumerList = "consumer_list_response",
    /// `$JS.API.CONSUMER.PAUSE.S.C`
    ConsumerPause = "consumer_pause_response",
    /// `$JS.API.CONSUMER.RESET.S.C`
    ConsumerReset = "consumer_reset_response",
    /// `$JS.API.CONSUMER.UNPIN.S.C`
    ConsumerUnpin = "consumer_unpin_response",
    /// `$JS.API.CONSUMER.LEADER.STEPDOWN.S.C`
    ConsumerLeaderStepDown = "consumer_leader_stepdown_response",
    /// Requests that are none of these.
    System = "system_response",
}

/// A response: its type, then either an error or what was asked for, on one level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Response<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ApiError>,
    #[serde(flatten)]
    body: Option<T>,
}

impl<T> Response<T> {
    /// What was asked for, or why not.
    #[must_use]
    pub fn new(kind: Kind, result: Result<T, ApiError>) -> Self {
        let (body, error) = match result {
            Ok(body) => (Some(body), None),
            Err(error) => (None, Some(error)),
        };
        Self { kind: kind.as_str(), error, body }
    }

    /// What was asked for, which some responses have beside an error as well.
    #[must_use]
    pub fn with_error(kind: Kind, error: ApiError, body: T) -> Self {
        Self { kind: kind.as_str(), error: Some(error), body: Some(body) }
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.error.is_some()
    }
}

impl<T: Serialize> Response<T> {
    /// Its JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // All keys are strings and no value refuses to be written, so this does not happen.
        serde_json::to_vec(self).unwrap_or_else(|error| {
            tracing::error!(%error, kind = self.kind, "a response of the API could not be written");
            Vec::new()
        })
    }
}
