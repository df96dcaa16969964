//! JetStream streams as clients see them: on the wire, and with the official client.
//!
//! What is compared here was seen with nats-server 2.15.1, but for what it does not promise: that an acknowledged message
//! is there after a kill.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod api;
mod backups;
mod batches;
mod capture;
mod consumers;
mod copied;
mod copies;
mod counters;
mod direct;
mod domains;
mod fast;
mod headers;
mod lifetimes;
mod limits;
mod official;
mod restart;
mod schedules;
mod transforms;

use serde_json::{Value, json};
use sublog_protocol::encode;
use sublog_tests::client::Message;
use sublog_tests::{RawClient, TestServer};

/// How long something may take that happens soon.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// A server with these flags.
fn server(args: &[&str]) -> TestServer {
    TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), args)
}

/// A client that asks and publishes, one thing after the other.
struct Asking {
    raw: RawClient,
    asked: u64,
}

impl Asking {
    fn new(server: &TestServer) -> Self {
        let mut raw = server.client();
        raw.subscribe("_INBOX.asking.*", "1");
        raw.sync();
        Self { raw, asked: 0 }
    }

    /// Sends a request and does not wait.
    fn send(&mut self, subject: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.asked += 1;
        let reply = format!("_INBOX.asking.{}", self.asked);
        let mut out = Vec::new();
        if headers.is_empty() {
            encode::publish(&mut out, subject.as_bytes(), Some(reply.as_bytes()), body);
        } else {
            let mut block = sublog_protocol::headers::Builder::new();
            for (key, value) in headers {
                block.add(key.as_bytes(), value.as_bytes());
            }
            let mut message = block.finish();
            let header_len = message.len();
            message.extend_from_slice(body);
            encode::hpublish(&mut out, subject.as_bytes(), Some(reply.as_bytes()), header_len, &message);
        }
        self.raw.send(out);
    }

    /// The answer to a request.
    fn request(&mut self, subject: &str, headers: &[(&str, &str)], body: &[u8]) -> Message {
        self.send(subject, headers, body);
        let message = self.raw.message();
        assert_eq!(message.subject, format!("_INBOX.asking.{}", self.asked), "an answer to something else");
        message
    }

    /// The answer of the API.
    fn api(&mut self, operation: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.request(&format!("$JS.API.{operation}"), &[], body.as_bytes());
        serde_json::from_str(answer.text()).expect("JSON")
    }

    /// Makes a stream.
    fn create(&mut self, config: Value) -> Value {
        let name = config["name"].as_str().unwrap().to_owned();
        let answer = self.api(&format!("STREAM.CREATE.{name}"), config);
        assert!(answer["error"].is_null(), "{answer}");
        answer
    }

    /// The answer to a message.
    fn publish(&mut self, subject: &str, headers: &[(&str, &str)], body: &str) -> Value {
        let answer = self.request(subject, headers, body.as_bytes());
        serde_json::from_str(answer.text()).unwrap_or_else(|_| panic!("no acknowledgement: {answer:?}"))
    }

    /// Publishes and expects this number.
    fn stored(&mut self, subject: &str, headers: &[(&str, &str)], body: &str, seq: u64) {
        let ack = self.publish(subject, headers, body);
        assert_eq!(ack["seq"], json!(seq), "{ack}");
        assert!(ack["error"].is_null() && ack["duplicate"].is_null(), "{ack}");
    }

    /// Publishes and expects this error.
    fn refused(&mut self, subject: &str, headers: &[(&str, &str)], body: &str, code: u64, text: &str) {
        let ack = self.publish(subject, headers, body);
        assert_eq!((&ack["error"]["err_code"], &ack["error"]["description"]), (&json!(code), &json!(text)), "{ack}");
    }

    /// The state of a stream.
    fn state(&mut self, stream: &str) -> Value {
        self.api(&format!("STREAM.INFO.{stream}"), json!({ "deleted_details": true, "subjects_filter": ">" }))["state"]
            .take()
    }
}

/// The error of an answer.
fn error(answer: &Value) -> (u64, String) {
    let error = &answer["error"];
    (error["err_code"].as_u64().unwrap_or(0), error["description"].as_str().unwrap_or_default().to_owned())
}
