//! The HTTP request that turns a connection into one of frames, and its answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::{Visitor, WebSocketOptions, origin};

/// The largest request, with all its headers.
pub const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;
/// What RFC 6455 mixes into the key.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const NO_MASKING: &str = "Nats-No-Masking";

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgrade {
    /// It goes on below.
    Incomplete,
    /// The connection is one of frames.
    Accepted(Box<Accepted>),
    /// It ends with this answer.
    Refused {
        /// The status of HTTP.
        status: u16,
        /// Why.
        reason: String,
    },
}

/// An upgrade that was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Bytes of the request.
    pub taken: usize,
    /// What the client is told.
    pub answer: Vec<u8>,
    /// Frames may be compressed.
    pub compression: bool,
    /// The client masks its frames.
    pub masked: bool,
    /// What it said of itself.
    pub visitor: Visitor,
}

fn refused(status: u16, reason: impl Into<String>) -> Upgrade {
    Upgrade::Refused { status, reason: reason.into() }
}

/// Looks at what a client has sent so far. `secure` says that it was encrypted.
#[must_use]
pub fn upgrade(bytes: &[u8], options: &WebSocketOptions, secure: bool) -> Upgrade {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let taken = match request.parse(bytes) {
        Ok(httparse::Status::Complete(taken)) => taken,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Upgrade::Incomplete,
        Ok(httparse::Status::Partial) => return refused(431, "request too large"),
        Err(_) => return refused(400, "malformed request"),
    };
    match look_at(&request, options, secure) {
        Ok(mut accepted) => {
            accepted.taken = taken;
            Upgrade::Accepted(Box::new(accepted))
        }
        Err((status, reason)) => refused(status, reason),
    }
}

fn look_at(
    request: &httparse::Request<'_, '_>,
    options: &WebSocketOptions,
    secure: bool,
) -> Result<Accepted, (u16, String)> {
    let wrong = |reason: &str| (400, reason.to_owned());
    let get = |name: &str| first(request, name);
    if request.method != Some("GET") {
        return Err((405, "request method must be GET".to_owned()));
    }
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    for (end, what) in [("/mqtt", "mqtt"), ("/leafnode", "leafnode")] {
        if path.ends_with(end) {
            return Err((404, format!("{what} websocket endpoint not enabled")));
        }
    }
    let host = get("Host").filter(|host| !host.is_empty()).ok_or_else(|| wrong("'Host' missing in request"))?;
    if !contains(request, "Upgrade", "websocket") {
        return Err(wrong("invalid value for header 'Upgrade'"));
    }
    if !contains(request, "Connection", "Upgrade") {
        return Err(wrong("invalid value for header 'Connection'"));
    }
    let key = get("Sec-WebSocket-Key").filter(|key| !key.is_empty()).ok_or_else(|| wrong("key missing"))?;
    if STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Err(wrong("invalid websocket key"));
    }
    if !contains(request, "Sec-WebSocket-Version", "13") {
        return Err(wrong("invalid version"));
    }
    let from = get("Origin").or_else(|| get("Sec-WebSocket-Origin"));
    origin::check(options.same_origin, &options.allowed_origins, from, secure, host)
        .map_err(|reason| (403, format!("origin not allowed: {reason}")))?;
    let compression = options.compression && contains(request, "Sec-WebSocket-Extensions", "permessage-deflate");
    let masked = get(NO_MASKING) != Some("true");
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
    let mut line = |name: &str, value: &str| answer.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    let accept = Sha1::new().chain_update(key).chain_update(MAGIC).finalize();
    line("Sec-WebSocket-Accept", &STANDARD.encode(accept));
    if compression {
        let parameters = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        line("Sec-WebSocket-Extensions", parameters);
    }
    if !masked {
        line(NO_MASKING, "true");
    }
    options.headers.iter().for_each(|(name, value)| line(name, value));
    answer.extend_from_slice(b"\r\n");
    Ok(Accepted { taken: 0, answer, compression, masked, visitor: visitor(request, options) })
}

fn visitor(request: &httparse::Request<'_, '_>, options: &WebSocketOptions) -> Visitor {
    let mut visitor = Visitor {
        forwarded: first(request, "X-Forwarded-For").and_then(|address| address.parse().ok()),
        ..Visitor::default()
    };
    let cookies =
        all(request, "Cookie").flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    for (name, value) in cookies {
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        for (cookie, target) in [
            (&options.user_cookie, &mut visitor.user),
            (&options.pass_cookie, &mut visitor.password),
            (&options.token_cookie, &mut visitor.token),
            (&options.jwt_cookie, &mut visitor.jwt),
        ] {
            if cookie.as_deref() == Some(name) {
                *target = Some(value.to_owned());
            }
        }
    }
    visitor
}

fn all<'r>(request: &'r httparse::Request<'_, '_>, name: &str) -> impl Iterator<Item = &'r str> {
    let name = name.to_owned();
    let named = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(&name));
    named.filter_map(|header| std::str::from_utf8(header.value).ok())
}

fn first<'r>(request: &'r httparse::Request<'_, '_>, name: &str) -> Option<&'r str> {
    all(request, name).next()
}

/// Whether a header is a list that has this in it, alone or with parameters.
fn contains(request: &httparse::Request<'_, '_>, name: &str, value: &str) -> bool {
    let mut items = all(request, name).flat_map(|line| line.split(','));
    items.any(|item| item.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(value))
}

/// The answer to a request that is refused.
#[must_use]
pub fn refusal(status: u16, reason: &str) -> Vec<u8> {
    let words = match status {
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Bad Request",
    };
    let length = reason.len() + 1;
    format!(
        "HTTP/1.1 {status} {words}\r\nSec-WebSocket-Version: 13\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{reason}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::HANDSHAKE_TIMEOUT;

    fn options() -> WebSocketOptions {
        WebSocketOptions {
            host: None,
            port: 0,
            tls: None,
            same_origin: false,
            allowed_origins: vec![origin::Origin::parse("http://page").unwrap()],
            handshake_timeout: HANDSHAKE_TIMEOUT,
            compression: true,
            user_cookie: Some("u".into()),
            pass_cookie: Some("p".into()),
            token_cookie: Some("t".into()),
            jwt_cookie: None,
            headers: vec![("X-Mine".into(), "1".into())],
            ping_interval: None,
        }
    }

    const GOOD: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

    fn with(more: &str) -> Upgrade {
        upgrade(format!("{GOOD}{more}\r\nrest").as_bytes(), &options(), false)
    }

    #[test]
    fn the_example_of_the_standard() {
        let Upgrade::Accepted(accepted) = with("") else { panic!("refused") };
        let answer = String::from_utf8(accepted.answer.clone()).unwrap();
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(answer.contains("X-Mine: 1\r\n") && answer.ends_with("\r\n\r\n") && !answer.contains("Extensions"));
        assert_eq!((accepted.taken, accepted.masked, accepted.compression), (GOOD.len() + 2, true, false));
        for end in 0..GOOD.len() {
            assert_eq!(upgrade(&GOOD.as_bytes()[..end], &options(), false), Upgrade::Incomplete, "{end}");
        }
    }

    #[test]
    fn what_a_client_says_of_itself() {
        let more = "Sec-WebSocket-Extensions: x, permessage-deflate; client_max_window_bits\r\nNats-No-Masking: true\r\n\
                    Cookie: u=me; p=\"a=b\"\r\nCookie: t=tok; other=1\r\nX-Forwarded-For: 10.1.2.3\r\nOrigin: http://page\r\n";
        let Upgrade::Accepted(accepted) = with(more) else { panic!("refused") };
        assert!(accepted.compression && !accepted.masked);
        let answer = String::from_utf8(accepted.answer.clone()).unwrap();
        assert!(answer.contains("Nats-No-Masking: true") && answer.contains("server_no_context_takeover"));
        let visitor = &accepted.visitor;
        assert_eq!(visitor.forwarded, Some([10, 1, 2, 3].into()));
        let said = (visitor.user.as_deref(), visitor.password.as_deref(), visitor.token.as_deref());
        assert_eq!(said, (Some("me"), Some("a=b"), Some("tok")));
    }

    #[test]
    fn what_is_no_upgrade() {
        let change = |from: &str, to: &str| {
            let text = format!("{}\r\n", GOOD.replace(from, to));
            match upgrade(text.as_bytes(), &options(), false) {
                Upgrade::Refused { status, reason } => (status, reason),
                other => panic!("{other:?}"),
            }
        };
        for (from, to, status, reason) in [
            ("GET", "POST", 405, "request method must be GET"),
            ("GET /", "GET /mqtt", 404, "mqtt websocket endpoint not enabled"),
            ("GET /", "GET /leafnode", 404, "leafnode websocket endpoint not enabled"),
            ("Host: a\r\n", "", 400, "'Host' missing in request"),
            ("WebSocket\r", "http2\r", 400, "invalid value for header 'Upgrade'"),
            ("keep-alive, Upgrade", "close", 400, "invalid value for header 'Connection'"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "", 400, "key missing"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "YQ==", 400, "invalid websocket key"),
            ("Version: 13", "Version: 8", 400, "invalid version"),
            ("Host: a", "Host: a\r\nOrigin: http://evil", 403, "origin not allowed: not in the allowed list"),
            ("Host: a", "Host\0: a", 400, "malformed request"),
        ] {
            assert_eq!(change(from, to), (status, reason.to_owned()), "{from}");
        }
        let long = format!("{GOOD}X: {}", "x".repeat(HEAD_MAX));
        assert!(matches!(upgrade(long.as_bytes(), &options(), false), Upgrade::Refused { status: 431, .. }));
    }
}
