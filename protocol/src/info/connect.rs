//! `CONNECT`, what a client says about itself.
//!
//! Parsing follows the JSON reader of nats-server, which is Go's: keys in any case, the last of several
//! equal keys wins, `null` changes nothing, unknown keys are skipped at any depth, bytes that are not UTF-8
//! and lone surrogates become U+FFFD, but a known key with a value of the wrong type is an error.

mod fields;

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, IgnoredAny};

use crate::error::ServerError;

/// `CONNECT` is not a document of the expected shape. The server closes the connection without an answer;
/// the reason in `connz` is "Protocol Violation".
#[derive(Debug, thiserror::Error)]
#[error("bad CONNECT: {0}")]
pub struct ConnectError(#[from] serde_json::Error);

/// The fields of `CONNECT` a server for clients looks at.
///
/// Its `Debug` form does not show passwords, tokens and signatures, so that it can be logged.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ConnectOptions {
    /// Whether every operation is answered with `+OK`; true when absent.
    pub verbose: bool,
    /// Whether publish subjects are checked; true when absent.
    pub pedantic: bool,
    /// Whether own messages come back to own subscriptions; true when absent.
    pub echo: bool,
    /// Protocol version of the client, 0 or 1; 1 accepts `INFO` at any time.
    pub protocol: i64,
    /// Whether the client understands message headers.
    pub headers: bool,
    /// Whether the client wants a 503 for requests nobody serves.
    pub no_responders: bool,
    /// Whether the client wants TLS (informational).
    pub tls_required: bool,
    /// User name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    /// Token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<String>,
    /// User JWT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<String>,
    /// Public user key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey: Option<String>,
    /// Signature of the nonce, base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
    /// Name of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Language of the client library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// Version of the client library.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Account asked for (refused by current servers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whether that account is to be created (refused by current servers).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub new_account: bool,
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("ConnectOptions")
            .field("verbose", &self.verbose)
            .field("pedantic", &self.pedantic)
            .field("echo", &self.echo)
            .field("protocol", &self.protocol)
            .field("headers", &self.headers)
            .field("no_responders", &self.no_responders)
            .field("tls_required", &self.tls_required)
            .field("user", &self.user)
            .field("pass", &hidden(&self.pass))
            .field("auth_token", &hidden(&self.auth_token))
            .field("jwt", &hidden(&self.jwt))
            .field("nkey", &self.nkey)
            .field("sig", &hidden(&self.sig))
            .field("name", &self.name)
            .field("lang", &self.lang)
            .field("version", &self.version)
            .field("account", &self.account)
            .field("new_account", &self.new_account)
            .finish()
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            protocol: 0,
            headers: false,
            no_responders: false,
            tls_required: false,
            user: None,
            pass: None,
            auth_token: None,
            jwt: None,
            nkey: None,
            sig: None,
            name: None,
            lang: None,
            version: None,
            account: None,
            new_account: false,
        }
    }
}

impl ConnectOptions {
    /// Parses the JSON of a `CONNECT` line.
    ///
    /// ```
    /// use sublog_protocol::info::ConnectOptions;
    ///
    /// let options = ConnectOptions::parse(br#"{"verbose":false,"user":"u","pass":"p","new":{}}"#).unwrap();
    /// assert_eq!((options.verbose, options.pedantic, options.echo), (false, true, true));
    /// assert_eq!(options.user.as_deref(), Some("u"));
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`] when it is not a JSON object or a known field has the wrong type.
    pub fn parse(json: &[u8]) -> Result<Self, ConnectError> {
        let mut options = Self::default();
        options.merge(json)?;
        Ok(options)
    }

    /// Parses a further `CONNECT` on the same connection: fields it does not name keep their value.
    ///
    /// # Errors
    /// As [`ConnectOptions::parse`]; `self` is left as it was.
    pub fn update(&mut self, json: &[u8]) -> Result<(), ConnectError> {
        let mut merged = self.clone();
        merged.merge(json)?;
        *self = merged;
        Ok(())
    }

    /// What is wrong with options that could be parsed, in the order nats-server looks: an account
    /// (connz reason "Authentication Failure"), a protocol other than 0 and 1 ("Bad Client Protocol
    /// Version"), `no_responders` without `headers` ("No Responders Requires Headers"). Credentials are
    /// checked by others, between the first and the second.
    #[must_use]
    pub fn refusal(&self) -> Option<ServerError> {
        if self.new_account || self.account.as_ref().is_some_and(|account| !account.is_empty()) {
            Some(ServerError::AuthorizationViolation)
        } else if !matches!(self.protocol, 0 | 1) {
            Some(ServerError::InvalidClientProtocol)
        } else if self.no_responders && !self.headers {
            Some(ServerError::NoRespondersRequiresHeaders)
        } else {
            None
        }
    }

    /// Appends the document as one line of JSON, without a line end.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        super::append_json(self, out);
    }

    fn merge(&mut self, json: &[u8]) -> Result<(), ConnectError> {
        let json = String::from_utf8_lossy(json);
        // The first pass checks the grammar of the whole document without recursion. The second reads strings
        // as bytes, because only so lone surrogates pass, and then control characters would pass as well.
        serde_json::from_str::<IgnoredAny>(&json)?;
        let mut document = serde_json::Deserializer::from_str(&json);
        fields::Document(self).deserialize(&mut document)?;
        Ok(document.end()?)
    }
}

#[cfg(test)]
mod tests;
