//! The folder of tokens, and what tools ask about it.

use std::path::Path;

use serde_json::{Value, json};
use sublog_tests::{RawClient, TestServer, jwt};
use tempfile::TempDir;

use crate::{BINARY, ask, asked, is_refused, other_program, system, user_in};

fn configuration(folder: &Path, more: &str) -> String {
    format!(
        "operator: {}\nresolver {{ type: full, dir: {:?}{more} }}\n",
        jwt::operator_token(json!({})),
        folder.join("jwt").to_str().unwrap()
    )
}

fn start(folder: &TempDir, more: &str) -> TestServer {
    let path = folder.path().join("server.conf");
    std::fs::write(&path, configuration(folder.path(), more)).unwrap();
    TestServer::start(BINARY, &["-c", path.to_str().unwrap(), "-m", "-1"])
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn push(client: &mut RawClient, token: &str) -> Value {
    asked(client, "$SYS.REQ.CLAIMS.UPDATE", token)
}

fn error(answer: &Value) -> &str {
    answer["error"]["description"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

/// As `nsc push` finds a server that is new: it knows the system account's key, and nothing of it.
#[test]
fn a_new_server_is_told_of_accounts() {
    let folder = folder();
    let mut server = start(&folder, "");
    let mut client = system(&server);
    for (name, limits) in [("SYS", json!({})), ("A", json!({"conn": 5})), ("B", json!({}))] {
        let token = jwt::account_token(name, json!({"nats": {"limits": limits}}));
        let answer = push(&mut client, &token);
        let key = jwt::account(name).public_key();
        assert_eq!(answer["data"], json!({"account": key, "code": 200, "message": "jwt updated"}), "{answer}");
        assert!(answer["server"]["id"].is_string());
        assert_eq!(std::fs::read_to_string(folder.path().join(format!("jwt/{key}.jwt"))).unwrap(), token);
    }
    user_in(&server, "A", "u", json!({}));
    let mut names: Vec<String> =
        serde_json::from_value(asked(&mut client, "$SYS.REQ.CLAIMS.LIST", "")["data"].clone()).unwrap();
    names.sort_unstable();
    let mut expected = ["SYS", "A", "B"].map(|name| jwt::account(name).public_key());
    expected.sort_unstable();
    assert_eq!(names, expected);
    // All of it is there after a kill.
    server.kill9();
    server.restart();
    user_in(&server, "A", "u", json!({}));
    user_in(&server, "B", "u", json!({}));
    let mut client = system(&server);
    let key = jwt::account("A").public_key();
    let found = ask(&mut client, &format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP"), "");
    assert!(found.text().starts_with("eyJ"), "{}", found.text());
    let nobody = jwt::account("nobody").public_key();
    assert_eq!(ask(&mut client, &format!("$SYS.REQ.ACCOUNT.{nobody}.CLAIMS.LOOKUP"), "").text(), "");
}

#[test]
fn what_is_pushed_has_to_be_right() {
    let folder = folder();
    let server = start(&folder, ", limit: 2");
    let mut client = system(&server);
    push(&mut client, &jwt::account_token("SYS", json!({})));
    push(&mut client, &jwt::account_token("A", json!({})));
    let key = |name: &str| jwt::account(name).public_key();
    for (token, account, words) in [
        ("x".to_owned(), "n/a".to_owned(), "expected 3 chunks"),
        (jwt::user_token("A", "u", json!({})), "n/a".to_owned(), "not account claim"),
        (
            jwt::account_token("A", json!({"nats": {"exports": [{"subject": "a b", "type": "stream"}]}})),
            key("A"),
            "jwt validation failed",
        ),
        (jwt::account_token("B", json!({})), key("B"), "jwt store is full"),
    ] {
        let answer = push(&mut client, &token);
        assert_eq!((&answer["error"]["account"], &answer["error"]["code"]), (&account.into(), &500.into()), "{answer}");
        assert!(error(&answer).contains(words), "{words}: {answer}");
    }
    let at = |name: &str| format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE", key(name));
    let fits = asked(&mut client, &at("A"), &jwt::account_token("A", json!({"name": "again"})));
    assert_eq!(fits["data"]["message"], "jwt updated", "{fits}");
    let old = asked(
        &mut client,
        &format!("$SYS.ACCOUNT.{}.CLAIMS.UPDATE", key("A")),
        &jwt::account_token("A", json!({"name": "old way"})),
    );
    assert_eq!(old["data"]["message"], "jwt updated", "{old}");
    let other = asked(&mut client, &at("SYS"), &jwt::account_token("A", json!({})));
    assert!(error(&other).contains("subject does not match jwt content"), "{other}");
    let no_delete = asked(&mut client, "$SYS.REQ.CLAIMS.DELETE", &{
        let operator = jwt::operator("O");
        jwt::token("generic", &operator.public_key(), &operator, json!({"nats": {"accounts": [key("A")]}}))
    });
    assert!(error(&no_delete).contains("delete must be enabled in server config"), "{no_delete}");
    if other_program() {
        // It keeps what strangers signed in place of what was good.
        return;
    }
    for token in [
        jwt::account_token_by(&jwt::operator("stranger"), "A", json!({})),
        jwt::account_token_by(&jwt::account("A"), "A", json!({})),
        jwt::account_token("A", json!({"exp": jwt::now() - 5})),
    ] {
        let answer = push(&mut client, &token);
        assert!(error(&answer).contains("Account Validation Failed"), "{answer}");
    }
    user_in(&server, "A", "u", json!({}));
    let found = ask(&mut client, &format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.LOOKUP", key("A")), "");
    assert!(found.text().starts_with("eyJ"));
    assert_eq!(std::fs::read_dir(folder.path().join("jwt")).unwrap().count(), 2);
}

#[test]
fn a_strict_operator_signs_nothing_itself() {
    let (folder, second) = (folder(), jwt::operator("O2"));
    let operator = jwt::operator_token(json!({"nats": {
        "signing_keys": [second.public_key()], "strict_signing_key_usage": true
    }}));
    let path = folder.path().join("server.conf");
    let preload = jwt::account_token_by(
        &second,
        "SYS",
        json!({"nats": {"signing_keys": [jwt::account("SYS-signs").public_key()]}}),
    );
    std::fs::write(
        &path,
        format!(
            "operator: {operator}\nresolver {{ type: full, dir: {:?} }}\nresolver_preload {{ {}: {preload} }}\n",
            folder.path().join("jwt").to_str().unwrap(),
            jwt::account("SYS").public_key()
        ),
    )
    .unwrap();
    let server = TestServer::start(BINARY, &["-c", path.to_str().unwrap()]);
    let token = jwt::scoped_token(
        "SYS",
        &jwt::account("SYS-signs"),
        "sys",
        json!({"nats": {"subs": -1, "data": -1, "payload": -1}}),
    );
    let mut client = crate::log_in(&server, &token, &jwt::user("sys"));
    let answer = push(&mut client, &jwt::account_token("A", json!({})));
    assert!(error(&answer).contains("operator requires issuer to be a signing key"), "{answer}");
    assert_eq!(push(&mut client, &jwt::account_token_by(&second, "A", json!({})))["data"]["code"], 200);
}

#[test]
fn only_the_system_account_asks() {
    let folder = folder();
    let server = start(&folder, "");
    let mut client = system(&server);
    push(&mut client, &jwt::account_token("A", json!({})));
    let mut user = user_in(&server, "A", "u", json!({}));
    for subject in ["$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.CLAIMS.PACK", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE"]
    {
        assert_eq!(ask(&mut user, subject, "").status(), Some(503), "{subject}");
    }
    let key = jwt::account("A").public_key();
    for subject in [
        format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP"),
        format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.UPDATE"),
        format!("$SYS.ACCOUNT.{key}.CLAIMS.UPDATE"),
    ] {
        assert_eq!(ask(&mut user, &subject, &jwt::account_token("A", json!({}))).status(), Some(503), "{subject}");
    }
}

/// As `nsc pull` asks for all of them.
#[test]
fn all_tokens_in_a_pack() {
    let folder = folder();
    let server = start(&folder, "");
    let mut client = system(&server);
    let (sys, a) = (jwt::account_token("SYS", json!({})), jwt::account_token("A", json!({})));
    push(&mut client, &sys);
    push(&mut client, &a);
    client.send("SUB _INBOX.pack 5\r\nPUB $SYS.REQ.CLAIMS.PACK _INBOX.pack 0\r\n\r\n");
    let mut packed: Vec<String> = Vec::new();
    loop {
        let text = client.message().text().to_owned();
        if text.is_empty() {
            break;
        }
        packed.push(text);
    }
    packed.sort_unstable();
    let line = |name: &str, token: &str| format!("{}|{token}", jwt::account(name).public_key());
    let mut expected = [line("SYS", &sys), line("A", &a)];
    expected.sort_unstable();
    assert_eq!(packed, expected);
}

#[test]
fn tokens_of_an_account_server() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        // Ends with the test.
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 2048];
            let Ok(read) = stream.read(&mut request) else { continue };
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            let body = ["SYS", "A"].into_iter().find(|name| path.ends_with(&jwt::account(name).public_key()));
            let body = body.map(|name| jwt::account_token(name, json!({})));
            let answer = match (body, path.as_str()) {
                (Some(body), _) => {
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
                }
                (None, "/jwt/") => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
                _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let text = format!("operator: {}\nresolver: URL(http://{address}/jwt/)\n", jwt::operator_token(json!({})));
    let configured = crate::start(&text);
    user_in(&configured.server, "A", "u", json!({}));
    system(&configured.server);
    assert!(is_refused(&configured.server, &jwt::user_token("B", "u", json!({})), &jwt::user("u")));
}

/// Without a folder claims change for as long as the server runs, of accounts that are there.
#[test]
fn a_server_with_tokens_in_memory_takes_updates() {
    let configured =
        crate::with_accounts(&[("A", jwt::account_token("A", json!({}))), ("B", jwt::account_token("B", json!({})))]);
    let mut client = system(&configured.server);
    let mut user = user_in(&configured.server, "A", "u", json!({}));
    let at = |name: &str| format!("$SYS.REQ.ACCOUNT.{}.CLAIMS.UPDATE", jwt::account(name).public_key());
    let revoked = json!({"nats": {"revocations": {"*": jwt::now()}}});
    let skipped = asked(&mut client, &at("B"), &jwt::account_token("B", revoked.clone()));
    assert_eq!(skipped["data"]["message"], "jwt update skipped", "{skipped}");
    let stranger = jwt::account_token_by(&jwt::operator("stranger"), "A", revoked.clone());
    for (body, words) in [
        ("", "request body is empty"),
        ("x", "expected 3 chunks"),
        (stranger.as_str(), "Account Validation Failed"),
        (&jwt::account_token("B", json!({})), "subject does not match jwt content"),
    ] {
        let answer = asked(&mut client, &at("A"), body);
        let same = |text: &str| error(&answer).to_lowercase().contains(&text.to_lowercase());
        assert!(same(words), "{words}: {answer}");
    }
    user.sync();
    let updated = asked(&mut client, &at("A"), &jwt::account_token("A", revoked));
    assert_eq!(updated["data"]["message"], "jwt updated", "{updated}");
    assert_eq!(crate::ended_with(&mut user), "User Authentication Revoked");
    for subject in ["$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE"] {
        assert_eq!(ask(&mut client, subject, "").status(), Some(503), "{subject}");
    }
}
