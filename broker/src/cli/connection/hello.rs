//! What a command says in CONNECT.

use serde::Serialize;

/// What a client says about itself.
#[derive(Serialize)]
pub(super) struct Hello<'a> {
    pub(super) verbose: bool,
    pub(super) pedantic: bool,
    pub(super) echo: bool,
    pub(super) protocol: u8,
    pub(super) headers: bool,
    pub(super) no_responders: bool,
    pub(super) name: &'a str,
    pub(super) lang: &'a str,
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nkey: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sig: Option<&'a str>,
    pub(super) tls_required: bool,
    /// Asks for a status message where a replay's history ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) sublog_replay_status: bool,
}
