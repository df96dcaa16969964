//! The task of one connection: read, parse, stage, hand over; and its end.
//!
//! One read yields many operations. Deliveries and log records of the whole batch leave together at its end, then the
//! answers, so that a PONG never overtakes what the client published before its PING.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sublog_protocol::decode::{self, Limits, Step, decode_client};
use sublog_protocol::encode;
use sublog_protocol::error::ServerError;
use sublog_protocol::info::ConnectOptions;
use tokio::net::TcpStream;

use super::acks::{self, Answer};
use super::begin::{Begun, begin};
use super::desks::Desks;
use super::fanout::Fanout;
use super::finish::finish;
use super::handshake::Waiting;
use super::input::{Input, reserve};
use super::outbound::Kind;
use super::subscriptions::Subscriptions;
use super::{Client, CloseReason, operations};
use crate::account::{Account, Membership};
use crate::auth::permissions::Permissions;
use crate::clock;
use crate::jetstream::consumer::inlet::Heard;
use crate::limits::{
    ACKS_WAITING_MAX, OVERTAKING_PING_MAX, READ_BUFFER_BYTES, READ_BUFFER_IDLE_BYTES, STALL_MAX, STALL_PERCENT,
    WORK_PER_TURN,
};
use crate::router::batches::Entered;
use crate::server::Server;
use crate::server::sys::events;
use crate::websocket::WebSocket;

/// What only the connection's own task touches.
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) client: Arc<Client>,
    /// Where it is: everything it does is done there.
    pub(super) account: Arc<Account>,
    /// Its place there.
    _membership: Option<Membership>,
    pub(super) options: ConnectOptions,
    pub(super) limits: Limits,
    pub(super) subscriptions: Subscriptions,
    pub(super) fanout: Fanout,
    /// Records of this batch for the logs, and what the logs took since the last flush.
    pub(super) desks: Desks,
    /// When this batch was read; 0 until somebody needs it.
    pub(super) batch_ns: i64,
    /// Answers of this batch, in order.
    pub(super) answers: Vec<Answer>,
    /// The client's library writes the PING of a flush before the messages that the flush is for.
    pub(super) ping_overtakes: bool,
    /// Its answers that wait for those messages, and since when.
    pub(super) held: Vec<Answer>,
    held_since: Instant,
    pub(super) authorized: bool,
    /// Its password is being checked.
    pub(super) waiting: Option<Waiting>,
    /// What its user may do; `None` is everything.
    pub(super) permissions: Option<Arc<Permissions>>,
    /// Changes of that which this connection has followed.
    pub(super) access_changes: u64,
    /// Something was unsubscribed since the last answers.
    pub(super) unsubscribed: bool,
    /// The batch under way.
    in_batch: Option<Entered>,
    /// Consumers that were left something in this batch.
    pub(super) heard: Heard,
    pub(super) connected: bool,
    pub(super) info_due: bool,
    pub(super) in_msgs: u64,
    pub(super) in_bytes: u64,
    /// Operations of this turn.
    work: usize,
    /// A refusal was told that no flush has ended yet.
    pub(super) refusal_told: bool,
    trace: bool,
    /// Reloads of the server's options that this connection has followed.
    reloads: u64,
}

/// Serves one accepted socket to its end.
pub async fn serve(server: Arc<Server>, stream: TcpStream, remote: SocketAddr, websocket: Option<Arc<WebSocket>>) {
    // Without it small answers wait for the peer's delayed acknowledgement; a failure costs only time.
    let _ = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    let id = server.next_cid();
    let client = Arc::new(Client::new(id, remote, writer, server.options.limits.max_pending, websocket));
    if !server.enter(&client) {
        if client.websocket.is_some() {
            // It could not be told before it has said that it wants frames.
            return;
        }
        let mut out = Vec::new();
        encode::info(&mut out, &server.info(&client));
        encode::err(&mut out, &ServerError::MaxConnections);
        client.out.ready().await;
        client.send(&mut out, Kind::Control);
        client.close(CloseReason::MaximumConnections);
        server.remember(&client, Vec::new());
        finish(&server, &client, Some(&mut reader)).await;
        return;
    }
    tracing::debug!(client = %client, "Client connection created");
    let begun = tokio::select! {
        begun = begin(&server, &client, reader) => begun,
        () = client.closed() => Begun::Over(None),
    };
    let mut input = match begun {
        Begun::Ready(input) => input,
        Begun::Over(mut reader) => {
            client.out.abandon();
            server.remember(&client, Vec::new());
            finish(&server, &client, reader.as_mut()).await;
            server.leave(&client);
            return;
        }
    };
    let mut connection = Connection::new(server.clone(), client.clone());
    let reason = tokio::select! {
        reason = connection.read_loop(&mut input) => reason,
        reason = client.out.write_loop() => reason,
        () = client.closed() => client.close_reason(),
    };
    client.close(reason);
    server.remember(&client, connection.subscriptions.listed(&client));
    connection.subscriptions.end_all(&connection.account, &client).await;
    connection.connected.then(|| events::disconnected(&server, &client));
    drop(connection);
    finish(&server, &client, Some(input.socket())).await;
    server.leave(&client);
}

impl Connection {
    fn new(server: Arc<Server>, client: Arc<Client>) -> Self {
        // Before the options: a reload in between is followed once more rather than never.
        let reloads = server.reloads.load(Ordering::Acquire);
        let current = server.current();
        let limits = Limits {
            max_control_line: current.limits.max_control_line,
            max_payload: current.limits.max_payload,
            headers: false,
        };
        let account = server.accounts.global.clone();
        Self {
            fanout: Fanout::new(client.id, &account.router),
            options: ConnectOptions::default(),
            limits,
            subscriptions: Subscriptions::default(),
            desks: Desks::new(account.capture.stream_log()),
            batch_ns: 0,
            answers: Vec::new(),
            ping_overtakes: false,
            held: Vec::new(),
            held_since: clock::now(),
            authorized: operations::open_to_all(&server),
            waiting: None,
            permissions: None,
            access_changes: 0,
            unsubscribed: false,
            in_batch: None,
            heard: Heard::default(),
            connected: false,
            info_due: false,
            in_msgs: 0,
            in_bytes: 0,
            work: 0,
            refusal_told: false,
            trace: current.trace,
            reloads,
            _membership: account.enter(),
            account,
            server,
            client,
        }
    }

    /// Goes to another account: there it knows nobody yet. What was published before this is on its way.
    pub(super) fn change_account(&mut self, membership: Membership) {
        self.fanout.count_touched();
        self.fanout.flush();
        let account = membership.account().clone();
        if let Some(batch) = self.in_batch.take() {
            self.account.router.batches.exit(batch);
            self.in_batch = Some(account.router.batches.enter(self.client.id));
        }
        self.fanout = Fanout::new(self.client.id, &account.router);
        self.desks = Desks::new(account.capture.stream_log()).after(self.desks.take_unflushed());
        (self.account, self._membership) = (account, Some(membership));
    }

    /// Takes over what a reload changed. Whether the client is told of something.
    fn follow_reload(&mut self) -> bool {
        let reloads = self.server.reloads.load(Ordering::Acquire);
        if self.reloads != reloads {
            self.reloads = reloads;
            let current = self.server.current();
            self.limits.max_control_line = current.limits.max_control_line;
            self.keep_limits();
            self.trace = current.trace;
            self.subscriptions.link_again(&self.account);
        }
        let changed = self.authorized && self.access_changes != self.client.access.changes();
        if changed {
            self.take_over_access();
        }
        changed
    }

    /// Reads until the client or a violation ends it.
    async fn read_loop(&mut self, reader: &mut Input) -> CloseReason {
        let mut buffer: Vec<u8> = Vec::new();
        let mut want = READ_BUFFER_IDLE_BYTES;
        let mut at_least = 0;
        let mut unfinished = false;
        loop {
            if !unfinished {
                reserve(&mut buffer, want, at_least);
                let space = buffer.capacity() - buffer.len();
                let read = match self.read(reader, &mut buffer).await {
                    Some(Ok(0)) => return self.half_closed().await,
                    Some(Ok(read)) => read,
                    Some(Err(e)) if e.kind() == ErrorKind::Interrupted => continue,
                    Some(Err(_)) => return CloseReason::ReadError,
                    None => {
                        if self.follow_reload()
                            && let Some(reason) = self.end_batch(None).await
                        {
                            return reason;
                        }
                        continue;
                    }
                };
                want = if read == space { (want * 2).min(READ_BUFFER_BYTES) } else { want };
                if buffer.len() < at_least {
                    self.client.last_activity_ms.store(clock::ticks_ms(), Ordering::Relaxed);
                    continue;
                }
            }
            self.follow_reload();
            self.in_batch = Some(self.account.router.batches.enter(self.client.id));
            let (consumed, needed, end) = self.process(&buffer);
            at_least = needed;
            buffer.drain(..consumed);
            // It did its share; others have a turn before it goes on with what it has.
            unfinished = end.is_none() && needed == 0 && !buffer.is_empty();
            if let Some(reason) = self.end_batch(end).await {
                return reason;
            }
            if self.waiting.is_some() {
                let refused = self.check_password().await.err();
                if let Some(reason) = self.end_batch(refused).await {
                    return reason;
                }
            }
            if unfinished {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Carries out the whole operations in `buffer`, all of them or a fair share of work: how many bytes that took, how
    /// many the next one needs (0: not known, or there are more), and whether the connection ends.
    fn process(&mut self, buffer: &[u8]) -> (usize, usize, Option<CloseReason>) {
        let mut consumed = 0;
        while let Some(rest) = buffer.get(consumed..).filter(|rest| !rest.is_empty()) {
            match decode_client(rest, &self.limits) {
                Ok(Step::Op { op, consumed: used }) => {
                    if self.trace {
                        operations::trace(&self.client, &op);
                    }
                    if let Err(reason) = self.operate(&op) {
                        return (buffer.len(), 0, Some(reason));
                    }
                    consumed += used;
                    self.work += 1;
                    if self.work + self.fanout.work() >= WORK_PER_TURN || self.waiting.is_some() {
                        break;
                    }
                }
                Ok(Step::NeedMore { at_least }) => {
                    // Whoever has to authenticate first gets no memory for anything else.
                    if !self.authorized
                        && !rest.first().is_some_and(|b| b.eq_ignore_ascii_case(&b'c'))
                        && !self.enter_without_connect()
                    {
                        let error = ServerError::AuthorizationViolation;
                        let reason = self.refuse(&error, CloseReason::AuthenticationFailure);
                        return (buffer.len(), 0, Some(reason));
                    }
                    return (consumed, at_least, None);
                }
                Err(error) => return (buffer.len(), 0, Some(self.violation(&error))),
            }
        }
        (consumed, 0, None)
    }

    fn violation(&mut self, error: &decode::DecodeError) -> CloseReason {
        tracing::debug!(client = %self.client, "Protocol violation: {error}");
        let reason = match error.close_reason() {
            "Maximum Message Payload Exceeded" => CloseReason::MaximumPayload,
            "Maximum Control Line Exceeded" => CloseReason::MaximumControlLine,
            "Message Header Violation" => CloseReason::HeaderViolation,
            "Protocol Violation" => CloseReason::ProtocolViolation,
            _ => CloseReason::ParseError,
        };
        match error.reply() {
            Some(reply) => self.refuse(&reply, reason),
            None => reason,
        }
    }

    /// Hands over what the batch produced, waits where the client must feel back-pressure.
    async fn end_batch(&mut self, end: Option<CloseReason>) -> Option<CloseReason> {
        self.client.last_activity_ms.store(clock::ticks_ms(), Ordering::Relaxed);
        self.count();
        self.work = 0;
        self.fanout.flush();
        self.heard.wake();
        if let Some(batch) = self.in_batch.take() {
            self.account.router.batches.exit(batch);
        }
        self.fanout.settle(&self.account.router);
        if let Some(facts) = self.fanout.take_facts() {
            *self.client.cache.lock() = facts;
        }
        self.subscriptions.start_replays(&self.server);
        if self.desks.has_staged() {
            self.store_batch().await;
        }
        self.desks.let_go(&self.account, &mut self.fanout);
        self.batch_ns = 0;
        if self.unsubscribed && !self.answers.is_empty() {
            // Whoever still delivers to what was unsubscribed is done before the answers that end it.
            self.unsubscribed = false;
            self.account.router.batches.settle().await;
            for link in &self.account.links().streams {
                link.from.router.batches.settle().await;
            }
        }
        if self.ping_overtakes && !self.answers.is_empty() {
            if self.held.is_empty() {
                self.held_since = clock::now();
            }
            self.held.append(&mut self.answers);
        }
        if !self.answers.is_empty() {
            let waits = self.desks.take_unflushed();
            acks::answer_when_committed(&self.client, &waits, self.answers.drain(..));
        }
        if !self.held.is_empty()
            && (end.is_some() || clock::now().duration_since(self.held_since) > OVERTAKING_PING_MAX)
        {
            self.release_held();
        }
        if end.is_some() {
            self.wait_for_acks(0).await;
            return end;
        }
        self.wait_for_acks(ACKS_WAITING_MAX).await;
        let threshold = self.server.options.limits.max_pending / 100 * STALL_PERCENT;
        if let Some(slow) = self.fanout.stalled_by(threshold) {
            self.client.stats.stalls.fetch_add(1, Ordering::Relaxed);
            self.server.stats.stalls.fetch_add(1, Ordering::Relaxed);
            let room = slow.out.wait_for_room(|out| out.pending() <= threshold || slow.is_closing());
            let _ = tokio::time::timeout(STALL_MAX, room).await;
        }
        self.fanout.begin_turn();
        None
    }

    fn count(&mut self) {
        let (msgs, bytes) = (std::mem::take(&mut self.in_msgs), std::mem::take(&mut self.in_bytes));
        if msgs > 0 {
            self.client.stats.in_msgs.fetch_add(msgs, Ordering::Relaxed);
            self.client.stats.in_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.server.stats.in_msgs.fetch_add(msgs, Ordering::Relaxed);
            self.server.stats.in_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A batch that a panic cut short is over as well.
        if let Some(batch) = self.in_batch.take() {
            self.account.router.batches.exit(batch);
        }
    }
}
