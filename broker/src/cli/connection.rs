//! A small NATS client: what the commands need to talk to a running server, and no more.
//!
//! One socket, one task, no background work. Operations are appended to [`Connection::output`]; messages are
//! borrowed from the read buffer by [`Connection::next`]; [`Connection::fill`] is the only place that waits,
//! and it reads while it writes, so that neither side can block the other.

mod error;
mod hello;
pub(crate) mod secure;
mod signer;

use std::io;
use std::time::Duration;

use sublog_protocol::decode::{self, Message, ServerOp, ServerStep};
use sublog_protocol::encode;
use sublog_protocol::headers::Headers;
use sublog_protocol::info::ServerInfo;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use error::ClientError;

use super::url::{Credentials, ServerUrl};
use hello::Hello;
use secure::{Session, TlsFiles};
pub(crate) use signer::Signer;

/// Free room offered to every read, in bytes.
const READ_BYTES: usize = 128 * 1024;
/// A silent server is asked for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// It is given up when this many such questions are open.
const KEEP_ALIVE_OPEN_MAX: u64 = 2;

/// Which server, as whom, and how patiently.
#[derive(Clone)]
pub(crate) struct Target {
    /// Servers to try in turn.
    pub(crate) urls: Vec<ServerUrl>,
    /// What to present; overrides what the address says.
    pub(crate) credentials: Credentials,
    /// Signs what the server asks to have signed.
    pub(crate) signer: Option<Signer>,
    /// How to encrypt.
    pub(crate) tls: TlsFiles,
    /// How long connecting, or any single answer, may take.
    pub(crate) timeout: Duration,
}

/// A connection to a server.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Its encryption, if it is encrypted.
    session: Option<Session>,
    peer: String,
    timeout: Duration,
    info: Option<ServerInfo>,
    /// What was read; bytes before `start` are decoded.
    input: Vec<u8>,
    start: usize,
    /// What is to be written; bytes before `sent` are.
    output: Vec<u8>,
    sent: usize,
    pings: u64,
    pongs: u64,
}

impl Connection {
    /// Connects to the first server of `target` that can be reached, and shakes hands. `name` is shown in the
    /// server's connection list.
    pub(crate) async fn open(target: &Target, name: &str, replay_status: bool) -> Result<Self, ClientError> {
        let mut outcome = None;
        for url in &target.urls {
            match Self::dial(url, target.timeout).await {
                Ok(mut connection) => {
                    let credentials = match target.credentials {
                        Credentials::None => &url.credentials,
                        _ => &target.credentials,
                    };
                    connection.encrypt(target, url).await?;
                    connection.shake_hands(target, credentials, name, replay_status).await?;
                    return Ok(connection);
                }
                Err(error) => outcome = Some(error),
            }
        }
        Err(outcome.unwrap_or(ClientError::Connect {
            peer: String::new(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "no address"),
        }))
    }

    async fn dial(url: &ServerUrl, patience: Duration) -> Result<Self, ClientError> {
        let peer = url.to_string();
        let connecting = TcpStream::connect((url.host.as_str(), url.port));
        let stream = match timeout(patience, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(source)) => return Err(ClientError::Connect { peer, source }),
            Err(_) => return Err(ClientError::Timeout { peer, what: "accept the connection", after: patience }),
        };
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            session: None,
            peer,
            timeout: patience,
            info: None,
            input: Vec::new(),
            start: 0,
            output: Vec::new(),
            sent: 0,
            pings: 0,
            pongs: 0,
        })
    }

    /// Waits for INFO and encrypts, in the order that was asked for; who asked for encryption gets nothing less.
    async fn encrypt(&mut self, target: &Target, url: &ServerUrl) -> Result<(), ClientError> {
        if !target.tls.first {
            while self.info.is_none() {
                self.fill("send INFO").await?;
                self.skip_messages()?;
            }
        }
        let (required, available) = self
            .info
            .as_ref()
            .map_or((false, true), |info| (info.tls_required, info.tls_required || info.tls_available));
        let asked = url.tls || target.tls.asked();
        if !asked && !required {
            return Ok(());
        }
        let failed = |peer: &str, reason: String| ClientError::Tls { peer: peer.to_owned(), reason };
        if !available {
            return Err(failed(&self.peer, "the server does not encrypt".to_owned()));
        }
        self.session = Some(target.tls.session(&url.host).map_err(|reason| failed(&self.peer, reason))?);
        while self.session.as_ref().is_some_and(|session| session.is_handshaking() || session.wants_write()) {
            match self.fill("shake hands").await {
                Err(ClientError::Io { peer, source }) => return Err(failed(&peer, source.to_string())),
                other => other?,
            }
        }
        while self.info.is_none() {
            self.fill("send INFO").await?;
            self.skip_messages()?;
        }
        Ok(())
    }

    async fn shake_hands(
        &mut self,
        target: &Target,
        login: &Credentials,
        name: &str,
        replay_status: bool,
    ) -> Result<(), ClientError> {
        let nonce = self.info.as_ref().map(|info| info.nonce.as_str()).unwrap_or_default();
        let failed = |reason| ClientError::Nkey { peer: self.peer.clone(), reason };
        let signed = target.signer.as_ref().map(|signer| signer.sign(nonce)).transpose().map_err(failed)?;
        let (user, pass, auth_token) = match login {
            Credentials::None => (None, None, None),
            Credentials::User(user, pass) => (Some(user.as_str()), Some(pass.as_str()), None),
            Credentials::Token(token) => (None, None, Some(token.as_str())),
        };
        let hello = Hello {
            verbose: false,
            pedantic: false,
            echo: true,
            protocol: 1,
            headers: true,
            no_responders: true,
            name,
            lang: "sublog",
            version: super::VERSION,
            user,
            pass,
            auth_token,
            nkey: signed.as_ref().and_then(|signed| signed.nkey.as_deref()),
            jwt: signed.as_ref().and_then(|signed| signed.jwt.as_deref()),
            sig: signed.as_ref().map(|signed| signed.signature.as_str()),
            tls_required: self.session.is_some(),
            sublog_replay_status: replay_status,
        };
        self.output.extend_from_slice(b"CONNECT ");
        serde_json::to_writer(&mut self.output, &hello).map_err(|error| self.broken(error.into()))?;
        self.output.extend_from_slice(encode::CRLF);
        match self.flush().await {
            Err(ClientError::Server { peer, text }) if text.starts_with("Authorization") => {
                Err(ClientError::Credentials { peer, text, given: *login != Credentials::None || signed.is_some() })
            }
            other => other,
        }
    }

    /// What the server said about itself.
    pub(crate) fn info(&self) -> ServerInfo {
        self.info.clone().unwrap_or_default()
    }

    /// Address of the server.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// Where operations are appended, see [`encode`]. They leave with the next [`Connection::fill`].
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Bytes that wait to be written.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Appends a PING and returns its number; it is answered when [`Connection::pongs`] is no less.
    pub(crate) fn ping(&mut self) -> u64 {
        self.output.extend_from_slice(encode::PING);
        self.pings += 1;
        self.pings
    }

    /// Pings answered so far.
    pub(crate) fn pongs(&self) -> u64 {
        self.pongs
    }

    /// The next message that has arrived whole. Everything else the server says is dealt with on the way; an
    /// `-ERR` ends the conversation.
    pub(crate) fn next(&mut self) -> Result<Option<Message<'_>>, ClientError> {
        loop {
            let input = self.input.get(self.start..).unwrap_or_default();
            if input.is_empty() {
                return Ok(None);
            }
            let step = decode::decode_server(input, usize::MAX)
                .map_err(|error| ClientError::Protocol { peer: self.peer.clone(), reason: error.to_string() })?;
            let ServerStep::Op { op, consumed } = step else {
                return Ok(None);
            };
            self.start += consumed;
            match op {
                ServerOp::Message(message) => return Ok(Some(message)),
                ServerOp::Info(json) => {
                    let info = ServerInfo::parse(json).map_err(|error| ClientError::Protocol {
                        peer: self.peer.clone(),
                        reason: error.to_string(),
                    })?;
                    self.info = Some(info);
                }
                ServerOp::Ping => self.output.extend_from_slice(encode::PONG),
                ServerOp::Pong => self.pongs += 1,
                ServerOp::Ok => {}
                ServerOp::Err(text) => {
                    let text = String::from_utf8_lossy(text).escape_debug().to_string();
                    return Err(ClientError::Server { peer: self.peer.clone(), text });
                }
            }
        }
    }

    /// Deals with what has arrived when no message is expected.
    pub(crate) fn skip_messages(&mut self) -> Result<(), ClientError> {
        while self.next()?.is_some() {}
        Ok(())
    }

    /// Writes what is to be written and reads what has arrived; returns when either made progress. `what` is
    /// expected within the target's timeout.
    pub(crate) async fn fill(&mut self, what: &'static str) -> Result<(), ClientError> {
        match timeout(self.timeout, self.progress()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::Timeout { peer: self.peer.clone(), what, after: self.timeout }),
        }
    }

    /// As [`Connection::fill`] for messages that may be long in coming: a silent server is asked for a sign
    /// of life.
    pub(crate) async fn wait(&mut self) -> Result<(), ClientError> {
        loop {
            if let Ok(outcome) = timeout(KEEP_ALIVE, self.progress()).await {
                return outcome;
            }
            if self.pings - self.pongs >= KEEP_ALIVE_OPEN_MAX {
                return Err(ClientError::Stale { peer: self.peer.clone() });
            }
            self.ping();
        }
    }

    /// Waits until the server has dealt with everything sent so far; messages that arrive are skipped.
    pub(crate) async fn flush(&mut self) -> Result<(), ClientError> {
        let ping = self.ping();
        while self.pongs < ping {
            self.fill("answer a flush").await?;
            self.skip_messages()?;
        }
        Ok(())
    }

    /// Sends a request and returns the payload of the answer. Not to be used beside subscriptions.
    pub(crate) async fn request(&mut self, subject: &str, payload: &[u8]) -> Result<Vec<u8>, ClientError> {
        const SID: &[u8] = b"request";
        let inbox = format!("_INBOX.sublog.{}.{}", std::process::id(), crate::clock::unix_ns());
        encode::subscribe(&mut self.output, inbox.as_bytes(), None, SID);
        encode::unsubscribe(&mut self.output, SID, Some(1));
        encode::publish(&mut self.output, subject.as_bytes(), Some(inbox.as_bytes()), payload);
        loop {
            while let Some(message) = self.next()? {
                if message.sid != SID {
                    continue;
                }
                let (block, payload) = message.message.split_at_checked(message.header_len).unwrap_or_default();
                let status = message.has_headers.then(|| Headers::parse(block).ok()?.status()).flatten();
                if status == Some(503) {
                    return Err(ClientError::NoResponders { peer: self.peer.clone(), subject: subject.to_owned() });
                }
                return Ok(payload.to_vec());
            }
            self.fill("answer a request").await?;
        }
    }

    /// Waits for the socket, then writes and reads what it takes and has. Nothing is lost when the wait is
    /// given up.
    async fn progress(&mut self) -> Result<(), ClientError> {
        self.input.drain(..self.start);
        self.start = 0;
        loop {
            let sealed = self.session.as_ref().is_some_and(Session::wants_write);
            let writing = sealed || self.sent < self.output.len();
            let interest = if writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let ready = self.stream.ready(interest).await.map_err(|error| self.broken(error))?;
            let mut moved = false;
            if ready.is_readable() {
                self.input.reserve(READ_BYTES);
                let read = match &mut self.session {
                    None => self.stream.try_read_buf(&mut self.input).map(|read| read > 0),
                    Some(session) => session.read(&self.stream, &mut self.input),
                };
                match read {
                    Ok(false) => return Err(ClientError::Closed { peer: self.peer.clone() }),
                    Ok(_) => moved = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(self.broken(error)),
                }
            }
            if writing && ready.is_writable() {
                let open = self.output.get(self.sent..).unwrap_or_default();
                let written = match &mut self.session {
                    None => self.stream.try_write(open),
                    Some(session) => session.write(&self.stream, open),
                };
                match written {
                    Ok(written) => {
                        self.sent += written;
                        moved = true;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // The server's last words may still be there to be read, and tell more.
                    Err(_) if moved => return Ok(()),
                    Err(error) => return Err(self.broken(error)),
                }
                if self.sent == self.output.len() {
                    self.output.clear();
                    self.sent = 0;
                }
            }
            if moved {
                return Ok(());
            }
        }
    }

    fn broken(&self, source: io::Error) -> ClientError {
        ClientError::Io { peer: self.peer.clone(), source }
    }
}
