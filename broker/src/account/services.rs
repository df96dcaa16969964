//! Services: a request goes to the account that exports one, and its answers come back.
//!
//! Who answers does not learn where the answer goes: it answers on a private subject `_R_.…` of its own account, which is
//! known only as long as answers are due.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sublog_protocol::decode::Publish;
use sublog_protocol::headers;

use super::Account;
use super::links::Link;
use crate::client::Client;
use crate::clock;
use crate::config::accounts::Response;
use crate::jetstream::advisories::request_info;

/// First bytes of private subjects for answers.
pub const RESPONSE_PREFIX: &[u8] = b"_R_.";
/// The header that says who asks.
const REQUEST_INFO: &[u8] = b"Nats-Request-Info";
/// Requests of one account that wait for answers.
const RESPONSES_MAX: usize = 65_536;
/// Accounts that one request may go through.
const CHAIN_MAX: usize = 16;

/// Where answers go.
#[derive(Clone)]
struct Due {
    account: Arc<Account>,
    reply: Arc<[u8]>,
    response: Response,
    threshold: Duration,
    /// When nobody waits any more.
    until: Duration,
}

#[derive(Default)]
struct Table {
    due: HashMap<Box<[u8]>, Due>,
    /// In the order they came: the oldest go first where there are too many.
    order: VecDeque<Box<[u8]>>,
}

/// Answers that are due from one account.
#[derive(Default)]
pub struct Responses {
    table: Mutex<Table>,
    len: AtomicUsize,
}

impl Responses {
    fn add(&self, due: Due) -> Box<[u8]> {
        let random = || crate::jetstream::consumer::setup::random_name();
        let subject: Box<[u8]> = format!("_R_.{}.{}{}", random(), random(), random()).into_bytes().into();
        let now = clock::ticks();
        let mut table = self.table.lock();
        let Table { due: known, order } = &mut *table;
        while let Some(oldest) = order.front() {
            let over = known.get(oldest).is_none_or(|due| due.until <= now);
            if !over && order.len() < RESPONSES_MAX {
                break;
            }
            if let Some(oldest) = order.pop_front() {
                known.remove(&oldest);
            }
        }
        known.insert(subject.clone(), due);
        order.push_back(subject.clone());
        self.len.store(known.len(), Ordering::Release);
        subject
    }

    fn remove(&self, subject: &[u8]) {
        let mut table = self.table.lock();
        table.due.remove(subject);
        self.len.store(table.due.len(), Ordering::Release);
    }

    /// Where the answer on `subject` goes; `last`: none is due after it.
    fn take(&self, subject: &[u8], ends_chunks: bool) -> Option<Due> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now = clock::ticks();
        let mut table = self.table.lock();
        let due = table.due.get_mut(subject)?;
        let late = due.until <= now;
        due.until = now + due.threshold;
        let found = due.clone();
        let last = match found.response {
            Response::Singleton => true,
            Response::Chunked => ends_chunks,
            Response::Stream => false,
        };
        if late || last {
            table.due.remove(subject);
            self.len.store(table.due.len(), Ordering::Release);
        }
        (!late).then_some(found)
    }

    /// Whom an answer would reach: the account, and its subject there.
    #[must_use]
    pub fn find(&self, subject: &[u8]) -> Option<(Arc<Account>, Arc<[u8]>)> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let table = self.table.lock();
        table.due.get(subject).map(|due| (due.account.clone(), due.reply.clone()))
    }
}

/// Asks the service that a link imports; false when nobody is there.
pub fn ask(account: &Arc<Account>, link: &Link, client: Option<&Client>, message: &Publish<'_>, depth: usize) -> bool {
    let Some(service) = link.import.service.filter(|_| depth < CHAIN_MAX) else { return false };
    let Some(mut subject) = link.renamed(message.subject) else { return false };
    if let Some(mapped) = link.from.links().mapped(&subject, random()) {
        // What a mapping loses is no failure.
        let Some(mapped) = mapped else { return true };
        subject = mapped;
    }
    let (head, payload) = message.message.split_at_checked(message.header_len).unwrap_or((&[], message.message));
    // What a client says of itself there is not believed.
    let head = headers::edit::without(head, |key| key.eq_ignore_ascii_case(REQUEST_INFO));
    let info = request_info(account, client.filter(|_| service.share), client);
    let mut whole = headers::edit::with(&head, REQUEST_INFO, &info);
    let header_len = whole.len();
    whole.extend_from_slice(payload);
    let reply = message.reply.map(|reply| {
        let until = clock::ticks() + service.threshold;
        link.from.responses.add(Due {
            account: account.clone(),
            reply: reply.into(),
            response: service.response,
            threshold: service.threshold,
            until,
        })
    });
    let request =
        Publish { subject: &subject, reply: reply.as_deref(), header_len, has_headers: true, message: &whole };
    let asked = link.from.send(|sender| sender.request(&link.from, &request, depth + 1));
    if let (false, Some(reply)) = (asked, &reply) {
        link.from.responses.remove(reply);
    }
    asked
}

/// Passes on what was published on a private subject `to`. `None`: it is none; false when nobody gets it.
pub fn answer(account: &Arc<Account>, to: &[u8], message: &Publish<'_>) -> Option<bool> {
    if !to.starts_with(RESPONSE_PREFIX) {
        return None;
    }
    let due = account.responses.take(to, message.message.len() == message.header_len)?;
    let subject = if to == message.subject { &due.reply } else { message.subject };
    let message = Publish { subject, ..*message };
    Some(due.account.send(|sender| sender.deliver(&due.account, &due.reply, &message)))
}

/// For weights and random tokens.
pub fn random() -> u32 {
    u32::try_from(crate::jetstream::consumer::setup::random() >> 32).unwrap_or(0)
}
