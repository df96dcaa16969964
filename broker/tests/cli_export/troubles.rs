//! Damage, full disks, interrupts, other exports, a server that goes away: what is told, and what is left.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;

use sublog_storage::{Codec, RewriteStep};

use crate::made::{Data, Message, lines, read};
use crate::program::{Folder, PATIENCE, Server, code, error, interrupt, sublog};

fn numbered(count: u64, bytes: usize) -> Vec<Message> {
    (1..=count).map(|i| Message::new("a.b", format!("{i:0bytes$}"))).collect()
}

/// Flips a bit in the record with this number.
fn damage(data: &Data, seq: u64, width: usize) {
    let needle = format!("{seq:0width$}");
    for path in data.segments() {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(width).position(|window| window == needle.as_bytes()) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("record {seq} is not there");
}

#[test]
fn lost_messages_are_named_and_the_rest_is_exported() {
    let mut data = Data::with("damage", &numbered(1000, 100));
    data.close();
    for seq in [17, 18, 500] {
        damage(&data, seq, 100);
    }
    let intact: Vec<u64> = (1..=1000).filter(|seq| ![17, 18, 500].contains(seq)).collect();
    let sequences =
        |bytes: &[u8]| -> Vec<u64> { lines(bytes).iter().map(|line| line["sequence"].as_u64().unwrap()).collect() };
    let expected = "sublog: 3 messages are lost to damage, whatever their subjects:\n  #17 to #18\n  #500\n";

    let output = data.run(&["CAPTURE", "--out", "x.ndjson"]);
    assert_eq!(code(&output), Some(4), "{}", error(&output));
    assert!(error(&output).starts_with(expected), "{}", error(&output));
    assert_eq!(sequences(&std::fs::read(data.path("x.ndjson")).unwrap()), intact);
    // Outside of the range there is nothing to tell.
    let output = data.run(&["CAPTURE", "--from", "seq:19", "--to", "seq:499", "--out", "-", "--quiet"]);
    assert_eq!((code(&output), error(&output).as_str()), (Some(0), ""));
    let output = data.run(&["CAPTURE", "--from", "seq:18", "--to", "seq:499", "--out", "-", "--quiet"]);
    assert_eq!(code(&output), Some(4));
    assert_eq!(error(&output), "sublog: 1 message is lost to damage, whatever their subjects:\n  #18\n");

    // A server that has the same log tells the same.
    let server = Server::start_in(&data.path("data"), "export-damage-server", &["--max-age", "off"]);
    let output = server.run(&["export", "CAPTURE", "--out", "y.ndjson"]);
    assert_eq!(code(&output), Some(4), "{}", error(&output));
    assert!(error(&output).starts_with(expected), "{}", error(&output));
    assert!(std::fs::read(server.folder.0.join("y.ndjson")).unwrap() == std::fs::read(data.path("x.ndjson")).unwrap());
    let output = server.run(&["replay", ">", "--from", "seq:499", "--to", "seq:501", "--format", "raw"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    assert!(error(&output).contains("Nats-First-Sequence: 500, Nats-Last-Sequence: 500"), "{}", error(&output));
}

#[test]
fn a_missing_file_is_a_lost_range() {
    let mut data = Data::with("missing", &numbered(5000, 1000));
    data.close();
    let segments = data.segments();
    assert!(segments.len() > 3);
    let first = |at: usize| segments[at].file_stem().unwrap().to_string_lossy().parse::<u64>().unwrap();
    let (from, to) = (first(1), first(2) - 1);
    std::fs::remove_file(&segments[1]).unwrap();
    let output = data.run(&["a.b", "--out", "x.ndjson"]);
    assert_eq!(code(&output), Some(4), "{}", error(&output));
    assert!(error(&output).contains(&format!("\n  #{from} to #{to}\n")), "{}", error(&output));
    assert_eq!(read(&data.path("x.ndjson")).len() as u64, 5000 - (to + 1 - from));

    // The last one is known from what its owner said about it.
    std::fs::remove_file(segments.last().unwrap()).unwrap();
    let output = data.run(&["a.b", "--from", &format!("seq:{}", first(2)), "--out", "y.ndjson"]);
    assert_eq!(code(&output), Some(4), "{}", error(&output));
    let last = format!("\n  #{} to #5000\n", first(segments.len() - 1));
    assert!(error(&output).contains(&last), "{last:?} is not in {}", error(&output));
}

#[test]
fn a_disk_without_room_is_named_and_leaves_nothing() {
    let mut state = 1_u64;
    let noise = (0..2000).map(|_| {
        let payload: Vec<u8> = (0..1000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        Message::new("a.b", payload)
    });
    let data = Data::with("full", &noise.collect::<Vec<_>>());
    for name in ["x.ndjson", "x.ndjson.zst", "x.parquet"] {
        // The limit of a file's size stands for the disk's: it needs no disk of its own.
        let script = "trap '' XFSZ; ulimit -f 100; exec \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_sublog")]);
        shell.args(["export", "CAPTURE", "--data", "data", "--out", name]);
        let output = shell.current_dir(&data.folder.0).output().unwrap();
        let told = error(&output);
        assert_eq!(code(&output), Some(1), "{told}");
        assert!(told.starts_with(&format!("sublog: {name}: cannot be written: File too large")), "{told}");
        assert!(told.contains(&format!("messages; {name} was not written")), "{told}");
        assert!(!data.path(name).exists());
    }
    for format in ["ndjson", "parquet"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = data.command(&["CAPTURE", "--out", "-", "--format", format]);
        let output = command.stdout(full).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(code(&output), Some(1));
        assert!(error(&output).contains("cannot write the output: No space left on device"), "{}", error(&output));
    }
    data.assert_no_part();
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let data = Data::with("pipe", &numbered(20_000, 200));
    for format in ["ndjson", "ndjson.zst", "parquet"] {
        let mut child = data.command(&["CAPTURE", "--out", "-", "--format", format, "--quiet"]).spawn().unwrap();
        let mut first = [0; 4];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), error(&output).as_str()), (Some(0), ""), "{format}");
    }
}

/// The child waits for its reader while it is interrupted: that is not lost.
#[test]
fn an_interrupt_ends_an_export_of_a_directory() {
    let data = Data::with("interrupt", &numbered(60_000, 200));
    let mut child = data.command(&["CAPTURE", "--out", "-"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    interrupt(&child);
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(130), "{}", error(&output));
    assert!(
        error(&output).contains("sublog: interrupted after ") && error(&output).ends_with("the output is not whole\n")
    );
    assert!(lines(&rest).len() < 59_999, "it went on to the end");
}

#[test]
fn what_the_owner_removes_meanwhile_is_counted() {
    let data = Data::with("removed", &numbered(60_000, 200));
    let mut child = data.command(&["a.b", "--out", "-"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    // It waits in its first turn now; the owner removes most of the log, also what it has not come to.
    let removed = data.log().remove_before(50_000).unwrap().messages;
    assert!(removed > 40_000);
    data.append(&numbered(10, 200));
    out.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", error(&output));
    let sequences: Vec<u64> = lines(text.as_bytes()).iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert_eq!((sequences[0], *sequences.last().unwrap()), (1, 60_000));
    let gap = sequences.windows(2).find(|pair| pair[1] != pair[0] + 1).unwrap();
    assert_eq!(gap[1], removed + 1);
    let text = error(&output);
    let told = text.lines().find(|line| line.contains("not there any more")).unwrap_or_default();
    let count: String = told.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(count, (gap[1] - gap[0] - 1).to_string(), "{text}");
    assert_eq!(sequences.len() as u64, 60_000 - (gap[1] - gap[0] - 1));
}

#[test]
fn segments_packed_meanwhile_are_read_anew() {
    let data = Data::with("packed", &numbered(60_000, 200));
    let mut child = data.command(&["a.b", "--out", "-"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    for segment in data.log().segments().iter().filter(|segment| segment.sealed) {
        let mut rewrite = data.log().compact(segment.first_seq, 1, Codec::Zstd);
        while let RewriteStep::Working { .. } = rewrite.step(1 << 20).unwrap() {}
    }
    assert!(data.log().segments().iter().filter(|segment| segment.codec.is_some()).count() > 5);
    out.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", error(&output));
    let sequences: Vec<u64> = lines(text.as_bytes()).iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert!(sequences == (1..=60_000).collect::<Vec<_>>(), "{} lines", sequences.len());
    assert!(error(&output).starts_with("60,000 messages, "), "{}", error(&output));
}

#[test]
fn parts_of_dead_exports_are_taken_over_those_of_living_ones_not() {
    let data = Data::with("parts", &numbered(100, 10));
    let part = data.path("x.ndjson.part");
    std::fs::write(&part, "x".repeat(1_000_000)).unwrap();
    let living = File::open(&part).unwrap();
    living.lock().unwrap();
    let output = data.run(&["CAPTURE", "--out", "x.ndjson"]);
    assert_eq!(code(&output), Some(1));
    assert!(error(&output).contains("x.ndjson.part: is being written by another export"), "{}", error(&output));
    assert_eq!(part.metadata().unwrap().len(), 1_000_000);
    drop(living);
    let output = data.run(&["CAPTURE", "--out", "x.ndjson"]);
    assert_eq!(code(&output), Some(0), "{}", error(&output));
    assert_eq!(read(&data.path("x.ndjson")).len(), 100);
    data.assert_no_part();
    // A link under the part's name leads nowhere.
    std::os::unix::fs::symlink(data.path("victim"), data.path("y.ndjson.part")).unwrap();
    let output = data.run(&["CAPTURE", "--out", "y.ndjson"]);
    assert_eq!(code(&output), Some(1));
    assert!(!data.path("victim").exists());
}

/// A server that answers what an export asks, sends three messages, and then does as the test says.
fn play(listener: &TcpListener, go_on: &mpsc::Receiver<()>) -> std::io::Result<()> {
    let (stream, _) = listener.accept()?;
    let mut out = stream.try_clone()?;
    let info =
        r#"{"server_id":"x","version":"2.10.0","sublog":"0.1.0","proto":1,"headers":true,"max_payload":1048576}"#;
    write!(out, "INFO {info}\r\n")?;
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => out.write_all(b"PONG\r\n")?,
            ["PUB", "$SUBLOG.STATE", inbox, _] => {
                let state = r#"{"streams":[{"name":"CAPTURE","first_seq":1,"last_seq":1000,"messages":1000}]}"#;
                write!(out, "MSG {inbox} request {}\r\n{state}\r\n", state.len())?;
            }
            ["SUB", subject, sid] if subject.starts_with("$REPLAY.") => {
                for seq in 1..=3 {
                    send(&mut out, sid, seq)?;
                }
                // Until the test has looked; then the connection ends.
                let _ = go_on.recv_timeout(PATIENCE);
                return Ok(());
            }
            _ => {}
        }
    }
}

fn send(out: &mut TcpStream, sid: &str, seq: u64) -> std::io::Result<()> {
    let block = format!(
        "NATS/1.0\r\nNats-Stream: CAPTURE\r\nNats-Subject: a\r\nNats-Sequence: {seq}\r\n\
         Nats-Time-Stamp: 2025-06-01T12:00:00Z\r\n\r\n"
    );
    write!(out, "HMSG a {sid} {} {}\r\n{block}x\r\n", block.len(), block.len() + 1)
}

#[test]
fn an_export_cut_short_by_user_or_server_leaves_no_file() {
    for by_user in [true, false] {
        let folder = Folder::new(if by_user { "export-user" } else { "export-server" });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (go_on, told) = mpsc::channel();
        let server = std::thread::spawn(move || play(&listener, &told));
        let mut command = sublog();
        command.args(["export", "CAPTURE", "--server", &address, "--out", "x.ndjson"]).current_dir(&folder.0);
        let child = command.spawn().unwrap();
        if by_user {
            let part = folder.0.join("x.ndjson.part");
            wait_until(|| part.exists());
            interrupt(&child);
            let output = child.wait_with_output().unwrap();
            assert_eq!(code(&output), Some(130), "{}", error(&output));
            assert!(error(&output).contains("sublog: interrupted after "), "{}", error(&output));
            go_on.send(()).ok();
        } else {
            go_on.send(()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!(code(&output), Some(1), "{}", error(&output));
            assert!(
                error(&output).contains("given up after 3 messages; x.ndjson was not written"),
                "{}",
                error(&output)
            );
        }
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
        // One that was interrupted before it connected leaves the server waiting.
        drop(std::net::TcpStream::connect(&address));
        server.join().unwrap().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "the deadline of a test")]
fn wait_until(done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}
