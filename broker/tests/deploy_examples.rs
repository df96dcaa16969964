//! The configurations in `deploy/`: they load, they are whole, and what they call a default is one.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sublog_broker::cli::serve::{self, Request, Serve};
use sublog_broker::conf::settings::{Block, Kind, Now, Settings, keys};
use sublog_broker::conf::{Map, Node, Source, Value};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(name)
}

fn parse(name: &str) -> Map {
    let env = |name: &str| (name == "JETSTREAM_KEY").then(|| "secret".to_owned());
    let path = deploy(name);
    let source = Source { name, dir: path.parent().unwrap(), env: &env };
    source.parse(&std::fs::read(&path).unwrap()).unwrap()
}

/// Which keys of each block a file has.
type Seen = HashMap<*const Block, HashSet<&'static str>>;

fn look(map: &Map, block: &'static Block, seen: &mut Seen) {
    for entry in map.iter() {
        let Some(key) = block.find(&entry.key) else { continue };
        seen.entry(std::ptr::from_ref(block)).or_default().insert(key.names.first().unwrap());
        inside(&entry.node, &key.kind, seen);
    }
}

fn inside(node: &Node, kind: &'static Kind, seen: &mut Seen) {
    match (kind, &node.value) {
        (Kind::Block(block), Value::Map(map)) => look(map, block, seen),
        (Kind::Blocks(block), Value::Array(nodes)) => {
            for node in nodes {
                inside_block(node, block, seen);
            }
        }
        (Kind::Named(block), Value::Map(map)) => map.iter().for_each(|entry| inside_block(&entry.node, block, seen)),
        (Kind::Each(kind), Value::Map(map)) => map.iter().for_each(|entry| inside(&entry.node, kind, seen)),
        (Kind::List(kind), Value::Array(nodes)) => nodes.iter().for_each(|node| inside(node, kind, seen)),
        (Kind::OneOf(kinds), _) => kinds.iter().for_each(|kind| inside(node, kind, seen)),
        _ => {}
    }
}

fn inside_block(node: &Node, block: &'static Block, seen: &mut Seen) {
    if let Value::Map(map) = &node.value {
        look(map, block, seen);
    }
}

#[test]
fn the_reference_has_every_key_and_is_right() {
    let map = parse("all-keys.conf");
    let mut seen = Seen::new();
    look(&map, &keys::TOP, &mut seen);
    let mut missing = Vec::new();
    for block in keys::blocks() {
        let have = seen.get(&std::ptr::from_ref(block)).cloned().unwrap_or_default();
        missing.extend(
            block
                .keys
                .iter()
                .map(|key| key.names.first().unwrap())
                .filter(|name| !have.contains(*name))
                .map(|name| format!("{}: {name}", block.name)),
        );
    }
    // What excludes each other elsewhere may stand in one file as a reference.
    assert!(missing.is_empty(), "{missing:?}");
    let settings = Settings::new(map).map_err(|error| error.to_string()).unwrap();
    assert!(settings.refusals.len() > 15 && settings.warnings.len() > 30);
    let said: Vec<String> =
        settings.refusals.iter().chain(&settings.warnings).map(|finding| finding.text.clone()).collect();
    for key in keys::TOP.keys.iter().filter(|key| matches!(key.now, Now::Refused(_))) {
        let name = key.names.first().unwrap();
        let off = ["proxy_protocol", "allow_non_tls"].contains(name);
        assert!(off || said.iter().any(|text| text.starts_with(&format!("{name} is not supported"))), "{name}");
    }
}

fn served(path: &Path) -> Serve {
    let args = [OsString::from("-c"), path.into()];
    match serve::parse(&args).map_err(|error| error.to_string()) {
        Ok(Request::Serve(serve)) => *serve,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_is_the_default_server() {
    let mut serve = served(&deploy("sublog.conf"));
    assert!(serve.warnings.is_empty(), "{:?}", serve.warnings);
    // Where it says that it is not.
    assert_eq!(
        (serve.server.monitor_port, serve.server.store_dir.as_path()),
        (Some(8222), Path::new("/var/lib/sublog"))
    );
    let Ok(Request::Serve(plain)) = serve::parse(&[]) else { panic!("no arguments must serve") };
    (serve.server.monitor_port, serve.server.store_dir) = (None, plain.server.store_dir.clone());
    assert_eq!(format!("{:?}", serve.server), format!("{:?}", plain.server));
    assert_eq!(serve.log, plain.log);
}

#[test]
fn the_example_names_every_setting_that_takes_effect() {
    let text = std::fs::read_to_string(deploy("sublog.conf")).unwrap();
    let words: HashSet<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut queue: Vec<&'static Block> = vec![&keys::TOP];
    let mut named = 0;
    while let Some(block) = queue.pop() {
        for key in block.keys.iter().filter(|key| matches!(key.now, Now::Honoured | Now::Partly(_))) {
            assert!(
                key.names.iter().any(|name| words.contains(name)),
                "{} of {}",
                key.names.first().unwrap(),
                block.name
            );
            queue.extend(key.kind.block());
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}

#[test]
fn what_the_example_has_in_comments_loads_as_well() {
    let text = std::fs::read_to_string(deploy("sublog.conf")).unwrap();
    let setting = |line: &str| {
        let rest = line.trim_start().strip_prefix("# ")?;
        let key = rest.split([':', ' ']).next()?;
        let known = keys::blocks().iter().any(|block| block.find(key).is_some());
        (known && rest.contains(": ") && !rest.contains(". ")).then(|| rest.to_owned())
    };
    // Each by itself, since some exclude each other.
    let env = |name: &str| name.starts_with("SUBLOG_").then(|| "secret".to_owned());
    let mut tried = 0;
    for line in text.lines().filter_map(setting) {
        let source = Source { name: "line", dir: Path::new("."), env: &env };
        let map = source.parse(line.as_bytes()).map_err(|error| error.to_string()).unwrap();
        let block = keys::blocks().into_iter().find(|block| map.iter().all(|entry| block.find(&entry.key).is_some()));
        assert!(block.is_some(), "{line}");
        tried += 1;
    }
    assert!(tried >= 14, "{tried}");
}

#[test]
fn the_example_with_an_operator_loads() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let key = nkeys::KeyPair::new_operator();
    let (operator, system) = (key.public_key(), nkeys::KeyPair::new_account().public_key());
    let claims = format!(
        r#"{{"iss":"{operator}","sub":"{operator}","nats":{{"type":"operator","version":2,"system_account":"{system}"}}}}"#
    );
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let (file, path) = (folder.path().join("operator.jwt"), folder.path().join("operator.conf"));
    std::fs::write(&file, token).unwrap();
    let text = std::fs::read_to_string(deploy("operator.conf")).unwrap();
    assert!(text.contains("/etc/sublog/operator.jwt"));
    std::fs::write(&path, text.replace("/etc/sublog/operator.jwt", file.to_str().unwrap())).unwrap();
    let serve = served(&path);
    assert!(serve.warnings.is_empty(), "{:?}", serve.warnings);
    assert_eq!(serve.server.accounts.system.as_deref(), Some(system.as_str()));
    let options = serve.server.operator.unwrap();
    assert!(options.trusted.contains(&operator) && options.operators.len() == 1);
}
