//! Points in time as the API writes them, with one that means "never".

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::json::{BadJson, Read, Unknown};
use crate::rfc3339;

/// Go's zero time, in seconds since 1970: what clients read as "not set".
const NEVER_SECONDS: i64 = -62_135_596_800;
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A point in time; [`Time::NEVER`] is written `0001-01-01T00:00:00Z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Option<i64>);

impl Time {
    /// No time at all.
    pub const NEVER: Self = Self(None);

    /// So many nanoseconds after 1970, UTC.
    #[must_use]
    pub const fn from_ns(ns: i64) -> Self {
        Self(Some(ns))
    }

    /// Nanoseconds after 1970, if it is a time.
    #[must_use]
    pub const fn ns(self) -> Option<i64> {
        self.0
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => to.serialize_str(NEVER),
            Some(ns) => to.serialize_str(&rfc3339::format(ns)),
        }
    }
}

fn is_last_hours(text: &str) -> bool {
    text.starts_with("9999-12-3")
        && text.strip_suffix('Z').is_some_and(|text| text.parse::<jiff::civil::DateTime>().is_ok())
}

impl Read for Time {
    fn read(json: &Value, unknown: Unknown) -> Result<Self, BadJson> {
        let text = String::read(json, unknown)?;
        let time = match text.parse::<jiff::Timestamp>() {
            Ok(time) => time,
            // The last hours that four digits can name are beyond what the parser takes, and mean "for ever".
            Err(_) if is_last_hours(&text) => {
                return Ok(Self(Some(i64::MAX)));
            }
            Err(_) => return Err(BadJson::new(format!("{text:.64?} is not a time of RFC 3339"))),
        };
        if time.as_second() == NEVER_SECONDS {
            return Ok(Self::NEVER);
        }
        // Nobody's messages are from before 1678 or after 2262: beyond that it is the nearest time there is.
        let ns = time.as_nanosecond().clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Ok(Self(i64::try_from(ns).ok()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Time;
    use crate::jetstream::config::json::{Read, Unknown};

    #[test]
    fn reads_what_it_writes() {
        for text in ["0001-01-01T00:00:00Z", "2024-05-06T07:08:09.000000001Z", "1970-01-01T00:00:00Z"] {
            let time = Time::read(&json!(text), Unknown::Refuse).unwrap();
            assert_eq!(serde_json::to_value(time).unwrap(), json!(text));
        }
        let time = Time::read(&json!("2024-01-01T02:00:00+02:00"), Unknown::Refuse).unwrap();
        assert_eq!(serde_json::to_value(time).unwrap(), json!("2024-01-01T00:00:00Z"));
        for text in ["9999-12-31T23:59:59.999Z", "2500-01-01T00:00:00Z"] {
            assert_eq!(Time::read(&json!(text), Unknown::Refuse).unwrap().ns(), Some(i64::MAX));
        }
        for bad in [json!("yesterday"), json!(5), json!(""), json!("2024-01-01"), json!("2024-01-01Z")] {
            assert!(Time::read(&bad, Unknown::Refuse).is_err(), "{bad}");
        }
    }
}
