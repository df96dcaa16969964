//! Subjects that the server itself answers: `$SUBLOG.STATE`.

use std::time::Duration;

use serde::Serialize;
use sublog_storage::{LogState, ScrubState};

use super::Server;
use crate::capture::CAPTURE;
use crate::jetstream::consumer::info;
use crate::jetstream::store;
use crate::jetstream::wire::info::{ConsumerInfo, Standing};
use crate::{clock, rfc3339};

/// One stream, as `$SUBLOG.STATE` shows it.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "named as they are sent")]
pub struct StreamState {
    pub name: String,
    pub first_seq: u64,
    pub last_seq: u64,
    pub messages: u64,
    pub bytes: u64,
    pub disk_bytes: u64,
    pub segments: u64,
    pub first_time: String,
    pub last_time: String,
    pub health: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub damaged_ranges: u64,
    pub read_faults: u64,
    pub scrub: ScrubReport,
    pub expired_messages: u64,
    pub expired_bytes: u64,
    pub queued_bytes: u64,
    pub syncs: u64,
    pub commits: u64,
    pub consumer_count: usize,
    /// The first of them by name, where consumers are asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consumers: Vec<ConsumerState>,
}

/// One consumer of a stream.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "named as they are sent")]
pub struct ConsumerState {
    pub name: String,
    pub delivered: u64,
    pub ack_floor: u64,
    pub num_pending: u64,
    pub num_ack_pending: u64,
    pub num_redelivered: u64,
    pub num_waiting: u64,
    #[serde(flatten)]
    pub standing: Standing,
}

/// Streams that pages show which are not about streams, and are asked for every few seconds.
pub const STREAMS_SHOWN_MAX: usize = 256;
/// Consumers of one stream that are shown.
const CONSUMERS_SHOWN_MAX: usize = 256;

/// What reading a stream's segments for damage came to, since the server started.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "named as they are sent")]
pub struct ScrubReport {
    pub running: bool,
    pub bytes: u64,
    pub passes: u64,
    /// `none` before the first pass has ended, then `sound` or `damaged`.
    pub last_result: &'static str,
    pub last_start: String,
    pub last_end: String,
    pub last_segments: u64,
    pub last_bytes: u64,
    pub last_findings: u64,
    pub last_correctable: u64,
}

fn scrub_report(state: &ScrubState) -> ScrubReport {
    let report = ScrubReport {
        running: state.running.is_some(),
        bytes: state.bytes,
        passes: state.passes,
        last_result: "none",
        ..ScrubReport::default()
    };
    let Some(last) = state.last else { return report };
    let now = (super::maintenance::ticks(), clock::unix_ns());
    let time = |at: Duration| {
        let ago = i64::try_from(now.0.saturating_sub(at).as_nanos()).unwrap_or(i64::MAX);
        rfc3339::format(now.1.saturating_sub(ago))
    };
    ScrubReport {
        last_result: if last.findings == 0 { "sound" } else { "damaged" },
        last_start: time(last.started),
        last_end: time(last.ended),
        last_segments: last.segments,
        last_bytes: last.bytes,
        last_findings: last.findings,
        last_correctable: last.correctable,
        ..report
    }
}

#[derive(Debug, Serialize)]
struct State {
    streams: Vec<StreamState>,
}

/// The streams there are, the capture stream first.
#[must_use]
pub fn streams(server: &Server) -> Vec<StreamState> {
    use std::sync::atomic::Ordering;
    let capture = server.capture.state().map(|state| StreamState {
        expired_messages: server.stats.expired_msgs.load(Ordering::Relaxed),
        expired_bytes: server.stats.expired_bytes.load(Ordering::Relaxed),
        ..stream(CAPTURE, &state)
    });
    let declared = server.jetstream.streams.all().into_iter().map(|declared| match declared.stream.log_or_error() {
        Ok(log) => stream(&declared.config.name, &log.log().state()),
        Err(error) => StreamState {
            name: declared.config.name.clone(),
            health: "offline",
            error: Some(error.to_string()),
            ..StreamState::default()
        },
    });
    let count = |state: &mut StreamState| {
        state.consumer_count = server.jetstream.stream(&state.name).map_or(0, |stream| stream.consumers.len());
    };
    let mut all: Vec<StreamState> = capture.into_iter().chain(declared).collect();
    all.iter_mut().for_each(count);
    all
}

/// As [`streams`], with their consumers. May wait for a disk.
#[must_use]
pub fn streams_with_consumers(server: &Server) -> Vec<StreamState> {
    let mut all = streams(server);
    add_consumers(server, &mut all);
    all
}

/// Fills in the consumers. May wait for a disk.
pub fn add_consumers(server: &Server, streams: &mut [StreamState]) {
    for state in streams {
        let Some(stream) = server.jetstream.stream(&state.name) else { continue };
        let shown = stream.consumers.all().into_iter().take(CONSUMERS_SHOWN_MAX);
        state.consumers = shown.map(|consumer| consumer_state(info::listed(server, &consumer))).collect();
    }
}

fn consumer_state(info: ConsumerInfo) -> ConsumerState {
    ConsumerState {
        name: info.name,
        delivered: info.delivered.stream_seq,
        ack_floor: info.ack_floor.stream_seq,
        num_pending: info.num_pending,
        num_ack_pending: info.num_ack_pending,
        num_redelivered: info.num_redelivered,
        num_waiting: info.num_waiting,
        standing: info.sublog.unwrap_or_default(),
    }
}

fn stream(name: &str, state: &LogState) -> StreamState {
    let (health, error) = store::health(&state.health);
    let time = |ns: i64| if state.messages == 0 { String::new() } else { rfc3339::format(ns) };
    StreamState {
        name: name.to_owned(),
        first_seq: state.first_seq,
        last_seq: state.last_seq,
        messages: state.messages,
        bytes: state.bytes,
        disk_bytes: state.disk_bytes,
        segments: state.segments,
        first_time: time(state.first_ts_ns),
        last_time: time(state.last_ts_ns),
        health,
        error,
        damaged_ranges: state.damage_found,
        read_faults: state.counters.read_faults,
        scrub: scrub_report(&state.scrub),
        expired_messages: 0,
        expired_bytes: 0,
        queued_bytes: state.queued_bytes,
        syncs: state.counters.syncs,
        commits: state.counters.frames,
        consumer_count: 0,
        consumers: Vec::new(),
    }
}

/// The answer to a request on one of the server's own subjects.
#[must_use]
pub fn answer(server: &Server, subject: &[u8]) -> Option<Vec<u8>> {
    match subject {
        b"$SUBLOG.STATE" => {
            let streams = tokio::task::block_in_place(|| streams_with_consumers(server));
            serde_json::to_vec(&State { streams }).ok()
        }
        _ => None,
    }
}
