//! A NATS client connection made for measuring: large writes, large reads, and as little work for each message as
//! verifying it allows.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memchr::memchr;

use crate::clock::now;
use crate::error::{BenchError, During as _, Result};
use crate::server::{PASSWORD, Target, USER};
use transport::Transport;

mod transport;

/// How often a waiting reader looks whether the run was given up.
const LOOK_AROUND: Duration = Duration::from_millis(250);
/// No line of a server is longer, and no message of ours.
const MAX_BUFFER_BYTES: usize = 4 << 20;
/// Without the end, since there may be a user.
const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true,\"protocol\":1,\"lang\":\"rust\",\
    \"name\":\"sublog-bench\",\"version\":\"0.1.0\"";

/// A message as the server delivered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered<'a> {
    /// Its subject.
    pub(crate) subject: &'a [u8],
    /// Where an answer is wanted.
    pub(crate) reply: Option<&'a [u8]>,
    /// Its block of headers, to the empty line; empty if it has none.
    pub(crate) headers: &'a [u8],
    /// Its payload.
    pub(crate) payload: &'a [u8],
}

/// The frame in which all messages of a subscription come, but for digits in the subject: recognised by comparing,
/// without parsing.
#[derive(Debug, Clone)]
pub(crate) struct FixedFrame {
    head: Vec<u8>,
    subject: std::ops::Range<usize>,
    /// Where the changing digits begin; they end with the subject.
    digits_from: usize,
    payload_bytes: usize,
    /// What stands between a reply subject and the payload, if a reply subject that varies stands before it.
    after_reply: Option<Vec<u8>>,
}

impl FixedFrame {
    /// The frame of messages with `payload_bytes` on `subject`, whose last `digits` bytes vary, for subscription 1.
    pub(crate) fn new(subject: &[u8], digits: usize, payload_bytes: usize) -> Self {
        let head = [b"MSG ", subject, format!(" 1 {payload_bytes}\r\n").as_bytes()].concat();
        let subject = 4..4 + subject.len();
        Self { head, digits_from: subject.end - digits, subject, payload_bytes, after_reply: None }
    }

    /// The same with a reply subject, which may be anything.
    pub(crate) fn with_reply(subject: &[u8], digits: usize, payload_bytes: usize) -> Self {
        let plain = Self::new(subject, digits, payload_bytes);
        let head = [b"MSG ", subject, b" 1 "].concat();
        Self { head, after_reply: Some(format!(" {payload_bytes}\r\n").into_bytes()), ..plain }
    }

    /// The message at the front of `bytes`, with the length of its frame, if it is whole and framed so.
    fn split<'a>(&self, bytes: &'a [u8]) -> Option<(Delivered<'a>, usize)> {
        let (reply, head_end) = match &self.after_reply {
            None => (None, self.head.len()),
            Some(after) => {
                let rest = bytes.get(self.head.len()..)?;
                let reply = rest.get(..memchr(b' ', rest)?)?;
                let head_end = self.head.len() + reply.len() + after.len();
                if bytes.get(head_end - after.len()..head_end)? != after {
                    return None;
                }
                (Some(reply), head_end)
            }
        };
        let payload_end = head_end + self.payload_bytes;
        let frame = bytes.get(..payload_end + 2)?;
        let same = |range: std::ops::Range<usize>| frame.get(range.clone()) == self.head.get(range);
        if !same(0..self.digits_from) || !same(self.subject.end..self.head.len()) || !frame.ends_with(b"\r\n") {
            return None;
        }
        let subject = frame.get(self.subject.clone())?;
        let payload = frame.get(head_end..payload_end)?;
        Some((Delivered { subject, reply, headers: b"", payload }, frame.len()))
    }
}

/// What stands at the front of the bytes received.
#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    NeedMore,
    Message(Delivered<'a>, usize),
    Ping(usize),
    Pong(usize),
    /// INFO or +OK.
    Skip(usize),
}

/// Parses one operation of a server.
fn parse(bytes: &[u8]) -> Result<Parsed<'_>> {
    let Some(line_end) = memchr(b'\n', bytes) else { return Ok(Parsed::NeedMore) };
    let line = bytes.get(..line_end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let used = line_end + 1;
    let odd = || BenchError::Wrong(format!("the server sent {:?}", String::from_utf8_lossy(line)));
    if let Some(arguments) = line.strip_prefix(b"MSG ") {
        return message(arguments, bytes, used, false).ok_or_else(odd);
    }
    if let Some(arguments) = line.strip_prefix(b"HMSG ") {
        return message(arguments, bytes, used, true).ok_or_else(odd);
    }
    match line {
        b"PING" => Ok(Parsed::Ping(used)),
        b"PONG" => Ok(Parsed::Pong(used)),
        b"+OK" => Ok(Parsed::Skip(used)),
        _ if line.starts_with(b"INFO ") => Ok(Parsed::Skip(used)),
        _ => match line.strip_prefix(b"-ERR ") {
            Some(text) => Err(BenchError::ServerSaid(String::from_utf8_lossy(text).into_owned())),
            None => Err(odd()),
        },
    }
}

/// `None` is a malformed message.
fn message<'a>(arguments: &'a [u8], bytes: &'a [u8], used: usize, has_headers: bool) -> Option<Parsed<'a>> {
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<usize>().ok();
    let mut words = arguments.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (subject, _sid, mut word) = (words.next()?, words.next()?, words.next()?);
    let mut rest = [words.next(), words.next()].into_iter().flatten();
    if words.next().is_some() {
        return None;
    }
    // A reply subject is there if there is one word more than sizes.
    let sizes = 1 + usize::from(has_headers);
    let mut reply = None;
    if rest.clone().count() == sizes {
        reply = Some(word);
        word = rest.next()?;
    }
    let header_bytes = if has_headers { number(std::mem::replace(&mut word, rest.next()?))? } else { 0 };
    if rest.next().is_some() {
        return None;
    }
    let size = number(word)?;
    let (payload_at, end) = (used.checked_add(header_bytes)?, used.checked_add(size)?);
    let Some(trailer) = bytes.get(end..end.checked_add(2)?) else { return Some(Parsed::NeedMore) };
    let (headers, payload) = (bytes.get(used..payload_at)?, bytes.get(payload_at..end)?);
    (trailer == b"\r\n").then_some(Parsed::Message(Delivered { subject, reply, headers, payload }, end + 2))
}

/// One client connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Transport,
    buffer: Vec<u8>,
    /// What was received and not yet used: `buffer[start..end]`.
    start: usize,
    end: usize,
    stall: Duration,
    last_arrival: Instant,
    pings_sent: u64,
    pongs_received: u64,
}

impl Connection {
    /// Connects to 127.0.0.1, waits for INFO, encrypts if the target wants it, sends CONNECT and PING, and waits for
    /// PONG.
    ///
    /// # Errors
    /// Nobody listens, or whoever does is no NATS server that lets us in.
    pub(crate) fn open(target: Target, buffer_bytes: usize) -> Result<Self> {
        let stall = target.stall;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, target.port)).during("connecting")?;
        stream.set_nodelay(true).during("connecting")?;
        stream.set_read_timeout(Some(LOOK_AROUND)).during("connecting")?;
        stream.set_write_timeout(Some(stall)).during("connecting")?;
        let mut connection = Self {
            stream: Transport::Plain(stream),
            buffer: vec![0; buffer_bytes],
            start: 0,
            end: 0,
            stall,
            last_arrival: now(),
            pings_sent: 0,
            pongs_received: 0,
        };
        let never = AtomicBool::new(false);
        connection.receive(&never, "waiting for INFO")?;
        if target.tls {
            connection.take(None, &mut |_| Err(BenchError::Wrong("a message before the handshake".into())))?;
            connection.stream = connection.stream.encrypted(stall)?;
        }
        connection.pings_sent += 1;
        let user = if target.users { format!(",\"user\":\"{USER}\",\"pass\":\"{PASSWORD}\"") } else { String::new() };
        connection.send(format!("{CONNECT}{user}}}\r\nPING\r\n").as_bytes())?;
        connection.wait_for_pongs()?;
        Ok(connection)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The server's own words, if it said why it closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let Err(error) = self.stream.write_all(bytes).and_then(|()| self.stream.flush()) else { return Ok(()) };
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            return Err(BenchError::Stalled { seconds: self.stall.as_secs(), doing: "sending" });
        }
        let never = AtomicBool::new(false);
        while self.receive(&never, "asking why").is_ok() {
            if let Err(why @ BenchError::ServerSaid(_)) = self.take(None, &mut |_| Ok(())) {
                return Err(why);
            }
        }
        Err(error).during("sending")
    }

    /// Notes that a PING stands in what will be sent.
    pub(crate) fn owe_pong(&mut self) {
        self.pings_sent += 1;
    }

    /// Sends PING and waits for its PONG.
    ///
    /// # Errors
    /// An error line before it, or silence.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.owe_pong();
        self.send(b"PING\r\n")?;
        self.wait_for_pongs()
    }

    /// Waits until every PING sent was answered; a message meanwhile is an error.
    ///
    /// # Errors
    /// An error line before it, or silence.
    pub(crate) fn wait_for_pongs(&mut self) -> Result<()> {
        let never = AtomicBool::new(false);
        while self.pongs_received < self.pings_sent {
            self.pump(None, &never, "waiting for PONG", &mut |got: Delivered<'_>| {
                let subject = String::from_utf8_lossy(got.subject);
                Err(BenchError::Wrong(format!("a message on {subject:?} that nobody awaited")))
            })?;
        }
        Ok(())
    }

    /// Uses what is there, else waits for more once, and hands every whole message to `on_message`.
    ///
    /// # Errors
    /// Those of `on_message`, an error line, silence, or a run given up by another connection.
    pub(crate) fn pump(
        &mut self,
        fixed: Option<&FixedFrame>,
        aborted: &AtomicBool,
        doing: &'static str,
        on_message: &mut impl FnMut(Delivered<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.take(fixed, on_message)? > 0 {
            return Ok(());
        }
        self.receive(aborted, doing)?;
        self.take(fixed, on_message)?;
        Ok(())
    }

    /// Hands out every whole message received; returns how many bytes that used up.
    fn take(
        &mut self,
        fixed: Option<&FixedFrame>,
        on_message: &mut impl FnMut(Delivered<'_>) -> Result<()>,
    ) -> Result<usize> {
        let before = self.start;
        loop {
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some((message, used)) = fixed.and_then(|frame| frame.split(bytes)) {
                on_message(message)?;
                self.start += used;
                continue;
            }
            match parse(bytes)? {
                Parsed::NeedMore => return Ok(self.start - before),
                Parsed::Message(message, used) => {
                    on_message(message)?;
                    self.start += used;
                }
                Parsed::Ping(used) => {
                    self.start += used;
                    self.stream.write_all(b"PONG\r\n").and_then(|()| self.stream.flush()).during("answering a PING")?;
                }
                Parsed::Pong(used) => {
                    self.start += used;
                    self.pongs_received += 1;
                }
                Parsed::Skip(used) => self.start += used,
            }
        }
    }

    /// Reads once, waiting for it.
    fn receive(&mut self, aborted: &AtomicBool, doing: &'static str) -> Result<()> {
        self.make_room()?;
        let waiting_since = now().max(self.last_arrival);
        loop {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => return Err(BenchError::Closed(doing)),
                Ok(bytes) => {
                    self.end += bytes;
                    self.last_arrival = now();
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if aborted.load(Ordering::Relaxed) {
                        return Err(BenchError::Aborted);
                    }
                    if waiting_since.elapsed() > self.stall {
                        return Err(BenchError::Stalled { seconds: self.stall.as_secs(), doing });
                    }
                }
                Err(error) => return Err(error).during(doing),
            }
        }
    }

    fn make_room(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.end < self.buffer.len() / 4 {
            // Only the beginning of one frame is left: little to move.
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            if self.buffer.len() >= MAX_BUFFER_BYTES {
                return Err(BenchError::Wrong(format!("a frame of more than {MAX_BUFFER_BYTES} bytes")));
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_a_server_is_understood() {
        assert_eq!(parse(b"PING\r\nP").unwrap(), Parsed::Ping(6));
        assert_eq!(parse(b"PONG\r\n").unwrap(), Parsed::Pong(6));
        assert_eq!(parse(b"+OK\r\n").unwrap(), Parsed::Skip(5));
        assert_eq!(parse(b"INFO {}\r\n").unwrap(), Parsed::Skip(9));
        assert_eq!(parse(b"INFO {").unwrap(), Parsed::NeedMore);
        let plain = Delivered { subject: b"a.b", reply: None, headers: b"", payload: b"x\ny" };
        assert_eq!(parse(b"MSG a.b 1 3\r\nx\ny\r\n+").unwrap(), Parsed::Message(plain, 18));
        let reply = Delivered { reply: Some(b"r"), ..plain };
        assert_eq!(parse(b"MSG a.b 1 r 3\r\nx\ny\r\n").unwrap(), Parsed::Message(reply, 20));
        assert_eq!(parse(b"MSG a.b 1 3\r\nx\ny\r").unwrap(), Parsed::NeedMore);
        let headed = Delivered { headers: b"NATS/1.0\r\n\r\n", ..plain };
        assert_eq!(parse(b"HMSG a.b 1 12 15\r\nNATS/1.0\r\n\r\nx\ny\r\n").unwrap(), Parsed::Message(headed, 35));
        let both = Delivered { reply: Some(b"r"), ..headed };
        assert_eq!(parse(b"HMSG a.b 1 r 12 15\r\nNATS/1.0\r\n\r\nx\ny\r\n").unwrap(), Parsed::Message(both, 37));
        assert!(matches!(parse(b"-ERR 'no'\r\n"), Err(BenchError::ServerSaid(text)) if text == "'no'"));
        for bad in [
            "MSG a 1\r\n",
            "MSG a 1 x\r\n",
            "MSG a 1 b c 3\r\n",
            "MSG a 1 1\r\nxyz",
            "WHAT\r\n",
            "\r\n",
            "HMSG a 1 3\r\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(b"MSG a 1 18446744073709551615\r\n").is_err());
    }

    #[test]
    fn the_fixed_frame_agrees_with_the_parser() {
        let frame = FixedFrame::new(b"m.00", 2, 3);
        let good = b"MSG m.17 1 3\r\nabc\r\nMSG";
        let (message, used) = frame.split(good).unwrap();
        assert_eq!(parse(good).unwrap(), Parsed::Message(message, used));
        assert_eq!(message.subject, b"m.17");
        let replied = FixedFrame::with_reply(b"m.00", 2, 3);
        let good = b"MSG m.17 1 $JS.ACK.x 3\r\nabc\r\nMSG";
        let (message, used) = replied.split(good).unwrap();
        assert_eq!(parse(good).unwrap(), Parsed::Message(message, used));
        for other in ["MSG m.17 1 3\r\nabc\r\n", "MSG m.17 1 r 4\r\nabcd\r\n", "MSG m.17 1 r 3\r\nab"] {
            assert_eq!(replied.split(other.as_bytes()), None, "{other:?}");
        }
        for other in
            ["MSG n.17 1 3\r\nabc\r\n", "MSG m.17 2 3\r\nabc\r\n", "MSG m.17 1 3\r\nabcd\n", "MSG m.17 1 3\r\nab"]
        {
            assert_eq!(frame.split(other.as_bytes()), None, "{other:?}");
        }
    }
}
