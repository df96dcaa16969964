//! A client that shows every byte the server sends, decoded, and sends whatever bytes a test wants.

mod seen;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use sublog_protocol::decode::{ServerOp, ServerStep, decode_server};
use sublog_protocol::encode;

pub use seen::{Message, Seen};

use crate::clock::{self, PATIENCE};

/// The CONNECT of most tests: no `+OK`, headers, no INFO out of turn.
pub const CONNECT: &str = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":0}"#;
/// The CONNECT of the oldest publishers and readers: no headers.
pub const CONNECT_OLD: &str = r#"{"verbose":false,"pedantic":false}"#;

const READ_BYTES: usize = 256 * 1024;

/// What carries a client's bytes: a socket, or something over one.
pub trait Carrier: std::io::Read + std::io::Write + std::fmt::Debug + Send {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Carrier for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// See the module.
#[derive(Debug)]
pub struct RawClient {
    stream: Box<dyn Carrier>,
    buffer: Vec<u8>,
    taken: usize,
    /// Read ahead while something else was waited for.
    aside: VecDeque<Message>,
    /// The INFO that opened the connection.
    pub info: Value,
    /// Whether the server's PINGs are answered (and hidden), as any client library does.
    pub answers_pings: bool,
    closed: bool,
}

impl RawClient {
    /// Connects and reads INFO.
    ///
    /// # Panics
    /// There is no server, or it does not say INFO.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// As [`RawClient::connect`], for servers that may be down.
    ///
    /// # Errors
    /// Nobody listens, or the connection ended before INFO.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Self::over(Box::new(stream))
    }

    /// Reads INFO from what is connected already.
    ///
    /// # Errors
    /// The connection ended before INFO.
    pub fn over(stream: Box<dyn Carrier>) -> std::io::Result<Self> {
        let mut client = Self::speaking(stream, Value::Null);
        match client.receive(PATIENCE)? {
            Some(Seen::Info(info)) => client.info = info,
            other => return Err(std::io::Error::other(format!("{other:?} instead of INFO"))),
        }
        Ok(client)
    }

    /// A client that has read INFO already.
    #[must_use]
    pub fn speaking(stream: Box<dyn Carrier>, info: Value) -> Self {
        Self { stream, buffer: Vec::new(), taken: 0, aside: VecDeque::new(), info, answers_pings: true, closed: false }
    }

    /// CONNECT and PING in one write; waits for the PONG. For clients with `protocol` 1 also for the INFO after it.
    ///
    /// # Panics
    /// The server answers anything else.
    pub fn hello(&mut self, connect: &str) {
        self.try_hello(connect).expect("the handshake succeeds");
        if connect.contains(r#""protocol":1"#) {
            let seen = self.next();
            assert!(matches!(seen, Seen::Info(_)), "{seen:?} instead of INFO");
        }
    }

    /// CONNECT and PING in one write, up to the PONG.
    ///
    /// # Errors
    /// The connection ended, or the server refused.
    pub fn try_hello(&mut self, connect: &str) -> std::io::Result<()> {
        self.try_send(format!("CONNECT {connect}\r\nPING\r\n").as_bytes())?;
        loop {
            match self.receive(PATIENCE)? {
                Some(Seen::Pong) => return Ok(()),
                Some(Seen::Ok) => {}
                other => return Err(std::io::Error::other(format!("{other:?} instead of PONG"))),
            }
        }
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).expect("the server takes bytes");
    }

    /// Sends bytes to a server that may be gone.
    ///
    /// # Errors
    /// It is gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// PUB.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn publish(&mut self, subject: &str, payload: impl AsRef<[u8]>) {
        let mut out = Vec::new();
        encode::publish(&mut out, subject.as_bytes(), None, payload.as_ref());
        self.send(out);
    }

    /// SUB; the server has seen it once [`RawClient::flush`] returned.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn subscribe(&mut self, subject: &str, sid: &str) {
        self.send(format!("SUB {subject} {sid}\r\n"));
    }

    /// What comes next, within `patience`; `None` when nothing does.
    ///
    /// # Errors
    /// The connection is broken (not merely closed).
    pub fn receive(&mut self, patience: Duration) -> std::io::Result<Option<Seen>> {
        let deadline = clock::now() + patience;
        loop {
            if let Some(seen) = self.decode()? {
                if seen == Seen::Ping && self.answers_pings {
                    // A connection that is just closing does not take it.
                    let _ = self.try_send(encode::PONG);
                    continue;
                }
                return Ok(Some(seen));
            }
            if self.closed {
                return Ok(Some(Seen::Closed));
            }
            if !self.fill(deadline)? {
                return Ok(None);
            }
        }
    }

    fn decode(&mut self) -> std::io::Result<Option<Seen>> {
        let rest = &self.buffer[self.taken..];
        if rest.is_empty() {
            return Ok(None);
        }
        let step = decode_server(rest, usize::MAX).map_err(|error| {
            let shown = rest[..rest.len().min(200)].escape_ascii();
            std::io::Error::other(format!("the server sent what no server sends ({error}): {shown}"))
        })?;
        let ServerStep::Op { op, consumed } = step else { return Ok(None) };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let seen = match op {
            ServerOp::Info(json) => Seen::Info(serde_json::from_slice(json).map_err(std::io::Error::other)?),
            ServerOp::Message(m) => Seen::Message(Message {
                subject: text(m.subject),
                sid: text(m.sid),
                reply: m.reply.map(text),
                headers: m.has_headers.then(|| m.message[..m.header_len].to_vec()),
                payload: m.message[m.header_len..].to_vec(),
            }),
            ServerOp::Ok => Seen::Ok,
            ServerOp::Err(bytes) => Seen::Err(text(bytes)),
            ServerOp::Ping => Seen::Ping,
            ServerOp::Pong => Seen::Pong,
        };
        self.taken += consumed;
        Ok(Some(seen))
    }

    /// Reads once; false when the deadline came first.
    fn fill(&mut self, deadline: Instant) -> std::io::Result<bool> {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok(false);
        }
        self.stream.socket().set_read_timeout(Some(left))?;
        let before = self.buffer.len();
        self.buffer.resize(before + READ_BYTES, 0);
        let read = self.stream.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(0) => {
                self.closed = true;
                Ok(true)
            }
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            // The server closed with bytes of ours unread: to a client that is an end as well.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                self.closed = true;
                Ok(true)
            }
            Err(e) => Err(e),
        }
    }

    /// What comes next.
    ///
    /// # Panics
    /// Nothing does.
    #[expect(clippy::should_implement_trait, reason = "a client is no iterator: the end is an answer of its own")]
    pub fn next(&mut self) -> Seen {
        if let Some(message) = self.aside.pop_front() {
            return Seen::Message(message);
        }
        self.receive(PATIENCE).expect("the connection works").expect("something comes from the server")
    }

    /// The next delivery, and nothing before it.
    ///
    /// # Panics
    /// Something else comes, or nothing.
    pub fn message(&mut self) -> Message {
        self.messages(1).remove(0)
    }

    /// The next `count` deliveries.
    ///
    /// # Panics
    /// Something else comes, or too few.
    pub fn messages(&mut self, count: usize) -> Vec<Message> {
        (0..count)
            .map(|at| match self.next() {
                Seen::Message(message) => message,
                other => panic!("{other:?} instead of message {at} of {count}"),
            })
            .collect()
    }

    /// PING; the messages that came before its PONG.
    ///
    /// # Panics
    /// Something else than messages came.
    pub fn flush(&mut self) -> Vec<Message> {
        let (messages, errors) = self.flush_with_errors();
        assert!(errors.is_empty(), "the server complains: {errors:?}");
        messages
    }

    /// PING; the messages and the `-ERR` texts that came before its PONG.
    ///
    /// # Panics
    /// Something else came, or nothing.
    pub fn flush_with_errors(&mut self) -> (Vec<Message>, Vec<String>) {
        self.send(encode::PING);
        let (mut messages, mut errors) = (Vec::new(), Vec::new());
        messages.extend(self.aside.drain(..));
        loop {
            match self.next() {
                Seen::Pong => return (messages, errors),
                Seen::Message(message) => messages.push(message),
                Seen::Err(text) => errors.push(text),
                other => panic!("{other:?} instead of PONG"),
            }
        }
    }

    /// PING and PONG, with messages kept for later.
    pub fn sync(&mut self) {
        let messages = self.flush();
        self.aside.extend(messages);
    }

    /// The server says this and goes on.
    ///
    /// # Panics
    /// It does not.
    pub fn expect_err(&mut self, text: &str) {
        assert_eq!(self.next(), Seen::Err(text.to_owned()));
    }

    /// The server closes, with nothing said before.
    ///
    /// # Panics
    /// It does not.
    pub fn expect_closed(&mut self) {
        assert_eq!(self.next(), Seen::Closed);
    }

    /// Nothing has come for this client by the time the server has answered it.
    ///
    /// # Panics
    /// Something has.
    pub fn expect_nothing(&mut self) {
        let messages = self.flush();
        assert!(messages.is_empty(), "{messages:?} instead of nothing");
    }

    /// Says that nothing more will be sent, and still reads.
    ///
    /// # Panics
    /// The connection is gone.
    pub fn finish_sending(&mut self) {
        self.stream.socket().shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// The address of this end.
    ///
    /// # Panics
    /// The connection is gone.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.stream.socket().local_addr().expect("the socket is open")
    }
}

/// A request and the first answer to it, on an inbox of its own.
pub fn ask(client: &mut RawClient, subject: &str, payload: &str) -> Message {
    client.send(format!("SUB _INBOX.ask 99\r\nPUB {subject} _INBOX.ask {}\r\n{payload}\r\n", payload.len()));
    let answer = loop {
        let message = client.message();
        if message.sid == "99" {
            break message;
        }
    };
    client.send("UNSUB 99\r\n");
    answer
}
