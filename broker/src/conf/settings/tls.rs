//! `tls` as types.

use std::path::PathBuf;
use std::time::Duration;

use super::authorization::{all, text};
use super::read::duration;
use super::{Finding, find};
use crate::conf::tree::{Map, Node, Position, Value};

/// Encryption of connections.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where the block stands.
    pub at: Position,
    /// Certificates with their keys; the first whose name fits serves.
    pub certificates: Vec<Pair>,
    /// Authorities whose clients are known.
    pub ca_file: Option<PathBuf>,
    /// Clients must show a certificate of such an authority.
    pub verify: bool,
    /// Its subject names the user.
    pub verify_and_map: bool,
    /// Do not check the other side, as a client.
    pub insecure: bool,
    /// How long a handshake may take.
    pub timeout: Option<Duration>,
    /// When the handshake begins.
    pub first: HandshakeFirst,
    /// The oldest version that is spoken, as written.
    pub min_version: Option<String>,
    /// Names of what is offered; empty is the default.
    pub cipher_suites: Vec<String>,
    /// Names of what is offered; empty is the default.
    pub curve_preferences: Vec<String>,
    /// Handshakes a second; `None` is any number.
    pub connection_rate_limit: Option<u64>,
    /// SHA-256 of public keys, in hexadecimal; empty is any.
    pub pinned_certs: Vec<String>,
}

/// A certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// PEM.
    pub cert_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
}

/// When a handshake begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandshakeFirst {
    /// After INFO, as every client knows it.
    #[default]
    No,
    /// Before anything else.
    Yes,
    /// At once, if the client begins it within this time; after INFO otherwise.
    Within(Duration),
}

/// How long a client has with `handshake_first: auto`.
pub const HANDSHAKE_FALLBACK: Duration = Duration::from_millis(50);

/// Reads `tls` of a checked tree.
pub(super) fn read_in(map: &Map) -> Option<Tls> {
    find(map, &["tls"]).and_then(|entry| read(&entry.node, &entry.at, &mut Vec::new()))
}

/// What is right and has no effect.
pub(super) fn remarks(map: &Map) -> Vec<Finding> {
    let Some(Value::Map(block)) = find(map, &["tls"]).map(|entry| &entry.node.value) else { return Vec::new() };
    let insecure = find(block, &["insecure"]).filter(|entry| entry.node.value == Value::Bool(true));
    let text = "insecure has no effect: it is for servers that connect to others".to_owned();
    insecure.map(|entry| Finding { at: entry.at.clone(), text }).into_iter().collect()
}

/// What the kinds of values do not tell.
pub(super) fn check(map: &Map) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let Some(entry) = find(map, &["tls"]) else { return wrong };
    let Some(tls) = read(&entry.node, &entry.at, &mut wrong) else { return wrong };
    if tls.certificates.is_empty() && wrong.is_empty() {
        wrong.push(Finding { at: entry.at.clone(), text: "tls needs cert_file and key_file".to_owned() });
    }
    if let Value::Map(block) = &entry.node.value {
        for key in ["cipher_suites", "curve_preferences"] {
            if let Some(entry) =
                find(block, &[key]).filter(|entry| matches!(&entry.node.value, Value::Array(all) if all.is_empty()))
            {
                wrong.push(Finding { at: entry.node.at.clone(), text: format!("{key} cannot be empty") });
            }
        }
        let known = find(block, &["verify_cert_and_check_known_urls"]);
        if let Some(entry) = known.filter(|entry| entry.node.value == Value::Bool(true)) {
            let text = "verify_cert_and_check_known_urls is not for clients".to_owned();
            wrong.push(Finding { at: entry.at.clone(), text });
        }
    }
    wrong
}

/// Reads one block.
pub(super) fn read(node: &Node, at: &Position, wrong: &mut Vec<Finding>) -> Option<Tls> {
    let Value::Map(block) = &node.value else { return None };
    let is = |names: &[&str]| matches!(find(block, names).map(|entry| &entry.node.value), Some(Value::Bool(true)));
    let list = |name: &str| find(block, &[name]).map(|entry| all(&entry.node)).unwrap_or_default();
    let rate = find(block, &["connection_rate_limit"]).and_then(|entry| match entry.node.value {
        Value::Int(rate) => u64::try_from(rate).ok().filter(|rate| *rate > 0),
        _ => None,
    });
    Some(Tls {
        at: at.clone(),
        certificates: certificates(block, at, wrong),
        ca_file: text(block, &["ca_file"]).map(PathBuf::from),
        verify: is(&["verify"]) || is(&["verify_and_map"]),
        verify_and_map: is(&["verify_and_map"]),
        insecure: is(&["insecure"]),
        timeout: find(block, &["timeout"]).and_then(|entry| duration(&entry.node.value).ok()),
        first: handshake_first(block, wrong),
        min_version: find(block, &["min_version"]).and_then(|entry| min_version(&entry.node, wrong)),
        cipher_suites: list("cipher_suites"),
        curve_preferences: list("curve_preferences"),
        connection_rate_limit: rate,
        pinned_certs: pinned(block, wrong),
    })
}

fn certificates(block: &Map, at: &Position, wrong: &mut Vec<Finding>) -> Vec<Pair> {
    let mut out: Vec<Pair> = pair(block, at, wrong).into_iter().collect();
    if let Some(entry) = find(block, &["certs", "certificates"])
        && let Value::Array(nodes) = &entry.node.value
    {
        if !out.is_empty() && !nodes.is_empty() {
            let text = "certs cannot be combined with cert_file".to_owned();
            wrong.push(Finding { at: entry.at.clone(), text });
        }
        for node in nodes {
            if let Value::Map(inner) = &node.value {
                out.extend(pair(inner, &node.at, wrong));
            }
        }
    }
    out
}

fn pair(block: &Map, at: &Position, wrong: &mut Vec<Finding>) -> Option<Pair> {
    match (text(block, &["cert_file"]), text(block, &["key_file"])) {
        (Some(cert), Some(key)) => Some(Pair { cert_file: cert.into(), key_file: key.into() }),
        (None, None) => None,
        _ => {
            wrong.push(Finding { at: at.clone(), text: "cert_file and key_file need each other".to_owned() });
            None
        }
    }
}

fn handshake_first(block: &Map, wrong: &mut Vec<Finding>) -> HandshakeFirst {
    let Some(entry) = find(block, &["handshake_first", "first", "immediate"]) else { return HandshakeFirst::No };
    match &entry.node.value {
        Value::Bool(true) => HandshakeFirst::Yes,
        Value::Str(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" => HandshakeFirst::Yes,
            "false" | "off" => HandshakeFirst::No,
            "auto" | "auto_fallback" => HandshakeFirst::Within(HANDSHAKE_FALLBACK),
            _ => match duration(&entry.node.value) {
                Ok(span) => HandshakeFirst::Within(span),
                Err(_) => {
                    let text = "handshake_first: expected true, false, auto or a duration".to_owned();
                    wrong.push(Finding { at: entry.node.at.clone(), text });
                    HandshakeFirst::No
                }
            },
        },
        _ => HandshakeFirst::No,
    }
}

fn min_version(node: &Node, wrong: &mut Vec<Finding>) -> Option<String> {
    let version = match &node.value {
        Value::Str(text) => text.clone(),
        Value::Float(number) => format!("{number:?}"),
        _ => String::new(),
    };
    if matches!(version.as_str(), "1.2" | "1.3") {
        return Some(version);
    }
    wrong.push(Finding { at: node.at.clone(), text: "min_version: expected \"1.2\" or \"1.3\"".to_owned() });
    None
}

fn pinned(block: &Map, wrong: &mut Vec<Finding>) -> Vec<String> {
    let Some(entry) = find(block, &["pinned_certs"]) else { return Vec::new() };
    let hashes = all(&entry.node);
    for hash in &hashes {
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let text = "pinned_certs: expected SHA-256 of public keys, 64 hexadecimal digits each".to_owned();
            wrong.push(Finding { at: entry.node.at.clone(), text });
        }
    }
    hashes.into_iter().map(|hash| hash.to_ascii_lowercase()).collect()
}
