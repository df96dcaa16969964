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

/// `consumer_reset_response`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResetDone {
    /// The consumer.
    #[serde(flatten)]
    pub info: ConsumerInfo,
    /// The next sequence to deliver.
    pub reset_seq: u64,
}
