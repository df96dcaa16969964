//! `sublog pub`, `replay` and the like over encrypted connections, and with keys that sign.

use std::process::{Command, Output};

use crate::support::Secure;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sublog-under-test")).args(args).env_remove("NATS_URL").output().unwrap()
}

fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(args: &[&str], why: &str) {
    let output = run(args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(why), "{args:?}: {text}");
}

#[test]
fn publish_and_replay() {
    for block in ["", ", handshake_first: true"] {
        let secure = Secure::start(block.trim_start_matches(", "), "");
        let path = |name: &str| secure.folder.path().join(name).display().to_string();
        let (ca, url) = (path("ca.pem"), format!("tls://localhost:{}", secure.address().port()));
        let mut access = vec!["-s", &url, "--tlscacert", &ca];
        if !block.is_empty() {
            access.push("--tlsfirst");
        }
        let with = |words: &[&'static str]| -> Vec<String> {
            let all = words.first().into_iter().chain(access.iter()).chain(words.iter().skip(1));
            all.map(|word| (*word).to_owned()).collect()
        };
        let all = |words: &[&'static str]| ok(&with(words).iter().map(String::as_str).collect::<Vec<_>>());
        all(&["pub", "demo.a", "first"]);
        all(&["pub", "demo.b", "second"]);
        let replayed = all(&["replay", "demo.>", "--from", "all", "--count", "2"]);
        assert!(replayed.contains("first") && replayed.contains("second"), "{replayed}");
        // A large message goes through in pieces.
        let large = "x".repeat(100_000);
        let words = with(&["pub", "demo.c"]);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push(&large);
        ok(&words);
        let replayed = all(&["replay", "demo.c", "--from", "all", "--count", "1"]);
        assert!(replayed.contains(&large), "{}", replayed.len());
    }
}

#[test]
fn who_is_not_believed() {
    let secure = Secure::start("", "");
    let path = |name: &str| secure.folder.path().join(name).display().to_string();
    let other = crate::support::Authority::new("other");
    std::fs::write(secure.folder.path().join("other.pem"), &other.pem).unwrap();
    let url = format!("tls://127.0.0.1:{}", secure.address().port());
    refused(&["pub", "-s", &url, "--tlscacert", &path("other.pem"), "a", "b"], "UnknownIssuer");
    refused(&["pub", "-s", &url, "--tlscacert", &path("nothing.pem"), "a", "b"], "cannot read");
    refused(&["pub", "-s", &url, "--tlscacert", &path("server.key"), "a", "b"], "no certificate");
    // A name that the certificate does not have.
    let url = format!("tls://127.0.0.2:{}", secure.address().port());
    refused(&["pub", "-s", &url, "--tlscacert", &path("ca.pem"), "--timeout", "1s", "a", "b"], "127.0.0.2");
    // Who asks for encryption does not get less.
    let plain = sublog_tests::TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &[]);
    let url = format!("tls://{}", plain.address());
    refused(&["pub", "-s", &url, "--tlscacert", &path("ca.pem"), "a", "b"], "does not encrypt");
    let url = format!("nats://{}", plain.address());
    refused(&["pub", "-s", &url, "--tlscacert", &path("ca.pem"), "a", "b"], "does not encrypt");
}

#[test]
fn own_certificates_and_keys_that_sign() {
    let pair = nkeys::KeyPair::new_user();
    let rest = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", pair.public_key());
    let secure = Secure::start("ca_file: \"DIR/ca.pem\", verify: true", &rest);
    let path = |name: &str| secure.folder.path().join(name).display().to_string();
    let client = secure.authority.client("client", |_| {});
    crate::support::write_pair(secure.folder.path(), "client", &client);
    std::fs::write(path("user.nk"), format!("-----BEGIN USER NKEY SEED-----\n{}\n", pair.seed().unwrap())).unwrap();
    std::fs::write(path("other.nk"), nkeys::KeyPair::new_user().seed().unwrap()).unwrap();
    let url = format!("localhost:{}", secure.address().port());
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let access = ["pub", "-s", &url, "--tlscacert", &ca];
    let with = |more: &[&str]| access.iter().chain(more).map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let nkey = path("user.nk");
    let words = with(&["--tlscert", &cert, "--tlskey", &key, "--nkey", &nkey, "a", "b"]);
    ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = |more: &[&str], why: &str| {
        let words = with(more);
        refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), why);
    };
    refused(&["--nkey", &nkey, "a", "b"], "ertificate");
    let other = path("other.nk");
    refused(&["--tlscert", &cert, "--tlskey", &key, "--nkey", &other, "a", "b"], "Authorization Violation");
    refused(&["--tlscert", &cert, "--tlskey", &key, "a", "b"], "Authorization Violation");
    refused(&["--tlscert", &cert, "--tlskey", &key, "--nkey", &cert, "a", "b"], "no seed of a user's nkey");
    refused(&["--tlscert", &cert, "--tlskey", &ca, "--nkey", &nkey, "a", "b"], "no private key");
}
