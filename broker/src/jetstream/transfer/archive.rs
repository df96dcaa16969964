//! A backup's bytes: what a stream is, its consumers, its messages, and an end that tells whether all of it is there.
//!
//! ```text
//! framed Snappy, which checks each 64 KiB, of:
//!   "SUBLOGBK", u32 version
//!   items: u8 kind, u32 length, then so many bytes
//!     1  head      JSON: name, configuration, when created, last sequence and time; the first item
//!     2  consumer  JSON: name, configuration, when created, position
//!     3  message   u64 sequence, i64 time, i64 when it expires (0: never), u16 length of the subject, u32 of the headers,
//!                  then subject, headers, payload; sequences ascend, what is left out is not in the stream
//!     4  end       u64 messages, u64 consumers, u32 CRC of all before this item; nothing follows
//! ```
//! All numbers are little-endian, all times nanoseconds since 1970. Nothing in it names a file. What is read is believed
//! in no respect: a length is only what there is to read at most.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use snap::read::FrameDecoder;
use snap::write::FrameEncoder;
use sublog_storage::{RECORD_BYTES_MAX, RecordRef};

use crate::jetstream::consumer::machine::State;

const MAGIC: &[u8; 8] = b"SUBLOGBK";
const VERSION: u32 = 1;
const HEAD: u8 = 1;
const CONSUMER: u8 = 2;
const MESSAGE: u8 = 3;
const END: u8 = 4;
/// Bytes of a message's item before its subject.
const MESSAGE_HEADER_BYTES: usize = 30;
/// Largest item that is not a message, in bytes: a consumer's position has some hundred for each message that is out.
const ITEM_BYTES_MAX: usize = 64 << 20;
/// Bytes of the end.
const END_BYTES: usize = 20;

/// What a stream is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: serde_json::Value,
    /// When it was created, nanoseconds since 1970.
    pub created_ns: i64,
    /// Its last sequence.
    pub last_seq: u64,
    /// When the message with that sequence was stored, nanoseconds since 1970.
    pub last_ts_ns: i64,
}

/// A consumer and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptConsumer {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: serde_json::Value,
    /// When it was created, nanoseconds since 1970.
    pub created_ns: i64,
    /// How far it is.
    pub state: State,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its sequence.
    pub seq: u64,
    /// When it was stored, nanoseconds since 1970.
    pub ts_ns: i64,
    /// When it expires, nanoseconds since 1970.
    pub expires_at_ns: Option<i64>,
    subject_len: usize,
    headers_len: usize,
    bytes: Vec<u8>,
}

impl Message {
    /// Subject, headers and payload.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        let (subject, rest) = self.bytes.split_at_checked(self.subject_len).unwrap_or_default();
        let (headers, payload) = rest.split_at_checked(self.headers_len).unwrap_or_default();
        (subject, headers, payload)
    }
}

/// What follows the head.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A consumer.
    Consumer(Box<KeptConsumer>),
    /// A message.
    Message(Message),
}

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadArchive {
    /// It ends too early, or its compression is damaged.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is not a backup of a stream of this server")]
    Foreign,
    /// It was made by a later program.
    #[error("the backup has version {0}, this server reads version {VERSION}")]
    Version(u32),
    /// It contradicts itself.
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
}

/// Makes a backup's bytes, as they are asked for.
pub struct Writer {
    out: FrameEncoder<Vec<u8>>,
    crc: crc32fast::Hasher,
    messages: u64,
    consumers: u64,
}

impl Writer {
    /// Begins a backup.
    ///
    /// # Errors
    /// Something cannot be written as JSON.
    pub fn new(head: &Head) -> io::Result<Self> {
        let out = FrameEncoder::new(Vec::new());
        let mut writer = Self { out, crc: crc32fast::Hasher::new(), messages: 0, consumers: 0 };
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        writer.item(HEAD, &[&serde_json::to_vec(head)?])?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.out.write_all(bytes)
    }

    fn item(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let len = u32::try_from(bytes).map_err(|_| io::Error::other("an item of a backup is too large"))?;
        self.put(&[kind])?;
        self.put(&len.to_le_bytes())?;
        parts.iter().try_for_each(|part| self.put(part))
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn consumer(&mut self, consumer: &KeptConsumer) -> io::Result<()> {
        self.consumers += 1;
        self.item(CONSUMER, &[&serde_json::to_vec(consumer)?])
    }

    /// Adds a message.
    ///
    /// # Errors
    /// It is larger than any.
    pub fn message(&mut self, record: &RecordRef<'_>) -> io::Result<()> {
        let too_large = |_| io::Error::other("a message is too large for a backup");
        let subject_len = u16::try_from(record.subject.len()).map_err(too_large)?;
        let headers_len = u32::try_from(record.headers.len()).map_err(too_large)?;
        self.messages += 1;
        self.item(
            MESSAGE,
            &[
                &record.seq.to_le_bytes(),
                &record.ts_ns.to_le_bytes(),
                &record.expires_at_ns.unwrap_or(0).to_le_bytes(),
                &subject_len.to_le_bytes(),
                &headers_len.to_le_bytes(),
                record.subject,
                record.headers,
                record.payload,
            ],
        )
    }

    /// Ends the backup.
    ///
    /// # Errors
    /// None that can be met in memory.
    pub fn end(&mut self) -> io::Result<()> {
        let crc = self.crc.clone().finalize();
        let (messages, consumers) = (self.messages.to_le_bytes(), self.consumers.to_le_bytes());
        self.item(END, &[&messages, &consumers, &crc.to_le_bytes()])?;
        self.out.flush()
    }

    /// Bytes that are ready to be taken.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.out.get_ref().len()
    }

    /// Takes up to so many of them.
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        let ready = self.out.get_mut();
        let rest = ready.split_off(bytes.min(ready.len()));
        std::mem::replace(ready, rest)
    }
}

/// Reads a backup.
pub struct Reader<R: Read> {
    input: FrameDecoder<R>,
    crc: crc32fast::Hasher,
    messages: u64,
    consumers: u64,
    last_seq: u64,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// It is none of our backups.
    pub fn new(input: R) -> Result<(Self, Head), BadArchive> {
        let input = FrameDecoder::new(input);
        let mut reader = Self { input, crc: crc32fast::Hasher::new(), messages: 0, consumers: 0, last_seq: 0 };
        let magic: [u8; 8] = reader.array()?;
        if &magic != MAGIC {
            return Err(BadArchive::Foreign);
        }
        match u32::from_le_bytes(reader.array()?) {
            VERSION => {}
            other => return Err(BadArchive::Version(other)),
        }
        let (HEAD, head) = reader.item()? else { return Err(BadArchive::Damaged("it has no head")) };
        let head = serde_json::from_slice(&head).map_err(|_| BadArchive::Damaged("its head cannot be read"))?;
        Ok((reader, head))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadArchive> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn item(&mut self) -> Result<(u8, Vec<u8>), BadArchive> {
        let [kind] = self.array()?;
        let len = u32::from_le_bytes(self.array()?) as usize;
        let most = if kind == MESSAGE { RECORD_BYTES_MAX + MESSAGE_HEADER_BYTES } else { ITEM_BYTES_MAX };
        if len > most {
            return Err(BadArchive::Damaged("an item is larger than any can be"));
        }
        // Memory grows with what is there, not with what is said.
        let mut bytes = Vec::new();
        (&mut self.input).take(len as u64).read_to_end(&mut bytes)?;
        if bytes.len() < len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.crc.update(&bytes);
        Ok((kind, bytes))
    }

    /// The next item; `None` at the end, behind which there is nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next_item(&mut self) -> Result<Option<Item>, BadArchive> {
        let crc = self.crc.clone().finalize();
        let (kind, bytes) = self.item()?;
        match kind {
            CONSUMER => {
                self.consumers += 1;
                let consumer = serde_json::from_slice(&bytes);
                let consumer = consumer.map_err(|_| BadArchive::Damaged("a consumer cannot be read"))?;
                Ok(Some(Item::Consumer(consumer)))
            }
            MESSAGE => {
                let message = message(bytes).ok_or(BadArchive::Damaged("a message cannot be read"))?;
                if message.seq <= self.last_seq {
                    return Err(BadArchive::Damaged("its messages are not in order"));
                }
                self.last_seq = message.seq;
                self.messages += 1;
                Ok(Some(Item::Message(message)))
            }
            END => {
                let end: &[u8; END_BYTES] =
                    bytes.as_slice().try_into().map_err(|_| BadArchive::Damaged("its end cannot be read"))?;
                let counts = [self.messages.to_le_bytes(), self.consumers.to_le_bytes()].concat();
                if end.strip_prefix(counts.as_slice()) != Some(crc.to_le_bytes().as_slice()) {
                    return Err(BadArchive::Damaged("something of it is missing"));
                }
                if self.input.read(&mut [0])? > 0 {
                    return Err(BadArchive::Damaged("something follows its end"));
                }
                Ok(None)
            }
            _ => Err(BadArchive::Damaged("an item is of no known kind")),
        }
    }
}

fn message(mut bytes: Vec<u8>) -> Option<Message> {
    let (head, rest) = bytes.split_at_checked(MESSAGE_HEADER_BYTES)?;
    let seq = u64::from_le_bytes(head.get(..8)?.try_into().ok()?);
    let ts_ns = i64::from_le_bytes(head.get(8..16)?.try_into().ok()?);
    let expires = i64::from_le_bytes(head.get(16..24)?.try_into().ok()?);
    let subject_len = usize::from(u16::from_le_bytes(head.get(24..26)?.try_into().ok()?));
    let headers_len = u32::from_le_bytes(head.get(26..30)?.try_into().ok()?) as usize;
    if subject_len.checked_add(headers_len)? > rest.len() {
        return None;
    }
    bytes.drain(..MESSAGE_HEADER_BYTES);
    let expires_at_ns = Some(expires).filter(|&ns| ns != 0);
    Some(Message { seq, ts_ns, expires_at_ns, subject_len, headers_len, bytes })
}
