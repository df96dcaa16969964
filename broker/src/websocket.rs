//! Clients that come by way of a browser: the NATS protocol in binary frames of RFC 6455.
//!
//! The frames are a layer of a connection (`client::layers`), as encryption is; what is here knows neither sockets nor
//! clocks. Nothing is gathered: what a frame holds goes on to the decoder as it comes, compressed or not, so a
//! frame costs no memory, however large it says it is, and a message that would inflate without end is read no faster
//! than anybody's words.

pub mod deflate;
pub mod frames;
pub mod origin;
pub mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use sublog_protocol::info::ConnectOptions;

use crate::tls::Tls;

/// How long a client may take from connecting to the end of its upgrade, unless it is said.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Headers that say what this server says itself.
const HEADERS_TAKEN: [&str; 5] = ["host", "content-length", "connection", "upgrade", "nats-no-masking"];

/// One port for them, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// Address to listen on, where it is another one than that for other clients.
    pub host: Option<String>,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// How its connections are encrypted; `None` leaves them plain.
    pub tls: Option<crate::config::TlsOptions>,
    /// Pages must come from where the server is.
    pub same_origin: bool,
    /// Pages must come from one of these; empty is any.
    pub allowed_origins: Vec<origin::Origin>,
    /// How long an upgrade may take.
    pub handshake_timeout: Duration,
    /// Frames may be compressed, if the client wants that.
    pub compression: bool,
    /// Cookies that hold what CONNECT leaves out.
    pub user_cookie: Option<String>,
    /// As above.
    pub pass_cookie: Option<String>,
    /// As above.
    pub token_cookie: Option<String>,
    /// As above.
    pub jwt_cookie: Option<String>,
    /// What is added to the answer to an upgrade.
    pub headers: Vec<(String, String)>,
    /// How often silent clients of this port are pinged, where it differs.
    pub ping_interval: Option<Duration>,
}

/// Why a header cannot be added to the answers.
///
/// # Errors
/// A half sentence that begins with the header.
pub fn check_header(name: &str, value: &str) -> Result<(), &'static str> {
    let small = name.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if HEADERS_TAKEN.contains(&small.as_str()) || small.starts_with("sec-websocket-") {
        return Err("is said by the server itself");
    }
    if name.is_empty() || !name.bytes().all(token) {
        return Err("is no name of a header");
    }
    if value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("has a value with control characters");
    }
    Ok(())
}

/// The port, open.
#[derive(Debug)]
pub struct WebSocket {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// As it was asked for.
    pub options: WebSocketOptions,
    /// How connections that begin now are encrypted.
    pub tls: parking_lot::RwLock<Option<Arc<Tls>>>,
}

impl WebSocket {
    /// How connections that begin now are encrypted, if they are.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.read().clone()
    }
}

/// What a client's upgrade said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visitor {
    /// `X-Forwarded-For`, if it is an address.
    pub forwarded: Option<std::net::IpAddr>,
    /// From its cookies.
    pub user: Option<String>,
    /// As above.
    pub password: Option<String>,
    /// As above.
    pub token: Option<String>,
    /// As above.
    pub jwt: Option<String>,
}

impl Visitor {
    /// Puts what the cookies hold where CONNECT says nothing.
    pub fn complete(&self, options: &mut ConnectOptions) {
        for (own, said) in [
            (&self.user, &mut options.user),
            (&self.password, &mut options.pass),
            (&self.token, &mut options.auth_token),
            (&self.jwt, &mut options.jwt),
        ] {
            if said.as_ref().is_none_or(String::is_empty) {
                said.clone_from(own);
            }
        }
    }
}
