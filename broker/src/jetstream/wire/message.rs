//! A stored message in JSON, and the answer to a publisher.

use serde::{Serialize, Serializer};

use crate::jetstream::config::Time;
use crate::jetstream::config::json::absent;
use crate::jetstream::errors::ApiError;

/// A message as `STREAM.MSG.GET` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StoredMessage {
    /// What it was published to.
    pub subject: String,
    /// Its sequence.
    pub seq: u64,
    /// Its headers as they were published, from `NATS/1.0` on.
    #[serde(skip_serializing_if = "absent", serialize_with = "base64")]
    pub hdrs: Vec<u8>,
    /// Its payload.
    #[serde(skip_serializing_if = "absent", serialize_with = "base64")]
    pub data: Vec<u8>,
    /// When it was stored.
    pub time: Time,
}

#[expect(clippy::ptr_arg, reason = "serde passes the field's own type")]
fn base64<S: Serializer>(bytes: &Vec<u8>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&encode_base64(bytes))
}

/// Base64 of RFC 4648 with padding.
#[must_use]
pub fn encode_base64(bytes: &[u8]) -> String {
    const SIX_BITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let six = usize::try_from(bits >> (18 - 6 * place) & 0x3f).unwrap_or(0);
            let letter = SIX_BITS.get(six).filter(|_| place <= group.len());
            text.push(char::from(letter.copied().unwrap_or(b'=')));
        }
    }
    text
}

/// The answer to a publisher.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PubAck {
    /// Which stream has the message.
    pub stream: String,
    /// Under which sequence.
    pub seq: u64,
    /// The server's domain.
    #[serde(skip_serializing_if = "absent")]
    pub domain: String,
    /// It was there before.
    #[serde(skip_serializing_if = "absent")]
    pub duplicate: bool,
    /// A counter's new value.
    #[serde(skip_serializing_if = "absent")]
    pub val: String,
    /// The batch that it ended.
    #[serde(skip_serializing_if = "absent")]
    pub batch: String,
    /// How many messages that had.
    #[serde(skip_serializing_if = "absent")]
    pub count: u64,
}

/// The answer to a publisher whose message was not stored: nats-server's has the stream in it, with sequence 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PubRefused {
    /// Why.
    pub error: ApiError,
    /// Which stream it was for.
    pub stream: String,
    /// No sequence.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::{PubAck, StoredMessage, encode_base64};

    #[test]
    fn base64_is_padded() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| encode_base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(encode_base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let ack = PubAck { stream: "S".to_owned(), seq: 3, ..PubAck::default() };
        assert_eq!(serde_json::to_string(&ack).unwrap(), r#"{"stream":"S","seq":3}"#);
        let message = StoredMessage { subject: "s".to_owned(), seq: 1, data: b"foo".to_vec(), ..Default::default() };
        assert_eq!(
            serde_json::to_string(&message).unwrap(),
            r#"{"subject":"s","seq":1,"data":"Zm9v","time":"0001-01-01T00:00:00Z"}"#
        );
    }
}
