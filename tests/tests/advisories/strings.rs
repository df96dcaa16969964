//! Texts that the server says again: 386e1ea, 9104569, rows 25 and 26.

use serde_json::{Value, json};
use sublog_tests::Seen;

use crate::{request, start, start_with};

/// 386e1ea: nothing that a client says makes the server say lines that it did not mean.
#[test]
fn what_is_said_again_forges_no_lines() {
    let configured = start_with("http: '127.0.0.1:-1'", &["-DV"]);
    let mut listener = configured.server.client();
    listener.subscribe(">", "1");
    listener.sync();
    for forged in ["a\rMSG x 1 1\r", "a\u{0}b", "a\u{b}b", "a\u{85}b", "a\u{1b}[31mb", "a\"b\\c"] {
        for line in [
            format!("PUB {forged} 1"),
            format!("PUB a {forged} 1"),
            format!("SUB {forged} 9"),
            format!("SUB a {forged} 9"),
            format!("SUB a {forged}"),
            format!("UNSUB {forged}"),
        ] {
            let mut client = configured.server.client();
            client.send(format!("{line}\r\nx\r\nPING\r\n"));
            // Anything but broken lines, which the reader would stumble over.
            while !matches!(client.receive(sublog_tests::clock::PATIENCE).unwrap(), Some(Seen::Pong | Seen::Closed)) {}
        }
        for name in ["name", "lang", "version", "user"] {
            let mut client = configured.server.raw();
            let connect = json!({ "verbose": false, name: forged });
            client.send(format!("CONNECT {connect}\r\nPING\r\n"));
            while !matches!(client.receive(sublog_tests::clock::PATIENCE).unwrap(), Some(Seen::Pong | Seen::Closed)) {}
            assert!(configured.server.monitor("/connz")["connections"].is_array());
        }
    }
    for message in listener.flush() {
        assert!(!message.subject.contains(['\r', '\n', ' ']), "{message:?}");
    }
    // A log line is one line.
    for line in configured.server.log() {
        assert!(line.starts_with('['), "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}

/// The same by way of streams: what stands in definitions, and comes back in answers, advisories and subjects of acks.
#[test]
fn definitions_forge_no_lines() {
    let configured = start_with("", &["--sync", "os"]);
    let mut client = configured.server.client();
    let mut api = |operation: &str, body: &Value| -> Value {
        let answer = request(&mut client, "_INBOX.f", &format!("$JS.API.{operation}"), body.to_string().as_bytes());
        serde_json::from_slice(&answer.payload).unwrap()
    };
    api("STREAM.CREATE.S", &json!({ "name": "S", "subjects": ["s.>"] }));
    for forged in ["a b", "a\r\nPUB x 1\r\n", "a\u{0}", "a\tb", "..", "a..b", ".a", "a.", ">x.>"] {
        let push = |field: &str| json!({ "stream_name": "S", "config": { "name": "c", "deliver_subject": "_INBOX.d", field: forged } });
        for field in ["deliver_subject", "filter_subject", "name", "durable_name"] {
            let answer = api("CONSUMER.CREATE.S", &push(field));
            let kept = answer["config"][field].as_str().unwrap_or_default();
            assert!(!kept.contains(['\r', '\n', ' ', '\t']), "{field}: {answer}");
        }
        for (field, value) in [
            ("subjects", json!([forged])),
            ("republish", json!({ "src": ">", "dest": forged })),
            ("subject_transform", json!({ "src": ">", "dest": forged })),
        ] {
            let mut config = json!({ "name": "T", "subjects": ["t.>"] });
            config[field] = value;
            let answer = api("STREAM.CREATE.T", &config);
            let bad = forged.contains(['\r', '\n', ' ', '\t']);
            assert!(!bad || answer["error"].is_object(), "{field} {forged:?}: {answer}");
            api("STREAM.DELETE.T", &json!({}));
        }
    }
}

/// 25 and 26: headers that only the server writes count for nothing when a client writes them.
#[test]
fn headers_of_the_server_cannot_be_forged() {
    let configured = start("authorization { users: [ { user: u, password: up }, { user: all, password: allp } ] }");
    let mut all = configured.user("all");
    for stream in [
        json!({ "name": "S", "subjects": ["s.>"], "allow_direct": true }),
        json!({ "name": "D", "sources": [ { "name": "S" } ] }),
    ] {
        let name = stream["name"].as_str().unwrap().to_owned();
        request(&mut all, "_INBOX.f", &format!("$JS.API.STREAM.CREATE.{name}"), stream.to_string().as_bytes());
    }
    let mut u = configured.user("u");
    for block in [
        "Nats-Sequence: 999",
        "nats-sequence: 999",
        "Nats-Stream-Source: X 5 > > s.>",
        "Nats-Subject: other",
        "Nats-Stream: OTHER",
        "Nats-Time-Stamp: 1970-01-01T00:00:00Z",
    ] {
        let head = format!("NATS/1.0\r\n{block}\r\n{block}\r\n\r\n");
        u.send(format!("HPUB s.1 {0} {0}\r\n{head}\r\n", head.len()));
        u.sync();
    }
    // A direct get says where a message is, whatever it says of itself.
    let get = json!({ "seq": 1 }).to_string();
    let got = request(&mut all, "_INBOX.f", "$JS.API.DIRECT.GET.S", get.as_bytes());
    let text = String::from_utf8(got.headers.clone().unwrap()).unwrap();
    let last =
        |name: &str| text.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).next().map(str::to_owned);
    assert_eq!(
        (last("Nats-Stream").as_deref(), last("Nats-Subject").as_deref(), last("Nats-Sequence").as_deref()),
        (Some("S"), Some("s.1"), Some("1")),
        "{text}"
    );
}

/// 9104569: permissions of white space alone are refused, not obeyed somehow.
#[test]
fn white_space_is_no_permission() {
    for list in ["\" \"", "[\" \"]", "[\"\"]", "\"\\t\"", "[\"a b c\"]", "{ allow: [\"  \"] }", "{ deny: [\" \"] }"] {
        let folder = tempfile::TempDir::with_prefix("sublog-advisories-").unwrap();
        let path = folder.path().join("t.conf");
        std::fs::write(
            &path,
            format!("authorization {{ users: [ {{ user: u, password: p, permissions {{ subscribe: {list} }} }} ] }}"),
        )
        .unwrap();
        let output =
            std::process::Command::new(crate::BINARY).args(["-t", "-c", path.to_str().unwrap()]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{list}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}
