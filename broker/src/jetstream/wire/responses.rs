//! What requests are answered with, but for what [`info`](super::info) tells.

use serde::Serialize;

use super::info::{ConsumerInfo, StreamInfo};
use super::message::StoredMessage;
use super::paging::Page;
use crate::jetstream::config::Time;
use crate::jetstream::config::json::absent;

/// `stream_create_response`, and `stream_update_response` without the last field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamCreated {
    /// The stream.
    #[serde(flatten)]
    pub info: StreamInfo,
    /// It was asked for, and is there now.
    #[serde(skip_serializing_if = "absent")]
    pub did_create: bool,
}

/// `stream_info_response`: pages are those of the subjects.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamInfoPage {
    /// Which subjects; all zero if none were asked for.
    #[serde(flatten)]
    pub page: Page,
    /// The stream.
    #[serde(flatten)]
    pub info: StreamInfo,
}

/// What is done is done: delete and step down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Done {
    success: bool,
}

impl Done {
    /// It is done.
    pub const YES: Self = Self { success: true };
}

/// Nothing more than that there is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Nothing {}

/// `stream_purge_response`; an error has `purged` as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// It went well.
    #[serde(skip_serializing_if = "absent")]
    pub success: bool,
    /// So many messages are gone.
    pub purged: u64,
}

/// `stream_names_response`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamNames {
    /// Which of them.
    #[serde(flatten)]
    pub page: Page,
    /// The names.
    pub streams: Vec<String>,
}

/// `stream_list_response`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamList {
    /// Which of them.
    #[serde(flatten)]
    pub page: Page,
    /// The streams.
    pub streams: Vec<StreamInfo>,
}

/// `stream_msg_get_response`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageFound {
    /// The message.
    pub message: StoredMessage,
}

/// `consumer_names_response`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsumerNames {
    /// Which of them.
    #[serde(flatten)]
    pub page: Page,
    /// The names.
    pub consumers: Vec<String>,
}

/// `consumer_list_response`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConsumerList {
    /// Which of them.
    #[serde(flatten)]
    pub page: Page,
    /// The consumers.
    pub consumers: Vec<ConsumerInfo>,
}

/// `consumer_pause_response`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Paused {
    /// It is paused now.
    pub paused: bool,
    /// Until then.
    pub pause_until: Time,
    /// For so many nanoseconds.
    #[serde(skip_serializing_if = "absent")]
    pub pause_remaining: i64,
}

/// `consumer_reset_response` with an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct NotReset {
    /// Nothing.
    pub reset_seq: u64,
}

/// `consumer_reset_response`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResetDone {
    /// The consumer.
    #[serde(flatten)]
    pub info: ConsumerInfo,
    /// The next sequence to deliver.
    pub reset_seq: u64,
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::jetstream::config::metadata::ServerLevel;
    use crate::jetstream::config::{ConsumerConfig, Limits, StreamConfig};
    use crate::jetstream::errors::ApiError;
    use crate::jetstream::wire::info::{AccountInfo, ClusterInfo, StreamState};
    use crate::jetstream::wire::{Kind, Response};

    fn text<T: Serialize>(kind: Kind, result: Result<T, ApiError>) -> String {
        String::from_utf8(Response::new(kind, result).to_json()).unwrap()
    }

    fn server() -> ServerLevel {
        ServerLevel { version: "2.15.1".to_owned(), level: 5 }
    }

    fn stream() -> StreamConfig {
        let config = StreamConfig { name: "S".to_owned(), ..StreamConfig::default() };
        config.checked(&Limits::default(), false).unwrap()
    }

    fn stream_info() -> StreamInfo {
        let at = Time::from_ns(1_700_000_000_120_000_000);
        StreamInfo {
            config: stream().shown(&server()),
            created: at,
            state: StreamState {
                messages: 1,
                bytes: 64,
                first_seq: 1,
                first_ts: at,
                last_seq: 1,
                last_ts: at,
                num_subjects: 1,
                subjects: [("S".to_owned(), 1)].into(),
                ..StreamState::default()
            },
            domain: String::new(),
            cluster: Some(ClusterInfo { leader: "N".to_owned(), ..ClusterInfo::default() }),
            mirror: None,
            sources: Vec::new(),
            alternates: Vec::new(),
            ts: at,
        }
    }

    /// The texts are nats-server's, with other times and names.
    #[test]
    fn responses_read_as_those_of_nats_server() {
        assert_eq!(
            text(Kind::AccountInfo, Ok(AccountInfo::default())),
            concat!(
                r#"{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0,"storage":0,"reserved_memory":0,"#,
                r#""reserved_storage":0,"streams":0,"consumers":0,"limits":{"max_memory":-1,"max_storage":-1,"#,
                r#""max_streams":-1,"max_consumers":-1,"max_ack_pending":-1,"memory_max_stream_bytes":-1,"#,
                r#""storage_max_stream_bytes":-1,"max_bytes_required":false},"api":{"level":0,"total":0,"errors":0}}"#
            )
        );
        assert_eq!(
            text(Kind::StreamInfo, Ok(StreamInfoPage { page: Page::new(1, 0, 100_000), info: stream_info() })),
            concat!(
                r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","total":1,"offset":0,"limit":100000,"#,
                r#""config":{"name":"S","subjects":["S"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"#,
                r#""max_bytes":-1,"max_age":0,"max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"old","#,
                r#""storage":"file","num_replicas":1,"duplicate_window":120000000000,"compression":"none","#,
                r#""allow_direct":false,"mirror_direct":false,"sealed":false,"deny_delete":false,"deny_purge":false,"#,
                r#""allow_rollup_hdrs":false,"consumer_limits":{},"allow_msg_ttl":false,"metadata":{"_nats.level":"5","#,
                r#""_nats.req.level":"0","_nats.ver":"2.15.1"}},"created":"2023-11-14T22:13:20.12Z","#,
                r#""state":{"messages":1,"bytes":64,"first_seq":1,"first_ts":"2023-11-14T22:13:20.12Z","last_seq":1,"#,
                r#""last_ts":"2023-11-14T22:13:20.12Z","num_subjects":1,"subjects":{"S":1},"consumer_count":0},"#,
                r#""cluster":{"leader":"N"},"ts":"2023-11-14T22:13:20.12Z"}"#
            )
        );
        assert_eq!(
            text(Kind::StreamDelete, Ok(Done::YES)),
            r#"{"type":"io.nats.jetstream.api.v1.stream_delete_response","success":true}"#
        );
        assert_eq!(
            text(Kind::StreamPurge, Ok(Purged { success: true, purged: 0 })),
            r#"{"type":"io.nats.jetstream.api.v1.stream_purge_response","success":true,"purged":0}"#
        );
        assert_eq!(
            text(
                Kind::ConsumerNames,
                Ok(ConsumerNames { page: Page::new(3, 1, 1024), consumers: vec!["D".to_owned()] })
            ),
            concat!(
                r#"{"type":"io.nats.jetstream.api.v1.consumer_names_response","total":3,"offset":1,"limit":1024,"#,
                r#""consumers":["D"]}"#
            )
        );
        assert_eq!(
            text(Kind::ConsumerPause, Ok(Paused::default())),
            concat!(
                r#"{"type":"io.nats.jetstream.api.v1.consumer_pause_response","paused":false,"#,
                r#""pause_until":"0001-01-01T00:00:00Z"}"#
            )
        );
        assert_eq!(
            text(Kind::ConsumerUnpin, Ok(Nothing {})),
            r#"{"type":"io.nats.jetstream.api.v1.consumer_unpin_response"}"#
        );
    }

    #[test]
    fn a_consumer_reads_as_that_of_nats_server() {
        let at = Time::from_ns(1_700_000_000_000_000_000);
        let config = ConsumerConfig { name: "C".to_owned(), ..ConsumerConfig::default() };
        let info = ConsumerInfo {
            stream_name: "S".to_owned(),
            name: "C".to_owned(),
            created: at,
            config: config.checked(&stream(), &Limits::default(), false).unwrap().shown(&server()),
            delivered: crate::jetstream::wire::info::Position { stream_seq: 2, ..Default::default() },
            ack_floor: crate::jetstream::wire::info::Position { stream_seq: 2, ..Default::default() },
            num_ack_pending: 0,
            num_redelivered: 0,
            num_waiting: 0,
            num_pending: 0,
            cluster: None,
            push_bound: false,
            paused: false,
            pause_remaining: 0,
            ts: at,
            priority_groups: Vec::new(),
            sublog: None,
        };
        assert_eq!(
            text(Kind::ConsumerReset, Ok(ResetDone { info, reset_seq: 3 })),
            concat!(
                r#"{"type":"io.nats.jetstream.api.v1.consumer_reset_response","stream_name":"S","name":"C","#,
                r#""created":"2023-11-14T22:13:20Z","config":{"name":"C","deliver_policy":"all","ack_policy":"none","#,
                r#""max_deliver":-1,"replay_policy":"instant","max_waiting":512,"num_replicas":0,"#,
                r#""metadata":{"_nats.level":"5","_nats.req.level":"0","_nats.ver":"2.15.1"}},"#,
                r#""delivered":{"consumer_seq":0,"stream_seq":2},"ack_floor":{"consumer_seq":0,"stream_seq":2},"#,
                r#""num_ack_pending":0,"num_redelivered":0,"num_waiting":0,"num_pending":0,"#,
                r#""ts":"2023-11-14T22:13:20Z","reset_seq":3}"#
            )
        );
    }

    #[test]
    fn errors_stand_before_what_comes_with_them() {
        assert_eq!(
            text(Kind::StreamInfo, Err::<StreamInfoPage, _>(ApiError::stream_not_found())),
            concat!(
                r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","#,
                r#""error":{"code":404,"err_code":10059,"description":"stream not found"}}"#
            )
        );
        let both = Response::with_error(Kind::StreamPurge, ApiError::bad_request(), Purged::default());
        assert_eq!(
            String::from_utf8(both.to_json()).unwrap(),
            concat!(
                r#"{"type":"io.nats.jetstream.api.v1.stream_purge_response","#,
                r#""error":{"code":400,"err_code":10003,"description":"bad request"},"purged":0}"#
            )
        );
    }
}
