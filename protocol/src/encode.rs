//! Writing of operations, appended to a byte vector.
//!
//! Nothing here formats through `fmt` on the message path. The callers guarantee that subjects, reply
//! subjects, queues and sids hold no blank and no line end; this module is about bytes, not about
//! validation.

use crate::error::ServerError;
use crate::info::{ConnectOptions, ServerInfo};

/// `+OK` with its line end.
pub const OK: &[u8] = b"+OK\r\n";
/// `PING` with its line end.
pub const PING: &[u8] = b"PING\r\n";
/// `PONG` with its line end.
pub const PONG: &[u8] = b"PONG\r\n";
/// The end of a line and of a payload.
pub const CRLF: &[u8] = b"\r\n";

/// The digits of 0 to 99.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// Most digits of a number.
pub const DIGITS_MAX: usize = 20;

/// Appends `n` in decimal.
pub fn decimal(out: &mut Vec<u8>, n: u64) {
    let mut digits = [0_u8; DIGITS_MAX];
    let begin = decimal_before(&mut digits, DIGITS_MAX, n);
    out.extend_from_slice(digits.get(begin..).unwrap_or_default());
}

/// Writes `n` in decimal so that it ends before `end`, where [`DIGITS_MAX`] bytes or more have to be; where it begins.
pub fn decimal_before(out: &mut [u8], end: usize, n: u64) -> usize {
    let (mut rest, mut begin) = (n, end);
    // Two digits at a time, from the end.
    while rest >= 10 {
        begin = begin.saturating_sub(2);
        let pair = usize::try_from(rest % 100).unwrap_or(0) * 2;
        if let (Some(to), Some(from)) = (out.get_mut(begin..begin + 2), PAIRS.get(pair..pair + 2)) {
            to.copy_from_slice(from);
        }
        rest /= 100;
    }
    if rest > 0 || n == 0 {
        begin = begin.saturating_sub(1);
        if let Some(to) = out.get_mut(begin) {
            *to = b'0' + (rest % 10) as u8;
        }
    }
    begin
}

/// Appends the control line of a `MSG`; the caller adds `payload_len` bytes and [`CRLF`].
pub fn msg_head(out: &mut Vec<u8>, subject: &[u8], sid: &[u8], reply: Option<&[u8]>, payload_len: usize) {
    out.extend_from_slice(b"MSG ");
    delivery(out, subject, sid, reply);
    decimal(out, payload_len as u64);
    out.extend_from_slice(CRLF);
}

/// Appends the control line of an `HMSG`; the caller adds the header block (`header_len` bytes), the
/// payload (`total_len - header_len` bytes) and [`CRLF`].
pub fn hmsg_head(
    out: &mut Vec<u8>,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    header_len: usize,
    total_len: usize,
) {
    out.extend_from_slice(b"HMSG ");
    delivery(out, subject, sid, reply);
    decimal(out, header_len as u64);
    out.push(b' ');
    decimal(out, total_len as u64);
    out.extend_from_slice(CRLF);
}

/// Appends a whole `MSG`.
pub fn msg(out: &mut Vec<u8>, subject: &[u8], sid: &[u8], reply: Option<&[u8]>, payload: &[u8]) {
    out.reserve(line_bound(subject, sid, reply) + payload.len());
    msg_head(out, subject, sid, reply, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(CRLF);
}

/// Appends a whole `HMSG`. `message` is the header block of `header_len` bytes followed by the payload.
pub fn hmsg(out: &mut Vec<u8>, subject: &[u8], sid: &[u8], reply: Option<&[u8]>, header_len: usize, message: &[u8]) {
    out.reserve(line_bound(subject, sid, reply) + message.len());
    hmsg_head(out, subject, sid, reply, header_len, message.len());
    out.extend_from_slice(message);
    out.extend_from_slice(CRLF);
}

/// Appends a whole `PUB`.
pub fn publish(out: &mut Vec<u8>, subject: &[u8], reply: Option<&[u8]>, payload: &[u8]) {
    out.reserve(line_bound(subject, &[], reply) + payload.len());
    out.extend_from_slice(b"PUB ");
    arguments(out, subject, reply);
    decimal(out, payload.len() as u64);
    out.extend_from_slice(CRLF);
    out.extend_from_slice(payload);
    out.extend_from_slice(CRLF);
}

/// Appends a whole `HPUB`. `message` is the header block of `header_len` bytes followed by the payload.
pub fn hpublish(out: &mut Vec<u8>, subject: &[u8], reply: Option<&[u8]>, header_len: usize, message: &[u8]) {
    out.reserve(line_bound(subject, &[], reply) + message.len());
    out.extend_from_slice(b"HPUB ");
    arguments(out, subject, reply);
    decimal(out, header_len as u64);
    out.push(b' ');
    decimal(out, message.len() as u64);
    out.extend_from_slice(CRLF);
    out.extend_from_slice(message);
    out.extend_from_slice(CRLF);
}

/// Appends a `SUB`.
pub fn subscribe(out: &mut Vec<u8>, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
    out.extend_from_slice(b"SUB ");
    arguments(out, subject, queue);
    out.extend_from_slice(sid);
    out.extend_from_slice(CRLF);
}

/// Appends an `UNSUB`; `max` is the number of deliveries since `SUB` to end after, `None` = now.
pub fn unsubscribe(out: &mut Vec<u8>, sid: &[u8], max: Option<u64>) {
    out.extend_from_slice(b"UNSUB ");
    out.extend_from_slice(sid);
    if let Some(max) = max {
        out.push(b' ');
        decimal(out, max);
    }
    out.extend_from_slice(CRLF);
}

/// Appends an `INFO`.
pub fn info(out: &mut Vec<u8>, info: &ServerInfo) {
    out.extend_from_slice(b"INFO ");
    info.write_json(out);
    out.extend_from_slice(CRLF);
}

/// Appends a `CONNECT`.
pub fn connect(out: &mut Vec<u8>, options: &ConnectOptions) {
    out.extend_from_slice(b"CONNECT ");
    options.write_json(out);
    out.extend_from_slice(CRLF);
}

/// Appends an `-ERR`.
pub fn err(out: &mut Vec<u8>, error: &ServerError) {
    out.extend_from_slice(b"-ERR '");
    out.extend_from_slice(error.text().as_bytes());
    out.extend_from_slice(b"'\r\n");
}

/// Appends `subject sid [reply] ` with its last blank.
fn delivery(out: &mut Vec<u8>, subject: &[u8], sid: &[u8], reply: Option<&[u8]>) {
    out.extend_from_slice(subject);
    out.push(b' ');
    arguments(out, sid, reply);
}

/// Appends `first [second] ` with its last blank.
fn arguments(out: &mut Vec<u8>, first: &[u8], second: Option<&[u8]>) {
    out.extend_from_slice(first);
    out.push(b' ');
    if let Some(second) = second {
        out.extend_from_slice(second);
        out.push(b' ');
    }
}

/// Upper bound of a control line with these arguments and two sizes, and of the line end after the
/// payload: one growth of the vector a message instead of several.
fn line_bound(subject: &[u8], sid: &[u8], reply: Option<&[u8]>) -> usize {
    const FIXED: usize = "HMSG ".len() + 3 + 2 * 21 + 2 * CRLF.len();
    FIXED + subject.len() + sid.len() + reply.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        let powers = (0..20).map(|n| 10_u64.pow(n)).flat_map(|power| [power - 1, power, power + 1, power / 3]);
        for n in powers.chain([0, 5, 42, 100, 909, u64::MAX - 1, u64::MAX]).chain(1_000..1_300) {
            let mut out = b"x".to_vec();
            decimal(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{n}"));
        }
    }
}
