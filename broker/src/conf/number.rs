//! Values that begin with a digit: numbers with and without a unit, dates, addresses, and words that only begin so.

use super::tree::Value;

/// Reads a word that begins with a digit or a minus sign. `Err` says what should have stood there.
pub(super) fn read(word: &str) -> Result<Value, Wrong> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return Err(Wrong::Expected("a digit after the minus sign"));
    }
    let (whole, tail) = digits.split_at(end);
    if tail.starts_with('.') {
        return with_point(word, tail, negative);
    }
    if !negative && tail.starts_with('-') {
        return if is_date(word) { Ok(Value::Time(word.to_owned())) } else { Err(Wrong::Expected(DATE)) };
    }
    match (unit(tail), negative) {
        (Some(unit), _) => scaled(word, whole, negative, unit),
        (None, true) => Err(Wrong::Expected("a number after the minus sign (quote other text)")),
        // `10s`, `1h30m`, `1e5`: text, which a key that wants a duration reads on.
        (None, false) => Ok(Value::Str(word.to_owned())),
    }
}

/// Why a word is no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// This should have been there.
    Expected(&'static str),
    /// It does not fit.
    Range,
}

const DATE: &str = "a date like 2006-01-02T15:04:05Z (quote other text)";

/// What a number's suffix multiplies it by.
fn unit(suffix: &str) -> Option<i64> {
    let mut letters = suffix.chars().map(|c| c.to_ascii_lowercase());
    let Some(first) = letters.next() else { return Some(1) };
    let step = u32::try_from("kmgtpe".find(first)?).ok()? + 1;
    let rest: String = letters.collect();
    match rest.as_str() {
        "" => 1000_i64.checked_pow(step),
        "b" | "i" | "ib" => 1024_i64.checked_pow(step),
        _ => None,
    }
}

fn scaled(word: &str, whole: &str, negative: bool, unit: i64) -> Result<Value, Wrong> {
    let sign = if negative { "-" } else { "" };
    let number: i64 = format!("{sign}{whole}").parse().map_err(|_| Wrong::Range)?;
    debug_assert!(word.contains(whole));
    number.checked_mul(unit).map(Value::Int).ok_or(Wrong::Range)
}

/// `0.5`, or an address like `127.0.0.1:4222`.
fn with_point(word: &str, tail: &str, negative: bool) -> Result<Value, Wrong> {
    let fraction = tail.strip_prefix('.').unwrap_or(tail);
    let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
    if end == 0 {
        return Err(Wrong::Expected("a digit after the point (quote other text)"));
    }
    let rest = fraction.get(end..).unwrap_or_default();
    if rest.is_empty() {
        let number: f64 = word.parse().map_err(|_| Wrong::Range)?;
        return if number.is_finite() { Ok(Value::Float(number)) } else { Err(Wrong::Range) };
    }
    if !negative && rest.starts_with('.') && rest.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b':' | b'-'))
    {
        return Ok(Value::Str(word.to_owned()));
    }
    Err(Wrong::Expected("a number or an address (quote other text)"))
}

/// `2006-01-02T15:04:05Z`, a day and a time that exist.
fn is_date(word: &str) -> bool {
    const FORM: &str = "9999-99-99T99:99:99Z";
    let fits = word.len() == FORM.len()
        && word.chars().zip(FORM.chars()).all(|(c, form)| if form == '9' { c.is_ascii_digit() } else { c == form });
    // A leap second is a time, but not to nats-server.
    fits && !word.ends_with(":60Z") && word.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_what_only_looks_so() {
        let text = |text: &str| Ok(Value::Str(text.to_owned()));
        for (word, value) in [
            ("0", Ok(Value::Int(0))),
            ("4222", Ok(Value::Int(4222))),
            ("-1", Ok(Value::Int(-1))),
            ("1k", Ok(Value::Int(1000))),
            ("1K", Ok(Value::Int(1000))),
            ("1kb", Ok(Value::Int(1024))),
            ("-1Ki", Ok(Value::Int(-1024))),
            ("64MB", Ok(Value::Int(64 << 20))),
            ("1Gb", Ok(Value::Int(1 << 30))),
            ("2TiB", Ok(Value::Int(2 << 40))),
            ("3p", Ok(Value::Int(3_000_000_000_000_000))),
            ("4EiB", Ok(Value::Int(4 << 60))),
            ("9223372036854775807", Ok(Value::Int(i64::MAX))),
            ("-9223372036854775808", Ok(Value::Int(i64::MIN))),
            ("9223372036854775808", Err(Wrong::Range)),
            ("8EiB", Err(Wrong::Range)),
            ("9999999999999k", Ok(Value::Int(9_999_999_999_999_000))),
            ("0.5", Ok(Value::Float(0.5))),
            ("-0.5", Ok(Value::Float(-0.5))),
            ("10s", text("10s")),
            ("1h30m", text("1h30m")),
            ("1kk", text("1kk")),
            ("1b", text("1b")),
            ("127.0.0.1:4222", text("127.0.0.1:4222")),
            ("127.0.0.1:-1", text("127.0.0.1:-1")),
            ("3secret", text("3secret")),
            ("1e5", text("1e5")),
            ("2006-01-02T15:04:05Z", Ok(Value::Time("2006-01-02T15:04:05Z".to_owned()))),
            ("2006-13-02T15:04:05Z", Err(Wrong::Expected(DATE))),
            ("2006-01-02", Err(Wrong::Expected(DATE))),
        ] {
            assert_eq!(read(word), value, "{word}");
        }
        for word in ["-", "-x", "-5s", "1.", "1.x", "1.5s", "1.2.3.4x", "-1.2.3", "-1e5", "12-3"] {
            assert!(matches!(read(word), Err(Wrong::Expected(_))), "{word}");
        }
    }
}
