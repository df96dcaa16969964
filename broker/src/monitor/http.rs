//! What stands in a URL behind the question mark, and the answers a page may have. The texts about bad parameters are
//! nats-server's, since people search for them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::text::quote;

/// The parameters of a request.
pub(super) struct Asked(pub(super) Vec<(String, String)>);

/// A request that cannot be answered, and why: 400.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], self.0).into_response()
    }
}

impl Asked {
    /// The first value of a parameter, empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|value| !value.is_empty())
    }

    /// Yes or no, in the words that Go has for them; no if nothing is said.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Refused> {
        match self.given(name) {
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
            None | Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
            Some(value) => Err(bad(name, "boolean", "ParseBool", value, "invalid syntax")),
        }
    }

    /// `subs`: a switch, or how much is wanted.
    pub(super) fn subs(&self) -> Result<Subs, Refused> {
        if self.text("subs").eq_ignore_ascii_case("detail") {
            return Ok(Subs::Detail);
        }
        Ok(if self.switch("subs")? { Subs::Names } else { Subs::None })
    }

    /// A number; 0 if nothing is said.
    pub(super) fn int(&self, name: &str) -> Result<i64, Refused> {
        self.number(name, "int", "Atoi", |digits| digits.strip_prefix(['+', '-']).unwrap_or(digits))
    }

    /// A number without a sign; 0 if nothing is said.
    pub(super) fn uint(&self, name: &str) -> Result<u64, Refused> {
        self.number(name, "uint64", "ParseUint", |digits| digits)
    }

    fn number<T: std::str::FromStr + Default>(
        &self,
        name: &str,
        kind: &str,
        function: &str,
        digits_of: fn(&str) -> &str,
    ) -> Result<T, Refused> {
        let Some(value) = self.given(name) else { return Ok(T::default()) };
        let digits = digits_of(value);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad(name, kind, function, value, "invalid syntax"));
        }
        value.parse().map_err(|_| bad(name, kind, function, value, "value out of range"))
    }
}

fn bad(name: &str, kind: &str, function: &str, value: &str, why: &str) -> Refused {
    Refused(format!("Error decoding {kind} for '{name}': strconv.{function}: parsing {}: {why}", quote(value)))
}

/// How much of subscriptions is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subs {
    /// How many there are.
    None,
    /// Their subjects.
    Names,
    /// All of them.
    Detail,
}

/// What a page answers.
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Answer {
    /// JSON for people, who look at it in a browser.
    pub(super) fn json<T: Serialize>(page: &T) -> Self {
        Self::of(StatusCode::OK, serde_json::to_vec_pretty(page))
    }

    /// JSON in one line.
    pub(super) fn line<T: Serialize>(status: StatusCode, page: &T) -> Self {
        Self::of(status, serde_json::to_vec(page))
    }

    /// Words.
    pub(super) fn words(status: StatusCode, text: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: text.into() }
    }

    fn of(status: StatusCode, body: serde_json::Result<Vec<u8>>) -> Self {
        match body {
            Ok(body) => Self { status, content_type: "application/json", body },
            // All keys are strings and no value refuses to be written, so this does not happen.
            Err(error) => Self::words(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let headers = [(header::CONTENT_TYPE, self.content_type)];
        if self.content_type == "application/json" {
            let open = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
            return (self.status, headers, open, self.body).into_response();
        }
        (self.status, headers, self.body).into_response()
    }
}

/// Where a page of a list begins and ends, whatever was asked for.
pub(super) fn page(len: usize, offset: i64, limit: i64) -> std::ops::Range<usize> {
    let start = usize::try_from(offset.max(0)).map_or(len, |offset| offset.min(len));
    let most = usize::try_from(limit.max(0)).unwrap_or(usize::MAX);
    start..start + most.min(len - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Asked {
        Asked(vec![("x".to_owned(), value.to_owned()), ("x".to_owned(), "7".to_owned())])
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, number) in [("", 0), ("5", 5), ("+5", 5), ("-0", 0), ("007", 7), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(asked(text).int("x"), Ok(number), "{text}");
        }
        for text in ["a", "1.0", "+", "--1", " 1", "0x1", "1_000", "9223372036854775808", "-9223372036854775809"] {
            let why = if text.len() > 15 { "value out of range" } else { "invalid syntax" };
            let told = format!("Error decoding int for 'x': strconv.Atoi: parsing \"{text}\": {why}");
            assert_eq!(asked(text).int("x"), Err(Refused(told)));
        }
        assert_eq!(asked("18446744073709551615").uint("x"), Ok(u64::MAX));
        assert!(asked("-1").uint("x").unwrap_err().0.ends_with("strconv.ParseUint: parsing \"-1\": invalid syntax"));
        assert!(asked("18446744073709551616").uint("x").unwrap_err().0.ends_with("value out of range"));
        assert_eq!(asked("T").switch("x"), Ok(true));
        assert!(
            asked("yes").switch("x").unwrap_err().0.starts_with("Error decoding boolean for 'x': strconv.ParseBool")
        );
        assert_eq!(asked("y").text("z"), "");
    }

    #[test]
    fn pages_stay_within_their_list() {
        let edges = [i64::MIN, -1, 0, 1, 2, 3, 4, i64::MAX];
        for len in [0, 1, 3] {
            for offset in edges {
                for limit in edges {
                    let page = page(len, offset, limit);
                    assert!(page.start <= page.end && page.end <= len, "{len} {offset} {limit}: {page:?}");
                    assert_eq!(
                        page.end == page.start,
                        offset.max(0) >= len as i64 || limit <= 0,
                        "{len} {offset} {limit}"
                    );
                }
            }
        }
        assert_eq!(page(3, 1, i64::MAX), 1..3);
    }
}
