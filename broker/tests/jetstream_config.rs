//! Configurations of streams and consumers against nats-server: what it answers to hundreds of requests was written down,
//! and is what this server has to answer, but for differences that are meant.
//!
//! `golden.json` is a list of cases, each with requests in their order: subject after `$JS.API.`, body, and what of
//! nats-server 2.15.1's answer depends on nothing but configurations. Of a configuration it has what differs from the
//! first line's (`null`: a field that is left out), and `x*300` is a text of 300 `x`. A case starts without streams.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use sublog_broker::jetstream::config::consumer::admit::{Admission, Beside};
use sublog_broker::jetstream::config::json::Unknown;
use sublog_broker::jetstream::config::stream::admit::Creation;
use sublog_broker::jetstream::config::{ConsumerConfig, Limits, StreamConfig};
use sublog_broker::jetstream::errors::ApiError;
use sublog_broker::jetstream::wire::create::{ConsumerRequest, CreateSubject};
use sublog_broker::jetstream::wire::requests::{self, StreamRequest};

/// nats-server reads strictly unless it is told otherwise, so these answers are those of a strict server.
const STRICT: Unknown = Unknown::Refuse;

/// Cases that end otherwise here, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("stream/discard 'Old'", "words are not known in capitals, here as elsewhere"),
    ("update/discard capitals", "words are not known in capitals, here as elsewhere"),
    ("update/rename path", "a name that is not the subject's is not looked at any further"),
    ("stream/nulls", "null is a missing field wherever it stands"),
    ("consumer/nulls", "null is a missing field wherever it stands"),
    ("consumer/body {\"stream_name\":\"S\",\"config\":{\"name\":\"C\"},\"action\":null}", "null is a missing field"),
    ("consumer/name too long", "nats-server finds out when it makes the folder"),
    ("consumer/push direct", UNSUPPORTED),
    ("consumer/push sourcing", UNSUPPORTED),
];
const UNSUPPORTED: &str = "refused, because there is no such thing yet";

/// What is decided by what a stream holds, not by configurations.
const ELSEWHERE: &[u64] = &[10014, 10037, 10043, 10057, 10059, 10160];

/// A server's streams with their consumers.
#[derive(Default)]
struct Server {
    streams: BTreeMap<String, (StreamConfig, BTreeMap<String, ConsumerConfig>)>,
    limits: Limits,
}

impl Server {
    fn answer(&mut self, subject: &str, body: &[u8]) -> Result<Value, ApiError> {
        if let Some(name) = subject.strip_prefix("STREAM.CREATE.") {
            return self.create(StreamRequest::parse(name, body, STRICT)?);
        }
        if let Some(name) = subject.strip_prefix("STREAM.UPDATE.") {
            return self.update(StreamRequest::parse(name, body, STRICT)?);
        }
        let consumer = subject.strip_prefix("CONSUMER.").and_then(CreateSubject::parse);
        if let Some(subject) = consumer {
            return self.consumer(ConsumerRequest::parse(&subject, body, STRICT)?);
        }
        other(subject, body).map(|()| json!({}))
    }

    fn create(&mut self, request: StreamRequest) -> Result<Value, ApiError> {
        let existing = self.streams.values().map(|(config, _)| config);
        let name = request.config.name.clone();
        if let Creation::New(config) = request.config.create(&self.limits, request.pedantic, existing)? {
            self.streams.insert(name.clone(), (*config, BTreeMap::new()));
        }
        Ok(json!({ "config": self.streams[&name].0, "did_create": true }))
    }

    fn update(&mut self, request: StreamRequest) -> Result<Value, ApiError> {
        let name = request.config.name.clone();
        let Some((old, consumers)) = self.streams.get(&name) else { return Err(ApiError::stream_not_found()) };
        let existing = self.streams.values().map(|(config, _)| config);
        let consumers = consumers.iter().map(|(name, config)| (name.as_str(), config));
        let new = old.update(request.config, &self.limits, request.pedantic, existing, consumers)?;
        self.streams.get_mut(&name).unwrap().0 = new.clone();
        Ok(json!({ "config": new }))
    }

    fn consumer(&mut self, request: ConsumerRequest) -> Result<Value, ApiError> {
        let Some((stream, consumers)) = self.streams.get_mut(&request.stream_name) else {
            return Err(ApiError::stream_not_found());
        };
        let names = consumers.iter().map(|(name, config)| (name.as_str(), config));
        let beside = Beside { stream, limits: &self.limits, consumers: names, bound: false };
        let (Admission::Create(config) | Admission::Update(config)) =
            request.config.admit(request.action, request.pedantic, &beside)?;
        consumers.insert(config.asset_name().to_owned(), config.clone());
        Ok(json!({ "config": config }))
    }
}

fn other(subject: &str, body: &[u8]) -> Result<(), ApiError> {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens.as_slice() {
        ["STREAM", "NAMES" | "LIST"] => requests::StreamsRequest::parse(body, STRICT).map(drop),
        ["STREAM", "INFO", _] => requests::StreamInfoRequest::parse(body, STRICT).map(drop),
        ["STREAM", "PURGE", _] => requests::PurgeRequest::parse(body, STRICT).map(drop),
        ["STREAM", "MSG", "GET", _] => requests::MsgGetRequest::parse(body, STRICT).map(drop),
        ["STREAM", "MSG", "DELETE", _] => requests::MsgDeleteRequest::parse(body, STRICT).map(drop),
        ["STREAM", "DELETE", _] | ["CONSUMER", "DELETE" | "INFO", ..] => requests::expect_empty(body),
        ["CONSUMER", "NAMES" | "LIST", _] => requests::ConsumersRequest::parse(body, STRICT).map(drop),
        ["CONSUMER", "PAUSE", ..] => requests::PauseRequest::parse(body, STRICT).map(drop),
        ["CONSUMER", "RESET", ..] => requests::ResetRequest::parse(body, STRICT).map(drop),
        ["CONSUMER", "UNPIN", ..] => requests::UnpinRequest::parse(body).map(drop),
        _ => panic!("what is {subject}?"),
    }
}

/// Writes out what the file has in short.
fn long(text: &str) -> String {
    let count = text.strip_prefix("x*").and_then(|count| count.parse().ok());
    count.map_or_else(|| text.to_owned(), |count| "x".repeat(count))
}

fn long_value(value: &Value) -> Value {
    match value {
        Value::String(text) => long(text).into(),
        Value::Array(items) => items.iter().map(long_value).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), long_value(value))).collect(),
        other => other.clone(),
    }
}

/// What nats-server answered, in full.
fn expected(answer: &Value, defaults: &Value) -> Value {
    let mut answer = long_value(answer);
    let Some(differences) = answer.get("config").and_then(Value::as_object) else { return answer };
    let mut config: Map<String, Value> = defaults.as_object().unwrap().clone();
    for (key, value) in differences {
        match value {
            Value::Null => drop(config.remove(key)),
            value => drop(config.insert(key.clone(), value.clone())),
        }
    }
    if let Some(Value::String(time)) = config.get_mut("opt_start_time") {
        // It is the same time, told without its zone.
        *time = time.parse::<jiff::Timestamp>().unwrap().to_string();
    }
    answer["config"] = config.into();
    answer
}

/// Why an answer is not the expected one.
fn difference(expected: &Value, ours: &Result<Value, ApiError>) -> Option<String> {
    match (expected.get("error"), ours) {
        (Some(error), _) if ELSEWHERE.contains(&error["err_code"].as_u64().unwrap()) => None,
        (Some(error), Err(ours)) => {
            let same = error["code"] == ours.code && error["err_code"] == ours.err_code;
            // What is wrong with a text that is not JSON, or not a number, is said in words of its own.
            let (text, own) = (error["description"].as_str().unwrap(), [10025, 10095].contains(&ours.err_code));
            let said = own && text.split(':').next() == ours.description.split(':').next();
            let same = same && (said || error["description"] == ours.description.as_str());
            (!same).then(|| format!("{error} is expected, not {ours}"))
        }
        (Some(error), Ok(ours)) => Some(format!("{error} is expected, not {ours}")),
        (None, Err(ours)) => Some(format!("nothing is wrong with it, but {ours}")),
        (None, Ok(ours)) => {
            let (expected, ours) = (expected.get("config")?, ours.get("config")?);
            (expected != ours).then(|| {
                let keys: BTreeSet<&String> =
                    expected.as_object().unwrap().keys().chain(ours.as_object().unwrap().keys()).collect();
                let lines = keys.into_iter().filter(|key| expected.get(key) != ours.get(key));
                lines
                    .map(|key| format!("{key}: {:?} is expected, not {:?}; ", expected.get(key), ours.get(key)))
                    .collect()
            })
        }
    }
}

#[test]
fn answers_are_those_of_nats_server() {
    let golden: Vec<(String, Value)> = serde_json::from_str(include_str!("jetstream_config/golden.json")).unwrap();
    let defaults = &golden[0].1;
    let mut different: BTreeMap<&str, &str> = DIFFERENT.iter().copied().collect();
    let (mut wrong, mut steps) = (Vec::new(), 0);
    for (name, case) in golden.iter().skip(1) {
        let mut server = Server::default();
        for step in case.as_array().unwrap() {
            let (subject, body, answer) = (step[0].as_str().unwrap(), long_value(&step[1]), &step[2]);
            if answer.is_null() {
                continue;
            }
            let subject: String = subject.split('.').map(long).collect::<Vec<_>>().join(".");
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            let kind = if subject.starts_with("STREAM.") { "stream" } else { "consumer" };
            let ours = server.answer(&subject, body.as_bytes());
            steps += 1;
            if let Some(why) = difference(&expected(answer, &defaults[kind]), &ours) {
                let reason = different.remove(name.as_str());
                let refused =
                    ours.as_ref().is_err_and(|error| error.description.ends_with("not supported by this server"));
                if reason.is_none() || (reason == Some(UNSUPPORTED)) != refused {
                    let body: String = body.chars().take(300).collect();
                    wrong.push(format!("{name}: {subject} {body}\n    {why}"));
                }
                // What comes after it depends on it.
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), golden.len() - 1, wrong.join("\n"));
    assert!(different.is_empty(), "no longer different: {different:?}");
    assert!(steps > 1000, "only {steps} requests");
}

/// What JSON and subjects are made of.
const BYTES: &[u8] = b"{}[]\",:0-1e9.*>x \xff";

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

#[test]
fn any_bytes_are_read_or_refused() {
    let golden: Vec<(String, Value)> = serde_json::from_str(include_str!("jetstream_config/golden.json")).unwrap();
    let mut numbers = Numbers(1);
    let (mut taken, mut refused) = (0, 0);
    for (_, case) in golden.iter().skip(1) {
        let mut server = Server::default();
        for step in case.as_array().unwrap() {
            let body = step[1].as_str().map_or_else(|| step[1].to_string(), str::to_owned);
            for _ in 0..20 {
                let mut bytes = body.clone().into_bytes();
                for _ in 0..numbers.below(3) {
                    let at = numbers.below(bytes.len());
                    match numbers.below(4) {
                        0 if !bytes.is_empty() => drop(bytes.remove(at)),
                        1 => bytes.insert(at, BYTES[numbers.below(BYTES.len())]),
                        2 => bytes.truncate(at),
                        _ if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
                        _ => {}
                    }
                }
                match server.answer(step[0].as_str().unwrap(), &bytes) {
                    Ok(_) => taken += 1,
                    Err(error) => {
                        assert!(error.code >= 400 && !error.description.is_empty(), "{error:?}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}
