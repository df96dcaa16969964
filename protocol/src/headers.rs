//! Message header blocks.
//!
//! A block is a first line `NATS/1.0[ code[ text]]`, lines `Key: value` and an empty line, each ended by
//! CR LF. Servers pass blocks on unread; what a server looks up itself it finds with [`get`], which asks
//! for nothing but the one line. [`Headers`] is for those who want the whole block checked.
//!
//! ```
//! use sublog_protocol::headers::{Builder, Headers};
//!
//! let mut builder = Builder::new();
//! builder.add(b"Nats-Msg-Id", b"42");
//! let block = builder.finish();
//! assert_eq!(block, b"NATS/1.0\r\nNats-Msg-Id: 42\r\n\r\n");
//! assert_eq!(Headers::parse(&block).unwrap().get(b"Nats-Msg-Id"), Some(&b"42"[..]));
//! ```

mod build;
pub mod edit;

pub use build::{Builder, no_responders, no_responders_block};

/// What every block begins with.
pub const VERSION: &[u8] = b"NATS/1.0";

/// The status that tells a requester that nobody serves the subject.
pub const STATUS_NO_RESPONDERS: u16 = 503;

/// A header block is not well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The block does not begin with `NATS/1.0` and a line end.
    #[error("header block does not begin with NATS/1.0")]
    BadVersion,
    /// What follows the version is not a status of three digits.
    #[error("header block with a status that is not three digits")]
    BadStatus,
    /// The block does not end with an empty line, or goes on after it.
    #[error("header block does not end with an empty line")]
    BadEnd,
    /// A line has no colon or no key.
    #[error("header line without a key")]
    BadLine,
}

/// A header block, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    status: Option<u16>,
    description: &'a [u8],
    /// The lines after the first with their line ends, without the empty one.
    lines: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Parses a whole block, the bytes `message[..header_len]`. A line may end with a bare LF.
    ///
    /// # Errors
    /// [`HeaderError`] when the block is not well formed.
    pub fn parse(block: &'a [u8]) -> Result<Self, HeaderError> {
        let rest = block.strip_prefix(VERSION).ok_or(HeaderError::BadVersion)?;
        let (first, rest) = cut_line(rest).ok_or(HeaderError::BadVersion)?;
        let (status, description) = parse_status(first)?;
        let mut tail = rest;
        loop {
            let (line, next) = cut_line(tail).ok_or(HeaderError::BadEnd)?;
            if line.is_empty() {
                if !next.is_empty() {
                    return Err(HeaderError::BadEnd);
                }
                let lines = rest.get(..rest.len() - tail.len()).unwrap_or_default();
                return Ok(Self { status, description, lines });
            }
            split_header(line).ok_or(HeaderError::BadLine)?;
            tail = next;
        }
    }

    /// The three-digit status of the first line, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The text after the status; empty when there is none.
    #[must_use]
    pub fn description(&self) -> &'a [u8] {
        self.description
    }

    /// The value of the first header with exactly this key, upper and lower case told apart.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.iter().find_map(|(found, value)| (found == key).then_some(value))
    }

    /// All headers in order as (key, value), the value without its leading blanks.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.lines;
        std::iter::from_fn(move || {
            let (line, next) = cut_line(rest)?;
            rest = next;
            split_header(line)
        })
    }
}

/// The value of the first header with exactly this key, in a block that need not be well formed. The first
/// line of the block is never taken for a header; lines end with CR LF only, as for nats-server.
#[must_use]
pub fn get<'a>(block: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut rest = block;
    loop {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        rest = rest.get(end + 2..)?;
        let Some(value) = rest.strip_prefix(key).and_then(|tail| tail.strip_prefix(b":")) else { continue };
        let value = value.get(..memchr::memmem::find(value, b"\r\n").unwrap_or(value.len()))?;
        return Some(skip_blanks(value));
    }
}

/// Reads `[ code[ text]]`.
fn parse_status(first: &[u8]) -> Result<(Option<u16>, &[u8]), HeaderError> {
    let text = match first {
        [] => return Ok((None, &[])),
        [b' ' | b'\t', ..] => first.trim_ascii(),
        _ => return Err(HeaderError::BadVersion),
    };
    match text {
        [] => Ok((None, &[])),
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..]
            if matches!(rest.first(), None | Some(b' ' | b'\t')) =>
        {
            let digit = |d: &u8| u16::from(d - b'0');
            Ok((Some(digit(a) * 100 + digit(b) * 10 + digit(c)), skip_blanks(rest)))
        }
        _ => Err(HeaderError::BadStatus),
    }
}

/// Cuts a line off, without its LF and the CR before it.
fn cut_line(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let lf = memchr::memchr(b'\n', rest)?;
    let line = rest.get(..lf)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(lf + 1..)?))
}

fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (key, value) = line.split_at_checked(colon)?;
    let value = value.strip_prefix(b":")?;
    (!key.is_empty()).then(|| (key, skip_blanks(value)))
}

fn skip_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests;
