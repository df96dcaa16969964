//! Requests on `$JS.API.>`.
//!
//! They come from publishers' connections, which only copy them. One thread carries them out in the order they came, since
//! they may wait for a disk; direct gets have threads that read, and wait for nothing else.

mod consumers;
mod direct;
pub(crate) mod info;
mod messages;
mod streams;
mod transfers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use serde::Serialize;
use sublog_protocol::decode::Publish;
use sublog_protocol::headers;

use super::advisories;
use super::errors::ApiError;
use super::wire::info::ApiStats;
use super::wire::paging::Page;
use super::wire::responses::{Done, Purged};
use super::wire::{Kind, Response};
use super::{API_LEVEL, API_PREFIX, server_level};
use crate::account::Account;
use crate::auth::permissions::Permissions;
use crate::client::Client;
use crate::limits::{API_REQUESTS_MAX, DIRECT_GETS_MAX};

/// Requests carried out so far, and where new ones wait.
pub struct Api {
    queue: SyncSender<Request>,
    waiting: AtomicUsize,
    in_progress: AtomicUsize,
    direct_gets: Arc<AtomicUsize>,
    total: AtomicU64,
    errors: AtomicU64,
}

/// Requests that are not answered yet.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Those that nobody has begun with.
    pub waiting: usize,
    /// Those being carried out.
    pub in_progress: usize,
    /// Direct gets that wait or are carried out.
    pub direct_gets: usize,
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
    /// Where: the account whose streams are asked about.
    account: Arc<Account>,
    /// Who asks.
    client: Option<Arc<Client>>,
    permissions: Option<Arc<Permissions>>,
}

impl Request {
    /// Whether the server may deliver to `subject` for whoever asks: where it may listen or publish itself.
    fn may_have_delivered(&self, subject: &[u8], group: &str) -> bool {
        let group = (!group.is_empty()).then_some(group.as_bytes());
        let may = |found: &Permissions| found.may_receive(subject, group) || found.may_publish(subject);
        self.permissions.as_deref().is_none_or(may)
    }

    fn body(&self) -> &[u8] {
        self.message.get(self.header_len..).unwrap_or_default()
    }

    fn header(&self, key: &[u8]) -> Option<&[u8]> {
        headers::get(self.message.get(..self.header_len)?, key)
    }
}

impl Api {
    /// A queue and its end, which is to be given to [`run`].
    #[must_use]
    pub fn new() -> (Self, Requests) {
        let (queue, requests) = sync_channel(API_REQUESTS_MAX);
        let api = Self {
            queue,
            waiting: AtomicUsize::new(0),
            in_progress: AtomicUsize::new(0),
            direct_gets: Arc::default(),
            total: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        };
        (api, Requests(requests))
    }

    /// What it did since the server started.
    #[must_use]
    pub fn stats(&self) -> ApiStats {
        ApiStats {
            level: API_LEVEL,
            total: self.total.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            inflight: self.in_progress.load(Ordering::Relaxed) as u64,
        }
    }

    /// What it has to do.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            waiting: self.waiting.load(Ordering::Relaxed),
            in_progress: self.in_progress.load(Ordering::Relaxed),
            direct_gets: self.direct_gets.load(Ordering::Relaxed),
        }
    }

    /// Takes a request of a client that may do this; `None` is everything. `false`: nobody answers on that subject.
    pub fn take(
        &self,
        account: &Arc<Account>,
        client: Option<&Arc<Client>>,
        message: &Publish<'_>,
        permissions: Option<&Arc<Permissions>>,
    ) -> bool {
        let Some(operation) = message.subject.strip_prefix(API_PREFIX) else { return false };
        // What is not text names nothing that there is.
        let Ok(operation) = String::from_utf8(operation.to_vec()) else { return true };
        if !is_offered(&operation) {
            return false;
        }
        let request = Request {
            operation,
            reply: message.reply.map(Into::into),
            header_len: message.header_len,
            message: message.message.into(),
            account: account.clone(),
            client: client.cloned(),
            permissions: permissions.cloned(),
        };
        if let Some(what) = request.operation.strip_prefix("DIRECT.GET.") {
            let (name, subject) = what.split_once('.').unwrap_or((what, ""));
            let Some(source) = direct::source(account, name) else { return false };
            let subject = subject.to_owned();
            self.get_directly(account, move |account| direct::get(account, &source, &subject, &request));
            return true;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.queue.try_send(request);
        if sent.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        match sent {
            Ok(()) => {}
            Err(TrySendError::Full(request)) => {
                tracing::warn!("API request dropped, {API_REQUESTS_MAX} wait: {}", request.operation);
            }
            Err(TrySendError::Disconnected(_)) => {}
        }
        true
    }

    /// Runs a direct get where reading may wait for a disk.
    fn get_directly(&self, account: &Arc<Account>, get: impl FnOnce(&Arc<Account>) + Send + 'static) {
        let running = self.direct_gets.clone();
        if running.fetch_add(1, Ordering::Relaxed) >= DIRECT_GETS_MAX {
            running.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("Direct get dropped, {DIRECT_GETS_MAX} wait");
            return;
        }
        let account = account.clone();
        account.shared.runtime.clone().spawn(async move {
            get(&account);
            running.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Whether there is somebody to answer: who asks for what is not there is told so at once, as with any subject.
fn is_offered(operation: &str) -> bool {
    let mut tokens = operation.split('.');
    match (tokens.next(), tokens.next()) {
        (Some("CONSUMER"), Some(_)) => consumers::is_offered(operation.get("CONSUMER.".len()..).unwrap_or_default()),
        (Some("INFO"), None) | (Some("DIRECT"), Some("GET")) => true,
        (Some("STREAM"), Some(what)) => {
            let ours = [
                "NAMES", "LIST", "MSG", "CREATE", "UPDATE", "DELETE", "INFO", "PURGE", "LEADER", "PEER", "SNAPSHOT",
                "RESTORE",
            ];
            ours.contains(&what) && (what != "PEER" || operation.starts_with("STREAM.PEER.REMOVE."))
        }
        _ => false,
    }
}

/// Carries requests out until the server stops.
pub fn run(Requests(requests): &Requests) {
    while let Ok(request) = requests.recv() {
        let account = &request.account;
        if account.shared.stopping.load(Ordering::Acquire) {
            return;
        }
        let api = &account.jetstream.api;
        api.waiting.fetch_sub(1, Ordering::Relaxed);
        api.in_progress.store(1, Ordering::Relaxed);
        let answer = carry_out(account, &request);
        api.in_progress.store(0, Ordering::Relaxed);
        let Some(answer) = answer else { continue };
        let (counts, error_counts) = is_counted(&request.operation, answer.is_error);
        api.total.fetch_add(u64::from(counts), Ordering::Relaxed);
        api.errors.fetch_add(u64::from(error_counts), Ordering::Relaxed);
        account.jetstream.count(counts, error_counts);
        if let Some(reply) = &request.reply {
            account.send(|sender| sender.publish(account, reply, None, 0, &answer.json));
        }
        let subject = format!("{}{}", String::from_utf8_lossy(API_PREFIX), request.operation);
        advisories::api_request(account, request.client.as_deref(), &subject, request.body(), &answer.json);
        if let Some(then) = answer.then {
            then(account);
        }
    }
}

/// Whether a request counts among those of the account, and whether its error does: what nats-server leaves out is left out here.
fn is_counted(operation: &str, is_error: bool) -> (bool, bool) {
    if operation.starts_with("STREAM.MSG.GET.") {
        (is_error, is_error)
    } else if operation.starts_with("CONSUMER.RESET.") {
        (false, false)
    } else {
        (true, is_error && !operation.starts_with("STREAM.MSG.DELETE."))
    }
}

/// An answer as it is sent.
struct Answer {
    json: Vec<u8>,
    is_error: bool,
    /// What begins when it was sent.
    then: Option<Then>,
}

type Then = Box<dyn FnOnce(&Arc<Account>)>;

impl<T: Serialize> From<Response<T>> for Answer {
    fn from(response: Response<T>) -> Self {
        Self { json: response.to_json(), is_error: response.is_error(), then: None }
    }
}

/// Whether somebody may ask for anything of an account, and of a server of this level.
fn allowed(account: &Account, level: &[u8]) -> Result<(), ApiError> {
    if !account.jetstream.is_enabled() {
        return Err(ApiError::not_enabled_for_account());
    }
    if server_level().satisfies(level) { Ok(()) } else { Err(ApiError::required_api_level()) }
}

/// Does what a request asks for. `None`: there is no such request.
fn carry_out(account: &Arc<Account>, request: &Request) -> Option<Answer> {
    if let Some(operation) = request.operation.strip_prefix("CONSUMER.") {
        return consumers::carry_out(account, request, operation);
    }
    let level = request.header(b"Nats-Required-Api-Level").unwrap_or_default();
    let allowed = || allowed(account, level);
    let mut parts = request.operation.split('.');
    let operation = match (parts.next()?, parts.next(), parts.next()) {
        ("INFO", None, _) => {
            return Some(answer(Kind::AccountInfo, allowed().map(|()| info::account(account))));
        }
        ("STREAM", Some("NAMES"), None) => return Some(streams::names(account, request)),
        ("STREAM", Some("LIST"), None) => return Some(streams::list(account, request)),
        ("STREAM", Some("MSG"), Some(what @ ("GET" | "DELETE"))) => what,
        ("STREAM", Some("LEADER"), Some("STEPDOWN")) => return Some(of_cluster(Kind::StreamLeaderStepDown)),
        ("STREAM", Some("PEER"), Some("REMOVE")) => return Some(of_cluster(Kind::StreamRemovePeer)),
        ("STREAM", Some(what), Some(_)) => what,
        _ => return None,
    };
    let is_of_message = request.operation.starts_with("STREAM.MSG.");
    let name = request.operation.splitn(if is_of_message { 4 } else { 3 }, '.').last()?;
    if name.contains('.') {
        return None;
    }
    let body = request.body();
    Some(match (is_of_message, operation) {
        (true, "GET") => answer(Kind::MsgGet, allowed().and_then(|()| messages::get(account, name, body))),
        (true, _) => answer(Kind::MsgDelete, allowed().and_then(|()| messages::delete(account, name, body))),
        (_, "CREATE") => answer(Kind::StreamCreate, allowed().and_then(|()| streams::create(account, name, body))),
        (_, "UPDATE") => answer(Kind::StreamUpdate, allowed().and_then(|()| streams::update(account, name, body))),
        (_, "DELETE") => answer(Kind::StreamDelete, allowed().and_then(|()| streams::delete(account, name, body))),
        (_, "INFO") => match allowed().and_then(|()| streams::info(account, name, body)) {
            Ok(info) => answer(Kind::StreamInfo, Ok(info)),
            Err(error) => Response::with_error(Kind::StreamInfo, error, Page::default()).into(),
        },
        (_, "SNAPSHOT") => transfers::snapshot(account, name, request, allowed()),
        (_, "RESTORE") => transfers::restore(account, name, request, allowed()),
        (_, "PURGE") => match allowed().and_then(|()| messages::purge(account, name, body)) {
            Ok(purged) => answer(Kind::StreamPurge, Ok(purged)),
            Err(error) => Response::with_error(Kind::StreamPurge, error, Purged::default()).into(),
        },
        _ => return None,
    })
}

/// The answer to a request that only a cluster can carry out.
fn of_cluster(kind: Kind) -> Answer {
    answer(kind, Err::<Done, _>(ApiError::cluster_required()))
}

fn answer<T: Serialize>(kind: Kind, result: Result<T, ApiError>) -> Answer {
    Response::new(kind, result).into()
}
