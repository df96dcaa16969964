//! The keys with which an account signs, and what a key may give away.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::user::{Bounds, NO_LIMIT};

/// What all users have that a key signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// What it is for, in words.
    pub role: String,
    /// What its users may do.
    pub template: Bounds,
}

/// Signing keys; those with a scope sign users that are as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningKeys(pub BTreeMap<String, Option<Scope>>);

#[derive(Deserialize)]
struct Written {
    kind: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    template: serde_json::Map<String, Value>,
}

impl<'de> Deserialize<'de> for SigningKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Key(String),
            Scope(Written),
        }
        let mut keys = BTreeMap::new();
        for one in Vec::<Either>::deserialize(deserializer)? {
            match one {
                Either::Key(key) => drop(keys.insert(key, None)),
                Either::Scope(Written { kind, key, role, mut template }) if kind == "user_scope" => {
                    // A scope that says nothing of a bound has none; a user that says nothing of one may do nothing.
                    for bound in ["subs", "data", "payload"] {
                        template.entry(bound).or_insert_with(|| NO_LIMIT.into());
                    }
                    let template = Bounds::deserialize(Value::Object(template)).map_err(serde::de::Error::custom)?;
                    keys.insert(key, Some(Scope { role, template }));
                }
                Either::Scope(_) => return Err(serde::de::Error::custom("unknown scope of a signing key")),
            }
        }
        Ok(Self(keys))
    }
}
