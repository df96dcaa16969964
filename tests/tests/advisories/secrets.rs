//! Row 7: what proves who somebody is stands nowhere where somebody else can read it.

use std::process::Command;

use sublog_tests::{RawClient, Seen, TestServer, clock, http};
use tempfile::TempDir;

const CANARY: &str = "c4nary";

fn assert_silent(place: &str, text: &str) {
    assert!(!text.contains(CANARY), "{place}: {text}");
    assert!(!text.contains("PRIVATE KEY"), "{place}: {text}");
}

/// Everything that the monitoring port shows, by every page the index links to, and more.
fn pages(server: &TestServer) -> String {
    let mut all = String::new();
    for page in [
        "/",
        "/varz",
        "/connz?auth=1&subs=detail",
        "/connz?state=closed&auth=1",
        "/subsz?subs=1",
        "/jsz?accounts=1&streams=1&consumers=1&config=1",
        "/accountz?acc=$G",
        "/accstatz?unused=1",
        "/routez",
        "/gatewayz",
        "/leafz",
        "/healthz",
        "/ipqueuesz",
        "/raftz",
        "/streamz",
        "/stacksz",
        "/debug/vars",
        "/debug/pprof/cmdline",
        "/metrics",
    ] {
        all += &http::get(server.monitor_address(), page).1;
    }
    all
}

/// What the clients of one of these ways to log in are told, right and wrong.
fn log_in(server: &TestServer, connects: &[String]) -> String {
    let mut told = String::new();
    for connect in connects {
        let mut client = server.raw();
        told += &client.info.to_string();
        client.send(format!("CONNECT {connect}\r\nPING\r\n"));
        loop {
            let seen = client.receive(clock::PATIENCE).unwrap();
            told += &format!("{seen:?}\n");
            if matches!(seen, None | Some(Seen::Pong | Seen::Closed)) {
                break;
            }
        }
        ask_about_oneself(&mut client, &mut told);
    }
    told
}

fn ask_about_oneself(client: &mut RawClient, told: &mut String) {
    if client.try_send(b"SUB in 1\r\nPUB $SYS.REQ.USER.INFO in 0\r\n\r\nPING\r\n").is_ok() {
        while let Ok(Some(seen)) = client.receive(clock::PATIENCE) {
            told.push_str(&format!("{seen:?}\n"));
            if matches!(seen, Seen::Pong | Seen::Closed) {
                return;
            }
        }
    }
}

#[test]
fn secrets_of_flags_and_files_are_shown_nowhere() {
    let folder = TempDir::with_prefix("sublog-secrets-").unwrap();
    let path = folder.path().join("t.conf");
    let wrong = || {
        vec![
            r#"{"user":"u","pass":"c4nary-wrong"}"#.to_owned(),
            r#"{"auth_token":"c4nary-wrong"}"#.to_owned(),
            r#"{"user":"u","pass":"c4nary-open"#.to_owned(),
        ]
    };
    for (text, right) in [
        ("authorization { user: u, password: c4nary-single }", r#"{"user":"u","pass":"c4nary-single"}"#),
        ("authorization { token: c4nary-token }", r#"{"auth_token":"c4nary-token"}"#),
        (
            "SECRET: c4nary-variable, authorization { users: [ { user: u, password: $SECRET } ] }",
            r#"{"user":"u","pass":"c4nary-variable"}"#,
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let mut server = TestServer::start(crate::BINARY, &["-c", path.to_str().unwrap(), "-DV", "-m", "-1"]);
        let mut connects = wrong();
        connects.push(right.to_owned());
        let told = log_in(&server, &connects);
        assert!(told.contains("Pong"), "{told}");
        assert_silent("what clients are told", &told);
        assert_silent("pages", &pages(&server));
        // Reloads that change it, and that cannot be.
        for other in [
            text.replace("c4nary", "c4nary-new"),
            format!("{text}\nmax_pending: 5MiB"),
            format!("{text}\n c4nary_key: x"),
            text.replace('}', "c4nary-broken: }"),
        ] {
            std::fs::write(&path, other.replace("c4nary_key", "unknown_key")).unwrap();
            let ended = |server: &TestServer| {
                server
                    .log()
                    .iter()
                    .filter(|line| line.contains("Reloaded server configuration") || line.contains("stays as it was"))
                    .count()
            };
            let before = ended(&server);
            server.signal(rustix::process::Signal::HUP);
            clock::until("the reload", || (ended(&server) > before).then_some(()));
        }
        // None of its processes has it, and it has no others.
        let children = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&server.pid().to_string())
        });
        assert_eq!(children.count(), 0);
        assert_silent(
            "command line",
            &String::from_utf8_lossy(&std::fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap()),
        );
        server.stop();
        assert_silent("log", &server.log().join("\n"));
    }
    // What -t says, of files that are right and of those that are not; and of flags that contradict each other.
    for text in [
        "authorization { user: u, password: c4nary }",
        "authorization { user: u, password: c4nary, tokn: c4nary }",
        "authorization { users: [ { user: u, password: [c4nary] } ] }",
        "authorization { users: [ { user: u, password: c4nary, nkey: c4nary } ] }",
        "authorization { token: { c4nary: c4nary } }".replace("{ c4nary", "{ x").as_str(),
        "authorization { user: u, password: 'c4nary",
        "authorization { user: u, password: c4nary, token: c4nary }",
        "authorization { users: [ { nkey: SUAc4nary } ] }",
        "jetstream { key: c4nary, cipher: aes }",
        "leafnodes { remotes: [ { url: 'nats://u:c4nary@h:1', credentials: 5 } ] }",
    ] {
        std::fs::write(&path, text).unwrap();
        for args in [
            &["-t", "-c", path.to_str().unwrap()][..],
            &["-c", path.to_str().unwrap(), "--auth", "c4nary", "--user", "u"],
            &["--user", "u", "--pass=c4nary", "--auth", "c4nary"],
            &["--passs=c4nary"],
            &["--pass", "c4nary"],
        ] {
            let output = Command::new(crate::BINARY).args(args).output();
            let Ok(output) = output else { continue };
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_silent(&format!("{text} {args:?}"), &said);
        }
    }
}
