//! Timestamps as clients read them: RFC 3339 in UTC with nanoseconds.

/// Writes timestamps, remembering the last second: history is read in order, and a second holds many messages.
#[derive(Debug, Default)]
pub struct Stamp {
    second: Option<i64>,
    /// `2026-11-23T19:16:49`, of `second`.
    text: Vec<u8>,
}

const NANOS: i64 = 1_000_000_000;

impl Stamp {
    /// Appends the time `ns` nanoseconds after 1970, trailing zeros of the fraction left out.
    pub fn write(&mut self, out: &mut Vec<u8>, ns: i64) {
        let (second, fraction) = (ns.div_euclid(NANOS), ns.rem_euclid(NANOS));
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = civil(second).into_bytes();
        }
        out.extend_from_slice(&self.text);
        if fraction > 0 {
            let digits = format!("{fraction:09}");
            out.push(b'.');
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
        out.push(b'Z');
    }
}

/// One timestamp.
#[must_use]
pub fn format(ns: i64) -> String {
    let mut out = Vec::new();
    Stamp::default().write(&mut out, ns);
    String::from_utf8_lossy(&out).into_owned()
}

fn civil(second: i64) -> String {
    match jiff::Timestamp::from_second(second) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        // Beyond the year 9999 there is no such text; records of this century never get there.
        Err(_) => "9999-12-31T23:59:59".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_as_rfc_3339() {
        assert_eq!(super::format(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::format(1_700_000_000_120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(super::format(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(super::format(-1), "1969-12-31T23:59:59.999999999Z");
        for ns in [0, 1, 1_234_567_890_123_456_789, i64::MAX] {
            let parsed: jiff::Timestamp = super::format(ns).parse().unwrap();
            assert_eq!(parsed.as_nanosecond(), i128::from(ns));
        }
    }
}
