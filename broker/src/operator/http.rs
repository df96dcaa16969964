//! Asks an account server for tokens: one small HTTP request a connection, bounded in time and in size.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::clock;
use crate::jwt::TOKEN_BYTES_MAX;

/// How long an answer may take in all.
const PATIENCE: Duration = Duration::from_millis(1900);
/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Where the server is, and what stands before a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    host: String,
    port: u16,
    path: String,
}

impl Url {
    /// Reads `http://host[:port]/path`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("resolver: {text:?} is no URL of the form http://host:port/path");
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let (host, port) = match place.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (place, 80),
        };
        if host.is_empty() || host.contains('@') || !plain(rest) {
            return Err(wrong());
        }
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { "/".to_owned() } else { format!("/{path}/") };
        Ok(Self { host: host.to_owned(), port, path })
    }

    /// What it says of `name`. May wait.
    pub(super) fn get(&self, name: &str) -> Result<String, String> {
        let path = format!("{}{name}", self.path);
        self.ask(&path).map_err(|why| format!("http://{}:{}{path}: {why}", self.host, self.port))
    }

    fn ask(&self, path: &str) -> Result<String, String> {
        let told = |error: std::io::Error| error.to_string();
        let until = clock::now() + PATIENCE;
        let left = || match until.saturating_duration_since(clock::now()) {
            Duration::ZERO => Err("it takes too long".to_owned()),
            left => Ok(left),
        };
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = (host, self.port).to_socket_addrs().map_err(told)?;
        let address = addresses.next().ok_or("there is no such host")?;
        let mut stream = TcpStream::connect_timeout(&address, left()?).map_err(told)?;
        stream.set_write_timeout(Some(left()?)).map_err(told)?;
        // Of version 1.0: what comes back comes in one piece, and ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}:{}\r\nAccept: */*\r\n\r\n", self.host, self.port);
        stream.write_all(request.as_bytes()).map_err(told)?;
        let (mut answer, mut piece) = (Vec::new(), [0; 8192]);
        loop {
            stream.set_read_timeout(Some(left()?)).map_err(told)?;
            let read = stream.read(&mut piece).map_err(told)?;
            answer.extend_from_slice(piece.get(..read).unwrap_or_default());
            if answer.len() > TOKEN_BYTES_MAX + HEAD_BYTES_MAX {
                return Err("the answer is too large".to_owned());
            }
            if read == 0 {
                return body(&answer);
            }
        }
    }
}

fn body(answer: &[u8]) -> Result<String, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(answer) {
        Ok(httparse::Status::Complete(head)) => head,
        _ => return Err("the answer is no HTTP".to_owned()),
    };
    match response.code {
        Some(200) => {}
        code => return Err(format!("it answers {}", code.unwrap_or_default())),
    }
    let body = answer.get(head..).unwrap_or_default();
    String::from_utf8(body.to_vec()).map_err(|_| "the answer is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, host, port, path) in [
            ("http://a:9090/jwt/v1/accounts/", "a", 9090, "/jwt/v1/accounts/"),
            ("http://a/x", "a", 80, "/x/"),
            ("http://127.0.0.1:1", "127.0.0.1", 1, "/"),
            ("http://[::1]:7/", "[::1]", 7, "/"),
            ("http://[::1]", "[::1]", 80, "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.path.as_str()), (host, port, path), "{text}");
        }
        for text in ["", "a", "https://a/", "http://", "http://a:x/", "http://u:p@a/", "http://a/b c", "http://a/\r\nx"]
        {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn answers() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\nabc").unwrap(), "abc");
        for answer in
            [&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], b"", b"HTTP/1.1 200", b"x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n\xff"]
        {
            assert!(body(answer).is_err());
        }
    }
}
