//! What is written for each key, and what has to stand beside it.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sublog_broker::conf::settings::{Block, Kind};

use crate::{accounts, operators};

/// Flags of every server, but for those that would hide what a key says.
pub(crate) const FLAGS: &[(&str, &str)] =
    &[("-a", "127.0.0.1"), ("-p", "-1"), ("-m", "-1"), ("-sd", "data"), ("--ports_file_dir", "ports")];

const PAIR: &str = r#"cert_file: "server.pem", key_file: "server.key""#;
const USER: &str = "user: u, password: p";

/// One key: the text of a file with it, of one without it, and the flags that would hide it.
pub(crate) struct Sample {
    pub(crate) with: String,
    pub(crate) without: String,
    pub(crate) hidden_by: &'static [&'static str],
}

/// Files that the samples name.
pub(crate) fn write_files(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("ca.pem", &ca.pem());
    let key = KeyPair::generate().unwrap();
    for name in ["server", "second"] {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
}

/// A port that nobody has at the moment.
fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A value of a kind.
fn value(kind: &Kind) -> String {
    let inside = |block: &Block| {
        let key = &block.keys[0];
        format!("{{ {}: {} }}", key.names[0], value(&key.kind))
    };
    match kind {
        Kind::Bool => "true".to_owned(),
        Kind::Int => "77".to_owned(),
        Kind::Number => "1.5".to_owned(),
        Kind::Text => "some".to_owned(),
        Kind::Word(words) => format!("{:?}", words.last().unwrap()),
        Kind::Duration | Kind::Seconds => "\"77s\"".to_owned(),
        Kind::Size => "7777777".to_owned(),
        Kind::Port => free().to_string(),
        Kind::Address => format!("\"127.0.0.1:{}\"", free()),
        Kind::Texts => "[some]".to_owned(),
        Kind::TextMap => "{ k: v }".to_owned(),
        Kind::BoolMap => "{ k: true }".to_owned(),
        Kind::Block(block) => inside(block),
        Kind::Blocks(block) => format!("[ {} ]", inside(block)),
        Kind::Named(block) => format!("{{ A: {} }}", inside(block)),
        Kind::Each(kind) => format!("{{ k: {} }}", value(kind)),
        Kind::List(kind) => format!("[ {} ]", value(kind)),
        // The longest form there is.
        Kind::OneOf(kinds) => {
            value(kinds.iter().find(|kind| !matches!(kind, Kind::Bool) && kind.block().is_none()).unwrap_or(&kinds[0]))
        }
    }
}

/// What stands around the keys of a block.
fn around(path: &str) -> (String, &'static str, &'static str) {
    let users = "authorization { users: [ { ";
    let permissions = format!("{users}{USER} }} ], default_permissions ");
    match path {
        "" => (String::new(), "", ""),
        "authorization.users" => (users.to_owned(), USER, " } ] }"),
        "authorization.default_permissions" => (format!("{permissions}{{ "), "", " } }"),
        "authorization.default_permissions.publish" => (format!("{permissions}{{ publish {{ "), "", " } } }"),
        "authorization.default_permissions.allow_responses" => {
            (format!("{permissions}{{ allow_responses {{ "), "", " } } }")
        }
        "tls" => ("tls { ".to_owned(), PAIR, " }"),
        "tls.certs" => ("tls { certs: [ { ".to_owned(), PAIR, " } ] }"),
        "websocket" => ("websocket { ".to_owned(), "port: -1, no_tls: true", " }"),
        "resolver" => operators::around(),
        "mappings" => ("mappings { a: [ { ".to_owned(), "destination: b, weight: 100%", " } ] }"),
        path if path.starts_with("accounts") => accounts::around(path),
        path => {
            let blocks: Vec<&str> = path.split('.').collect();
            (
                blocks.iter().map(|block| format!("{block} {{ ")).collect(),
                "",
                [" }", " } }", " } } }"][blocks.len() - 1],
            )
        }
    }
}

/// Keys that need a certain value, others beside them, or others in their place: what stands in the block with the key, and without.
fn special(path: &str, name: &str) -> Option<(String, String)> {
    if let Some(found) = accounts::special(path, name).or_else(|| operators::special(path, name)) {
        return Some(found);
    }
    let with = |value: &str| Some((format!("{name}: {value}"), String::new()));
    let instead = |with: String, without: &str| Some((with, without.to_owned()));
    let users = format!("users: [ {{ {USER} }} ]");
    let tls = format!("tls {{ {PAIR} }}");
    match path {
        "host" => with("127.0.0.2"),
        "https_port" => instead(format!("{name}: {}, {tls}", free()), &tls),
        "https" => instead(format!("{name}: \"127.0.0.1:{}\", {tls}", free()), &tls),
        "authorization" => with(&format!("{{ {USER} }}")),
        "tls" => with(&format!("{{ {PAIR} }}")),
        "websocket" => with("{ port: -1, no_tls: true }"),
        "pid_file" => with("x.pid"),
        "ports_file_dir" => with("other"),
        "log_file" => with("out.log"),
        "http_base_path" => with("\"/base\""),
        "logtime" | "jetstream" | "jetstream.enabled" | "sublog.capture" => with("false"),
        "remote_syslog" => with(&format!("\"udp://127.0.0.1:{}\"", free())),
        "log_size_limit" | "max_control_line" => with("7777"),
        "no_auth_user" => {
            instead(format!("{name}: u, authorization {{ {users} }}"), &format!("authorization {{ {users} }}"))
        }
        "allow_non_tls" => instead(format!("{name}: true, {tls}"), &tls),
        "store_dir" | "jetstream.store_dir" | "sublog.store_dir" => with("elsewhere"),
        "sublog.sync" => with("os"),
        "sublog.sync_interval" => instead(format!("sync: interval, {name}: \"77s\""), "sync: interval"),
        "authorization.user" => instead(format!("{name}: u, password: p"), "user: w, password: p"),
        "authorization.password" => instead(format!("{name}: p, user: u"), "user: u, password: q"),
        "authorization.users" => instead(format!("{name}: [ {{ {USER} }} ]"), ""),
        "authorization.default_permissions" => instead(format!("{name}: {{ publish: a }}, {users}"), &users),
        "authorization.users.user" => instead(format!("{name}: u, password: p"), "user: w, password: p"),
        "authorization.users.password" => instead(format!("{name}: p, user: u"), "user: u, password: q"),
        "authorization.users.nkey" => instead(format!("{name}: {}", nkeys::KeyPair::new_user().public_key()), USER),
        "authorization.users.allowed_connection_types" => instead(format!("{name}: WEBSOCKET, {USER}"), USER),
        "authorization.users.permissions" => instead(format!("{name}: {{ publish: b }}, {USER}"), USER),
        "tls.cert_file" => instead(format!("{name}: \"second.pem\", key_file: \"server.key\""), PAIR),
        "tls.key_file" => instead(format!("{name}: \"second.key\", cert_file: \"server.pem\""), PAIR),
        "tls.certs.cert_file" => instead(format!("{name}: \"second.pem\", key_file: \"server.key\""), PAIR),
        "tls.certs.key_file" => instead(format!("{name}: \"second.key\", cert_file: \"server.pem\""), PAIR),
        "tls.ca_file" => instead(format!("{name}: \"ca.pem\", {PAIR}"), PAIR),
        "tls.verify" | "tls.verify_and_map" | "tls.verify_cert_and_check_known_urls" => {
            instead(format!("{name}: true, ca_file: \"ca.pem\", {PAIR}"), &format!("ca_file: \"ca.pem\", {PAIR}"))
        }
        "tls.pinned_certs" => {
            let verified = format!("verify: true, ca_file: \"ca.pem\", {PAIR}");
            instead(format!("{name}: [\"{}\"], {verified}", "7".repeat(64)), &verified)
        }
        "tls.cipher_suites" => instead(format!("{name}: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], {PAIR}"), PAIR),
        "tls.allow_insecure_cipher_suites" => {
            let suites = format!(
                "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_GCM_SHA256], {PAIR}"
            );
            instead(format!("{name}: true, {suites}"), &suites)
        }
        "tls.curve_preferences" => instead(format!("{name}: [CurveP256], {PAIR}"), PAIR),
        "tls.min_version" => instead(format!("{name}: \"1.3\", {PAIR}"), PAIR),
        "tls.handshake_first" => instead(format!("{name}: true, {PAIR}"), PAIR),
        "tls.certs" => instead(format!("{name}: [ {{ cert_file: \"second.pem\", key_file: \"server.key\" }} ]"), PAIR),
        "websocket.listen" => {
            instead(format!("{name}: \"127.0.0.1:{}\", no_tls: true", free()), "port: -1, no_tls: true")
        }
        "websocket.port" => instead(format!("{name}: {}, no_tls: true", free()), "port: -1, no_tls: true"),
        "websocket.host" => instead(format!("{name}: \"127.0.0.2\", port: -1, no_tls: true"), "port: -1, no_tls: true"),
        "websocket.no_tls" => instead(format!("{name}: true, port: -1"), &format!("port: -1, {tls}")),
        "websocket.tls" => instead(format!("{name} {{ {PAIR} }}, port: -1"), "port: -1, no_tls: true"),
        "websocket.allowed_origins" => {
            instead(format!("{name}: [\"http://a.b\"], port: -1, no_tls: true"), "port: -1, no_tls: true")
        }
        _ => None,
    }
}

fn hidden_by(path: &str) -> &'static [&'static str] {
    match path {
        "listen" => &["-a", "-p"],
        "host" => &["-a"],
        "port" => &["-p"],
        "http" | "http_port" | "https" | "https_port" => &["-m"],
        "store_dir" | "jetstream.store_dir" | "sublog.store_dir" => &["-sd"],
        "ports_file_dir" => &["--ports_file_dir"],
        _ => &[],
    }
}

/// The sample of a key of the block at `path`, under one of its names.
pub(crate) fn sample(path: &str, key: &str, name: &str, kind: &Kind) -> Sample {
    let (open, beside, close) = around(path);
    let full = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let (with, without) = special(&full, name).unwrap_or_else(|| {
        let own = format!("{name}: {}", value(kind));
        if beside.is_empty() { (own, String::new()) } else { (format!("{own}, {beside}"), beside.to_owned()) }
    });
    // A block that has nothing in it is none, but where others stand around it.
    let alone = !path.is_empty() && !path.starts_with("accounts");
    let block = |text: String| if text.is_empty() && alone { text } else { format!("{open}{text}{close}") };
    let without = match path.starts_with("authorization.default_permissions") {
        true => format!("authorization {{ users: [ {{ {USER} }} ] }}"),
        false => block(without),
    };
    Sample { with: format!("{}\n", block(with)), without: format!("{without}\n"), hidden_by: hidden_by(&full) }
}
