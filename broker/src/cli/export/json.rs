//! JSON as text: whether it is JSON, one value in it by its path, the same without blanks.
//!
//! Values are cut out of the text as they stand. Nothing is parsed into numbers and printed again, so a number of any
//! length and a key in any order come out as they went in.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into an object.
    Key(String),
    /// Into an array, from 0.
    Index(usize),
    /// Into an array from its end: 1 is the last element.
    FromEnd(usize),
}

/// The payload as text, if it is one JSON value.
pub(super) fn text_of(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?;
    // Most that is not JSON shows at its first byte.
    if !matches!(text.trim_ascii_start().bytes().next()?, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
    {
        return None;
    }
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(text.trim_ascii())
}

/// Reads a path: `a.b[0].c`, `a[-1]`, `["key with . or :"]`; `$` is the whole value and may begin any path.
pub(super) fn parse_path(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let (mut rest, mut fresh) = match text.strip_prefix('$') {
        Some(rest) => (rest, false),
        None => (text, true),
    };
    if text.is_empty() {
        return Err("the path is empty; $ is the whole payload".to_owned());
    }
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('[') {
            let (step, tail) = bracket(tail).ok_or_else(|| {
                format!("{text:?} is no path: after a [ comes a number or a \"key\" in quotes, and a ]")
            })?;
            steps.push(step);
            rest = tail;
        } else {
            let key = if fresh { Some(rest) } else { rest.strip_prefix('.') };
            let key = key.ok_or_else(|| format!("{text:?} is no path: a dot is missing before {rest:?}"))?;
            let end = key.find(['.', '[', ']', '"']).unwrap_or(key.len());
            let (key, tail) = key.split_at(end);
            if key.is_empty() || tail.starts_with([']', '"']) {
                return Err(format!("{text:?} is no path like a.b[0].c; other keys are written [\"so\"]"));
            }
            steps.push(Step::Key(key.to_owned()));
            rest = tail;
        }
        fresh = false;
    }
    Ok(steps)
}

/// What stands in brackets, and the text behind them.
fn bracket(text: &str) -> Option<(Step, &str)> {
    if text.starts_with('"') {
        let end = string_end(text.as_bytes(), 0)?;
        let (quoted, tail) = text.split_at_checked(end)?;
        return Some((Step::Key(serde_json::from_str(quoted).ok()?), tail.strip_prefix(']')?));
    }
    let (number, tail) = text.split_once(']')?;
    let step = match number.strip_prefix('-') {
        Some(number) => Step::FromEnd(number.parse().ok().filter(|number| *number > 0)?),
        None => Step::Index(number.parse().ok()?),
    };
    Some((step, tail))
}

/// The value at the path in a text that is JSON. Of a key that comes twice, the last, as most parsers have it.
pub(super) fn find<'a>(json: &'a str, path: &[Step]) -> Option<&'a str> {
    let mut value = json.trim_ascii();
    for step in path {
        value = match step {
            Step::Key(key) => member(value, key)?,
            Step::Index(index) => element(value, *index)?,
            Step::FromEnd(back) => element(value, count(value)?.checked_sub(*back)?)?,
        };
    }
    Some(value)
}

fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let bytes = object.as_bytes();
    let mut at = inside(bytes, b'{')?;
    let mut found = None;
    while bytes.get(at) == Some(&b'"') {
        let key_end = string_end(bytes, at)?;
        let name = object.get(at..key_end)?;
        let colon = skip_blanks(bytes, key_end);
        let start = skip_blanks(bytes, colon + 1);
        let end = value_end(bytes, start)?;
        if is_key(name, key) {
            found = object.get(start..end);
        }
        at = next_item(bytes, end);
    }
    found
}

/// Whether a key in quotes, as it stands in the text, is this one.
fn is_key(quoted: &str, key: &str) -> bool {
    let raw = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if raw.contains('\\') { serde_json::from_str::<String>(quoted).is_ok_and(|name| name == key) } else { raw == key }
}

fn element(array: &str, index: usize) -> Option<&str> {
    items(array)?.nth(index)
}

fn count(array: &str) -> Option<usize> {
    Some(items(array)?.count())
}

/// The elements of an array; `None` if it is none.
fn items(array: &str) -> Option<impl Iterator<Item = &str>> {
    let bytes = array.as_bytes();
    let mut at = inside(bytes, b'[')?;
    Some(std::iter::from_fn(move || {
        let start = at;
        if matches!(bytes.get(start)?, b']') {
            return None;
        }
        let end = value_end(bytes, start)?;
        at = next_item(bytes, end);
        array.get(start..end)
    }))
}

/// Behind the opening bracket and the blanks after it.
fn inside(bytes: &[u8], bracket: u8) -> Option<usize> {
    (bytes.first() == Some(&bracket)).then(|| skip_blanks(bytes, 1))
}

/// From the end of a value to the beginning of the next, or to the closing bracket.
fn next_item(bytes: &[u8], end: usize) -> usize {
    let at = skip_blanks(bytes, end);
    if bytes.get(at) == Some(&b',') { skip_blanks(bytes, at + 1) } else { at }
}

fn skip_blanks(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(rest.len())
}

/// Behind the string that begins at `start` with its quote.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Behind the value that begins at `start`. Nesting is counted, not followed: its depth costs nothing.
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            _ => {
                let rest = bytes.get(at..)?;
                at += rest.iter().position(|b| b",:]}".contains(b) || b.is_ascii_whitespace()).unwrap_or(rest.len());
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The same JSON on one line: blanks and line ends between its parts are left out, strings and numbers stay as they are.
pub(super) fn one_line(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut out = String::new();
    let (mut at, mut kept) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at).unwrap_or(bytes.len()),
            b' ' | b'\t' | b'\r' | b'\n' => {
                out.push_str(json.get(kept..at).unwrap_or_default());
                at = skip_blanks(bytes, at);
                kept = at;
            }
            _ => at += 1,
        }
    }
    if kept == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> Step {
        Step::Key(key.to_owned())
    }

    #[test]
    fn paths() {
        for (text, steps) in [
            ("$", vec![]),
            ("a", vec![key("a")]),
            ("$.a", vec![key("a")]),
            ("a.b[0].c", vec![key("a"), key("b"), Step::Index(0), key("c")]),
            ("[2][-1]", vec![Step::Index(2), Step::FromEnd(1)]),
            ("$[\"a.b:c\"].d", vec![key("a.b:c"), key("d")]),
            ("a[\"x\\\"y\"]", vec![key("a"), key("x\"y")]),
            ("meta data.exit code", vec![key("meta data"), key("exit code")]),
        ] {
            assert_eq!(parse_path(text).as_deref(), Ok(&steps[..]), "{text}");
        }
        for text in
            ["", ".", "a.", "a..b", ".a", "$a", "a[", "a[]", "a[x]", "a[-0]", "a[0]b", "a]", "a\"b", "[\"a]", "a[0"]
        {
            assert!(parse_path(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn values_are_found_as_they_stand() {
        let json = text_of(
            b" {\"a\" : { \"b\": [1, {\"c\":\"x]}\\\"\"}, [ ], -2.50e3 ] , \"a\":7},\n\"big\":123456789012345678901234567890,
              \"a\":{\"b\":[10 , 20 ,30]},\"e\\u0301\": null, \"\":true}",
        )
        .unwrap();
        let get = |path: &str| find(json, &parse_path(path).unwrap());
        assert_eq!(get("a.b[0]"), Some("10"));
        assert_eq!(get("a.b[2]"), Some("30"));
        assert_eq!(get("a.b[-1]"), Some("30"));
        assert_eq!(get("a.b[-3]"), Some("10"));
        assert_eq!(get("a.b"), Some("[10 , 20 ,30]"));
        assert_eq!(get("big"), Some("123456789012345678901234567890"));
        assert_eq!(get("e\u{301}"), Some("null"));
        assert_eq!(get("[\"\"]"), Some("true"));
        assert_eq!(get("$"), Some(json));
        for path in ["a.b[3]", "a.b[-4]", "a.b.c", "a[0]", "x", "big.x", "big[0]", "a.b[0].x"] {
            assert_eq!(get(path), None, "{path}");
        }
        let nested = text_of(b"[1, {\"c\":\"x]}\\\"\"}, [ ], -2.50e3 ]").unwrap();
        let get = |path: &str| find(nested, &parse_path(path).unwrap());
        assert_eq!(get("[1].c"), Some("\"x]}\\\"\""));
        assert_eq!(get("[2]"), Some("[ ]"));
        assert_eq!(get("[2][0]"), None);
        assert_eq!(get("[-1]"), Some("-2.50e3"));
    }

    #[test]
    fn what_is_json() {
        for text in ["{}", " [1] ", "\"x\"", "-1.5e+3", "true", "null", "{\"a\":\n1}"] {
            assert_eq!(text_of(text.as_bytes()), Some(text.trim()), "{text}");
        }
        for text in
            ["", " ", "x", "{", "{}x", "{'a':1}", "[1,]", "01", "nul", "\"a\nb\"", "{\"a\":1}\n{\"a\":2}", "NaN"]
        {
            assert_eq!(text_of(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(text_of(b"\"\xff\""), None);
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
        let json = text_of(deep.as_bytes()).unwrap();
        assert_eq!(find(json, &[Step::Index(0), Step::Index(0)]).unwrap().len(), deep.len() - 4);
        assert_eq!(one_line(json), deep);
    }

    #[test]
    fn one_line_changes_blanks_only() {
        assert_eq!(one_line("{\n  \"a b\" : [ 1.50, \"x\\\" y\\n\" ]\r\n}"), "{\"a b\":[1.50,\"x\\\" y\\n\"]}");
        assert!(matches!(one_line("{\"a b\":1}"), Cow::Borrowed(_)));
        assert_eq!(one_line("[1]\n"), "[1]");
    }

    /// Whatever the text, cutting it up neither panics nor runs away.
    #[test]
    fn texts_that_are_not_json_are_survived() {
        let json = "{\"a\":[1,{\"b\":\"c\\\\\"}],\"d\":null}";
        let path = parse_path("a[1].b").unwrap();
        for cut in 0..json.len() {
            for broken in [&json[..cut], &json[cut..]] {
                find(broken, &path);
                one_line(broken);
            }
        }
        assert_eq!(find(json, &path), Some("\"c\\\\\""));
    }
}
