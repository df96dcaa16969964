//! Configurations that do not start: each with the place, and words that say why.

use std::process::Command;

use serde_json::json;
use sublog_tests::jwt;

use crate::{BINARY, other_program};

/// What the program says of a file that it has to refuse: `-t` of nats-server does not look at all of it.
fn refusal(text: &str) -> (bool, String) {
    if other_program() { run(text, &["-p", "-1"]) } else { said(text) }
}

/// What the program says of a file.
fn said(text: &str) -> (bool, String) {
    run(text, &["-t"])
}

fn run(text: &str, args: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.conf");
    std::fs::write(&path, text.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
    let binary = std::env::var_os("SUBLOG_BINARY").unwrap_or_else(|| BINARY.into());
    // What starts to serve is ended.
    let mut command = Command::new("timeout");
    command.arg("20").arg(binary).args(args).args(["-c", path.to_str().unwrap()]);
    let output = command.current_dir(folder.path()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn what_cannot_stand_beside_operators() {
    let operator = jwt::operator_token(json!({}));
    let (sys, a) = (jwt::account("SYS").public_key(), jwt::account("A").public_key());
    let base = jwt::in_memory(&operator, &[]);
    assert!(said(&base).0, "{}", said(&base).1);
    let stranger = jwt::operator("stranger").public_key();
    let version =
        |version: &str| jwt::in_memory(&jwt::operator_token(json!({"nats": {"assert_server_version": version}})), &[]);
    assert!(said(&version("2.15.1")).0);
    let without_system = jwt::operator_token(json!({"nats": {"system_account": ""}}));
    for (text, words) in [
        (format!("{base}accounts {{ A {{}} }}\n"), "operators do not allow Accounts to be configured directly"),
        (
            format!("{base}authorization {{ users: [ {{ user: u, password: p }} ] }}\n"),
            "operators do not allow users to be configured directly",
        ),
        (format!("{base}trusted_keys: [{stranger}]\n"), "conflicting options for 'TrustedKeys' and 'TrustedOperators'"),
        (format!("{base}system_account: {a}\n"), "system_account in config and operator JWT must be identical"),
        (format!("{base}resolver_pinned_accounts: [x]\n"), "is not a valid public account nkey"),
        (format!("{base}no_auth_user: u\n"), "no_auth_user not compatible with Trusted Operator"),
        (version("2.16.0"), "server"),
        (version("2.15"), "version"),
        (format!("operator: /nowhere/o.jwt\nresolver: MEMORY\nsystem_account: {sys}\n"), "/nowhere/o.jwt"),
        (format!("operator: eyJ.x.y\nresolver: MEMORY\nsystem_account: {sys}\n"), "error parsing operator JWT"),
        (format!("trusted_keys: [{a}]\nresolver: MEMORY\n"), "required to be a valid public operator nkey"),
        (format!("operator: {operator}\nresolver: SOMETHING\n"), "resolver"),
        (
            format!("operator: {operator}\nresolver {{ type: full }}\n"),
            "dir has no value and needs to point to a directory",
        ),
        (
            format!("operator: {operator}\nresolver {{ type: full, dir: \"FOLDER\", hard_delete: true }}\n"),
            "hard_delete has no effect without delete",
        ),
        (
            format!("operator: {without_system}\nresolver {{ type: full, dir: \"FOLDER\" }}\n"),
            "the system account needs to be specified",
        ),
        (format!("{base}resolver_preload {{ {a}: eyJ.x.y }}\n"), "invalid account JWT"),
    ] {
        let (success, output) = refusal(&text);
        assert!(!success && output.contains(words), "{words:?}:\n{output}");
        assert!(other_program() || !output.contains("eyJ"), "{output}");
    }
}

#[test]
fn what_only_ours_refuses() {
    if other_program() {
        return;
    }
    let operator = jwt::operator_token(json!({}));
    let a = jwt::account("A").public_key();
    let base = jwt::in_memory(&operator, &[]);
    for (text, words) in [
        (
            format!("operator: {operator}\nresolver {{ type: cache, dir: \"FOLDER\" }}\n"),
            "type: cache is not supported",
        ),
        (format!("operator: {operator}\nresolver: URL(https://x/y)\n"), "tokens are fetched by http:// only"),
        (format!("operator: {operator}\nresolver {{ type: full, dir: \"FOLDER\", ttl: \"1h\" }}\n"), "ttl"),
        (format!("{base}authorization {{ token: x }}\n"), "operators do not allow users to be configured directly"),
        (format!("operator: {operator}\nresolver: MEMORY\n"), "is not in resolver_preload"),
        (format!("operator: {operator}\n"), "operators require an account resolver to be configured"),
        (
            format!("{base}resolver_preload {{ {a}: {} }}\n", jwt::account_token("B", json!({}))),
            "the token is not of account",
        ),
        (
            "websocket { port: -1, no_tls: true, jwt_cookie: c }\n".to_owned(),
            "trusted operators or trusted keys configuration is required for JWT authentication via cookie \"c\"",
        ),
        ("resolver: MEMORY\n".to_owned(), "needs operator or trusted_keys"),
        (format!("{base}default_sentinel: x\n"), "default_sentinel is not supported"),
    ] {
        let (success, output) = said(&text);
        assert!(!success && output.contains(words) && output.contains("server.conf:"), "{words:?}:\n{output}");
        assert!(!output.contains("eyJ"), "{output}");
    }
    // Flags count as well.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.conf");
    std::fs::write(&path, base).unwrap();
    let output =
        Command::new(BINARY).args(["--user", "u", "--pass", "p", "-c", path.to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("operators, who exclude --user"), "{output:?}");
}

#[test]
fn an_operator_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("o.jwt");
    let token = jwt::operator_token(json!({}));
    std::fs::write(&file, format!("-----BEGIN NATS OPERATOR JWT-----\n{token}\n------END NATS OPERATOR JWT------\n"))
        .unwrap();
    let text = jwt::in_memory(&format!("{:?}", file.to_str().unwrap()), &[]);
    assert!(said(&text).0, "{}", said(&text).1);
    let listed = text.replace("operator: ", "operators: [").replace("\nresolver: ", "]\nresolver: ");
    assert!(said(&listed).0, "{}", said(&listed).1);
}
