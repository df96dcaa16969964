//! Requests about consumers.

use std::sync::Arc;

use super::super::config::Time;
use super::super::config::consumer::DeliverPolicy;
use super::super::config::json::Unknown;
use super::super::consumer::{Consumer, driver, info, manage};
use super::super::errors::ApiError;
use super::super::streams::Declared;
use super::super::wire::create::{ConsumerRequest, CreateSubject};
use super::super::wire::info::ConsumerInfo;
use super::super::wire::paging::{LIST_MAX, NAMES_MAX, Page};
use super::super::wire::requests::{ConsumersRequest, PauseRequest, ResetRequest, UnpinRequest, expect_empty};
use super::super::wire::responses::{ConsumerList, ConsumerNames, Done, NotReset, Nothing, Paused, ResetDone};
use super::super::wire::{Kind, Response};
use super::{Answer, Request, answer};
use crate::account::Account;

/// Whether there is such a request; `operation` is what stands behind `CONSUMER.`.
pub(super) fn is_offered(operation: &str) -> bool {
    if CreateSubject::parse(operation).is_some() {
        return true;
    }
    let mut tokens = operation.split('.');
    let (what, names) = (tokens.next().unwrap_or_default(), tokens.count());
    match what {
        "NAMES" | "LIST" => names == 1,
        "LEADER" => names == 3,
        "INFO" | "DELETE" | "PAUSE" | "RESET" | "UNPIN" => names == 2,
        _ => false,
    }
}

/// Does what a request asks for; `operation` is what stands behind `CONSUMER.`. `None`: there is no such request.
pub(super) fn carry_out(account: &Arc<Account>, request: &Request, operation: &str) -> Option<Answer> {
    let level = request.header(b"Nats-Required-Api-Level").unwrap_or_default();
    let allowed = || super::allowed(account, level);
    let body = request.body();
    if let Some(subject) = CreateSubject::parse(operation) {
        return Some(answer(Kind::ConsumerCreate, allowed().and_then(|()| create(account, request, &subject))));
    }
    let (what, rest) = operation.split_once('.')?;
    let (stream, name) = rest.split_once('.').unwrap_or((rest, ""));
    let found = || allowed().and_then(|()| find(account, stream, name));
    Some(match what {
        "LEADER" if stream == "STEPDOWN" => super::of_cluster(Kind::ConsumerLeaderStepDown),
        "NAMES" => answer(Kind::ConsumerNames, allowed().and_then(|()| names(account, stream, body))),
        "LIST" => answer(Kind::ConsumerList, allowed().and_then(|()| list(account, request, stream))),
        "INFO" => {
            let checked = || expect_empty(body);
            let told = |(_, it): Found| told(request, account, &it, info::info);
            answer(Kind::ConsumerInfo, checked().and_then(|()| found()).map(told))
        }
        "DELETE" => {
            answer(Kind::ConsumerDelete, expect_empty(body).and_then(|()| found()).and_then(|at| delete(account, &at)))
        }
        "PAUSE" => match pause(account, found, body) {
            Ok(paused) => answer(Kind::ConsumerPause, Ok(paused)),
            Err(error) => Response::with_error(Kind::ConsumerPause, error, Paused::default()).into(),
        },
        "RESET" => match reset(account, found, body) {
            Ok(done) => answer(Kind::ConsumerReset, Ok(done)),
            Err(error) => Response::with_error(Kind::ConsumerReset, error, NotReset::default()).into(),
        },
        "UNPIN" => answer(Kind::ConsumerUnpin, unpin(account, found, body)),
        _ => return None,
    })
}

type Found = (Declared, Arc<Consumer>);

/// Asks for what is told of consumers beyond NATS.
const STANDING: &[u8] = b"Sublog-Info";

/// A consumer as it is told to who asks.
fn told(
    request: &Request,
    account: &Account,
    consumer: &Consumer,
    info: impl FnOnce(&Account, &Consumer) -> ConsumerInfo,
) -> ConsumerInfo {
    let asked = request.header(STANDING).is_some();
    let sublog = asked.then(|| info::standing(account, consumer));
    ConsumerInfo { sublog, ..info(account, consumer) }
}

fn stream_of(account: &Account, name: &str) -> Result<Declared, ApiError> {
    account.jetstream.get(name).ok_or_else(ApiError::stream_not_found)
}

fn find(account: &Account, stream: &str, name: &str) -> Result<Found, ApiError> {
    let declared = stream_of(account, stream)?;
    let consumer = declared.stream.consumers.get(name).ok_or_else(ApiError::consumer_not_found)?;
    Ok((declared, consumer))
}

fn create(account: &Arc<Account>, request: &Request, subject: &CreateSubject<'_>) -> Result<ConsumerInfo, ApiError> {
    let asked = ConsumerRequest::parse(subject, request.body(), Unknown::Ignore)?;
    let declared = stream_of(account, subject.stream())?;
    let to = &asked.config.deliver_subject;
    if !to.is_empty() && !request.may_have_delivered(to.as_bytes(), &asked.config.deliver_group) {
        return Err(ApiError::consumer_create(format_args!("no permission to have messages delivered to {to:?}")));
    }
    manage::create(account, &declared, asked.config, asked.action, asked.pedantic)
}

fn names(account: &Account, stream: &str, body: &[u8]) -> Result<ConsumerNames, ApiError> {
    let asked = ConsumersRequest::parse(body, Unknown::Ignore)?;
    let all = stream_of(account, stream)?.stream.consumers.all();
    let page = Page::new(all.len(), asked.offset, NAMES_MAX);
    Ok(ConsumerNames { page, consumers: page.pick(all.iter()).map(|consumer| consumer.name.to_string()).collect() })
}

fn list(account: &Account, request: &Request, stream: &str) -> Result<ConsumerList, ApiError> {
    let asked = ConsumersRequest::parse(request.body(), Unknown::Ignore)?;
    let all = stream_of(account, stream)?.stream.consumers.all();
    let page = Page::new(all.len(), asked.offset, LIST_MAX);
    let told = |consumer: &Arc<Consumer>| told(request, account, consumer, info::listed);
    Ok(ConsumerList { page, consumers: page.pick(all.iter()).map(told).collect() })
}

fn delete(account: &Arc<Account>, (declared, consumer): &Found) -> Result<Done, ApiError> {
    if manage::delete(account, declared, consumer)? { Ok(Done::YES) } else { Err(ApiError::consumer_not_found()) }
}

fn pause(
    account: &Arc<Account>,
    found: impl FnOnce() -> Result<Found, ApiError>,
    body: &[u8],
) -> Result<Paused, ApiError> {
    let until = PauseRequest::parse(body, Unknown::Ignore)?.pause_until;
    let (declared, consumer) = found()?;
    manage::pause(account, &declared, &consumer, until)?;
    let left = consumer.with(account, |machine, _| machine.pause_remaining(driver::now()));
    Ok(Paused {
        paused: left.is_some(),
        pause_until: until,
        pause_remaining: left.map_or(0, |left| i64::try_from(left.as_nanos()).unwrap_or(i64::MAX)),
    })
}

fn reset(
    account: &Arc<Account>,
    found: impl FnOnce() -> Result<Found, ApiError>,
    body: &[u8],
) -> Result<ResetDone, ApiError> {
    let asked = if body.is_empty() { ResetRequest::default() } else { ResetRequest::parse(body, Unknown::Ignore)? };
    let (declared, consumer) = found()?;
    let seq = match asked.time {
        None => asked.seq,
        Some(_) if asked.seq != 0 => return Err(ApiError::consumer_invalid_reset("sequence and time")),
        // Later than all there is: after all there is.
        time => first_since(&declared, time)?,
    };
    let config = consumer.config();
    match config.deliver_policy {
        DeliverPolicy::All => {}
        DeliverPolicy::ByStartSequence if seq == 0 || seq >= config.opt_start_seq => {}
        DeliverPolicy::ByStartSequence => {
            return Err(ApiError::consumer_invalid_reset("below start seq"));
        }
        _ if seq == 0 => {}
        DeliverPolicy::ByStartTime if seq >= first_since(&declared, config.opt_start_time)? => {}
        DeliverPolicy::ByStartTime => return Err(ApiError::consumer_invalid_reset("below start seq")),
        _ => return Err(ApiError::consumer_invalid_reset("not allowed")),
    }
    let reset_seq = consumer.with(account, |machine, _| machine.reset(seq));
    // Whoever is told that it starts over finds that it has, also after a crash.
    account.jetstream.positions.keep(&declared, &consumer, &consumer.config())?;
    Ok(ResetDone { info: info::info(account, &consumer), reset_seq })
}

/// The number of the stream's first message from then on.
fn first_since(declared: &Declared, time: Option<Time>) -> Result<u64, ApiError> {
    let log = declared.stream.log().ok_or_else(ApiError::stream_offline)?.log();
    log.seek_time(time.and_then(Time::ns).unwrap_or(i64::MIN)).map_err(|error| {
        tracing::warn!("A stream cannot be read: {error}");
        ApiError::general("the stream cannot be read")
    })
}

fn unpin(
    account: &Arc<Account>,
    found: impl FnOnce() -> Result<Found, ApiError>,
    body: &[u8],
) -> Result<Nothing, ApiError> {
    let asked = UnpinRequest::parse(body)?;
    let (_, consumer) = found()?;
    let config = consumer.config();
    if !config.priority_groups.contains(&asked.group) {
        return Err(ApiError::consumer_invalid_priority_group());
    }
    consumer.with(account, |machine, _| machine.unpin());
    Ok(Nothing {})
}
