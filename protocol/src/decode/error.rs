//! Why decoding can fail, and what that means for the connection.

use crate::error::ServerError;

/// Bytes of the offending input an error carries.
const SNIPPET_BYTES_MAX: usize = 64;

/// Why a byte stream cannot be decoded any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The line does not begin with a known operation.
    #[error("unknown protocol operation: {snippet}")]
    UnknownOperation {
        /// The first bytes of the line, escaped for a log.
        snippet: String,
    },
    /// No end of line within the limit.
    #[error("control line exceeds {limit} bytes")]
    ControlLineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The message is larger than allowed.
    #[error("message of {size} bytes exceeds the limit of {limit} bytes")]
    PayloadTooLarge {
        /// Size announced, in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The arguments of an operation do not make sense.
    #[error("bad arguments for {op}: {line}")]
    BadArguments {
        /// Name of the operation.
        op: &'static str,
        /// The beginning of the arguments, escaped for a log.
        line: String,
    },
    /// The payload is not followed by CR LF.
    #[error("payload is not followed by CR LF")]
    BadPayloadTerminator,
    /// `HPUB` although headers are not enabled.
    #[error("message headers not supported")]
    HeadersNotSupported,
    /// The header block is said to be longer than the whole message.
    #[error("header length {header_len} exceeds the message size {total}")]
    HeaderLength {
        /// Length announced for the header block, in bytes.
        header_len: usize,
        /// Length announced for the message, in bytes.
        total: usize,
    },
}

impl DecodeError {
    /// The `-ERR` a server sends for it before closing; `None` when it closes without a word.
    #[must_use]
    pub fn reply(&self) -> Option<ServerError> {
        match self {
            Self::UnknownOperation { .. } | Self::BadPayloadTerminator => Some(ServerError::UnknownOperation),
            Self::ControlLineTooLong { .. } => Some(ServerError::MaxControlLine),
            Self::PayloadTooLarge { .. } => Some(ServerError::MaxPayload),
            Self::BadArguments { .. } | Self::HeadersNotSupported | Self::HeaderLength { .. } => None,
        }
    }

    /// The reason shown for the closed connection in `connz`.
    #[must_use]
    pub fn close_reason(&self) -> &'static str {
        match self {
            Self::ControlLineTooLong { .. } => "Maximum Control Line Exceeded",
            Self::PayloadTooLarge { .. } => "Maximum Message Payload Exceeded",
            Self::UnknownOperation { .. }
            | Self::BadPayloadTerminator
            | Self::BadArguments { .. }
            | Self::HeadersNotSupported
            | Self::HeaderLength { .. } => "Protocol Violation",
        }
    }

    /// The error for a line that begins with no known operation.
    #[cold]
    pub(super) fn unknown(line: &[u8]) -> Self {
        Self::UnknownOperation { snippet: snippet(line) }
    }

    /// The error for arguments of `op` that do not make sense.
    #[cold]
    pub(super) fn arguments(op: &'static str, line: &[u8]) -> Self {
        Self::BadArguments { op, line: snippet(line) }
    }
}

/// The first bytes of `bytes`, escaped so that they can stand in a log line.
fn snippet(bytes: &[u8]) -> String {
    bytes.get(..SNIPPET_BYTES_MAX).unwrap_or(bytes).escape_ascii().to_string()
}
