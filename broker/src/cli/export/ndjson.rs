//! NDJSON: one object a line, in UTF-8, compressed or not.

use std::io::{self, BufWriter, Write};

use super::field::{Field, Value};
use super::json;
use super::outfile::OutFile;
use super::row::Cells;
use crate::cli::output::base64;
use crate::rfc3339::Stamp;

/// Bytes that gather before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes lines.
pub(super) struct Ndjson {
    out: Encoder,
    options: Options,
    line: Vec<u8>,
    stamp: Stamp,
}

/// What the lines hold.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// The names before the cells, as JSON: `,"name":`.
    names: Vec<Vec<u8>>,
    /// Payloads that are JSON are values.
    pub(super) embed: bool,
    /// Payloads are written at all.
    pub(super) payload: bool,
}

impl Options {
    pub(super) fn new(fields: &[Field], embed: bool, payload: bool) -> io::Result<Self> {
        let name = |field: &Field| -> io::Result<Vec<u8>> {
            let mut out = b",".to_vec();
            string(&mut out, &field.name)?;
            out.push(b':');
            Ok(out)
        };
        Ok(Self { names: fields.iter().map(name).collect::<Result<_, _>>()?, embed, payload })
    }
}

enum Encoder {
    Plain(BufWriter<OutFile>),
    Zstd(zstd::Encoder<'static, BufWriter<OutFile>>),
}

impl Ndjson {
    /// Lines as they are, or compressed at a level of zstd.
    pub(super) fn new(out: OutFile, level: Option<i32>, options: Options) -> io::Result<Self> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let out = match level {
            None => Encoder::Plain(out),
            Some(level) => {
                let mut encoder = zstd::Encoder::new(out, level)?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
        };
        Ok(Self { out, options, line: Vec::new(), stamp: Stamp::default() })
    }

    /// Writes one line.
    pub(super) fn write(&mut self, cells: &Cells<'_>) -> io::Result<()> {
        self.line.clear();
        line(&mut self.line, &mut self.stamp, &self.options, cells)?;
        match &mut self.out {
            Encoder::Plain(out) => out.write_all(&self.line),
            Encoder::Zstd(out) => out.write_all(&self.line),
        }
    }

    /// Bytes written so far, without those that wait.
    pub(super) fn written_bytes(&self) -> u64 {
        match &self.out {
            Encoder::Plain(out) => out.get_ref().written_bytes(),
            Encoder::Zstd(out) => out.get_ref().get_ref().written_bytes(),
        }
    }

    /// Hands on what waits, for a reader at the other end of a pipe.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Encoder::Plain(out) => out.flush(),
            Encoder::Zstd(_) => Ok(()),
        }
    }

    /// Writes what waits, and gives the file back.
    pub(super) fn finish(self) -> io::Result<OutFile> {
        let out = match self.out {
            Encoder::Plain(out) => out,
            Encoder::Zstd(out) => out.finish()?,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

fn line(out: &mut Vec<u8>, stamp: &mut Stamp, options: &Options, cells: &Cells<'_>) -> io::Result<()> {
    out.extend_from_slice(b"{\"stream\":");
    string(out, cells.row.stream)?;
    write!(out, ",\"sequence\":{},\"time\":\"", cells.row.seq)?;
    stamp.write(out, cells.row.ts_ns);
    out.extend_from_slice(b"\",\"subject\":");
    string(out, &cells.subject)?;
    out.extend_from_slice(b",\"headers\":{");
    for (at, (key, values)) in cells.headers.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(out, key)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, values)?;
    }
    out.push(b'}');
    for (name, value) in options.names.iter().zip(&cells.fields) {
        out.extend_from_slice(name);
        cell(out, value)?;
    }
    if options.payload {
        payload(out, options.embed, cells)?;
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn cell(out: &mut Vec<u8>, value: &Value<'_>) -> io::Result<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Text(text) => string(out, text)?,
        Value::Integer(number) => write!(out, "{number}")?,
        Value::Double(number) => serde_json::to_writer(out, number)?,
        Value::Boolean(is) => write!(out, "{is}")?,
        Value::Json(json) => out.extend_from_slice(json.as_bytes()),
    }
    Ok(())
}

/// The payload under the key that says what it is.
fn payload(out: &mut Vec<u8>, embed: bool, cells: &Cells<'_>) -> io::Result<()> {
    if let Some(json) = cells.json.filter(|_| embed) {
        out.extend_from_slice(b",\"payload\":");
        out.extend_from_slice(json::one_line(json).as_bytes());
        return Ok(());
    }
    match std::str::from_utf8(cells.row.payload) {
        Ok(text) => {
            // Beside embedded values a text of the same name could not be told from a JSON string.
            out.extend_from_slice(if embed { b",\"payload_text\":".as_slice() } else { b",\"payload\":" });
            string(out, text)
        }
        Err(_) => {
            out.extend_from_slice(b",\"payload_base64\":\"");
            out.extend_from_slice(base64(cells.row.payload).as_bytes());
            out.push(b'"');
            Ok(())
        }
    }
}

fn string(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

#[cfg(test)]
mod tests {
    use super::super::field;
    use super::super::row::Row;
    use super::*;

    fn written(embed: bool, fields: &[&str], headers: &[u8], payload: &[u8]) -> String {
        let fields: Vec<Field> = fields.iter().map(|text| field::parse(text).unwrap()).collect();
        let ts_ns = 1_748_779_200_000_000_001;
        let row = Row { stream: "S", seq: 7, ts_ns, subject: b"a.\"b", headers, has_position: false, payload };
        let mut cells = Cells::new(row);
        cells.json = json::text_of(payload);
        cells.fields = fields.iter().map(|field| cells.json.map_or(Value::Null, |json| field.value(json).0)).collect();
        let mut out = Vec::new();
        line(&mut out, &mut Stamp::default(), &Options::new(&fields, embed, true).unwrap(), &cells).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text.trim_end()
            .strip_prefix(r#"{"stream":"S","sequence":7,"time":"2025-06-01T12:00:00.000000001Z","#)
            .unwrap()
            .to_owned()
    }

    #[test]
    fn lines() {
        let head = r#""subject":"a.\"b","headers":{}"#;
        for (embed, payload, expected) in [
            (false, &b"one\ntwo\x00"[..], r#""payload":"one\ntwo\u0000"}"#),
            (false, b"{\"a\": 1}", r#""payload":"{\"a\": 1}"}"#),
            (false, b"\xff\x00", r#""payload_base64":"/wA="}"#),
            (false, b"", r#""payload":""}"#),
            (true, b"{\n  \"b\": 1.0,\n  \"a\": \" x \"\n}\n", r#""payload":{"b":1.0,"a":" x "}}"#),
            (true, b"\"text\"", r#""payload":"text"}"#),
            (true, b"text", r#""payload_text":"text"}"#),
            (true, b"\xff\x00", r#""payload_base64":"/wA="}"#),
        ] {
            assert_eq!(written(embed, &[], b"", payload), format!("{head},{expected}"), "{payload:?}");
        }
        let headers = b"NATS/1.0\r\nX: a\r\nY: \"\r\nX: b\r\n\r\n";
        assert!(written(false, &[], headers, b"").contains(r#""headers":{"X":["a","b"],"Y":["\""]},"payload""#));
    }

    #[test]
    fn fields_come_before_the_payload() {
        let fields = ["s=a", "i=b:int64", "d=b:double", "t=c:bool", "j=d:json", "n=x", "all=$:json"];
        let payload = b"{\"a\":\"x\\ty\",\"b\":12,\"c\":true,\"d\":[1, 2.50]}";
        let text = written(false, &fields, b"", payload);
        let expected = r#""s":"x\ty","i":12,"d":12.0,"t":true,"j":[1,2.50],"n":null,"all":{"a":"x\ty","b":12,"#;
        assert!(text.contains(expected), "{text}");
    }
}
