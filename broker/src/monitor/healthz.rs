//! `/healthz`: whether the server does what it promises. Red when publishers are not served as promised: a log cannot
//! write, or messages are damaged. Beside what nats-server says, each log's damage and its last scrub are shown.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::GLOBAL_ACCOUNT;
use super::http::{Answer, Asked, Refused};
use crate::capture::CAPTURE;
use crate::server::Server;
use crate::server::api::{self, ScrubReport, StreamState};

/// What is asked for; the fields are those of a request of the system account.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Options {
    js_enabled: bool,
    js_enabled_only: bool,
    js_server_only: bool,
    js_meta_only: bool,
    account: String,
    stream: String,
    consumer: String,
    details: bool,
}

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    /// Of the answer over HTTP, where it is not repeated in the text.
    #[serde(skip_serializing_if = "is_zero")]
    status_code: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Problem>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<Stream>,
}

fn is_zero(value: &u16) -> bool {
    *value == 0
}

/// Something that is wrong.
#[derive(Debug, Default, Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    stream: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    consumer: String,
    error: String,
}

/// What is known of a log's damage.
#[derive(Debug, Serialize)]
struct Stream {
    name: String,
    damaged_ranges: u64,
    read_faults: u64,
    scrub: ScrubReport,
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    let options = Options {
        js_enabled: asked.switch("js-enabled")?,
        js_enabled_only: asked.switch("js-enabled-only")?,
        js_server_only: asked.switch("js-server-only")?,
        js_meta_only: asked.switch("js-meta-only")?,
        details: asked.switch("details")?,
        account: asked.text("account").to_owned(),
        stream: asked.text("stream").to_owned(),
        consumer: asked.text("consumer").to_owned(),
    };
    let health = page(server, &options);
    let status = StatusCode::from_u16(health.status_code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    if status != StatusCode::OK {
        tracing::warn!("Healthcheck failed: {:?}", health.words());
    }
    Ok(Answer::line(status, &Health { status_code: 0, ..health }))
}

impl Health {
    fn new(
        code: StatusCode,
        status: &'static str,
        problems: Vec<Problem>,
        streams: Vec<Stream>,
        details: bool,
    ) -> Self {
        let status = match (problems.is_empty(), details) {
            (true, _) => "ok",
            (false, true) => "error",
            (false, false) => status,
        };
        let code = if problems.is_empty() { StatusCode::OK } else { code };
        let mut health = Self { status, status_code: code.as_u16(), error: String::new(), errors: problems, streams };
        if !details {
            health.error = health.words();
            health.errors = Vec::new();
        }
        health
    }

    /// All that is wrong.
    fn words(&self) -> String {
        if self.errors.is_empty() {
            return self.error.clone();
        }
        let errors: Vec<&str> = self.errors.iter().map(|problem| problem.error.as_str()).collect();
        errors.join("; ")
    }
}

/// The page as it is now.
pub(super) fn page(server: &Server, options: &Options) -> Health {
    let refused = |status: &'static str, code: StatusCode, problem: Problem| {
        Health::new(code, status, vec![problem], Vec::new(), options.details)
    };
    let missing = |what: &str, of: &str| Problem {
        kind: "BAD_REQUEST",
        error: format!("\"{what}\" must not be empty when checking {of} health"),
        ..Problem::default()
    };
    if options.account.is_empty() && !options.stream.is_empty() {
        return refused("error", StatusCode::BAD_REQUEST, missing("account", "stream"));
    }
    if options.stream.is_empty() && !options.consumer.is_empty() {
        return refused("error", StatusCode::BAD_REQUEST, missing("stream", "consumer"));
    }
    if server.lame_duck.load(Ordering::Relaxed) || server.stopping.load(Ordering::Relaxed) {
        let error = "the server takes no connections any more".to_owned();
        let problem = Problem { kind: "CONNECTION", error, ..Problem::default() };
        return refused("error", StatusCode::INTERNAL_SERVER_ERROR, problem);
    }
    // Streams are there as soon as the server is, and no other server has a say.
    if options.js_server_only || options.js_enabled_only || options.js_enabled || options.js_meta_only {
        return Health::new(StatusCode::OK, "ok", Vec::new(), Vec::new(), options.details);
    }
    if server.options.jetstream
        && let Some(problem) = not_found(server, options)
    {
        return refused("unavailable", StatusCode::NOT_FOUND, problem);
    }
    let mut streams = api::streams(server);
    if !options.stream.is_empty() {
        streams.retain(|stream| stream.name == options.stream);
    }
    let problems: Vec<Problem> = streams.iter().flat_map(problems).collect();
    // Of many, those that matter.
    streams.sort_by_key(|stream| stream.damaged_ranges == 0 && stream.read_faults == 0);
    let streams = streams.into_iter().take(api::STREAMS_SHOWN_MAX).map(|stream| Stream {
        name: stream.name,
        damaged_ranges: stream.damaged_ranges,
        read_faults: stream.read_faults,
        scrub: stream.scrub,
    });
    Health::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", problems, streams.collect(), options.details)
}

/// What is asked about and does not exist.
fn not_found(server: &Server, Options { account, stream, consumer, .. }: &Options) -> Option<Problem> {
    if !matches!(account.as_str(), "" | GLOBAL_ACCOUNT) {
        return Some(Problem {
            kind: "ACCOUNT",
            account: account.clone(),
            error: format!("JetStream account \"{account}\" not found"),
            ..Problem::default()
        });
    }
    if stream.is_empty() {
        return None;
    }
    let Some(declared) = server.jetstream.get(stream) else {
        return Some(Problem {
            kind: "STREAM",
            account: account.clone(),
            stream: stream.clone(),
            error: format!("JetStream stream \"{stream}\" not found on account \"{account}\""),
            ..Problem::default()
        });
    };
    if consumer.is_empty() || declared.stream.consumers.get(consumer).is_some() {
        return None;
    }
    Some(Problem {
        kind: "CONSUMER",
        account: account.clone(),
        stream: stream.clone(),
        consumer: consumer.clone(),
        error: format!("JetStream consumer \"{consumer}\" not found for stream \"{stream}\" on account \"{account}\""),
    })
}

/// What is wrong with a stream's log.
fn problems(stream: &StreamState) -> Vec<Problem> {
    let name = if stream.name == CAPTURE { CAPTURE.to_owned() } else { format!("{GLOBAL_ACCOUNT} > {}", stream.name) };
    let problem = |error: String| Problem {
        kind: "STREAM",
        account: GLOBAL_ACCOUNT.to_owned(),
        stream: stream.name.clone(),
        error,
        ..Problem::default()
    };
    let mut found = Vec::new();
    let error = stream.error.as_deref().unwrap_or_default();
    match stream.health {
        // A slow disk keeps publishers waiting, but they get what they were promised; restarting would not help it.
        "ok" | "slow" => {}
        "offline" => found.push(problem(format!("JetStream stream '{name}' could not be recovered: {error}"))),
        health => found.push(problem(format!("JetStream stream '{name}' write error: log is {health}: {error}"))),
    }
    if stream.damaged_ranges > 0 {
        found.push(problem(format!("JetStream stream '{name}': {} damaged ranges", stream.damaged_ranges)));
    }
    found
}
