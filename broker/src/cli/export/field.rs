//! `--field name=path[:type]`: columns that are taken out of JSON payloads.

use std::borrow::Cow;

use super::json::{self, Step};

/// Columns that every export has, and what NDJSON calls payloads that are not JSON text.
const RESERVED: [&str; 8] =
    ["stream", "sequence", "time", "subject", "headers", "payload", "payload_text", "payload_base64"];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text; numbers and the like as they are written.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number with a fraction.
    Double,
    /// True or false.
    Boolean,
    /// Any value, as JSON text.
    Json,
}

/// A column as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name.
    pub(super) name: String,
    path: Vec<Step>,
    /// Its type.
    pub(super) kind: Kind,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    /// JSON on one line.
    Json(Cow<'a, str>),
}

/// How a cell came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It is what the document says, which may be null.
    Value,
    /// The document has nothing at the path.
    Missing,
    /// What is there is not of the column's type.
    OtherType,
}

/// Reads `name=path[:type]`.
pub(super) fn parse(text: &str) -> Result<Field, String> {
    let (name, rest) = text.split_once('=').ok_or("a field is name=json.path or name=json.path:type")?;
    if name.is_empty() || name.contains(|c: char| c.is_control()) {
        return Err("the name before the = is empty, or not printable".to_owned());
    }
    if RESERVED.iter().any(|taken| taken.eq_ignore_ascii_case(name)) {
        return Err(format!("every export has a column {name:?} already"));
    }
    let (path, kind) = match rest.rsplit_once(':') {
        // A colon inside a quoted key.
        Some((_, tail)) if tail.ends_with(']') => (rest, Kind::Text),
        Some((path, kind)) => (path, parse_kind(kind)?),
        None => (rest, Kind::Text),
    };
    Ok(Field { name: name.to_owned(), path: json::parse_path(path)?, kind })
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    match text {
        "auto" | "string" => Ok(Kind::Text),
        "int64" => Ok(Kind::Integer),
        "double" => Ok(Kind::Double),
        "bool" => Ok(Kind::Boolean),
        "json" => Ok(Kind::Json),
        _ => Err(format!("{text:?} is none of the types string, int64, double, bool, json")),
    }
}

/// Two columns that programs cannot tell apart, if there are any: many do not look at upper and lower case.
pub(super) fn twins(fields: &[Field]) -> Option<&str> {
    let lower = |field: &Field| field.name.to_lowercase();
    let twin = |(at, field): (usize, &Field)| fields.iter().take(at).any(|before| lower(before) == lower(field));
    fields.iter().enumerate().find(|entry| twin(*entry)).map(|(_, field)| field.name.as_str())
}

impl Field {
    /// The cell for a payload that is JSON.
    pub(super) fn value<'a>(&self, json: &'a str) -> (Value<'a>, Found) {
        let Some(raw) = json::find(json, &self.path) else { return (Value::Null, Found::Missing) };
        if raw == "null" {
            return (Value::Null, Found::Value);
        }
        match convert(raw, self.kind) {
            Some(value) => (value, Found::Value),
            None => (Value::Null, Found::OtherType),
        }
    }
}

/// A JSON value that is not null, as the type asked for. Numbers in strings are numbers: job reports have both.
fn convert(raw: &str, kind: Kind) -> Option<Value<'_>> {
    let content = if raw.starts_with('"') { unquote(raw)? } else { Cow::Borrowed(raw) };
    let word = content.trim_ascii();
    match kind {
        Kind::Text if raw.starts_with(['{', '[']) => Some(Value::Text(json::one_line(raw))),
        Kind::Text => Some(Value::Text(content)),
        Kind::Json => Some(Value::Json(json::one_line(raw))),
        Kind::Integer => integer(word).map(Value::Integer),
        Kind::Double => double(word).map(Value::Double),
        Kind::Boolean => match word {
            "true" => Some(Value::Boolean(true)),
            "false" => Some(Value::Boolean(false)),
            _ => None,
        },
    }
}

/// The content of a string. `None` for one that Unicode has no text for (half a surrogate pair).
fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.get(1..raw.len().checked_sub(1)?)?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// A whole number; also one that is written with a fraction of zero or an exponent, where that is exact.
fn integer(word: &str) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let Ok(value) = word.parse() {
        return Some(value);
    }
    let value = double(word)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
}

/// A number as JSON has them: no infinities, no words.
fn double(word: &str) -> Option<f64> {
    let begins = word.strip_prefix('-').unwrap_or(word).starts_with(|c: char| c.is_ascii_digit());
    word.parse().ok().filter(|value: &f64| begins && value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"task":"/A/B","steps":{"cmsRun1":{"site":"T2_US_Nebraska","code":8021,"text":"8021",
        "cpu":{"total":12.50},"ok":true,"none":null,"quote":"a\"b\u00e9","half":"\ud800","big":9223372036854775807,
        "huge":9223372036854775808,"round":3.0,"exp":1e3,"list":[ 1, {"a": "b c"} ]}}}"#;

    fn cell(text: &str) -> (Value<'static>, Found) {
        parse(text).unwrap().value(REPORT)
    }

    #[test]
    fn cells() {
        let text = |text: &'static str| (Value::Text(text.into()), Found::Value);
        let null = |found| (Value::Null, found);
        for (field, expected) in [
            ("s=steps.cmsRun1.site", text("T2_US_Nebraska")),
            ("s=task:auto", text("/A/B")),
            ("s=steps.cmsRun1.code", text("8021")),
            ("s=steps.cmsRun1.cpu.total", text("12.50")),
            ("s=steps.cmsRun1.ok:string", text("true")),
            ("s=steps.cmsRun1.quote", text("a\"bé")),
            ("s=steps.cmsRun1.list", text("[1,{\"a\":\"b c\"}]")),
            ("s=steps.cmsRun1.half", null(Found::OtherType)),
            ("s=steps.cmsRun1.none", null(Found::Value)),
            ("s=steps.cmsRun2.site", null(Found::Missing)),
            ("i=steps.cmsRun1.code:int64", (Value::Integer(8021), Found::Value)),
            ("i=steps.cmsRun1.text:int64", (Value::Integer(8021), Found::Value)),
            ("i=steps.cmsRun1.big:int64", (Value::Integer(i64::MAX), Found::Value)),
            ("i=steps.cmsRun1.huge:int64", null(Found::OtherType)),
            ("i=steps.cmsRun1.round:int64", (Value::Integer(3), Found::Value)),
            ("i=steps.cmsRun1.exp:int64", (Value::Integer(1000), Found::Value)),
            ("i=steps.cmsRun1.cpu.total:int64", null(Found::OtherType)),
            ("i=steps.cmsRun1.site:int64", null(Found::OtherType)),
            ("d=steps.cmsRun1.cpu.total:double", (Value::Double(12.5), Found::Value)),
            ("d=steps.cmsRun1.code:double", (Value::Double(8021.0), Found::Value)),
            ("d=steps.cmsRun1.ok:double", null(Found::OtherType)),
            ("b=steps.cmsRun1.ok:bool", (Value::Boolean(true), Found::Value)),
            ("b=steps.cmsRun1.code:bool", null(Found::OtherType)),
            ("j=steps.cmsRun1.list:json", (Value::Json("[1,{\"a\":\"b c\"}]".into()), Found::Value)),
            ("j=steps.cmsRun1.site:json", (Value::Json("\"T2_US_Nebraska\"".into()), Found::Value)),
            ("j=steps.cmsRun1.none:json", null(Found::Value)),
        ] {
            assert_eq!(cell(field), expected, "{field}");
        }
    }

    #[test]
    fn words_are_no_numbers() {
        for word in ["inf", "NaN", "-inf", "infinity", "1e400", "", "+1x", "0x10"] {
            assert_eq!((double(word), integer(word)), (None, None), "{word}");
        }
    }

    #[test]
    fn definitions() {
        let quoted = parse("x=a[\"b:int64\"]").unwrap();
        assert_eq!((quoted.kind, quoted.path.len()), (Kind::Text, 2));
        assert_eq!(parse("x=a[\"b:c\"]:json").unwrap().kind, Kind::Json);
        for (text, words) in [
            ("x", "name=json.path"),
            ("=a", "name before the ="),
            ("Subject=a", "already"),
            ("payload_base64=a", "already"),
            ("x=", "path is empty"),
            ("x=:int64", "path is empty"),
            ("x=a..b", "is no path"),
            ("x=a:int", "none of the types"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        let fields: Vec<Field> = ["a=x", "b=x", "A=y"].iter().map(|text| parse(text).unwrap()).collect();
        assert_eq!((twins(&fields), twins(&fields[..2])), (Some("A"), None));
    }
}
