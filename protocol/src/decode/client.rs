//! What clients send.

use super::args::{cut, size, split, unquoted};
use super::line::{self, Body, Line, Name};
use super::{ClientOp, DecodeError, Limits, Publish, Step};

#[derive(Debug, Clone, Copy)]
enum Op {
    Connect,
    Publish,
    HeaderPublish,
    Subscribe,
    Unsubscribe,
    Ping,
    Pong,
    Ok,
    Err,
    Info,
}

const fn name(capitals: &'static [u8], blank: bool) -> Name {
    Name { capitals, blank }
}

/// Which of them need a blank is as nats-server has it: `CONNECT{}` is fine, `UNSUB1` is not.
const NAMES: [(Name, Op); 10] = [
    (name(b"PUB", true), Op::Publish),
    (name(b"HPUB", true), Op::HeaderPublish),
    (name(b"SUB", true), Op::Subscribe),
    (name(b"UNSUB", true), Op::Unsubscribe),
    (name(b"PING", false), Op::Ping),
    (name(b"PONG", false), Op::Pong),
    (name(b"CONNECT", false), Op::Connect),
    (name(b"+OK", false), Op::Ok),
    (name(b"-ERR", true), Op::Err),
    (name(b"INFO", false), Op::Info),
];

/// Decodes the operation at the front of `buf`, as sent by a client.
///
/// A limit is enforced as soon as it can be: the line limit when so many bytes came without a line end, the
/// payload limit when the control line is complete, before the payload.
///
/// # Errors
/// [`DecodeError`] when the stream is broken; the connection cannot go on after it.
#[inline]
pub fn decode_client<'a>(buf: &'a [u8], limits: &Limits) -> Result<Step<'a>, DecodeError> {
    let Some(line) = line::find(buf, limits.max_control_line) else {
        return line::unfinished(buf, limits.max_control_line, &NAMES).map(|at_least| Step::NeedMore { at_least });
    };
    // Nearly everything a busy connection carries is `PUB`, so it does not go through the table.
    if let [b'P' | b'p', b'U' | b'u', b'B' | b'b', rest @ ..] = line.text
        && let [b' ' | b'\t', ..] = rest
    {
        return publish(buf, line, rest, limits);
    }
    other(buf, line, limits)
}

/// Any operation but `PUB`.
fn other<'a>(buf: &'a [u8], line: Line<'a>, limits: &Limits) -> Result<Step<'a>, DecodeError> {
    let Some((op, rest)) = line::name(line.text, &NAMES) else {
        return Err(DecodeError::unknown(line.text));
    };
    let arguments = line::arguments(rest, limits.max_control_line)?;
    let op = match op {
        Op::Publish => return publish(buf, line, rest, limits),
        Op::HeaderPublish => return header_publish(buf, line, arguments, limits),
        Op::Subscribe => subscribe(arguments)?,
        Op::Unsubscribe => unsubscribe(arguments)?,
        Op::Connect => ClientOp::Connect(arguments),
        Op::Info => ClientOp::Info(arguments),
        Op::Err => ClientOp::Err(unquoted(arguments)),
        Op::Ping => ClientOp::Ping,
        Op::Pong => ClientOp::Pong,
        Op::Ok => ClientOp::Ok,
    };
    Ok(Step::Op { op, consumed: line.consumed })
}

/// `PUB subject [reply] size`; `rest` is what follows the name.
#[inline]
fn publish<'a>(buf: &'a [u8], line: Line<'a>, rest: &'a [u8], limits: &Limits) -> Result<Step<'a>, DecodeError> {
    let arguments = line::arguments(rest, limits.max_control_line)?;
    let (subject, tail) = cut(arguments);
    let (second, tail) = cut(tail);
    let (third, tail) = cut(tail);
    let (reply, digits) = if third.is_empty() { (None, second) } else { (Some(second), third) };
    let size = match size(digits) {
        Some(size) if tail.is_empty() && !subject.is_empty() => size,
        _ => return Err(DecodeError::arguments("PUB", arguments)),
    };
    deliver(buf, line, limits, Publish { subject, reply, header_len: 0, has_headers: false, message: &[] }, size)
}

/// `HPUB subject [reply] header-size total-size`.
fn header_publish<'a>(
    buf: &'a [u8],
    line: Line<'a>,
    arguments: &'a [u8],
    limits: &Limits,
) -> Result<Step<'a>, DecodeError> {
    if !limits.headers {
        return Err(DecodeError::HeadersNotSupported);
    }
    let bad = || DecodeError::arguments("HPUB", arguments);
    let (subject, tail) = cut(arguments);
    let (second, tail) = cut(tail);
    let (third, tail) = cut(tail);
    let (fourth, tail) = cut(tail);
    let (reply, header, total) = if fourth.is_empty() { (None, second, third) } else { (Some(second), third, fourth) };
    if !tail.is_empty() || subject.is_empty() {
        return Err(bad());
    }
    let (header_len, total) = size(header).zip(size(total)).ok_or_else(bad)?;
    if header_len > total {
        return Err(DecodeError::HeaderLength { header_len, total });
    }
    deliver(buf, line, limits, Publish { subject, reply, header_len, has_headers: true, message: &[] }, total)
}

/// Adds the message of `size` bytes to `publish`.
#[inline]
fn deliver<'a>(
    buf: &'a [u8],
    line: Line<'a>,
    limits: &Limits,
    publish: Publish<'a>,
    size: usize,
) -> Result<Step<'a>, DecodeError> {
    if size > limits.max_payload {
        return Err(DecodeError::PayloadTooLarge { size, limit: limits.max_payload });
    }
    Ok(match line::body(buf, line.consumed, size)? {
        Body::Whole { message, consumed } => {
            Step::Op { op: ClientOp::Publish(Publish { message, ..publish }), consumed }
        }
        Body::Missing { at_least } => Step::NeedMore { at_least },
    })
}

/// `SUB subject [queue] sid`.
fn subscribe(arguments: &[u8]) -> Result<ClientOp<'_>, DecodeError> {
    match split(arguments) {
        Some(([subject, sid, _], 2)) => Ok(ClientOp::Subscribe { subject, queue: None, sid }),
        Some(([subject, queue, sid], 3)) => Ok(ClientOp::Subscribe { subject, queue: Some(queue), sid }),
        _ => Err(DecodeError::arguments("SUB", arguments)),
    }
}

/// `UNSUB sid [max]`. A maximum that is no number counts as none, as in nats-server.
fn unsubscribe(arguments: &[u8]) -> Result<ClientOp<'_>, DecodeError> {
    match split(arguments) {
        Some(([sid, _], 1)) => Ok(ClientOp::Unsubscribe { sid, max: 0 }),
        Some(([sid, max], 2)) => Ok(ClientOp::Unsubscribe { sid, max: size(max).unwrap_or(0) as u64 }),
        _ => Err(DecodeError::arguments("UNSUB", arguments)),
    }
}
