//! `websocket` as types.

use super::authorization::text;
use super::read::{address, duration, port, texts};
use super::{Finding, find, tls};
use crate::conf::tree::{Map, Node, Value};
use crate::websocket::origin::Origin;
use crate::websocket::{HANDSHAKE_TIMEOUT, WebSocketOptions, check_header};

/// Reads `websocket` of a checked tree; `None` where no port is asked for.
pub(super) fn read_in(map: &Map) -> Option<WebSocketOptions> {
    read(map, &mut Vec::new())
}

/// What the kinds of values do not tell.
pub(super) fn check(map: &Map) -> Vec<Finding> {
    let mut wrong = Vec::new();
    read(map, &mut wrong);
    wrong
}

fn read(map: &Map, wrong: &mut Vec<Finding>) -> Option<WebSocketOptions> {
    let entry = find(map, &["websocket", "ws"])?;
    let Value::Map(block) = &entry.node.value else { return None };
    let node = |names: &[&str]| find(block, names).map(|entry| &entry.node);
    let is = |names: &[&str]| matches!(node(names).map(|node| &node.value), Some(Value::Bool(true)));
    let span = |name: &str| node(&[name]).and_then(|node| duration(&node.value).ok()).filter(|span| !span.is_zero());
    let (mut host, mut number) = (text(block, &["host", "net"]), None);
    if let Some(Value::Int(number_given)) = node(&["port"]).map(|node| &node.value) {
        number = port(*number_given);
    }
    if let Some(Ok((listen_host, listen_port))) = node(&["listen"]).map(|node| address(&node.value)) {
        (host, number) = (listen_host.or(host), Some(listen_port));
    }
    let port = match number? {
        0 => return None,
        -1 => 0,
        number => u16::try_from(number).ok()?,
    };
    let encrypted = find(block, &["tls"]).and_then(|entry| tls::read(&entry.node, &entry.at, wrong));
    if encrypted.as_ref().is_some_and(|tls| tls.certificates.is_empty()) || (encrypted.is_none() && !is(&["no_tls"])) {
        let text = "websocket needs a tls block with cert_file and key_file, or no_tls: true".to_owned();
        wrong.push(Finding { at: entry.at.clone(), text });
    }
    let names = ["allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"];
    let mut allowed_origins = Vec::new();
    for (text, node) in node(&names).map(texts).unwrap_or_default() {
        match Origin::parse(text) {
            Ok(origin) => allowed_origins.push(origin),
            Err(text) => wrong.push(Finding { at: node.at.clone(), text: format!("allowed_origins: {text}") }),
        }
    }
    let cookie = |name: &str| text(block, &[name]).filter(|name| !name.is_empty());
    Some(WebSocketOptions {
        host,
        port,
        tls: encrypted.map(Into::into),
        same_origin: is(&["same_origin"]),
        allowed_origins,
        handshake_timeout: span("handshake_timeout").unwrap_or(HANDSHAKE_TIMEOUT),
        compression: is(&["compression", "compress"]),
        user_cookie: cookie("user_cookie"),
        pass_cookie: cookie("pass_cookie"),
        token_cookie: cookie("token_cookie"),
        jwt_cookie: cookie("jwt_cookie"),
        headers: node(&["headers"]).map(|node| headers(node, wrong)).unwrap_or_default(),
        ping_interval: span("ping_interval"),
    })
}

fn headers(node: &Node, wrong: &mut Vec<Finding>) -> Vec<(String, String)> {
    let Value::Map(map) = &node.value else { return Vec::new() };
    let mut out = Vec::new();
    for entry in map.iter() {
        let Value::Str(value) = &entry.node.value else { continue };
        match check_header(&entry.key, value) {
            Ok(()) => out.push((entry.key.clone(), value.clone())),
            Err(why) => {
                wrong.push(Finding { at: entry.at.clone(), text: format!("headers: {:?} {why}", entry.key) });
            }
        }
    }
    out
}
