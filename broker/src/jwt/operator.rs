//! What an operator claims.

use serde::Deserialize;

use super::{Body, is_operator};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as in the token")]
pub struct Operator {
    pub signing_keys: Vec<String>,
    pub account_server_url: String,
    pub system_account: String,
    pub assert_server_version: String,
    /// Only signing keys sign accounts.
    pub strict_signing_key_usage: bool,
    pub tags: Vec<String>,
}

impl Body for Operator {
    const KIND: &'static str = "operator";

    fn may_be_signed_by(key: &str) -> bool {
        is_operator(key)
    }
}
