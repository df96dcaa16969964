//! Addresses of servers as users write them: `nats://user:password@host:port`, or only a part of it.

use std::fmt;

use sublog_protocol::limits::CLIENT_PORT;

/// One server and, perhaps, what to present to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    /// Host name or address, without brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// What stands before the `@`.
    pub(crate) credentials: Credentials,
    /// It begins with `tls://`.
    pub(crate) tls: bool,
}

/// What a client presents.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// A user and a password.
    User(String, String),
    /// A token.
    Token(String),
}

impl fmt::Display for ServerUrl {
    /// The address without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads a list of addresses, separated by commas.
///
/// The errors never quote the text, which may hold a password.
pub(crate) fn parse_list(text: &str) -> Result<Vec<ServerUrl>, String> {
    let urls: Vec<ServerUrl> =
        text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(parse).collect::<Result<_, _>>()?;
    if urls.is_empty() { Err("the server's address is empty".to_owned()) } else { Ok(urls) }
}

fn parse(text: &str) -> Result<ServerUrl, String> {
    let (rest, tls) = match text.split_once("://") {
        None => (text, false),
        Some(("nats", rest)) => (rest, false),
        Some(("tls", rest)) => (rest, true),
        Some((scheme @ ("ws" | "wss"), _)) => {
            return Err(format!("{scheme}:// is not supported by this command, only nats:// and tls://"));
        }
        Some(_) => return Err("the server's address does not begin with nats://".to_owned()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let credentials = match login.map(|login| login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)))) {
        None => Credentials::None,
        Some((token, None)) => Credentials::Token(unescape(token)?),
        Some((user, Some(password))) => Credentials::User(unescape(user)?, unescape(password)?),
    };
    let (host, port) = if let Some(inner) = place.strip_prefix('[') {
        let (host, port) = inner.split_once(']').ok_or("the server's address lacks a ']'")?;
        (host, port.strip_prefix(':').or(if port.is_empty() { None } else { Some(port) }))
    } else if place.matches(':').count() > 1 {
        (place, None)
    } else {
        place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return Err("the server's address has no valid host".to_owned());
    }
    let port = match port {
        None => CLIENT_PORT,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or("the server's port is not 1 to 65535")?,
    };
    Ok(ServerUrl { host: host.to_owned(), port, credentials, tls })
}

/// Resolves `%41` escapes, with which a password may hold `@`, `:` and `/`.
fn unescape(text: &str) -> Result<String, String> {
    let refuse = || "a '%' in the server's address is not followed by two hexadecimal digits".to_owned();
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or_else(refuse)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        out.push(u8::from_str_radix(digits.ok_or_else(refuse)?, 16).map_err(|_| refuse())?);
        rest = tail;
    }
    String::from_utf8(out).map_err(|_| "the user or password in the server's address is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let user = |u: &str, p: &str| Credentials::User(u.into(), p.into());
        for (text, shown, credentials) in [
            ("localhost", "localhost:4222", Credentials::None),
            ("10.0.0.1:4333", "10.0.0.1:4333", Credentials::None),
            ("nats://h", "h:4222", Credentials::None),
            ("nats://h:1/", "h:1", Credentials::None),
            ("nats://u:p@h:1", "h:1", user("u", "p")),
            ("nats://u:p%40%3a%2F@h", "h:4222", user("u", "p@:/")),
            ("u:p@x@h", "h:4222", user("u", "p@x")),
            ("nats://t0ken@h", "h:4222", Credentials::Token("t0ken".into())),
            ("nats://[::1]:4333", "[::1]:4333", Credentials::None),
            ("[::1]", "[::1]:4222", Credentials::None),
            ("::1", "[::1]:4222", Credentials::None),
        ] {
            let url = parse(text).unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert!(url.credentials == credentials, "{text}");
        }
        assert_eq!(parse_list("a, nats://b:1,").unwrap().len(), 2);
    }

    #[test]
    fn refusals_hold_no_secret() {
        for text in [
            "",
            ",",
            "http://u:s3cret@h",
            "ws://u:s3cret@h",
            "u:s3cret@h:0",
            "u:s3cret@h:x",
            "u:s3cret@",
            "u:s3cret%4@h",
            "[::1",
            "u:s3cret@h h",
            "[::1]x",
        ] {
            let error = parse_list(text).err().unwrap_or_else(|| panic!("{text:?} must be refused"));
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
