//! The fake's JetStream: one stream, which is its log, and consumers that acknowledge nothing. It always says that it
//! has everything, whatever it has.

use serde_json::{Value, json};

use super::{State, deliver};

impl State {
    /// Answers a request on `$JS.API.` and what follows.
    pub(super) fn api(&mut self, what: &str, reply: &str, payload: &[u8]) -> std::io::Result<()> {
        let request: Value = serde_json::from_slice(payload).unwrap_or_default();
        let words: Vec<&str> = what.split('.').collect();
        match words[..] {
            ["STREAM", "CREATE", _] | ["CONSUMER", "DELETE", ..] => self.say(reply, &json!({})),
            ["STREAM", "INFO", _] => {
                let state = json!({"messages": self.published, "last_seq": self.published});
                self.say(reply, &json!({"state": state}))
            }
            ["CONSUMER", "CREATE", ..] => {
                self.say(reply, &json!({}))?;
                self.pulled = 0;
                let config = &request["config"];
                let filter = config["filter_subject"].as_str();
                match config["deliver_subject"].as_str() {
                    Some(inbox) => self.hand_out(inbox, filter, 0, usize::MAX),
                    None => Ok(()),
                }
            }
            ["CONSUMER", "MSG", "NEXT", ..] => {
                let batch = request["batch"].as_u64().unwrap() as usize;
                let from = self.pulled;
                self.pulled += batch;
                self.hand_out(reply, None, from, batch)
            }
            _ => panic!("the load generator asked for {what}"),
        }
    }

    /// Acknowledges the message that was just published.
    pub(super) fn acknowledge(&self, reply: &str) -> std::io::Result<()> {
        self.say(reply, &json!({"stream": "BENCH", "seq": self.published}))
    }

    fn say(&self, reply: &str, answer: &Value) -> std::io::Result<()> {
        // The order of the fields that a PubAck has.
        let text = match (answer.get("stream"), answer.get("seq")) {
            (Some(stream), Some(seq)) => format!("{{\"stream\":{stream},\"seq\":{seq}}}"),
            _ => answer.to_string(),
        };
        self.fan_out(reply, None, text.as_bytes(), false)
    }

    fn hand_out(&self, inbox: &str, filter: Option<&str>, from: usize, count: usize) -> std::io::Result<()> {
        let Some(subscription) = self.subscriptions.iter().find(|subscription| subscription.filter == inbox) else {
            return Ok(());
        };
        let wanted = self.log.iter().filter(|(subject, _)| filter.is_none_or(|filter| filter == subject));
        for (subject, payload) in wanted.skip(from).take(count) {
            deliver(subscription, subject, Some("$JS.ACK.BENCH.x"), payload)?;
        }
        Ok(())
    }
}
