//! What servers send.

use super::args::{cut, size, unquoted};
use super::line::{self, Body, Line, Name};
use super::{DecodeError, Message, ServerOp, ServerStep};
use crate::limits::SERVER_LINE_MAX;

#[derive(Debug, Clone, Copy)]
enum Op {
    Info,
    Message,
    HeaderMessage,
    Ok,
    Err,
    Ping,
    Pong,
}

const fn name(capitals: &'static [u8], blank: bool) -> Name {
    Name { capitals, blank }
}

const NAMES: [(Name, Op); 7] = [
    (name(b"MSG", true), Op::Message),
    (name(b"HMSG", true), Op::HeaderMessage),
    (name(b"PING", false), Op::Ping),
    (name(b"PONG", false), Op::Pong),
    (name(b"+OK", false), Op::Ok),
    (name(b"-ERR", false), Op::Err),
    (name(b"INFO", false), Op::Info),
];

/// Decodes the operation at the front of `buf`, as sent by a server. `max_payload` is the largest message
/// accepted in bytes, `usize::MAX` for no limit; lines are limited to [`SERVER_LINE_MAX`].
///
/// ```
/// use sublog_protocol::decode::{ServerOp, ServerStep, decode_server};
///
/// let step = decode_server(b"MSG cms.a 7 5\r\nhello\r\n", usize::MAX).unwrap();
/// let ServerStep::Op { op: ServerOp::Message(message), consumed: 22 } = step else { panic!("{step:?}") };
/// assert_eq!((message.subject, message.sid, message.message), (&b"cms.a"[..], &b"7"[..], &b"hello"[..]));
/// ```
///
/// # Errors
/// [`DecodeError`] when the stream is broken; the connection cannot go on after it.
pub fn decode_server(buf: &[u8], max_payload: usize) -> Result<ServerStep<'_>, DecodeError> {
    let Some(line) = line::find(buf, SERVER_LINE_MAX) else {
        return line::unfinished(buf, SERVER_LINE_MAX, &NAMES).map(|at_least| ServerStep::NeedMore { at_least });
    };
    let Some((op, rest)) = line::name(line.text, &NAMES) else {
        return Err(DecodeError::unknown(line.text));
    };
    let arguments = line::arguments(rest, SERVER_LINE_MAX)?;
    let op = match op {
        Op::Message => return message(buf, line, arguments, max_payload),
        Op::HeaderMessage => return header_message(buf, line, arguments, max_payload),
        Op::Info => ServerOp::Info(arguments),
        Op::Err => ServerOp::Err(unquoted(arguments)),
        Op::Ok => ServerOp::Ok,
        Op::Ping => ServerOp::Ping,
        Op::Pong => ServerOp::Pong,
    };
    Ok(ServerStep::Op { op, consumed: line.consumed })
}

/// `MSG subject sid [reply] size`.
fn message<'a>(
    buf: &'a [u8],
    line: Line<'a>,
    arguments: &'a [u8],
    max_payload: usize,
) -> Result<ServerStep<'a>, DecodeError> {
    let (subject, tail) = cut(arguments);
    let (sid, tail) = cut(tail);
    let (third, tail) = cut(tail);
    let (fourth, tail) = cut(tail);
    let (reply, digits) = if fourth.is_empty() { (None, third) } else { (Some(third), fourth) };
    let size = match size(digits) {
        Some(size) if tail.is_empty() => size,
        _ => return Err(DecodeError::arguments("MSG", arguments)),
    };
    let message = Message { subject, sid, reply, header_len: 0, has_headers: false, message: &[] };
    deliver(buf, line, message, size, max_payload)
}

/// `HMSG subject sid [reply] header-size total-size`.
fn header_message<'a>(
    buf: &'a [u8],
    line: Line<'a>,
    arguments: &'a [u8],
    max_payload: usize,
) -> Result<ServerStep<'a>, DecodeError> {
    let bad = || DecodeError::arguments("HMSG", arguments);
    let (subject, tail) = cut(arguments);
    let (sid, tail) = cut(tail);
    let (third, tail) = cut(tail);
    let (fourth, tail) = cut(tail);
    let (fifth, tail) = cut(tail);
    let (reply, header, total) = if fifth.is_empty() { (None, third, fourth) } else { (Some(third), fourth, fifth) };
    if !tail.is_empty() {
        return Err(bad());
    }
    let (header_len, total) = size(header).zip(size(total)).ok_or_else(bad)?;
    if header_len > total {
        return Err(DecodeError::HeaderLength { header_len, total });
    }
    let message = Message { subject, sid, reply, header_len, has_headers: true, message: &[] };
    deliver(buf, line, message, total, max_payload)
}

/// Adds the message of `size` bytes.
fn deliver<'a>(
    buf: &'a [u8],
    line: Line<'a>,
    head: Message<'a>,
    size: usize,
    max_payload: usize,
) -> Result<ServerStep<'a>, DecodeError> {
    if size > max_payload {
        return Err(DecodeError::PayloadTooLarge { size, limit: max_payload });
    }
    Ok(match line::body(buf, line.consumed, size)? {
        Body::Whole { message, consumed } => {
            ServerStep::Op { op: ServerOp::Message(Message { message, ..head }), consumed }
        }
        Body::Missing { at_least } => ServerStep::NeedMore { at_least },
    })
}
