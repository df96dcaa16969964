//! Every `-ERR` text the server can send, and whether the connection ends with it.
//!
//! Clients compare these texts letter by letter to decide between "report", "reconnect" and "give up",
//! so they live here and nowhere else.

use std::borrow::Cow;

/// An error the server reports to a client as `-ERR '<text>'`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// A line does not begin with an operation a client may send.
    UnknownOperation,
    /// Credentials are missing or wrong.
    AuthorizationViolation,
    /// No valid `CONNECT` in time.
    AuthenticationTimeout,
    /// The credentials of the user ran out while connected.
    AuthenticationExpired,
    /// The user was removed while connected.
    AuthenticationRevoked,
    /// The credentials of the account ran out while connected.
    AccountAuthenticationExpired,
    /// The client went on without the TLS upgrade the server requires.
    TlsRequired,
    /// `CONNECT` names a `protocol` other than 0 and 1.
    InvalidClientProtocol,
    /// `CONNECT` asks for `no_responders` without `headers`.
    NoRespondersRequiresHeaders,
    /// A message is larger than the server accepts.
    MaxPayload,
    /// A control line is longer than the server accepts.
    MaxControlLine,
    /// The server has as many connections as it accepts.
    MaxConnections,
    /// The account has as many connections as it may.
    MaxAccountConnections,
    /// Too many connections arrive at once.
    ConnectionThrottled,
    /// The client did not answer pings.
    StaleConnection,
    /// A client connected to the port for cluster routes.
    AttemptedRoutePort,
    /// A client connected to the port for leaf nodes.
    AttemptedLeafNodePort,
    /// A client connected to the port for gateways.
    AttemptedGatewayPort,
    /// The account could not be set up for the connection.
    FailedAccountRegistration,
    /// The connection has as many subscriptions as it may.
    MaxSubscriptions,
    /// The subject of a `SUB` is not valid.
    InvalidSubject,
    /// The subject of a publish is not a valid literal one (reported to pedantic clients only).
    InvalidPublishSubject,
    /// `HPUB` from a client that did not agree on headers.
    HeadersNotSupported,
    /// The user may not publish to this subject.
    PermissionPublish {
        /// The subject of the refused message.
        subject: Vec<u8>,
    },
    /// The user may not use this reply subject.
    PermissionPublishReply {
        /// The reply subject of the refused message.
        reply: Vec<u8>,
    },
    /// The user may not subscribe to this subject.
    PermissionSubscribe {
        /// The subject asked for.
        subject: Vec<u8>,
        /// The queue group asked for.
        queue: Option<Vec<u8>>,
    },
    /// A subscription is no longer allowed after a change of permissions and was removed.
    PermissionSubscribeRevoked {
        /// The subject subscribed to.
        subject: Vec<u8>,
        /// The queue group of the subscription.
        queue: Option<Vec<u8>>,
        /// The subscription id the client chose.
        sid: Vec<u8>,
    },
    /// A subscription has more tokens than the server accepts.
    TooManyTokens {
        /// The subject asked for.
        subject: Vec<u8>,
    },
    /// A text of our own that NATS does not have. The connection stays open.
    Other(String),
}

impl ServerError {
    /// The text that stands inside the single quotes, without control characters.
    ///
    /// Subjects are quoted the way Go quotes strings, because that is what clients take apart. A single
    /// quote inside a subject stays as it is, as in NATS: clients cut at the first and the last quote.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::UnknownOperation => "Unknown Protocol Operation",
            Self::AuthorizationViolation => "Authorization Violation",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthenticationExpired => "User Authentication Expired",
            Self::AuthenticationRevoked => "User Authentication Revoked",
            Self::AccountAuthenticationExpired => "Account Authentication Expired",
            Self::TlsRequired => "Secure Connection - TLS Required",
            Self::InvalidClientProtocol => "invalid client protocol",
            Self::NoRespondersRequiresHeaders => "no responders requires headers support",
            Self::MaxPayload => "Maximum Payload Violation",
            Self::MaxControlLine => "maximum control line exceeded",
            Self::MaxConnections => "maximum connections exceeded",
            Self::MaxAccountConnections => "maximum account active connections exceeded",
            Self::ConnectionThrottled => "Connection throttling is active. Please try again later.",
            Self::StaleConnection => "Stale Connection",
            Self::AttemptedRoutePort => "attempted to connect to route port",
            Self::AttemptedLeafNodePort => "attempted to connect to leaf node port",
            Self::AttemptedGatewayPort => "attempted to connect to gateway port",
            Self::FailedAccountRegistration => "Failed Account Registration",
            Self::MaxSubscriptions => "maximum subscriptions exceeded",
            Self::InvalidSubject => "Invalid Subject",
            Self::InvalidPublishSubject => "Invalid Publish Subject",
            Self::HeadersNotSupported => "message headers not supported",
            Self::PermissionPublish { subject } => {
                return Cow::Owned(format!("Permissions Violation for Publish to {}", go_quoted(subject)));
            }
            Self::PermissionPublishReply { reply } => {
                return Cow::Owned(format!("Permissions Violation for Publish with Reply of {}", go_quoted(reply)));
            }
            Self::PermissionSubscribe { subject, queue } => {
                return Cow::Owned(subscription_text(subject, queue.as_deref()));
            }
            Self::PermissionSubscribeRevoked { subject, queue, sid } => {
                let subscription = subscription_text(subject, queue.as_deref());
                return Cow::Owned(format!("{subscription} (sid {})", go_quoted(sid)));
            }
            Self::TooManyTokens { subject } => {
                return Cow::Owned(format!("{}, too many tokens", subscription_text(subject, None)));
            }
            Self::Other(text) => return one_line(text),
        })
    }

    /// Whether the server closes the connection after this error.
    #[must_use]
    pub fn closes(&self) -> bool {
        !matches!(
            self,
            Self::MaxSubscriptions
                | Self::InvalidSubject
                | Self::InvalidPublishSubject
                | Self::PermissionPublish { .. }
                | Self::PermissionPublishReply { .. }
                | Self::PermissionSubscribe { .. }
                | Self::PermissionSubscribeRevoked { .. }
                | Self::TooManyTokens { .. }
                | Self::Other(_)
        )
    }
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for ServerError {}

fn subscription_text(subject: &[u8], queue: Option<&[u8]>) -> String {
    let mut text = format!("Permissions Violation for Subscription to {}", go_quoted(subject));
    if let Some(queue) = queue {
        text.push_str(" using queue ");
        text.push_str(&go_quoted(queue));
    }
    text
}

/// `text` fit to stand between single quotes on one line.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() || c == '\'') {
        return Cow::Borrowed(text);
    }
    let harmless = |c: char| match c {
        '\'' => '"',
        c if c.is_control() => ' ',
        c => c,
    };
    Cow::Owned(text.chars().map(harmless).collect())
}

/// `bytes` as Go's `%q` prints a string: double quotes, printable characters as they are, the short
/// escapes, `\xNN` for other ASCII control characters and for bytes that are not UTF-8, `\uNNNN` and
/// `\UNNNNNNNN` for other characters.
fn go_quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_go_escaped(&mut out, c);
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

fn push_go_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if is_printable(c) => out.push(c),
        c if c < ' ' || c == '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// Whether Go prints `c` as it is: anything but control, format, private, unassigned and separator
/// characters other than the ASCII space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // `escape_debug` draws the same line; only at the start of a string it also escapes combining marks,
    // which is why a letter stands before `c`.
    let mut utf8 = [0; 4];
    let mut probe = String::from("a");
    probe.push_str(c.encode_utf8(&mut utf8));
    probe.escape_debug().eq(probe.chars())
}

#[cfg(test)]
mod tests;
