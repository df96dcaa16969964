//! Pull requests as they travel: nothing, a number, or a JSON object.

use std::time::Duration;

use serde_json::{Map, Value};

/// The most messages one request counts; more is taken as this many.
const BATCH_MAX: u64 = u32::MAX as u64;

/// A request for messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullRequest {
    /// How many messages, at least 1.
    pub batch: u64,
    /// How long it waits; `None` until it is served.
    pub expires: Option<Duration>,
    /// How many bytes at most.
    pub max_bytes: Option<u64>,
    /// What is there now, no more.
    pub no_wait: bool,
    /// How long it may hear nothing before a heartbeat is sent.
    pub heartbeat: Option<Duration>,
    /// What it says to choose among requests; only an object says any of it.
    pub group: Option<GroupRequest>,
}

/// The fields of a request that priority groups use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRequest {
    /// The group.
    pub group: String,
    /// Serve it only when so many messages are to be delivered, ...
    pub min_pending: i64,
    /// ... or so many are unacked.
    pub min_ack_pending: i64,
    /// The pin it was given.
    pub id: String,
    /// 0 is served first, 9 last.
    pub priority: i64,
}

/// Why a request cannot be read: the words after `Bad Request - `.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPull {
    /// Not JSON, or not an object's JSON.
    #[error("invalid JSON")]
    Json,
    /// A field with a value of another kind.
    #[error("invalid value of field {0}")]
    Field(&'static str),
    /// A heartbeat would come at most once before the request expires.
    #[error("heartbeat value too large")]
    Heartbeat,
}

impl PullRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// For an object that is none, or with values that make no sense; anything that is neither an object nor a number
    /// asks for one message.
    pub fn parse(body: &[u8]) -> Result<Self, BadPull> {
        let body = body.trim_ascii();
        if body.first() == Some(&b'{') {
            return Self::from_object(&Fields(serde_json::from_slice(body).map_err(|_| BadPull::Json)?));
        }
        let number = std::str::from_utf8(body).ok().and_then(|text| text.parse::<i64>().ok());
        Ok(Self { batch: batch(number.unwrap_or(1)), ..Self::default() })
    }

    fn from_object(fields: &Fields) -> Result<Self, BadPull> {
        let expires = fields.integer("expires")?;
        let heartbeat = fields.integer("idle_heartbeat")?;
        if heartbeat > 0 && heartbeat.saturating_mul(2) > expires {
            return Err(BadPull::Heartbeat);
        }
        // An expiry in the past is one: the request is over as soon as it is looked at.
        let expires = (expires != 0).then(|| nanoseconds(expires));
        Ok(Self {
            batch: batch(fields.integer("batch")?),
            expires,
            max_bytes: u64::try_from(fields.integer("max_bytes")?).ok().filter(|bytes| *bytes > 0),
            no_wait: fields.boolean("no_wait")?,
            heartbeat: (heartbeat > 0).then(|| nanoseconds(heartbeat)),
            group: Some(GroupRequest {
                group: fields.text("group")?,
                min_pending: fields.integer("min_pending")?,
                min_ack_pending: fields.integer("min_ack_pending")?,
                id: fields.text("id")?,
                priority: fields.integer("priority")?,
            }),
        })
    }
}

fn batch(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(1).clamp(1, BATCH_MAX)
}

fn nanoseconds(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

/// A JSON object read as the official server reads one: names in any case, `null` as absent, of equal names the last.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        let value = self
            .0
            .get(name)
            .or_else(|| self.0.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
        value.filter(|value| !value.is_null())
    }

    fn integer(&self, name: &'static str) -> Result<i64, BadPull> {
        self.get(name).map_or(Ok(0), |value| value.as_i64().ok_or(BadPull::Field(name)))
    }

    fn boolean(&self, name: &'static str) -> Result<bool, BadPull> {
        self.get(name).map_or(Ok(false), |value| value.as_bool().ok_or(BadPull::Field(name)))
    }

    fn text(&self, name: &'static str) -> Result<String, BadPull> {
        self.get(name).map_or(Ok(String::new()), |value| value.as_str().map(str::to_owned).ok_or(BadPull::Field(name)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{BadPull, GroupRequest, PullRequest};

    fn parse(body: &str) -> Result<PullRequest, BadPull> {
        PullRequest::parse(body.as_bytes())
    }

    #[test]
    fn short_forms() {
        for (body, batch) in [("", 1), (" ", 1), ("5", 5), ("+7", 7), ("-7", 1), ("0", 1), ("many", 1), ("5 6", 1)] {
            assert_eq!(parse(body), Ok(PullRequest { batch, ..PullRequest::default() }), "{body}");
        }
        assert_eq!(parse("99999999999").unwrap().batch, u64::from(u32::MAX));
    }

    #[test]
    fn objects() {
        let full = parse(
            r#"{"batch":10,"expires":2000,"max_bytes":300,"no_wait":true,"idle_heartbeat":1000,"group":"g","id":"x",
                "min_pending":4,"min_ack_pending":5,"priority":6,"unheard_of":[1,2]}"#,
        );
        let group = GroupRequest { group: "g".into(), min_pending: 4, min_ack_pending: 5, id: "x".into(), priority: 6 };
        let wanted = PullRequest {
            batch: 10,
            expires: Some(Duration::from_nanos(2000)),
            max_bytes: Some(300),
            no_wait: true,
            heartbeat: Some(Duration::from_nanos(1000)),
            group: Some(group),
        };
        assert_eq!(full, Ok(wanted));
        let empty = parse("{}").unwrap();
        assert_eq!((empty.batch, empty.expires, empty.max_bytes, empty.no_wait), (1, None, None, false));
        assert_eq!(parse(r#"{"Batch":3,"expires":null,"batch_":9}"#).unwrap().batch, 3);
        assert_eq!(parse(r#"{"expires":-5}"#).unwrap().expires, Some(Duration::ZERO));
    }

    #[test]
    fn bad_objects() {
        assert_eq!(parse("{"), Err(BadPull::Json));
        assert_eq!(parse(r#"{"batch":"1"}"#), Err(BadPull::Field("batch")));
        assert_eq!(parse(r#"{"batch":1.5}"#), Err(BadPull::Field("batch")));
        assert_eq!(parse(r#"{"no_wait":1}"#), Err(BadPull::Field("no_wait")));
        assert_eq!(parse(r#"{"idle_heartbeat":5}"#), Err(BadPull::Heartbeat));
        assert_eq!(parse(r#"{"idle_heartbeat":51,"expires":100}"#), Err(BadPull::Heartbeat));
        assert!(parse(r#"{"idle_heartbeat":50,"expires":100}"#).is_ok());
        assert_eq!(BadPull::Heartbeat.to_string(), "heartbeat value too large");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(tail in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = PullRequest::parse(&tail);
            let _ = PullRequest::parse(&[b"{\"batch\":", tail.as_slice()].concat());
        }
    }
}
