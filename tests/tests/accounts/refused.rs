//! Configurations that contradict themselves.

use std::process::Command;

/// What the server says of a file that it does not take; empty if it takes it.
fn check(text: &str) -> String {
    let folder = tempfile::TempDir::with_prefix("sublog-accounts-").unwrap();
    let path = folder.path().join("server.conf");
    std::fs::write(&path, text).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_sublog-under-test")).args(["-t", "-c"]).arg(&path).output().unwrap();
    if done.status.success() {
        return String::new();
    }
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// Each names the place, in words that people search for.
#[test]
fn what_accounts_say_of_each_other_has_to_fit() {
    let accounts = |a: &str, b: &str| format!("accounts {{\n A {{ {a} }}\n B {{ {b} }}\n}}");
    let ring = |n: usize, kind: &str| {
        let account = |i: usize| {
            let from = (i + 1) % n;
            format!(
                "A{i} {{ exports: [ {{ {kind}: \"x\" }} ], imports: [ {{ {kind}: {{ account: A{from}, subject: x }} }} ] }}\n"
            )
        };
        format!("accounts {{\n{}}}", (0..n).map(account).collect::<String>())
    };
    let export = r#"exports: [ { stream: "s.*" }, { service: q }, { stream: p, accounts: [A] } ]"#;
    for (text, expected) in [
        (
            accounts("", r#"imports: [ { stream: { account: C, subject: x } } ]"#),
            "\"C\" account not defined for stream import",
        ),
        (
            accounts("", r#"imports: [ { stream: { account: A, subject: x } } ]"#),
            "Error adding stream import \"x\": stream import not authorized",
        ),
        (
            accounts("", r#"imports: [ { service: { account: A, subject: x } } ]"#),
            "Error adding service import \"x\": service import not authorized",
        ),
        (accounts(export, r#"imports: [ { stream: { account: A, subject: p } } ]"#), "stream import not authorized"),
        (
            accounts(export, r#"imports: [ { stream: { account: A, subject: "s.>" } } ]"#),
            "stream import not authorized",
        ),
        (
            accounts(export, r#"imports: [ { stream: { account: A, subject: "s.*" }, prefix: "p.*" } ]"#),
            "stream import prefix can not contain wildcard tokens",
        ),
        (
            accounts(
                export,
                r#"imports: [ { stream: { account: A, subject: "s.*" } }, { stream: { account: A, subject: "s.*" }, to: "t.*" } ]"#,
            ),
            "stream import already exists",
        ),
        (accounts(r#"exports: [ { stream: x, accounts: [Z] } ]"#, ""), "\"Z\" account not defined for stream export"),
        (accounts(r#"exports: [ { stream: "x.*", account_token_position: 1 } ]"#, ""), "invalid subject"),
        ("accounts { $G { users: [] } }".to_owned(), "\"$G\" is a Reserved Account"),
        (
            "accounts { A { users: [ { user: u, password: p } ] } }\nauthorization { user: x, password: y }".to_owned(),
            "Can not have a single user/pass and accounts",
        ),
        (
            "accounts { A { users: [ { user: u, password: p } ] } }\nauthorization { token: y }".to_owned(),
            "Can not have a token and accounts",
        ),
        (
            "accounts { A { users: [ { user: u, password: p } ] }, B { users: [ { user: u, password: q } ] } }"
                .to_owned(),
            "the user \"u\" stands at",
        ),
        (
            "accounts { A { mappings { foo: [ { destination: a, weight: 60 }, { destination: b, weight: 60 } ] } } }"
                .to_owned(),
            "total weight needs to be <= 100",
        ),
        ("system_account: X".to_owned(), "there is no account \"X\""),
        (ring(1, "service"), "import forms a cycle"),
        (ring(2, "service"), "import forms a cycle"),
        (ring(2, "stream"), "import forms a cycle"),
        (ring(5, "service"), "import forms a cycle"),
        (ring(40, "stream"), "import forms a cycle"),
    ] {
        let said = check(&text);
        assert!(said.contains(expected), "{text}\n{said}");
        assert!(said.contains("server.conf:"), "the place is named: {said}");
    }
    let fits = accounts(
        export,
        r#"imports: [ { stream: { account: A, subject: "s.*" }, to: "t.$1" }, { service: { account: A, subject: q } } ]"#,
    );
    assert_eq!(check(&fits), "");
}
