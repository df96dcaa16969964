//! What is claimed of a user.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Body, is_account};

/// No bound, in numbers that are one.
pub const NO_LIMIT: i64 = -1;

/// Subjects that are allowed, or denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Permission {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

impl Permission {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// Answers to requests beyond what may be published to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Responses {
    /// How many; 0 is the default, less is any number.
    pub max: i64,
    /// For how long, in nanoseconds; 0 is the default, less is for ever.
    pub ttl: i64,
}

/// What may be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Permissions {
    #[serde(rename = "pub")]
    pub publish: Permission,
    #[serde(rename = "sub")]
    pub subscribe: Permission,
    pub resp: Option<Responses>,
}

impl Permissions {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.publish.is_empty() && self.subscribe.is_empty() && self.resp.is_none()
    }
}

/// From when to when in a day one may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TimeRange {
    /// `15:04:05`
    pub start: String,
    /// The same; before `start` it is on the next day.
    pub end: String,
}

/// All that bounds a user, in its own claims or in the scope of the key that signed them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Bounds {
    #[serde(flatten)]
    pub permissions: Permissions,
    #[serde(deserialize_with = "sources")]
    pub src: Vec<String>,
    pub times: Vec<TimeRange>,
    pub times_location: String,
    /// Subscriptions of a connection.
    pub subs: i64,
    /// Not looked at by anybody.
    pub data: i64,
    /// Bytes of a message.
    pub payload: i64,
    pub bearer_token: bool,
    pub proxy_required: bool,
    pub allowed_connection_types: Vec<String>,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct User {
    #[serde(flatten)]
    pub bounds: Bounds,
    /// The account, where one of its signing keys signed.
    pub issuer_account: String,
    pub tags: Vec<String>,
}

impl Body for User {
    const KIND: &'static str = "user";

    fn may_be_signed_by(key: &str) -> bool {
        is_account(key)
    }

    fn migrate(nats: &mut Map<String, Value>) {
        for bound in ["subs", "data", "payload"] {
            nats.entry(bound).or_insert_with(|| NO_LIMIT.into());
        }
        for later in ["proxy_required", "allowed_connection_types", "times_location"] {
            nats.remove(later);
        }
    }
}

/// A list, or one text with commas.
fn sources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::List(list) => list,
        Either::Text(text) => {
            let parts = text.split(',').map(|part| part.trim().to_lowercase());
            parts.filter(|part| !part.is_empty()).collect()
        }
    })
}
