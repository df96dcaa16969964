//! What comes from a server, taken apart.

use serde_json::Value;
use sublog_protocol::headers;

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Subject it was published to.
    pub subject: String,
    /// Subscription it came for.
    pub sid: String,
    /// Reply subject.
    pub reply: Option<String>,
    /// The header block, if it came as HMSG.
    pub headers: Option<Vec<u8>>,
    /// What was published.
    pub payload: Vec<u8>,
}

impl Message {
    /// The payload as text.
    ///
    /// # Panics
    /// It is not text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("a payload of text")
    }

    /// The value of a header.
    ///
    /// # Panics
    /// The value is not text.
    #[must_use]
    pub fn header(&self, key: &str) -> Option<String> {
        let value = headers::get(self.headers.as_deref()?, key.as_bytes())?;
        Some(String::from_utf8(value.to_vec()).expect("a header of text"))
    }

    /// The status code in the header block.
    ///
    /// # Panics
    /// The block is malformed.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        headers::Headers::parse(self.headers.as_deref()?).expect("a well-formed header block").status()
    }

    /// The sequence that a replay put on it.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        let text = self.header("Nats-Sequence").unwrap_or_else(|| panic!("no Nats-Sequence in {self:?}"));
        text.parse().expect("a decimal sequence")
    }
}

/// What came from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// INFO.
    Info(Value),
    /// MSG or HMSG.
    Message(Message),
    /// `+OK`.
    Ok,
    /// `-ERR`, the text without quotes.
    Err(String),
    /// PING.
    Ping,
    /// PONG.
    Pong,
    /// The server closed the connection.
    Closed,
}
