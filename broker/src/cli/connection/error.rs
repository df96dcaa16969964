//! What can go wrong between a command and a server, in words for the person at the terminal.

use std::io;
use std::time::Duration;

/// Why talking to a server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ClientError {
    /// No connection.
    #[error("cannot connect to {peer}: {source}")]
    Connect {
        /// Address of the server.
        peer: String,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{peer} did not {what} within {} (--timeout)", crate::cli::values::show_duration(*.after))]
    Timeout {
        /// Address of the server.
        peer: String,
        /// What was expected.
        what: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to {peer} broke: {source}")]
    Io {
        /// Address of the server.
        peer: String,
        /// Why.
        source: io::Error,
    },
    /// The server ended the connection without a word.
    #[error("{peer} closed the connection")]
    Closed {
        /// Address of the server.
        peer: String,
    },
    /// The server no longer answers.
    #[error("{peer} does not answer any more")]
    Stale {
        /// Address of the server.
        peer: String,
    },
    /// What arrives is not the NATS protocol.
    #[error("{peer} does not speak the NATS protocol: {reason}")]
    Protocol {
        /// Address of the server.
        peer: String,
        /// What arrived.
        reason: String,
    },
    /// The connection cannot be encrypted as it should be.
    #[error("cannot encrypt the connection to {peer}: {reason}")]
    Tls {
        /// Address of the server.
        peer: String,
        /// Why.
        reason: String,
    },
    /// There is nothing to sign, or nothing to sign it with.
    #[error("cannot sign for {peer}: {reason}")]
    Nkey {
        /// Address of the server.
        peer: String,
        /// Why.
        reason: String,
    },
    /// The server wants other credentials.
    #[error("{peer} refused {}: {text}", if *.given { "the credentials" } else { "a client without credentials (--user and --pass, --token, --nkey, or --creds)" })]
    Credentials {
        /// Address of the server.
        peer: String,
        /// Its words.
        text: String,
        /// Whether any were presented.
        given: bool,
    },
    /// The server reported an error.
    #[error("{peer} says: {text}")]
    Server {
        /// Address of the server.
        peer: String,
        /// Its words.
        text: String,
    },
    /// Nobody serves a request.
    #[error("nobody at {peer} answers on {subject}: is this a Sublog server?")]
    NoResponders {
        /// Address of the server.
        peer: String,
        /// Subject of the request.
        subject: String,
    },
}
