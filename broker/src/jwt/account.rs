//! What is claimed of an account, and what lets one account take something from another.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::scopes::SigningKeys;
use super::user::Permissions;
use super::{Body, is_account, is_operator};

/// Keys, and since when what was signed for them counts no longer. `*` is every key.
pub type Revocations = BTreeMap<String, i64>;

/// Whether what was signed for `key` at `issued` counts no longer.
#[must_use]
pub fn is_revoked(revocations: &Revocations, key: &str, issued: i64) -> bool {
    [key, "*"].iter().any(|key| revocations.get(*key).is_some_and(|since| *since >= issued))
}

/// A stream tells, a service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "named as in the token")]
pub enum Kind {
    Stream,
    Service,
}

/// What others may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Export {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub subject: String,
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    #[serde(default)]
    pub token_req: bool,
    #[serde(default)]
    pub revocations: Revocations,
    #[serde(default)]
    pub response_type: String,
    /// Nanoseconds.
    #[serde(default)]
    pub response_threshold: i64,
    #[serde(default)]
    pub service_latency: Option<Value>,
    #[serde(default)]
    pub account_token_position: usize,
}

/// What is taken from another account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Import {
    #[serde(default)]
    pub name: String,
    /// Of a stream: there. Of a service: there, if `local_subject` is said, else here.
    #[serde(default)]
    pub subject: String,
    #[serde(default)]
    pub account: String,
    /// What the other account signed for it.
    #[serde(default)]
    pub token: String,
    /// Of a stream: first tokens before the subject here. Of a service: the subject there.
    #[serde(default)]
    pub to: String,
    /// The subject here.
    #[serde(default)]
    pub local_subject: String,
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    #[serde(default)]
    pub share: bool,
}

/// Bounds of streams; 0 is none of that kind of storage, or no bound, -1 is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct JetStream {
    pub mem_storage: i64,
    pub disk_storage: i64,
    pub streams: i64,
    pub consumer: i64,
    pub max_ack_pending: i64,
    pub mem_max_stream_bytes: i64,
    pub disk_max_stream_bytes: i64,
    pub max_bytes_required: bool,
}

impl JetStream {
    /// Whether there may be streams at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.mem_storage != 0 || self.disk_storage != 0
    }
}

/// What the operator allows. What is not said is 0, and 0 allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Limits {
    pub subs: i64,
    pub data: i64,
    pub payload: i64,
    pub imports: i64,
    pub exports: i64,
    pub wildcards: bool,
    pub disallow_bearer: bool,
    pub conn: i64,
    pub leaf: i64,
    #[serde(flatten)]
    pub jetstream: JetStream,
    pub tiered_limits: BTreeMap<String, JetStream>,
}

/// Where messages go instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Destination {
    pub subject: String,
    /// Percent; 0 is all.
    pub weight: u8,
    pub cluster: String,
}

/// A service that is asked who users are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Authorization {
    pub auth_users: Vec<String>,
    pub allowed_accounts: Vec<String>,
    pub xkey: String,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Account {
    pub imports: Vec<Import>,
    pub exports: Vec<Export>,
    pub limits: Limits,
    pub signing_keys: SigningKeys,
    pub revocations: Revocations,
    pub default_permissions: Permissions,
    pub mappings: BTreeMap<String, Vec<Destination>>,
    pub authorization: Authorization,
    pub tags: Vec<String>,
}

impl Body for Account {
    const KIND: &'static str = "account";

    fn may_be_signed_by(key: &str) -> bool {
        is_account(key) || is_operator(key)
    }

    fn migrate(nats: &mut Map<String, Value>) {
        // There were no streams then.
        nats.retain(|name, _| {
            ["imports", "exports", "limits", "signing_keys", "revocations", "type", "tags"].contains(&name.as_str())
        });
        if let Some(Value::Object(limits)) = nats.get_mut("limits") {
            let known =
                ["subs", "data", "payload", "imports", "exports", "wildcards", "conn", "leaf", "disallow_bearer"];
            limits.retain(|name, _| known.contains(&name.as_str()));
        }
    }
}

/// What one account gives another: the right to take something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Activation {
    pub subject: String,
    pub kind: Option<Kind>,
    /// The account, where one of its signing keys signed.
    pub issuer_account: String,
}

impl Body for Activation {
    const KIND: &'static str = "activation";

    fn may_be_signed_by(key: &str) -> bool {
        is_account(key) || is_operator(key)
    }
}
