//! `/connz`: the connections there are, and those that were.

mod sort;

use std::sync::Arc;
use std::time::SystemTime;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use sublog_protocol::subject;

use super::http::{self, Answer, Asked, Refused, Subs};
use super::subsz::{Subscription, listed};
use super::{GLOBAL_ACCOUNT, text};
use crate::client::Client;
use crate::client::shown::{Listed, Shown};
use crate::clock;
use crate::server::Server;
use sort::Sort;

/// Connections on a page if nobody says how many.
const LIMIT: i64 = 1024;

/// What is asked for; the fields are those of a request of the system account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    sort: String,
    /// Show who it is.
    auth: bool,
    subscriptions: bool,
    subscriptions_detail: bool,
    offset: i64,
    limit: i64,
    cid: u64,
    mqtt_client: String,
    state: u8,
    user: String,
    acc: String,
    filter_subject: String,
}

impl Options {
    /// Those of one account.
    pub(super) fn of_account(&mut self, account: &str) {
        account.clone_into(&mut self.acc);
    }
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const ANY: u8 = 2;

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Connz {
    server_id: String,
    now: String,
    num_connections: usize,
    total: usize,
    offset: i64,
    limit: i64,
    connections: Vec<Connection>,
}

/// One connection.
#[derive(Debug, Serialize)]
struct Connection {
    cid: u64,
    kind: &'static str,
    #[serde(rename = "type")]
    kind_of_client: &'static str,
    ip: String,
    port: u16,
    start: String,
    last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    rtt: String,
    uptime: String,
    idle: String,
    pending_bytes: u64,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    stalls: u64,
    subscriptions: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    lang: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    tls_version: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    tls_cipher_suite: String,
    #[serde(skip_serializing_if = "is_false")]
    tls_first: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    authorized_user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscriptions_list_detail: Vec<Subscription>,
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    issuer_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name_tag: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A connection and, if it is closed, what was subscribed to; of open ones that is looked up for the page alone.
struct Row {
    shown: Arc<Shown>,
    held: Option<Arc<[Listed]>>,
}

pub(super) fn answer(server: &Arc<Server>, asked: &Asked) -> Result<Answer, Refused> {
    let auth = asked.switch("auth")?;
    let subs = asked.subs()?;
    let (offset, limit) = (asked.int("offset")?, asked.int("limit")?);
    let cid = asked.uint("cid")?;
    let state = match asked.text("state") {
        "" => OPEN,
        state if state.eq_ignore_ascii_case("open") => OPEN,
        state if state.eq_ignore_ascii_case("closed") => CLOSED,
        state if state.eq_ignore_ascii_case("any") || state.eq_ignore_ascii_case("all") => ANY,
        state => return Err(Refused(format!("Error decoding state for {state}"))),
    };
    let options = Options {
        sort: asked.text("sort").to_owned(),
        auth,
        subscriptions: subs == Subs::Names,
        subscriptions_detail: subs == Subs::Detail,
        offset,
        limit,
        cid,
        mqtt_client: asked.text("mqtt_client").to_owned(),
        state,
        user: asked.text("user").to_owned(),
        acc: asked.text("acc").to_owned(),
        filter_subject: String::new(),
    };
    page(server, &options).map(|page| Answer::json(&page))
}

/// The page as it is now.
///
/// # Errors
/// The options contradict each other.
pub(super) fn page(server: &Server, options: &Options) -> Result<Connz, Refused> {
    let sort = Sort::read(&options.sort)?;
    if options.state != CLOSED
        && let Some(name) = sort.of_closed()
    {
        return Err(Refused(format!("sort by {name} only valid on closed connections")));
    }
    let filter = Some(options.filter_subject.as_bytes()).filter(|filter| !matches!(*filter, b"" | b">"));
    if filter.is_some() && options.acc.is_empty() {
        return Err(Refused("filter by subject only valid with account filtering".to_owned()));
    }
    let now = clock::wall();
    let (mut rows, total) = gather(server, options);
    // Only clients of MQTT have such an id, and there are none.
    rows.retain(|row| (options.user.is_empty() || *row.shown.user == *options.user) && options.mqtt_client.is_empty());
    let wants_lists = options.subscriptions || options.subscriptions_detail;
    let mut lists = Lists::default();
    if let Some(filter) = filter {
        lists = Lists::of(server, &rows);
        rows.retain(|row| lists.get(row).iter().any(|listed| subject::overlaps(filter, &listed.subject)));
    }
    sort.apply(&mut rows, now);
    let limit = if options.cid > 0 { 1 } else { Some(options.limit).filter(|limit| *limit > 0).unwrap_or(LIMIT) };
    let offset = options.offset.max(0);
    let mut rows: Vec<Row> = rows.drain(http::page(rows.len(), offset, limit)).collect();
    if wants_lists && filter.is_none() {
        lists = Lists::of(server, &rows);
    }
    let connections: Vec<Connection> =
        rows.drain(..).map(|row| connection(&row, options, wants_lists.then(|| lists.get(&row)), now)).collect();
    Ok(Connz {
        server_id: server.id.clone(),
        now: text::time(now),
        num_connections: connections.len(),
        total,
        offset,
        limit,
        connections,
    })
}

/// The connections that are looked at, and how many there are of that state.
fn gather(server: &Server, options: &Options) -> (Vec<Row>, usize) {
    let of_account = |account: &str| options.acc.is_empty() || account == options.acc;
    let (mut rows, mut total) = (Vec::new(), 0);
    let wanted = |cid: u64| options.cid == 0 || options.cid == cid;
    let mut closed = if options.state == OPEN { Vec::new() } else { server.closed.all() };
    closed.retain(|closed| of_account(&closed.shown.account));
    if options.state != CLOSED {
        let ended: FxHashSet<u64> = closed.iter().map(|closed| closed.shown.cid).collect();
        let open = server.clients();
        let open = open
            .iter()
            .filter(|client| !client.is_closing() && !ended.contains(&client.id) && of_account(&client.account()));
        let open: Vec<&Arc<Client>> = open.collect();
        total += open.len();
        let open = open.into_iter().filter(|client| wanted(client.id));
        rows.extend(open.map(|client| Row { shown: Arc::new(Shown::of(client)), held: None }));
    }
    total += closed.len();
    if options.cid == 0 || rows.is_empty() {
        let closed = closed.into_iter().filter(|closed| wanted(closed.shown.cid));
        rows.extend(closed.map(|closed| Row { shown: closed.shown, held: closed.subscriptions }));
    }
    (rows, total)
}

/// The subscriptions of some open connections.
#[derive(Default)]
struct Lists(FxHashMap<u64, Vec<Listed>>);

impl Lists {
    fn of(server: &Server, rows: &[Row]) -> Self {
        let open = rows.iter().filter(|row| row.shown.stop.is_none());
        let mut lists: FxHashMap<u64, Vec<Listed>> = open.map(|row| (row.shown.cid, Vec::new())).collect();
        if !lists.is_empty() {
            for listed in listed(server, "", |cid| lists.contains_key(&cid)) {
                if let Some(list) = lists.get_mut(&listed.cid) {
                    list.push(listed);
                }
            }
        }
        Self(lists)
    }

    fn get<'l>(&'l self, row: &'l Row) -> &'l [Listed] {
        match &row.held {
            Some(held) => held,
            None => self.0.get(&row.shown.cid).map_or(&[], |list| list),
        }
    }
}

fn connection(row: &Row, options: &Options, lists: Option<&[Listed]>, now: SystemTime) -> Connection {
    let shown = &row.shown;
    let list = lists.unwrap_or_default();
    let token = shown.by_token.as_ref().filter(|_| options.auth);
    let tag = token.map(|token| &*token.account_tag).filter(|tag| !tag.is_empty());
    let names = || list.iter().map(|listed| String::from_utf8_lossy(&listed.subject).into_owned());
    Connection {
        cid: shown.cid,
        kind: "Client",
        kind_of_client: if shown.websocket { "websocket" } else { "nats" },
        ip: shown.ip.to_canonical().to_string(),
        port: shown.port,
        start: text::time(shown.start),
        last_activity: text::time(shown.last_activity),
        stop: shown.stop.map(|(stop, _)| text::time(stop)),
        reason: shown.stop.map_or("", |(_, reason)| reason.as_str()),
        rtt: text::span(shown.rtt.unwrap_or_default()),
        uptime: text::uptime(shown.uptime(now)),
        idle: text::uptime(shown.idle(now)),
        pending_bytes: shown.pending_bytes,
        in_msgs: shown.in_msgs,
        out_msgs: shown.out_msgs,
        in_bytes: shown.in_bytes,
        out_bytes: shown.out_bytes,
        stalls: shown.stalls,
        subscriptions: shown.subscriptions,
        name: shown.name.to_string(),
        lang: shown.lang.to_string(),
        version: shown.version.to_string(),
        tls_version: shown.tls.as_ref().map_or("", |tls| tls.version),
        tls_cipher_suite: shown.tls.as_ref().map(|tls| tls.cipher_suite.clone()).unwrap_or_default(),
        tls_first: shown.tls.as_ref().is_some_and(|tls| tls.first),
        authorized_user: if options.auth { shown.user.to_string() } else { String::new() },
        subscriptions_list: if options.subscriptions_detail { Vec::new() } else { names().collect() },
        subscriptions_list_detail: if options.subscriptions_detail {
            // Those of closed connections name their account, as nats-server has it.
            let one = |listed: &Listed| match row.held {
                Some(_) => Subscription::of_account(listed, &shown.account),
                None => Subscription::of_connection(listed),
            };
            list.iter().map(one).collect()
        } else {
            Vec::new()
        },
        // The default account is shown as a tag alone, as nats-server has it.
        account: if options.auth && &*shown.account != GLOBAL_ACCOUNT {
            shown.account.to_string()
        } else {
            String::new()
        },
        issuer_key: token
            .map(|token| token.signing_key.as_ref().unwrap_or(&shown.account).to_string())
            .unwrap_or_default(),
        name_tag: if options.auth && shown.stop.is_none() {
            tag.unwrap_or(&shown.account).to_owned()
        } else {
            String::new()
        },
        tags: token.map(|token| token.tags.to_vec()).unwrap_or_default(),
    }
}
