//! The commands against a running server: the real binary on both sides.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic anywhere")]
#![expect(clippy::disallowed_methods, reason = "deadlines of the tests")]

#[path = "support/program.rs"]
mod program;

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Instant;

use program::{PATIENCE, Server, code, error, interrupt, sublog};

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_published_can_be_replayed() {
    let server = Server::start("replay", &[]);
    let output = server.run(&["pub", "demo.a", "number {{n}}", "--count", "1000"]);
    assert_eq!(code(&output), Some(0), "{}", error(&output));
    assert!(error(&output).starts_with("1,000 messages stored, "), "{}", error(&output));
    server.ok(&["pub", "demo.b", "-H", "Key: v1", "-H", "Key: v2", "--reply", "r", "last"]);
    server.ok(&["pub", "other.{{n}}", "x", "--count", "3"]);

    let raw = server.ok(&["replay", "demo.a", "--from", "all", "--format", "raw"]);
    let expected: String = (1..=1000).map(|n| format!("number {n}\n")).collect();
    assert_eq!(raw, expected);

    let lines = json_lines(&server.ok(&["replay", ">", "--from", "seq:1000", "--format", "json"]));
    let subjects: Vec<&str> = lines.iter().map(|line| line["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["demo.a", "demo.b", "other.1", "other.2", "other.3"]);
    assert_eq!(lines[1]["sequence"], 1001);
    assert_eq!(lines[1]["stream"], "CAPTURE");
    assert_eq!(lines[1]["headers"], serde_json::json!({"Key": ["v1", "v2"]}));
    assert_eq!(lines[1]["data"], "last");

    let text = server.ok(&["replay", "demo.*", "--from", "last:1"]);
    let time = lines[1]["time"].as_str().unwrap();
    assert_eq!(text, format!("#1001 {time} demo.b\n  Key: v1\n  Key: v2\nlast\n\n"));

    let count = |args: &[&str]| server.ok(&[&["replay", ">", "--format", "raw"], args].concat()).lines().count();
    assert_eq!(count(&["--from", "all"]), 1004);
    assert_eq!(count(&["--from", "1h"]), 1004);
    assert_eq!(count(&["--from", "2001-01-01"]), 1004);
    assert_eq!(count(&["--from", "seq:10", "--to", "seq:19"]), 10);
    assert_eq!(count(&["--from", "seq:1001", "--to", time]), 1);
    assert_eq!(count(&["--from", "all", "--count", "7"]), 7);
    assert_eq!(count(&["--from", "seq:5", "--to", "live", "--count", "3"]), 3);
    assert_eq!(count(&["--from", "seq:1003", "--to", "seq:5000"]), 2);
}

#[test]
fn a_replay_without_a_match_says_so() {
    let server = Server::start("nomatch", &[]);
    for positions in [&["--from", "all"][..], &["--from", "all", "--to", "seq:9"], &["--from", "last:5"]] {
        let output = server.run(&[&["replay", "demo.>"], positions].concat());
        assert_eq!(code(&output), Some(3), "{positions:?} with an empty log: {}", error(&output));
    }
    server.ok(&["pub", "demo.a", "x"]);
    for args in [
        &["replay", "nothing.here", "--from", "all"][..],
        &["replay", "demo.a", "--from", "seq:2"],
        &["replay", "demo.a", "--from", "seq:9", "--to", "seq:12"],
        &["replay", "demo.a", "--from", "all", "--to", "2001-01-01"],
    ] {
        let output = server.run(args);
        assert_eq!(code(&output), Some(3), "{args:?}: {}", error(&output));
        assert!(output.stdout.is_empty());
        assert_eq!(error(&output), "sublog: nothing matched\n");
    }
}

#[test]
fn stdin_is_one_message_or_one_a_line() {
    let server = Server::start("stdin", &[]);
    let output = server.feed(&["pub", "a"], b"one\ntwo\n");
    assert_eq!(code(&output), Some(0), "{}", error(&output));
    let output = server.feed(&["pub", "b", "--lines"], b"one\r\n\ntwo\xff\nthree");
    assert_eq!(code(&output), Some(0), "{}", error(&output));
    assert!(error(&output).starts_with("4 messages stored"), "{}", error(&output));
    assert_eq!(json_lines(&server.ok(&["replay", "a", "--from", "all", "-f", "json"]))[0]["data"], "one\ntwo\n");
    let lines = json_lines(&server.ok(&["replay", "b", "--from", "all", "-f", "json"]));
    let data: Vec<_> = lines.iter().map(|line| line.get("data").and_then(|data| data.as_str())).collect();
    assert_eq!(data, [Some("one"), Some(""), None, Some("three")]);
    assert_eq!(lines[2]["data_base64"], "dHdv/w==");

    let output = server.feed(&["pub", "c"], &vec![b'x'; 1024 * 1024 + 1]);
    assert_eq!(code(&output), Some(1));
    assert!(error(&output).contains("the server takes at most 1.0 MiB"), "{}", error(&output));
    assert_eq!(code(&server.run(&["replay", "c", "--from", "all"])), Some(3));
}

#[test]
fn a_large_replay_is_whole_and_in_order() {
    let server = Server::start("large", &[]);
    let input: String = (0..200_000).map(|n| format!("{n:0100}\n")).collect();
    let output = server.feed(&["pub", "bulk", "--lines"], input.as_bytes());
    assert!(error(&output).contains("200,000 messages stored"), "{}", error(&output));
    assert!(server.ok(&["replay", "bulk", "--from", "all", "-f", "raw"]) == input, "the replay differs");
    // A reader that has seen enough ends the replay without a complaint.
    let mut child = server.command(&["replay", "bulk", "--from", "all", "-f", "raw"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, format!("{:0100}\n", 0));
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), error(&output).as_str()), (Some(0), ""));
}

#[test]
fn live_messages_follow_history_until_interrupted() {
    let server = Server::start("live", &[]);
    server.ok(&["pub", "demo", "old"]);
    let mut child = server.command(&["replay", "demo", "--from", "all", "--follow", "-f", "raw"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    server.ok(&["pub", "demo", "new"]);
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "old\nnew\n");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    out.read_to_string(&mut line).unwrap();
    assert_eq!(line, "old\nnew\n");
}

#[test]
fn an_interrupted_publisher_tells_what_is_stored() {
    let server = Server::start("interrupt", &[]);
    let child = server.command(&["pub", "demo", "x", "--count", "1000000000"]).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while code(&server.run(&["replay", "demo", "--from", "all", "--count", "1"])) != Some(0) {
        assert!(Instant::now() < deadline);
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(130), "{}", error(&output));
    assert!(error(&output).ends_with(" are confirmed as stored\n"), "{}", error(&output));
}

/// Publishes until the subscriber, which says nothing before the first message, is there.
#[test]
fn subscribers_share_a_queue_and_count() {
    let server = Server::start("sub", &[]);
    let mut child =
        server.command(&["sub", "demo.>", "--queue", "q", "--count", "5", "--format", "json"]).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        server.ok(&["pub", "demo.x", "hello", "--reply", "answers"]);
        assert!(Instant::now() < deadline);
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", error(&output));
    let lines = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["data"], "hello");
    assert_eq!(lines[0]["reply"], "answers");
    assert_eq!(lines[0].get("sequence"), None);
}

#[test]
fn credentials_are_presented_and_never_shown() {
    let server = Server::start("auth", &["-DV", "--user", "u", "--pass", "s3cret"]);
    let address = server.url.trim_start_matches("nats://").to_owned();
    server.ok(&["pub", "a", "x", "--user", "u", "--pass", "s3cret"]);
    server.ok(&["pub", "a", "x", "-s", &format!("nats://u:s3cret@{address}")]);
    for (args, words) in [
        (&["pub", "a", "x"][..], "refused a client without credentials"),
        (&["pub", "a", "x", "--user", "u", "--pass", "wr0ng"], "refused the credentials"),
        (&["pub", "a", "x", "--token", "wr0ng"], "refused the credentials"),
    ] {
        let output = server.run(args);
        assert_eq!(code(&output), Some(1), "{args:?}");
        assert!(error(&output).contains(words), "{}", error(&output));
        assert!(!error(&output).contains("wr0ng"));
    }
    let log = server.log();
    assert!(log.contains("[TRC]") && !log.contains("s3cret") && !log.contains("wr0ng"), "{log}");
}

#[test]
fn streams_and_offline_reports() {
    let server = Server::start("offline", &[]);
    server.ok(&["pub", "a", "x", "--count", "1234"]);
    let text = server.ok(&["streams"]);
    assert!(text.lines().nth(1).unwrap().starts_with("CAPTURE     1,234  "), "{text}");
    let json = json_lines(&server.ok(&["streams", "--json"]));
    assert_eq!(json[0]["streams"][0]["last_seq"], 1234);
    let folder = server.stop();

    let offline = |args: &[&str]| sublog().args(args).current_dir(&folder.0).output().unwrap();
    for command in ["inspect", "verify"] {
        let output = offline(&[command, "data"]);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(code(&output), Some(0), "{text}{}", error(&output));
        assert!(text.starts_with("CAPTURE: 1,234 messages, "), "{text}");
        let output = offline(&[command, "data", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["sound"], true);
        assert_eq!(report["streams"][0]["segments"][0]["messages"], 1234);
        let output = offline(&[command, "elsewhere"]);
        assert_eq!(code(&output), Some(1));
        assert!(error(&output).contains("elsewhere"), "{}", error(&output));
    }

    // One byte in the middle of what was acknowledged.
    let log = folder.0.join("data/streams/CAPTURE");
    let segment = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|end| end == "seg")).min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096 + 2000] ^= 0x40;
    std::fs::write(&segment, bytes).unwrap();
    let output = offline(&["verify", "data"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(code(&output), Some(1), "{text}");
    assert!(text.contains("DAMAGE  ") && text.contains("CAPTURE: DAMAGED"), "{text}");
}

#[test]
fn errors_are_one_line_and_have_their_exit_codes() {
    let run = |args: &[&str]| sublog().args(args).output().unwrap();
    for (args, exit, words) in [
        (&["--profile"][..], 1, "sublog: --profile: not supported by this server: "),
        (&["-c", "/nonexistent/x"], 1, "sublog: cannot read /nonexistent/x: No such file"),
        (&["--prot=1"], 1, "sublog: --prot: no such flag; did you mean --port?"),
        (&["replya"], 1, "sublog: \"replya\": no such command; did you mean replay?"),
        (&["serve", "-p", "x"], 1, "sublog: -p: \"x\" is not a port"),
        (&["help", "nothing"], 1, "sublog: \"nothing\": no such command"),
        (&["-l", "/nonexistent/log"], 1, "sublog: cannot open the log file /nonexistent/log: "),
        (&["pub", "a", "x", "-s", "127.0.0.1:1"], 1, "sublog: cannot connect to 127.0.0.1:1: "),
        (&["pub", "a", "x", "-s", "http://h"], 2, "sublog: the server's address does not begin with nats://"),
    ] {
        let output = run(args);
        let text = error(&output);
        assert_eq!(code(&output), Some(exit), "{args:?}: {text}");
        assert!(text.starts_with(words), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    for args in [
        &["pub"][..],
        &["pub", "a.*", "x"],
        &["pub", "a", "--cuont"],
        &["replay", "a"],
        &["replay", "a", "--from", "x"],
    ] {
        assert_eq!(code(&run(args)), Some(2), "{args:?}");
    }
    for args in [&["--help"][..], &["help"], &["help", "pub"], &["replay", "--help"], &["-v"], &["version"]] {
        let output = run(args);
        assert_eq!(code(&output), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
    assert_eq!(run(&["--version"]).stdout, format!("sublog: v{}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    let help = String::from_utf8(run(&["help", "pub"]).stdout).unwrap();
    assert!(help.contains("Subject; {{n}} stands for"), "{help}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let server = Server::start("busy", &[]);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    let output = server.run(&["-a", "127.0.0.1", "-p", &port, "-sd", "data2", "--disk-reserve", "0"]);
    assert_eq!(code(&output), Some(1));
    let text = error(&output);
    let last = text.lines().last().unwrap();
    assert!(last.contains(&format!("[FTL] cannot listen on 127.0.0.1:{port}: ")), "{text}");
    let output = server.run(&["-a", "127.0.0.1", "-p", "-1", "-sd", "data"]);
    assert_eq!(code(&output), Some(1));
    assert!(error(&output).contains("[FTL] cannot use the data directory: "), "{}", error(&output));
}
