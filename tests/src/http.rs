//! The monitoring endpoints, asked the plain way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::clock::PATIENCE;

/// GET: the status code and the body.
///
/// # Panics
/// There is no answer.
#[must_use]
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the monitoring port takes connections");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    get_over(stream, address, path)
}

/// As [`get`], over what is connected already.
///
/// # Panics
/// There is no answer.
#[must_use]
pub fn get_over(mut stream: impl Read + Write, address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the whole answer comes");
    let answer = String::from_utf8(answer).expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("the answer has a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("the answer has a status");
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    (status, if chunked { joined(body) } else { body.to_owned() })
}

/// What comes in chunks, each with its length before it.
fn joined(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).expect("a chunk has a length");
        body.push_str(&behind[..length]);
        rest = behind[length..].trim_start_matches("\r\n");
    }
    body
}

/// GET of a JSON page.
///
/// # Panics
/// There is no answer, or it is not JSON.
#[must_use]
pub fn json(address: SocketAddr, path: &str) -> Value {
    let (status, body) = get(address, path);
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path} gave {status} and no JSON ({error}): {body}"))
}
