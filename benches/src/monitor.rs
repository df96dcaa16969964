//! Asks a server's monitoring port for its counters.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::clock::now;
use crate::error::{BenchError, During as _, Result};

/// `GET /varz`, parsed.
///
/// # Errors
/// No server there, or an answer that is not JSON with status 200.
pub(crate) fn varz(port: u16) -> Result<Value> {
    let what = "asking for /varz";
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).during(what)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).during(what)?;
    // Version 1.0, so that the answer is not cut into chunks.
    stream.write_all(b"GET /varz HTTP/1.0\r\nHost: localhost\r\n\r\n").during(what)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).during(what)?;
    body(&answer)
}

fn body(answer: &str) -> Result<Value> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split_ascii_whitespace().nth(1) != Some("200") {
        return Err(BenchError::Setup(format!("/varz answered {status:?}")));
    }
    serde_json::from_str(body).map_err(|error| BenchError::Setup(format!("/varz is not JSON: {error}")))
}

/// Messages that the server has taken from clients since its start.
///
/// # Errors
/// As [`varz`], or no such counter.
pub(crate) fn messages_in(port: u16) -> Result<u64> {
    let count = varz(port)?.get("in_msgs").and_then(Value::as_u64);
    count.ok_or_else(|| BenchError::Setup("/varz has no in_msgs".into()))
}

/// How often the server has synced its log since its start; `None` from a server that has no log.
///
/// # Errors
/// As [`varz`].
pub(crate) fn syncs(port: u16) -> Result<Option<u64>> {
    Ok(varz(port)?.pointer("/sublog/syncs").and_then(Value::as_u64))
}

/// Waits until the server's count of messages taken has grown from `before` by `expected`: a server may add a
/// connection's share to the total a little later than it answers.
///
/// # Errors
/// Another count after two seconds: messages were lost or repeated.
pub(crate) fn expect_messages_in(port: u16, before: u64, expected: u64) -> Result<()> {
    let end = now() + Duration::from_secs(2);
    loop {
        let counted = messages_in(port)?.saturating_sub(before);
        if counted == expected {
            return Ok(());
        }
        if counted > expected || now() > end {
            let text = format!("the server counted {counted} messages in, {expected} were published");
            return Err(BenchError::Wrong(text));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_is_believed() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"in_msgs\": 3}").unwrap()["in_msgs"], 3);
        assert!(body("HTTP/1.0 404 Not Found\r\n\r\n{}").is_err());
        assert!(body("HTTP/1.0 200 OK\r\n\r\n{\"in_msgs\"").is_err());
        assert!(body("").is_err());
    }
}
