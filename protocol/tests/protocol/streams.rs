//! Random streams of valid operations, written the way careless clients write them, with what they mean.

use proptest::prelude::*;
use sublog_protocol::decode::{ClientOp, Message, Publish, ServerOp};

/// A message, either direction; `sid` is unused for a publish.
#[derive(Debug, Clone)]
pub(crate) struct OwnedMessage {
    pub(crate) subject: Vec<u8>,
    pub(crate) sid: Vec<u8>,
    pub(crate) reply: Option<Vec<u8>>,
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
}

impl OwnedMessage {
    pub(crate) fn header_len(&self) -> usize {
        self.header.as_ref().map_or(0, Vec::len)
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        [self.header.as_deref().unwrap_or_default(), &self.payload].concat()
    }
}

/// An operation of either direction.
#[derive(Debug, Clone)]
pub(crate) enum OwnedOp {
    Message(OwnedMessage),
    Subscribe { subject: Vec<u8>, queue: Option<Vec<u8>>, sid: Vec<u8> },
    Unsubscribe { sid: Vec<u8>, max: Option<u64> },
    Connect(Vec<u8>),
    Info(Vec<u8>),
    Err(Vec<u8>),
    Ping,
    Pong,
    Ok,
}

/// How a line is written: the case of the name, blanks, junk where it is allowed, line end.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) lower: bool,
    pub(crate) blanks: String,
    pub(crate) trailing: String,
    pub(crate) junk: String,
    pub(crate) crlf: bool,
}

pub(crate) fn manner() -> impl Strategy<Value = Manner> {
    (any::<bool>(), "[ \t]{1,3}", "[ \t]{0,2}", "[ -~]{0,5}", any::<bool>())
        .prop_map(|(lower, blanks, trailing, junk, crlf)| Manner { lower, blanks, trailing, junk, crlf })
}

/// Any bytes an argument may consist of.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("blank", |b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
    prop_oneof![
        "[a-z>*.]{1,8}".prop_map(String::into_bytes),
        prop::collection::vec(byte, 1..6),
        "[0-9]{1,3}".prop_map(String::into_bytes)
    ]
}

pub(crate) fn message() -> impl Strategy<Value = OwnedMessage> {
    let bytes = || prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(vec![b'\r', b'\n'])], 0..20);
    (argument(), argument(), prop::option::of(argument()), prop::option::of(bytes()), bytes())
        .prop_map(|(subject, sid, reply, header, payload)| OwnedMessage { subject, sid, reply, header, payload })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    "[!-&(-~]([ -~]{0,10}[!-&(-~])?".prop_map(String::into_bytes)
}

pub(crate) fn client_op() -> impl Strategy<Value = OwnedOp> {
    prop_oneof![
        3 => message().prop_map(OwnedOp::Message),
        2 => (argument(), prop::option::of(argument()), argument())
            .prop_map(|(subject, queue, sid)| OwnedOp::Subscribe { subject, queue, sid }),
        1 => (argument(), prop::option::of(1..1_000_000_000_u64))
            .prop_map(|(sid, max)| OwnedOp::Unsubscribe { sid, max }),
        1 => text().prop_map(OwnedOp::Connect),
        1 => either_op(),
    ]
}

pub(crate) fn server_op() -> impl Strategy<Value = OwnedOp> {
    prop_oneof![2 => message().prop_map(OwnedOp::Message), 1 => either_op()]
}

fn either_op() -> impl Strategy<Value = OwnedOp> {
    prop_oneof![
        text().prop_map(OwnedOp::Info),
        text().prop_map(OwnedOp::Err),
        Just(OwnedOp::Ping),
        Just(OwnedOp::Pong),
        Just(OwnedOp::Ok),
    ]
}

impl Manner {
    /// Writes `op` for the given direction.
    pub(crate) fn write(&self, op: &OwnedOp, from_client: bool) -> Vec<u8> {
        let number = |n: usize| n.to_string().into_bytes();
        match op {
            OwnedOp::Message(message) => {
                let mut arguments = vec![message.subject.clone()];
                if !from_client {
                    arguments.push(message.sid.clone());
                }
                arguments.extend(message.reply.clone());
                let body = message.body();
                if message.header.is_some() {
                    arguments.push(number(message.header_len()));
                }
                arguments.push(number(body.len()));
                let name = match (from_client, message.header.is_some()) {
                    (true, false) => "PUB",
                    (true, true) => "HPUB",
                    (false, false) => "MSG",
                    (false, true) => "HMSG",
                };
                [self.line(name, &arguments), body, b"\r\n".to_vec()].concat()
            }
            OwnedOp::Subscribe { subject, queue, sid } => {
                let mut arguments = vec![subject.clone()];
                arguments.extend(queue.clone());
                arguments.push(sid.clone());
                self.line("SUB", &arguments)
            }
            OwnedOp::Unsubscribe { sid, max } => {
                let mut arguments = vec![sid.clone()];
                arguments.extend(max.map(|max| max.to_string().into_bytes()));
                self.line("UNSUB", &arguments)
            }
            OwnedOp::Connect(json) => self.exact("CONNECT", json),
            OwnedOp::Info(json) => self.exact("INFO", json),
            OwnedOp::Err(text) => self.exact("-ERR", &[b"'", &text[..], b"'"].concat()),
            OwnedOp::Ping => self.end(self.name("PING"), &self.junk),
            OwnedOp::Pong => self.end(self.name("PONG"), &self.junk),
            OwnedOp::Ok => self.end(self.name("+OK"), &self.junk),
        }
    }

    fn name(&self, name: &str) -> Vec<u8> {
        if self.lower { name.to_ascii_lowercase().into_bytes() } else { name.into() }
    }

    fn line(&self, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
        let mut line = self.name(name);
        for argument in arguments {
            line.extend_from_slice(self.blanks.as_bytes());
            line.extend_from_slice(argument);
        }
        self.end(line, &self.trailing)
    }

    fn exact(&self, name: &str, argument: &[u8]) -> Vec<u8> {
        self.end([&self.name(name)[..], self.blanks.as_bytes(), argument].concat(), "")
    }

    fn end(&self, mut line: Vec<u8>, before: &str) -> Vec<u8> {
        line.extend_from_slice(before.as_bytes());
        line.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
        line
    }
}

/// Panics unless `found` is what `op` means.
pub(crate) fn assert_client(op: &OwnedOp, found: &ClientOp<'_>) {
    let body;
    let expected = match op {
        OwnedOp::Message(message) => {
            body = message.body();
            ClientOp::Publish(Publish {
                subject: &message.subject,
                reply: message.reply.as_deref(),
                header_len: message.header_len(),
                has_headers: message.header.is_some(),
                message: &body,
            })
        }
        OwnedOp::Subscribe { subject, queue, sid } => ClientOp::Subscribe { subject, queue: queue.as_deref(), sid },
        OwnedOp::Unsubscribe { sid, max } => ClientOp::Unsubscribe { sid, max: max.unwrap_or(0) },
        OwnedOp::Connect(json) => ClientOp::Connect(json),
        OwnedOp::Info(json) => ClientOp::Info(json),
        OwnedOp::Err(text) => ClientOp::Err(text),
        OwnedOp::Ping => ClientOp::Ping,
        OwnedOp::Pong => ClientOp::Pong,
        OwnedOp::Ok => ClientOp::Ok,
    };
    assert_eq!(*found, expected);
}

/// Panics unless `found` is what `op` means.
pub(crate) fn assert_server(op: &OwnedOp, found: &ServerOp<'_>) {
    let body;
    let expected = match op {
        OwnedOp::Message(message) => {
            body = message.body();
            ServerOp::Message(Message {
                subject: &message.subject,
                sid: &message.sid,
                reply: message.reply.as_deref(),
                header_len: message.header_len(),
                has_headers: message.header.is_some(),
                message: &body,
            })
        }
        OwnedOp::Info(json) => ServerOp::Info(json),
        OwnedOp::Err(text) => ServerOp::Err(text),
        OwnedOp::Ping => ServerOp::Ping,
        OwnedOp::Pong => ServerOp::Pong,
        OwnedOp::Ok => ServerOp::Ok,
        OwnedOp::Subscribe { .. } | OwnedOp::Unsubscribe { .. } | OwnedOp::Connect(_) => {
            panic!("no server sends {op:?}")
        }
    };
    assert_eq!(*found, expected);
}
