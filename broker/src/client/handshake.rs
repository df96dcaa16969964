//! CONNECT: who the client is, and what it understands.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublog_protocol::error::ServerError;
use sublog_protocol::info::ConnectOptions;

use super::connection::Connection;
use super::{Client, CloseReason};
use crate::auth::login::{Check, Credentials, Grant, Verdict, verdict};
use crate::config::{Auth, ServerOptions};
use crate::operator::login::Presented;
use crate::server::Server;
use crate::server::sys::events;
use crate::tls::x509::Certificate;

/// A refused CONNECT: what to say, and why the connection ends.
struct Refused(ServerError, CloseReason);

const UNAUTHORIZED: Refused = Refused(ServerError::AuthorizationViolation, CloseReason::AuthenticationFailure);

/// A client that waits for the end of a batch before it is let in.
pub(super) struct Waiting {
    why: Why,
    /// The options it is checked for: a reload meanwhile asks anew.
    options: Arc<ServerOptions>,
}

enum Why {
    /// Its password is to be checked.
    Password(Check),
    /// Its token is to be looked at.
    Token,
    /// It goes to another account, and has to leave behind what it published in this one.
    Move(Grant),
}

const NO_ROOM: Refused = Refused(ServerError::MaxAccountConnections, CloseReason::MaximumAccountConnections);

/// Checks what a client says of itself, but for who it is.
fn look_at(options: &ConnectOptions) -> Result<(), Refused> {
    if !matches!(options.protocol, 0 | 1) {
        return Err(Refused(ServerError::InvalidClientProtocol, CloseReason::BadClientProtocol));
    }
    if options.no_responders && !options.headers {
        return Err(Refused(ServerError::NoRespondersRequiresHeaders, CloseReason::NoRespondersRequiresHeaders));
    }
    // Who it is decides which account it is in, and nothing it says besides.
    if options.account.is_some() || options.new_account {
        return Err(UNAUTHORIZED);
    }
    Ok(())
}

/// Remembers what others need to know of a client that is let in.
fn let_in(client: &Client, options: &ConnectOptions, credentials: Credentials, grant: Grant) {
    {
        let mut identity = client.identity.lock();
        identity.name.clone_from(&options.name);
        identity.lang.clone_from(&options.lang);
        identity.version.clone_from(&options.version);
    }
    client.headers.store(options.headers, Ordering::Release);
    client.no_responders.store(options.no_responders, Ordering::Release);
    client.async_info.store(options.protocol >= 1, Ordering::Release);
    client.access.set(grant, Some(credentials));
    client.ready.store(true, Ordering::Release);
}

/// What a client said, together with how it came and what its certificate says under `auth`.
#[must_use]
pub fn certified(server: &Server, auth: &Auth, client: &Client, given: Credentials) -> Credentials {
    let maps = matches!(auth, Auth::Users(_)) && server.maps_certificates(client);
    let leaf = client.secured.get().filter(|_| maps).and_then(|secured| secured.peer.first());
    let certificate = leaf.and_then(|leaf| Certificate::parse(leaf));
    given.over_websocket(client.websocket.is_some()).with_certificate(auth, maps, certificate.as_ref())
}

impl Connection {
    /// After CONNECT: lets the client in, or has its password checked when the batch is over.
    ///
    /// # Errors
    /// Why the connection must end; the client has been told.
    pub(super) fn log_in(&mut self) -> Result<(), CloseReason> {
        if let Err(refused) = look_at(&self.options) {
            return Err(self.turn_away(&refused));
        }
        loop {
            let current = self.server.current();
            let credentials = self.credentials(&current);
            match verdict(&current.auth, &credentials) {
                Verdict::Granted(grant) if self.desks.has_staged() && grant.account() != self.account.name => {
                    self.waiting = Some(Waiting { why: Why::Move(grant), options: current });
                    return Ok(());
                }
                Verdict::Granted(grant) => {
                    self.go_to_account(&grant)?;
                    let_in(&self.client, &self.options, credentials, grant);
                }
                Verdict::Refused => return Err(self.turn_away(&UNAUTHORIZED)),
                Verdict::Check(check) => {
                    self.waiting = Some(Waiting { why: Why::Password(check), options: current });
                    return Ok(());
                }
                Verdict::Token => {
                    self.waiting = Some(Waiting { why: Why::Token, options: current });
                    return Ok(());
                }
            }
            // A reload looks at clients that are ready. One that comes meanwhile is met here.
            if Arc::ptr_eq(&current, &self.server.current()) {
                break;
            }
        }
        self.logged_in();
        Ok(())
    }

    /// Goes to the account of whoever the client is now. Nothing of this batch may be waiting to be recorded.
    ///
    /// # Errors
    /// Why the connection must end; the client has been told.
    fn go_to_account(&mut self, grant: &Grant) -> Result<(), CloseReason> {
        let name = grant.account();
        if name == self.account.name {
            self.keep_limits();
            return Ok(());
        }
        // A reload may have removed it meanwhile.
        let Some(account) = self.server.accounts.get(&name) else { return Err(self.turn_away(&UNAUTHORIZED)) };
        let Some(membership) = account.enter() else { return Err(self.turn_away(&NO_ROOM)) };
        // What it has subscribed to so far is not there where it goes.
        self.subscriptions.end_before_login(&self.account, &self.client);
        self.change_account(membership);
        self.keep_limits();
        Ok(())
    }

    /// Holds to the account's limits what it may do.
    pub(super) fn keep_limits(&mut self) {
        let of_account = self.account.options().limits.max_payload.unwrap_or(usize::MAX);
        let most = of_account.min(self.client.access.max_payload());
        self.limits.max_payload = self.server.current().limits.max_payload.min(most);
    }

    /// Waits until the password or token of a CONNECT has been checked, or what was published before it is on its way.
    ///
    /// # Errors
    /// Why the connection must end; the client has been told.
    pub(super) async fn check_password(&mut self) -> Result<(), CloseReason> {
        while let Some(Waiting { why, options }) = self.waiting.take() {
            // Before the token is looked at: claims that change meanwhile have it looked at again.
            let reloads = self.server.reloads.load(Ordering::Acquire);
            let by_token = matches!(why, Why::Token);
            let grant = match why {
                Why::Move(grant) => grant,
                Why::Token => match self.ask_operator().await {
                    Ok(grant) => grant,
                    Err(why) => {
                        tracing::debug!(client = %self.client, "{why}");
                        return Err(self.turn_away(&UNAUTHORIZED));
                    }
                },
                Why::Password(check) => {
                    if !self.server.passwords.fits(&check.hash, &check.password).await {
                        return Err(self.turn_away(&UNAUTHORIZED));
                    }
                    check.grant
                }
            };
            let credentials = self.credentials(&options);
            self.go_to_account(&grant)?;
            let_in(&self.client, &self.options, credentials, grant);
            let same = !by_token || reloads == self.server.reloads.load(Ordering::Acquire);
            if same && Arc::ptr_eq(&options, &self.server.current()) {
                self.logged_in();
            } else {
                self.log_in()?;
            }
        }
        Ok(())
    }

    /// Who the client is that shows a token. Signatures take a while, and claims may have to be read: that is done on threads
    /// that may wait, a few at a time.
    async fn ask_operator(&self) -> Result<Grant, &'static str> {
        const FAILED: &str = "The token could not be looked at";
        let server = self.server.clone();
        let Some(operator) = &server.operator else { return Err(FAILED) };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let shown = Presented {
            jwt: text(&self.options.jwt),
            signature: text(&self.options.sig),
            nonce: self.client.nonce.get().cloned().unwrap_or_default(),
            address: self.client.ip(),
            websocket: self.client.websocket.is_some(),
        };
        if shown.jwt.is_empty() {
            return Err("Authentication requires a user JWT");
        }
        let permit = operator.gate.clone().acquire_owned().await.map_err(|_| FAILED)?;
        let looked = tokio::task::spawn_blocking({
            let server = server.clone();
            move || {
                let _permit = permit;
                server.operator.as_ref().map_or(Err(FAILED), |operator| operator.log_in(&server, &shown))
            }
        });
        looked.await.unwrap_or(Err(FAILED))
    }

    /// What proves who the client is, under these options.
    fn credentials(&self, current: &ServerOptions) -> Credentials {
        let given = Credentials::of(&self.options, self.client.nonce.get().map(String::as_str));
        certified(&self.server, &current.auth, &self.client, given)
    }

    /// Before any CONNECT: whether the client may go on, as the user that clients are who do not say who they are.
    pub(super) fn enter_without_connect(&mut self) -> bool {
        loop {
            let current = self.server.current();
            let Auth::Users(users) = &current.auth else { return false };
            if self.server.maps_certificates(&self.client) {
                // It says who it is by CONNECT, whatever that says.
                return false;
            }
            let websocket = self.client.websocket.is_some();
            let Some(user) = users.without_credentials(websocket) else { return false };
            let grant = Grant { name: Some(user.name.clone()), user: Some(user.clone()) };
            if self.go_to_account(&grant).is_err() {
                return false;
            }
            self.client.access.set(grant, Some(Credentials::default().over_websocket(websocket)));
            self.client.ready.store(true, Ordering::Release);
            if Arc::ptr_eq(&current, &self.server.current()) {
                break;
            }
        }
        self.authorized = true;
        self.take_over_access();
        true
    }

    /// The client is somebody from now on: what it has so far is looked at again.
    fn logged_in(&mut self) {
        self.authorized = true;
        self.keep_limits();
        self.limits.headers = self.options.headers;
        self.info_due = !self.connected && self.options.protocol >= 1;
        self.take_over_access();
        if self.connected {
            self.fanout.forget();
        }
        self.subscriptions.bump_all(&self.account);
        if !self.connected {
            events::connected(&self.server, &self.client);
        }
        self.connected = true;
        self.ok();
    }

    fn turn_away(&mut self, Refused(error, reason): &Refused) -> CloseReason {
        if *reason == CloseReason::AuthenticationFailure {
            let shown = Credentials::of(&self.options, None).shown();
            tracing::error!(client = %self.client, "authentication error{shown}");
            events::refused(&self.server, &self.client);
        } else {
            tracing::warn!(client = %self.client, "{}", error.text());
        }
        self.refuse(error, *reason)
    }
}
