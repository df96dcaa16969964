//! What the commands print: messages in three formats on stdout, remarks on stderr.
//!
//! Nothing here panics when a reader goes away: `sublog replay … | head` ends quietly.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use sublog_protocol::headers::Headers;

/// How messages are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For reading: a line about the message, its headers, its payload
    Text,
    /// One JSON object a line
    Json,
    /// The payload and a line end, nothing else
    Raw,
}

/// A message as it is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// Stream and sequence, when it comes from a log.
    pub(crate) place: Option<(&'a str, u64)>,
    /// RFC 3339.
    pub(crate) time: &'a str,
    /// Subject it was published to.
    pub(crate) subject: &'a [u8],
    /// Where an answer is expected.
    pub(crate) reply: Option<&'a [u8]>,
    /// The header block; empty when there is none.
    pub(crate) headers: &'a [u8],
    /// The payload.
    pub(crate) payload: &'a [u8],
}

/// Headers a replay adds, which say in another form what the first line says.
const ADDED_HEADERS: [&[u8]; 4] = [b"Nats-Stream", b"Nats-Sequence", b"Nats-Time-Stamp", b"Nats-Subject"];

impl<'a> Shown<'a> {
    /// The publisher's own headers.
    fn own_headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let replayed = self.place.is_some();
        let parsed = if self.headers.is_empty() { None } else { Headers::parse(self.headers).ok() };
        parsed
            .into_iter()
            .flat_map(|headers| headers.iter())
            .filter(move |(key, _)| !(replayed && ADDED_HEADERS.contains(key)))
    }
}

/// Prints messages on stdout, many with one write.
pub(crate) struct Printer<W: Write> {
    out: BufWriter<W>,
    format: Format,
}

impl Printer<io::StdoutLock<'static>> {
    /// A printer on stdout.
    pub(crate) fn stdout(format: Format) -> Self {
        Self::new(io::stdout().lock(), format)
    }
}

impl<W: Write> Printer<W> {
    fn new(out: W, format: Format) -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, out), format }
    }

    /// Prints one message. It may stay in the buffer until [`Printer::flush`].
    pub(crate) fn message(&mut self, shown: &Shown<'_>) -> io::Result<()> {
        match self.format {
            Format::Raw => self.out.write_all(shown.payload).and_then(|()| self.out.write_all(b"\n")),
            Format::Json => {
                serde_json::to_writer(&mut self.out, &Line::new(shown)).map_err(io::Error::from)?;
                self.out.write_all(b"\n")
            }
            Format::Text => self.text(shown),
        }
    }

    /// Hands everything printed to stdout.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn text(&mut self, shown: &Shown<'_>) -> io::Result<()> {
        if let Some((_, sequence)) = shown.place {
            write!(self.out, "#{sequence} ")?;
        }
        write!(self.out, "{} {}", shown.time, printable(shown.subject))?;
        if let Some(reply) = shown.reply {
            write!(self.out, " (reply to {})", printable(reply))?;
        }
        self.out.write_all(b"\n")?;
        for (key, value) in shown.own_headers() {
            writeln!(self.out, "  {}: {}", printable(key), printable(value))?;
        }
        if !shown.payload.is_empty() {
            writeln!(self.out, "{}", printable(shown.payload))?;
        }
        self.out.write_all(b"\n")
    }
}

/// Text for a terminal: a message must not be able to move the cursor or to set the window's title. Line ends
/// and tabs stay; every other control character, and what is no UTF-8, is escaped.
fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => out.push(c),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.extend(byte.escape_ascii().map(char::from));
        }
    }
    out
}

/// One line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    time: &'a str,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    headers: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> Line<'a> {
    fn new(shown: &Shown<'a>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut headers = serde_json::Map::new();
        for (key, value) in shown.own_headers() {
            // A key may come more than once, so each has a list.
            let values = headers.entry(text(key)).or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let serde_json::Value::Array(values) = values {
                values.push(text(value).into());
            }
        }
        let data = std::str::from_utf8(shown.payload).ok();
        Self {
            stream: shown.place.map(|(stream, _)| stream),
            sequence: shown.place.map(|(_, sequence)| sequence),
            time: shown.time,
            subject: text(shown.subject),
            reply: shown.reply.map(text),
            headers,
            data,
            data_base64: data.is_none().then(|| base64(shown.payload)),
        }
    }
}

/// RFC 4648 base 64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| (group << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 63;
            let digit = DIGITS.get(digit as usize).copied().unwrap_or(b'=');
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// A remark on stderr, in one line that begins with the program's name.
pub(crate) fn warn(text: &str) {
    to_stderr(&format!("sublog: {text}\n"));
}

/// Text on stderr, as it is. Nobody is left to tell when that fails.
pub(crate) fn to_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A table for a terminal: columns as wide as their widest cell, two blanks between them. Columns whose
/// `right` is set are aligned to the right.
pub(crate) fn table(head: &[&str], right: &[bool], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(&widths).zip(right) {
            let gap = if line.is_empty() { "" } else { "  " };
            line.push_str(&match right {
                true => format!("{gap}{cell:>width$}"),
                false => format!("{gap}{cell:<width$}"),
            });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &[u8] = b"NATS/1.0\r\nNats-Stream: CAPTURE\r\nNats-Sequence: 7\r\nX: a\r\nX: b\r\n\r\n";

    fn print(format: Format, shown: &Shown<'_>) -> String {
        let mut printer = Printer::new(Vec::new(), format);
        printer.message(shown).unwrap();
        printer.flush().unwrap();
        String::from_utf8(printer.out.into_inner().unwrap()).unwrap()
    }

    fn shown(payload: &[u8]) -> Shown<'_> {
        let time = "2025-06-01T12:00:00Z";
        Shown { place: Some(("CAPTURE", 7)), time, subject: b"a.b", reply: None, headers: HEADERS, payload }
    }

    #[test]
    fn text() {
        let text = print(Format::Text, &shown(b"one\ntwo\x1b[2J\xff"));
        assert_eq!(text, "#7 2025-06-01T12:00:00Z a.b\n  X: a\n  X: b\none\ntwo\\u{1b}[2J\\xff\n\n");
        let live = Shown { place: None, headers: b"", reply: Some(b"r"), ..shown(b"") };
        assert_eq!(print(Format::Text, &live), "2025-06-01T12:00:00Z a.b (reply to r)\n\n");
    }

    #[test]
    fn json() {
        let line: serde_json::Value = serde_json::from_str(&print(Format::Json, &shown(b"one\ntwo"))).unwrap();
        let expected = serde_json::json!({
            "stream": "CAPTURE", "sequence": 7, "time": "2025-06-01T12:00:00Z", "subject": "a.b",
            "headers": {"X": ["a", "b"]}, "data": "one\ntwo",
        });
        assert_eq!(line, expected);
        let line: serde_json::Value = serde_json::from_str(&print(Format::Json, &shown(b"\xff\x00"))).unwrap();
        assert_eq!(line["data_base64"], "/wA=");
        assert_eq!(line.get("data"), None);
    }

    #[test]
    fn raw_is_the_payload() {
        assert_eq!(print(Format::Raw, &shown(b"one\ttwo")), "one\ttwo\n");
    }

    #[test]
    fn base_64() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn tables() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["bbb".to_owned(), "5".to_owned()]];
        assert_eq!(table(&["name", "n"], &[false, true], &rows), "name   n\na     10\nbbb    5\n");
    }
}
