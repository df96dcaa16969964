//! What each operation of a client does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublog_protocol::decode::{ClientOp, Publish};
use sublog_protocol::error::ServerError;
use sublog_protocol::info::ServerInfo;
use sublog_protocol::{encode, headers, subject};

use super::acks::Answer;
use super::connection::Connection;
use super::desks::Sink;
use super::fanout::Origin;
use super::handshake::{self, Refused};
use super::{Client, CloseReason};
use crate::clock;
use crate::jetstream;
use crate::server::{self, Server};

/// What a client of ours may ask for in CONNECT beyond NATS.
#[derive(serde::Deserialize)]
struct OurOptions {
    sublog_replay_status: bool,
}

impl Connection {
    /// Carries out one operation.
    ///
    /// # Errors
    /// Why the connection must end; the client has been told.
    pub(super) fn operate(&mut self, op: &ClientOp<'_>) -> Result<(), CloseReason> {
        if !self.authorized && !matches!(op, ClientOp::Connect(_)) {
            return Err(self.refuse(&ServerError::AuthorizationViolation, CloseReason::AuthenticationFailure));
        }
        match op {
            ClientOp::Publish(message) => self.publish(message),
            ClientOp::Ping => {
                self.answer(Answer::Pong);
                // From the second PING on: the first one belongs to the handshake and is answered at once.
                self.ping_overtakes = self.connected && self.overtaking_library();
                if self.info_due {
                    self.info_due = false;
                    let mut info = Vec::new();
                    encode::info(&mut info, &self.server.connect_info(&self.client));
                    self.answer(Answer::Bytes(info));
                }
                Ok(())
            }
            ClientOp::Pong => {
                self.pong();
                Ok(())
            }
            ClientOp::Subscribe { subject, queue, sid } => {
                let (server, client) = (self.server.clone(), self.client.clone());
                let result = self.subscriptions.subscribe(&server, &client, subject, *queue, sid);
                match result {
                    Ok(()) => self.ok(),
                    Err(error) => self.tell(&error),
                }
                Ok(())
            }
            ClientOp::Unsubscribe { sid, max } => {
                // Deliveries so far decide whether the limit is reached already.
                self.fanout.count_touched();
                self.subscriptions.unsubscribe(&self.server, &self.client, sid, *max);
                self.unsubscribed |= *max == 0;
                self.ok();
                Ok(())
            }
            ClientOp::Connect(json) => self.connect(json),
            ClientOp::Info(json) if ServerInfo::parse(json).is_err() => Err(CloseReason::ProtocolViolation),
            ClientOp::Info(_) | ClientOp::Ok => Ok(()),
            ClientOp::Err(_) => Err(CloseReason::ParseError),
        }
    }

    fn connect(&mut self, json: &[u8]) -> Result<(), CloseReason> {
        if self.options.update(json).is_err() {
            // As nats-server does: no words for what is not JSON.
            return Err(CloseReason::ProtocolViolation);
        }
        if let Some(visitor) = self.client.visitor.get() {
            visitor.complete(&mut self.options);
        }
        let status = memchr::memmem::find(json, b"sublog_replay_status").is_some()
            && serde_json::from_slice::<OurOptions>(json).is_ok_and(|ours| ours.sublog_replay_status);
        self.client.replay_status.store(status, Ordering::Relaxed);
        loop {
            let current = self.server.current();
            if let Err(Refused(error, reason)) = handshake::accept(&self.client, &current.auth, &self.options) {
                tracing::warn!(client = %self.client, "{}", error.text());
                return Err(self.refuse(&error, reason));
            }
            // A reload looks at clients that are ready. One that comes meanwhile is met here.
            if Arc::ptr_eq(&current, &self.server.current()) {
                break;
            }
        }
        self.authorized = true;
        self.limits.headers = self.options.headers;
        self.info_due = !self.connected && self.options.protocol >= 1;
        if self.connected {
            self.fanout.forget();
        }
        self.subscriptions.bump_all(&self.server);
        self.connected = true;
        self.ok();
        Ok(())
    }

    fn publish(&mut self, message: &Publish<'_>) -> Result<(), CloseReason> {
        self.in_msgs += 1;
        self.in_bytes += message.message.len() as u64;
        if let Some(reply) = message.reply.filter(|reply| is_reserved_reply(reply)) {
            self.tell(&ServerError::PermissionPublishReply { reply: reply.to_vec() });
            return Ok(());
        }
        if self.options.pedantic && !subject::is_valid_literal(message.subject) {
            self.tell(&ServerError::InvalidPublishSubject);
        }
        if jetstream::consumer::inlet::is_unlike_others(message.subject)
            && !self.server.router.has_interest(message.subject)
        {
            self.ok();
            self.serve_or_say(message, false);
            return Ok(());
        }
        let origin = Origin {
            router: &self.server.router,
            except: (!self.options.echo).then_some(self.client.id),
            desks: &mut self.desks,
        };
        let Some((slot, sink)) = self.fanout.route(origin, message.subject) else { return Ok(()) };
        // An `+OK` that promises nothing comes first, as clients know it; one that promises the disk comes in its turn.
        let recorded = matches!(sink, Sink::Log(_));
        if !recorded {
            self.ok();
        }
        let mut delivered = self.fanout.publish(&self.server.router, slot, message);
        let mut stored = false;
        match sink {
            Sink::Nothing => {}
            Sink::Log(desk) => {
                stored = self.record(desk, message);
                // A declared stream answers; the capture stream does not.
                delivered |= self.desks.answers(desk);
            }
            Sink::Server => delivered |= self.serve(message),
        }
        // Recording a message does not answer it: a request that only the log takes has no responder.
        self.say_if_nobody_answers(message, delivered);
        if stored {
            self.ok();
        }
        Ok(())
    }

    /// Takes a request to the server, or says that there is nobody for it.
    fn serve_or_say(&mut self, message: &Publish<'_>, delivered: bool) {
        let delivered = self.serve(message) || delivered;
        self.say_if_nobody_answers(message, delivered);
    }

    fn say_if_nobody_answers(&mut self, message: &Publish<'_>, delivered: bool) {
        if !delivered
            && let Some(reply) = message.reply
            && self.options.no_responders
        {
            self.no_responders(reply, message.subject);
        }
    }

    /// Adds a message to what its log gets of this batch; false when it cannot be, and the client was told.
    fn record(&mut self, desk: usize, message: &Publish<'_>) -> bool {
        if self.batch_ns == 0 {
            self.batch_ns = clock::unix_ns();
        }
        if let Err(error) = self.desks.record(desk, self.batch_ns, message) {
            self.tell(&ServerError::Other(format!("Message Not Stored: {error}")));
            return false;
        }
        true
    }

    /// Takes a request on a subject of the server's own; false when there is nothing there.
    fn serve(&mut self, message: &Publish<'_>) -> bool {
        if let Some(taken) = jetstream::consumer::inlet::take(&self.server, message) {
            return taken;
        }
        if message.subject.starts_with(jetstream::API_PREFIX) {
            return self.server.jetstream.api.take(&self.server, message);
        }
        let Some(reply) = message.reply else { return false };
        let Some(body) = server::api::answer(&self.server, message.subject) else { return false };
        let answer = Publish { subject: reply, reply: None, header_len: 0, has_headers: false, message: &body };
        let origin = Origin { router: &self.server.router, except: None, desks: &mut self.desks };
        if let Some((slot, _)) = self.fanout.route(origin, reply) {
            self.fanout.publish(&self.server.router, slot, &answer);
        }
        true
    }

    fn no_responders(&mut self, reply: &[u8], subject: &[u8]) {
        if let Some(subscription) = self.fanout.own_match(&self.server.router, &self.client, reply) {
            let mut out = Vec::new();
            headers::no_responders(&mut out, reply, &subscription.sid, subject);
            subscription.delivered.fetch_add(1, Ordering::Relaxed);
            self.answer(Answer::Bytes(out));
        }
    }

    fn pong(&self) {
        self.client.pings_out.store(0, Ordering::Relaxed);
        let sent_ns = self.client.ping_sent_ns.swap(0, Ordering::Relaxed);
        if sent_ns > 0 {
            let now = u64::try_from(clock::unix_ns()).unwrap_or(0);
            self.client.rtt_us.store((now.saturating_sub(sent_ns) / 1000).max(1), Ordering::Relaxed);
        }
    }

    /// `+OK` for a verbose client, in its turn.
    fn ok(&mut self) {
        if self.options.verbose {
            self.answer(Answer::Ok);
        }
    }

    /// nats-py writes the PING of `flush()` straight to the socket while published messages still sit in its buffer, to
    /// be written a moment later. Answered at once, such a flush would promise nothing.
    fn overtaking_library(&self) -> bool {
        self.desks.record_something() && self.options.lang.as_deref() == Some("python3")
    }

    /// Answers in its turn: at once, between the deliveries to this client, if nothing before it waits for the log.
    fn answer(&mut self, answer: Answer) {
        let promises = matches!(answer, Answer::Pong | Answer::Ok);
        if matches!(answer, Answer::Pong) {
            self.refusal_told = false;
        }
        let has_more_to_say =
            self.ping_overtakes || self.unsubscribed || self.desks.has_staged() || self.desks.has_unflushed();
        let waits = !self.answers.is_empty() || (promises && has_more_to_say) || !self.client.acks.lock().is_empty();
        if waits {
            self.answers.push(answer);
        } else {
            let Self { fanout, client, .. } = self;
            fanout.stage_own(client, |out| answer.write(out));
        }
    }

    /// `-ERR`, in its turn among the answers.
    pub(super) fn tell(&mut self, error: &ServerError) {
        let mut out = Vec::new();
        encode::err(&mut out, error);
        self.answer(Answer::Bytes(out));
    }

    /// The last words to a client.
    pub(super) fn refuse(&mut self, error: &ServerError, reason: CloseReason) -> CloseReason {
        self.tell(error);
        reason
    }
}

/// Replies that only servers make up: a client that used them could forge acknowledgements.
fn is_reserved_reply(reply: &[u8]) -> bool {
    [&b"$JS.ACK."[..], b"_R_.", b"_GR_."].iter().any(|prefix| reply.starts_with(prefix))
}

/// What the trace log shows of an operation.
pub(super) fn trace(client: &Client, op: &ClientOp<'_>) {
    use tracing::trace;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match op {
        ClientOp::Connect(_) => trace!(target: "sublog::wire", "{client} - <<- [CONNECT]"),
        ClientOp::Publish(m) => {
            let name = if m.has_headers { "HPUB" } else { "PUB" };
            let reply = m.reply.map(|r| format!("{} ", text(r))).unwrap_or_default();
            trace!(target: "sublog::wire", "{client} - <<- [{name} {} {reply}{}]", text(m.subject), m.message.len());
        }
        ClientOp::Subscribe { subject, queue, sid } => {
            let queue = queue.map(|q| format!("{} ", text(q))).unwrap_or_default();
            trace!(target: "sublog::wire", "{client} - <<- [SUB {} {queue}{}]", text(subject), text(sid));
        }
        ClientOp::Unsubscribe { sid, max } => {
            let max = if *max > 0 { max.to_string() } else { String::new() };
            trace!(target: "sublog::wire", "{client} - <<- [UNSUB {} {max}]", text(sid));
        }
        ClientOp::Ping => trace!(target: "sublog::wire", "{client} - <<- [PING]"),
        ClientOp::Pong => trace!(target: "sublog::wire", "{client} - <<- [PONG]"),
        ClientOp::Info(_) | ClientOp::Ok | ClientOp::Err(_) => {}
    }
}

/// Whether this connection may go on as it is: CONNECT is not needed where nobody has to authenticate.
pub(super) fn open_to_all(server: &Arc<Server>) -> bool {
    matches!(server.current().auth, crate::config::Auth::None)
}
