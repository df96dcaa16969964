//! Under the name of nats-server: streams, recording and replays only where they are asked for.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::json;
use sublog_tests::RawClient;
use tempfile::TempDir;

use crate::running::{Running, binary};

/// A folder with the program in it, under that name.
fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::with_prefix("sublog-named-").unwrap();
    let program = folder.path().join("nats-server");
    std::os::unix::fs::symlink(binary(), &program).unwrap();
    (folder, program)
}

fn start(conf: &str, args: &[&str], env: &[(&str, &str)]) -> Running {
    let (folder, program) = folder();
    std::fs::write(folder.path().join("t.conf"), conf).unwrap();
    let mut all = vec!["-a", "127.0.0.1", "-p", "-1", "-m", "-1", "--ports_file_dir", "ports", "-c", "t.conf"];
    all.extend(args);
    Running::start(&program, folder, &all, env).unwrap()
}

/// The answer to a request: its status, or its text.
fn ask(client: &mut RawClient, subject: &str, body: &str) -> String {
    client.subscribe("_INBOX.1", "9");
    client.send(format!("PUB {subject} _INBOX.1 {}\r\n{body}\r\n", body.len()));
    let answer = client.message();
    client.send("UNSUB 9\r\n");
    match &answer.headers {
        Some(block) => String::from_utf8_lossy(block).lines().next().unwrap().to_owned(),
        None => answer.text().to_owned(),
    }
}

/// What there is of streams and replays, and what stands in the folder.
fn has(server: &Running) -> (bool, bool) {
    let mut client = server.client();
    let jetstream = client.info.get("jetstream") == Some(&json!(true));
    let answered = ask(&mut client, "$JS.API.INFO", "");
    assert_eq!(answered.starts_with('{'), jetstream, "{answered}");
    assert_eq!(server.page("/jsz")["disabled"] == json!(true), !jetstream);
    assert_eq!(server.page("/accountz?acc=$G")["account_detail"]["jetstream_enabled"], json!(jetstream));
    let varz = server.page("/varz");
    assert_eq!(varz["jetstream"] == json!({}), !jetstream, "{}", varz["jetstream"]);
    assert_eq!(server.page("/healthz")["status"], "ok");
    client.publish("seen.before", "x");
    client.sync();
    client.subscribe("$REPLAY.all.seen.>", "1");
    client.sync();
    // Where there are no replays that is a subject as any other.
    let mut other = server.client();
    other.publish("$REPLAY.all.seen.>", "ordinary");
    other.sync();
    let message = client.message();
    let replays = match message.text() {
        "x" => true,
        "ordinary" => false,
        other => panic!("{other}"),
    };
    (jetstream, replays)
}

#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    for (conf, args, env, expected) in [
        ("", &[][..], &[][..], (false, false)),
        ("store_dir: sd", &["-sd", "sd"], &[], (false, false)),
        ("jetstream: false", &[], &[], (false, false)),
        ("jetstream { enabled: false }", &[], &[], (false, false)),
        ("jetstream: true", &["-js=false"], &[], (false, false)),
        ("", &["-js", "-sd", "sd"], &[], (true, false)),
        ("jetstream: false, store_dir: sd", &["-js"], &[], (true, false)),
        ("jetstream {}, store_dir: sd", &[], &[], (true, false)),
        ("jetstream: enabled", &["-sd", "sd"], &[], (true, false)),
        ("sublog {}", &["-sd", "sd"], &[], (false, true)),
        ("sublog { capture: off }", &["-sd", "sd"], &[], (false, false)),
        ("", &["-sd", "sd"], &[("SUBLOG_CAPTURE", "on")], (false, true)),
        ("sublog {}, jetstream {}", &["-sd", "sd"], &[], (true, true)),
    ] {
        let mut server = start(conf, args, env);
        assert_eq!(has(&server), expected, "{conf} {args:?} {env:?}");
        let log = server.log();
        let keeps = expected != (false, false);
        assert_eq!(server.folder.path().join("sd/jetstream").is_dir(), keeps, "{conf} {args:?}: {log}");
        assert_eq!(log.contains("Store Directory:"), keeps, "{log}");
        server.signal(Signal::INT);
        assert!(server.ended().success());
        // Nothing is left of what nobody asked for.
        let left = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("sublog-unkept");
        assert!(!std::fs::read_dir(server.folder.path()).unwrap().flatten().any(|entry| left(&entry)));
    }
}

#[test]
fn a_server_without_streams_answers_as_nobody() {
    let server = start("", &[], &[]);
    let mut client = server.client();
    for subject in [
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.A",
        "$JS.API.STREAM.LIST",
        "$JS.API.DIRECT.GET.A",
        "$JS.API.CONSUMER.MSG.NEXT.A.B",
        "$JS.ACK.A.B.1.1.1.1.0",
        "$JS.SNAPSHOT.ACK.A",
        "$SUBLOG.STATE",
    ] {
        assert_eq!(ask(&mut client, subject, "{\"name\":\"A\",\"subjects\":[\"a\"]}"), "NATS/1.0 503", "{subject}");
    }
    // Somebody else may serve these subjects then.
    let mut other = server.client();
    other.subscribe("$JS.API.>", "1");
    other.sync();
    client.send("PUB $JS.API.INFO _INBOX.2 2\r\nhi\r\n");
    assert_eq!(other.message().text(), "hi");
    assert_eq!(server.page("/varz")["jetstream"], json!({}));
    let jsz = server.page("/jsz?streams=1&accounts=1");
    assert_eq!(
        (&jsz["config"], &jsz["limits"]),
        (&json!({"max_memory": 0, "max_storage": 0}), &serde_json::Value::Null)
    );
    assert_eq!(server.page("/healthz?account=$G&stream=x")["status"], "ok");
    let info = ask(&mut client, "$SYS.REQ.USER.INFO", "");
    assert!(info.contains("\"jetstream\":false"), "{info}");
}

#[test]
fn it_says_that_it_is_one() {
    let mut server = start("", &[], &[]);
    let log = server.log();
    for line in [
        "[INF] Starting nats-server",
        "Version:  2.15.1",
        "Listening for client connections on 127.0.0.1:",
        "Server is ready",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let ports = server.folder.path().join(format!("ports/nats-server_{}.ports", server.pid()));
    assert!(ports.exists());
    server.signal(Signal::TERM);
    assert!(server.ended().success() && !ports.exists());

    let (folder, program) = folder();
    let run = |args: &[&str]| {
        let output = std::process::Command::new(&program).args(args).current_dir(folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), text)
    };
    for args in [&["-v"][..], &["--version"], &["version"]] {
        assert_eq!(run(args), (0, "nats-server: v2.15.1\n".to_owned()));
    }
    // It has no commands, whatever its other name has.
    for word in ["pub", "replay", "serve"] {
        assert_eq!(run(&[word]).0, 1, "{word}");
    }
}

#[test]
fn streams_that_were_declared_wait_until_there_is_jetstream_again() {
    let data = TempDir::with_prefix("sublog-waiting-").unwrap();
    let data = data.path().to_str().unwrap();
    let declare = "{\"name\":\"S\",\"subjects\":[\"s.>\"]}";
    let with = start("", &["-js", "-sd", data], &[]);
    assert!(ask(&mut with.client(), "$JS.API.STREAM.CREATE.S", declare).contains("\"config\""));
    assert!(ask(&mut with.client(), "s.1", "one").contains("\"seq\":1"));
    drop(with);
    let without = start("sublog {}", &["-sd", data], &[]);
    let mut client = without.client();
    assert_eq!(ask(&mut client, "s.1", "two"), "NATS/1.0 503");
    drop(without);
    let with = start("", &["-js", "-sd", data], &[]);
    assert!(ask(&mut with.client(), "s.1", "three").contains("\"seq\":2"));
}

#[test]
fn what_a_killed_server_left_goes_with_the_next_start() {
    let mut first = start("", &[], &[]);
    first.signal(Signal::KILL);
    assert!(!first.ended().success());
    let unkept = |path: &std::path::Path| {
        let names = std::fs::read_dir(path).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("sublog-unkept-")).collect::<Vec<_>>()
    };
    let left = unkept(first.folder.path());
    assert_eq!(left.len(), 1);
    let (folder, program) = folder();
    let temp = first.folder.path().to_str().unwrap().to_owned();
    let args = ["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", "ports"];
    let second = Running::start(&program, folder, &args, &[("TMPDIR", &temp)]).unwrap();
    let there = unkept(first.folder.path());
    assert!(there.len() == 1 && there != left, "{there:?}");
    drop(second);
}
