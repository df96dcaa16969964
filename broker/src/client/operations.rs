//! What each operation of a client does.

use std::sync::atomic::Ordering;

use sublog_protocol::decode::{ClientOp, Publish};
use sublog_protocol::error::ServerError;
use sublog_protocol::info::ServerInfo;
use sublog_protocol::{encode, headers, subject};

use super::acks::Answer;
use super::connection::Connection;
use super::desks::Sink;
use super::fanout::{Origin, Way};
use super::subscriptions::Asked;
use super::{Client, CloseReason};
use crate::account::services;
use crate::auth::permissions::Permissions;
use crate::clock;
use crate::jetstream;
use crate::server::{self, Server, sys};

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
        if !self.authorized && !matches!(op, ClientOp::Connect(_)) && !self.enter_without_connect() {
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
                let place = (&self.server, &self.account);
                let asked = Asked { filter: subject, queue: *queue, sid };
                let result = self.subscriptions.subscribe(place, &self.client, self.permissions.as_deref(), asked);
                match result {
                    Ok(()) => self.ok(),
                    Err(error) => {
                        if matches!(error, ServerError::PermissionSubscribe { .. }) {
                            tracing::error!(client = %self.client, "{}", error.text());
                        }
                        self.tell(&error);
                    }
                }
                Ok(())
            }
            ClientOp::Unsubscribe { sid, max } => {
                // Deliveries so far decide whether the limit is reached already.
                self.fanout.count_touched();
                self.subscriptions.unsubscribe(&self.account, &self.client, sid, *max);
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
        self.log_in()
    }

    /// What the user may do is another than before, or first known: holds to it what there is already.
    pub(super) fn take_over_access(&mut self) {
        self.access_changes = self.client.access.changes();
        self.permissions = self.client.access.permissions();
        self.fanout.forget();
        if let Some(permissions) = self.permissions.clone() {
            for error in self.subscriptions.end_forbidden(&self.account, &self.client, &permissions) {
                tracing::info!(client = %self.client, "Removed a subscription: {}", error.text());
                self.tell(&error);
            }
        }
    }

    /// Whether the client may publish on `subject`. `denied`: what is known already.
    fn may_publish(&self, subject: &[u8], denied: impl FnOnce(&Permissions) -> bool) -> bool {
        let Some(permissions) = &self.permissions else { return true };
        !denied(permissions) || self.client.access.may_answer(permissions, subject)
    }

    /// The reply of a request to the server itself, if the client may neither listen nor publish there: the server would
    /// publish for it where it may not.
    fn unheard<'m>(&self, message: &Publish<'m>) -> Option<&'m [u8]> {
        let (permissions, reply) = (self.permissions.as_ref()?, message.reply?);
        (!permissions.may_receive(reply, None) && !permissions.may_publish(reply)).then_some(reply)
    }

    /// Tells of a message that is not passed on.
    fn forbid_publish(&mut self, error: &ServerError) {
        tracing::error!(client = %self.client, "{}", error.text());
        self.tell(error);
    }

    fn publish(&mut self, message: &Publish<'_>) -> Result<(), CloseReason> {
        self.in_msgs += 1;
        self.in_bytes += message.message.len() as u64;
        if self.options.pedantic && !subject::is_valid_literal(message.subject) {
            self.tell(&ServerError::InvalidPublishSubject);
        }
        if self.account.has_mappings() {
            return self.publish_mapped(message);
        }
        self.publish_to(message)
    }

    /// Publishes where the account's mappings say.
    fn publish_mapped(&mut self, message: &Publish<'_>) -> Result<(), CloseReason> {
        match self.account.links().mapped(message.subject, services::random()) {
            None => self.publish_to(message),
            Some(Some(subject)) => self.publish_to(&Publish { subject: &subject, ..*message }),
            Some(None) => {
                // A share of its messages is lost, as the configuration says.
                self.ok();
                Ok(())
            }
        }
    }

    fn publish_to(&mut self, message: &Publish<'_>) -> Result<(), CloseReason> {
        let violation = || ServerError::PermissionPublish { subject: message.subject.to_vec() };
        let reserved = message.reply.filter(|reply| is_reserved_reply(reply));
        let violation_of_reply = |reply: &[u8]| ServerError::PermissionPublishReply { reply: reply.to_vec() };
        if jetstream::consumer::inlet::is_unlike_others(message.subject)
            && !self.account.router.has_interest(message.subject)
            && !(self.account.has_services() && self.account.links().services_for(message.subject).next().is_some())
        {
            if !self.may_publish(message.subject, |permissions| !permissions.may_publish(message.subject)) {
                self.forbid_publish(&violation());
                return Ok(());
            }
            if let Some(reply) = reserved.or_else(|| self.unheard(message)) {
                self.forbid_publish(&violation_of_reply(reply));
                return Ok(());
            }
            self.ok();
            self.serve_or_say(message, false);
            return Ok(());
        }
        let origin = Origin {
            account: &self.account,
            except: (!self.options.echo).then_some(self.client.id),
            permissions: self.permissions.as_deref(),
            desks: &mut self.desks,
        };
        let Some(Way { slot, sink, abroad }) = self.fanout.route(origin, message.subject) else { return Ok(()) };
        if self.permissions.is_some() && !self.may_publish(message.subject, |_| self.fanout.is_denied(slot)) {
            self.forbid_publish(&violation());
            return Ok(());
        }
        let reserved = reserved.or_else(|| if sink == Sink::Server || abroad { self.unheard(message) } else { None });
        if let Some(reply) = reserved {
            self.forbid_publish(&violation_of_reply(reply));
            return Ok(());
        }
        // An `+OK` that promises nothing comes first, as clients know it; one that promises the disk comes in its turn.
        let recorded = matches!(sink, Sink::Log(_));
        if !recorded {
            self.ok();
        }
        let mut delivered = self.fanout.publish(slot, message, false);
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
        if abroad {
            for link in self.fanout.services(slot) {
                delivered |= services::ask(&self.account, &link, Some(&self.client), message, 0);
            }
        }
        if message.subject.starts_with(services::RESPONSE_PREFIX) {
            delivered |= services::answer(&self.account, message.subject, message).unwrap_or(false);
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
        let permissions = self.permissions.as_ref();
        if let Some(taken) = jetstream::take(&self.account, Some(&self.client), message, permissions, &mut self.heard) {
            return taken;
        }
        if message.subject != sys::USER_INFO && sys::is_request(&self.account, message.subject) {
            return sys::requests::take(&self.server, &self.account, message);
        }
        let Some(reply) = message.reply else { return false };
        if message.subject.starts_with(server::API_PREFIX) && !self.server.has_own_subjects() {
            return false;
        }
        let own = || (message.subject == sys::USER_INFO).then(|| sys::user_info(&self.server, &self.client));
        let Some(body) = server::api::answer(&self.server, &self.account, message.subject).or_else(own) else {
            return false;
        };
        self.account.send(|sender| sender.publish(&self.account, reply, None, 0, &body));
        true
    }

    fn no_responders(&mut self, reply: &[u8], subject: &[u8]) {
        if let Some(subscription) = self.fanout.own_match(&self.account.router, &self.client, reply) {
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
    pub(super) fn ok(&mut self) {
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
pub(super) fn open_to_all(server: &Server) -> bool {
    matches!(server.current().auth, crate::config::Auth::None)
}
