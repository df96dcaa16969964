//! A server whose JetStream has a name.

use serde_json::{Value, json};

use crate::{Asking, error};
use sublog_tests::TestServer;

/// A server of the domain `hub`, with a configuration file in the folder.
fn hub(folder: &std::path::Path) -> TestServer {
    let file = folder.join("hub.conf");
    std::fs::write(&file, "jetstream { domain: hub }\n").unwrap();
    let args = ["-c", file.to_str().unwrap(), "-m", "-1"];
    TestServer::start_in(env!("CARGO_BIN_EXE_sublog-under-test"), &args, &folder.join("data"))
}

#[test]
fn requests_come_under_the_name_too_and_answers_say_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = hub(folder.path());
    let mut js = Asking::new(&server);
    assert_eq!(js.raw.info["domain"], json!("hub"));
    let by_name = |js: &mut Asking, operation: &str, body: &str| -> Value {
        let answer = js.request(&format!("$JS.hub.API.{operation}"), &[], body.as_bytes());
        serde_json::from_str(answer.text()).unwrap()
    };
    assert_eq!(by_name(&mut js, "INFO", "")["domain"], json!("hub"));
    js.raw.subscribe("$JS.EVENT.ADVISORY.STREAM.CREATED.S", "7");
    js.raw.sync();
    let body = json!({ "name": "S", "subjects": ["s.*"], "allow_direct": true }).to_string();
    js.send("$JS.hub.API.STREAM.CREATE.S", &[], body.as_bytes());
    let both = js.raw.messages(2);
    for message in &both {
        let told: Value = serde_json::from_str(message.text()).unwrap();
        assert_eq!(told["domain"], json!("hub"), "{message:?}");
    }
    let ack = js.request("s.0", &[], b"one");
    assert_eq!(ack.text(), r#"{"stream":"S","domain":"hub","seq":1}"#);
    assert_eq!(js.api("STREAM.INFO.S", Value::Null)["domain"], json!("hub"));
    // All that clients ask an API for, and what is taken by another way inside.
    assert_eq!(js.request("$JS.hub.API.DIRECT.GET.S.s.0", &[], b"").text(), "one");
    let config = json!({ "stream_name": "S", "config": { "name": "C", "ack_policy": "explicit" } });
    assert_eq!(by_name(&mut js, "CONSUMER.CREATE.S.C", &config.to_string())["name"], json!("C"));
    js.send("$JS.hub.API.CONSUMER.MSG.NEXT.S.C", &[], b"1");
    let got = js.raw.message();
    assert_eq!((got.subject.as_str(), got.text()), ("s.0", "one"));
    // Another name is nobody's.
    js.raw.subscribe("$JS.other.API.>", "8");
    js.raw.sync();
    js.send("$JS.other.API.INFO", &[], b"");
    assert_eq!(js.raw.message().subject, "$JS.other.API.INFO");
    assert_eq!(server.monitor("/jsz")["config"]["domain"], json!("hub"));
    assert_eq!(server.monitor("/varz")["jetstream"]["config"]["domain"], json!("hub"));
}

#[test]
fn a_source_by_the_own_name_is_one_of_the_same_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = hub(folder.path());
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "O", "subjects": ["o"] }));
    js.create(json!({ "name": "P", "subjects": ["p"] }));
    let own = json!({ "api": "$JS.hub.API", "deliver": "" });
    js.create(json!({ "name": "M", "mirror": { "name": "O", "external": own } }));
    js.create(json!({ "name": "S", "sources": [{ "name": "O", "external": own }, { "name": "P" }] }));
    for n in 1..=3 {
        js.stored_by("o", n, "hub", "O");
        js.stored_by("p", n, "hub", "P");
    }
    js.until("M", &json!({ "messages": 3, "last_seq": 3 }));
    let info = js.until("S", &json!({ "messages": 6 }));
    assert_eq!(info["sources"][0]["external"], own, "{info}");
    // What would come back is refused, and so are other servers.
    let back = json!({ "name": "O", "subjects": ["o"], "sources": [{ "name": "S", "external": own }] });
    assert_eq!(error(&js.api("STREAM.UPDATE.O", back)), (10052, "detected cycle".to_owned()));
    let other =
        json!({ "name": "X", "mirror": { "name": "O", "external": { "api": "$JS.other.API", "deliver": "" } } });
    assert_eq!(error(&js.api("STREAM.CREATE.X", other)).0, 10052);
}

impl Asking {
    /// Stores a message in a stream of a domain.
    fn stored_by(&mut self, subject: &str, seq: u64, domain: &str, stream: &str) {
        let ack = self.request(subject, &[], b"x");
        assert_eq!(ack.text(), format!(r#"{{"stream":"{stream}","domain":"{domain}","seq":{seq}}}"#));
    }
}

#[test]
fn a_name_that_is_no_token_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.conf");
    for name in ["a.b", "*", "API", "a b"] {
        std::fs::write(&file, format!("jetstream {{ domain: {name:?} }}\n")).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_sublog-under-test"))
            .args(["-t", "-c", file.to_str().unwrap()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains("jetstream.domain"), "{name}: {text}");
    }
}
