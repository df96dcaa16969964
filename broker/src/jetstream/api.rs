//! Requests on `$JS.API.>`.
//!
//! They come from publishers' connections, which only copy them. One thread carries them out in the order they came, since
//! they may wait for a disk; direct gets have threads that read, and wait for nothing else.

mod direct;
mod info;
mod messages;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sublog_protocol::decode::Publish;
use sublog_protocol::headers;

use super::API_PREFIX;
use super::errors::ApiError;
use crate::limits::{API_REQUESTS_MAX, DIRECT_GETS_MAX};
use crate::server::Server;

/// Requests carried out so far, and where new ones wait.
pub struct Api {
    queue: SyncSender<Request>,
    direct_gets: Arc<AtomicUsize>,
    total: AtomicU64,
    errors: AtomicU64,
}

/// Requests as the thread gets them.
pub struct Requests(Receiver<Request>);

/// One request.
pub(super) struct Request {
    /// Behind the prefix.
    operation: String,
    reply: Option<Box<[u8]>>,
    header_len: usize,
    message: Box<[u8]>,
}

impl Request {
    fn body(&self) -> &[u8] {
        self.message.get(self.header_len..).unwrap_or_default()
    }

    fn header(&self, key: &[u8]) -> Option<&[u8]> {
        headers::get(self.message.get(..self.header_len)?, key)
    }

    /// The body, which must be there.
    fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(self.body()).map_err(|error| ApiError::invalid_json(&error.to_string()))
    }

    /// The body of a request that may have none.
    fn json_if_any<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.body().is_empty() { Ok(T::default()) } else { Ok(self.json::<Option<T>>()?.unwrap_or_default()) }
    }

    /// The body of a request that may have none; one that makes no sense counts as none.
    fn json_or_default<T: DeserializeOwned + Default>(&self) -> T {
        serde_json::from_slice(self.body()).unwrap_or_default()
    }
}

/// What is answered: the members besides `type`.
type Answer = Map<String, Value>;

impl Api {
    /// A queue and its end, which is to be given to [`run`].
    #[must_use]
    pub fn new() -> (Self, Requests) {
        let (queue, requests) = sync_channel(API_REQUESTS_MAX);
        let api = Self { queue, direct_gets: Arc::default(), total: AtomicU64::new(0), errors: AtomicU64::new(0) };
        (api, Requests(requests))
    }

    /// Takes a request. `false`: nobody answers on that subject.
    pub fn take(&self, server: &Arc<Server>, message: &Publish<'_>) -> bool {
        let Some(operation) = message.subject.strip_prefix(API_PREFIX) else { return false };
        // What is not text names nothing that there is.
        let Ok(operation) = String::from_utf8(operation.to_vec()) else { return true };
        let request = Request {
            operation,
            reply: message.reply.map(Into::into),
            header_len: message.header_len,
            message: message.message.into(),
        };
        if let Some(what) = request.operation.strip_prefix("DIRECT.GET.") {
            let (name, subject) = what.split_once('.').unwrap_or((what, ""));
            let Some(source) = direct::source(server, name) else { return false };
            let subject = subject.to_owned();
            self.get_directly(server, move |server| direct::get(server, &source, &subject, &request));
            return true;
        }
        match self.queue.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(request)) => {
                tracing::warn!("API request dropped, {API_REQUESTS_MAX} wait: {}", request.operation);
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
        true
    }

    /// Runs a direct get where reading may wait for a disk.
    fn get_directly(&self, server: &Arc<Server>, get: impl FnOnce(&Arc<Server>) + Send + 'static) {
        let running = self.direct_gets.clone();
        if running.fetch_add(1, Ordering::Relaxed) >= DIRECT_GETS_MAX {
            running.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("Direct get dropped, {DIRECT_GETS_MAX} wait");
            return;
        }
        let server = server.clone();
        server.replay_runtime.clone().spawn(async move {
            get(&server);
            running.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Carries requests out until the server stops.
pub fn run(server: &Arc<Server>, Requests(requests): &Requests) {
    while let Ok(request) = requests.recv() {
        if server.stopping.load(Ordering::Acquire) {
            return;
        }
        let Some((kind, result)) = carry_out(server, &request) else { continue };
        let api = &server.jetstream.api;
        api.total.fetch_add(1, Ordering::Relaxed);
        if result.as_ref().is_err_and(|(error, _)| error.code != 0) {
            api.errors.fetch_add(1, Ordering::Relaxed);
        }
        respond(server, &request, kind, result);
    }
}

/// An answer, or an error with what is shown besides it.
type Outcome = Result<Answer, (ApiError, Answer)>;

fn respond(server: &Arc<Server>, request: &Request, kind: &str, result: Outcome) {
    let Some(reply) = &request.reply else { return };
    let mut text = json!({ "type": format!("io.nats.jetstream.api.v1.{kind}_response") });
    let (answer, error) = match result {
        Ok(answer) => (answer, None),
        Err((error, answer)) => (answer, Some(error)),
    };
    if let Some(members) = text.as_object_mut() {
        members.extend(answer);
        members.extend(error.map(|error| ("error".to_owned(), json!(error))));
    }
    let text = text.to_string();
    server.send(|sender| sender.publish(server, reply, None, 0, text.as_bytes()));
}

/// Does what a request asks for, and says what kind of answer that gets. `None`: there is no such request.
fn carry_out(server: &Arc<Server>, request: &Request) -> Option<(&'static str, Outcome)> {
    let mut parts = request.operation.split('.');
    let operation = match (parts.next()?, parts.next(), parts.next()) {
        ("INFO", None, _) => return Some(("account_info", Ok(info::account(server)))),
        ("STREAM", Some("NAMES"), None) => return Some(("stream_names", Ok(streams::names(server, request)))),
        ("STREAM", Some("LIST"), None) => return Some(("stream_list", Ok(streams::list(server, request)))),
        ("STREAM", Some("MSG"), Some(what @ ("GET" | "DELETE"))) => what,
        ("STREAM", Some(what), Some(_)) => what,
        _ => return None,
    };
    let is_of_message = request.operation.starts_with("STREAM.MSG.");
    let name = request.operation.splitn(if is_of_message { 4 } else { 3 }, '.').last()?;
    if name.contains('.') {
        return None;
    }
    let needs_level = request.header(b"Nats-Required-Api-Level").is_some_and(|level| level != b"0");
    let plain = |result: Result<Answer, ApiError>| result.map_err(|error| (error, Answer::new()));
    let guarded = |f: &dyn Fn() -> Result<Answer, ApiError>| {
        plain(if needs_level { Err(ApiError::required_api_level()) } else { f() })
    };
    Some(match (is_of_message, operation) {
        (true, "GET") => ("stream_msg_get", guarded(&|| messages::get(server, name, request))),
        (true, _) => ("stream_msg_delete", guarded(&|| messages::delete(server, name, request))),
        (_, "CREATE") => ("stream_create", guarded(&|| streams::create(server, name, request))),
        (_, "UPDATE") => ("stream_update", guarded(&|| streams::update(server, name, request))),
        (_, "INFO") => {
            let paging = |error| (error, object(json!({ "total": 0, "offset": 0, "limit": 0 })));
            let result = guarded(&|| streams::info(server, name, request));
            ("stream_info", result.map_err(|(error, _)| paging(error)))
        }
        (_, "DELETE") => ("stream_delete", guarded(&|| streams::delete(server, name))),
        (_, "PURGE") => {
            let result = guarded(&|| messages::purge(server, name, request));
            ("stream_purge", result.map_err(|(error, _)| (error, object(json!({ "purged": 0 })))))
        }
        _ => return None,
    })
}

/// The members of an object.
fn object(value: Value) -> Answer {
    match value {
        Value::Object(members) => members,
        _ => Answer::new(),
    }
}
