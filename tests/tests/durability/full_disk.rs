//! A full disk: publishers are told, readers and live subscribers notice nothing, and it passes; so do mirrors.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sublog_tests::{RawClient, TestServer, clock, http};

/// A small file system of its own, unmounted in the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(mebibytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output().ok()?;
        output.status.success().then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test leaves behind for a moment still has it open.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// The next `expected` messages are these, whole, in this order.
fn expect_all(reader: &mut RawClient, expected: &[usize]) {
    for at in expected {
        let message = reader.message();
        let number = message.text().split(' ').next().unwrap_or_default();
        assert_eq!(number, at.to_string(), "of {expected:?}");
        assert_eq!(message.payload.len(), number.len() + 1 + 60_000);
    }
}

#[test]
fn a_full_disk_is_told_to_publishers_and_passes() {
    let Some(disk) = SmallDisk::mount(64) else {
        println!("SKIPPED: a full disk (mounting a small tmpfs needs root)");
        return;
    };
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1_u8; 40 << 20]).unwrap();
    let args = ["--disk-reserve", "0", "--max-age", "off", "-m", "-1"];
    let server = TestServer::start_in(env!("CARGO_BIN_EXE_sublog-under-test"), &args, &disk.path().join("data"));
    let (mut publisher, mut live) = (server.client(), server.client());
    live.subscribe("full.*", "1");
    live.sync();

    let payload = |n: usize| format!("{n} {}", "x".repeat(60_000));
    let mut stored = Vec::new();
    let mut n = 0;
    let error = loop {
        assert!(n < 2000, "64 MiB took {n} messages of 60 kB");
        publisher.publish(&format!("full.{n}"), payload(n));
        let begin = clock::now();
        // The complaint comes before the PONG, which is where publishers look for it.
        let (_, errors) = publisher.flush_with_errors();
        n += 1;
        match errors.into_iter().next() {
            None => stored.push(n - 1),
            Some(error) => {
                assert!(begin.elapsed() < Duration::from_secs(2), "told after {:?}", begin.elapsed());
                break error;
            }
        }
    };
    println!("full disk after {n} messages: {error}");
    assert!(error.starts_with("Message Not Stored"), "{error}");
    assert!(stored.len() > 50, "only {} messages fitted", stored.len());
    assert_eq!(http::get(server.monitor_address(), "/healthz").0, 503);

    // While it lasts each flush is told, unless a little room was found; live delivery goes on.
    let mut told = 0;
    while told < 5 {
        assert!(n < 2000, "the disk is not full after all");
        publisher.publish(&format!("full.{n}"), payload(n));
        match publisher.flush_with_errors().1.len() {
            0 => stored.push(n),
            errors => told += errors,
        }
        n += 1;
    }
    assert_eq!(live.messages(n).len(), n);
    let mut reader = server.client();
    reader.subscribe("$REPLAY.all.full.*", "1");
    expect_all(&mut reader, &stored);

    let already = stored.len();
    std::fs::remove_file(&filler).unwrap();
    // The log looks for room now and then, so a refusal or two may still come; then it goes on as before.
    let mut in_a_row = 0;
    clock::until("return to normal after there was room again", || {
        publisher.publish(&format!("full.{n}"), payload(n));
        let fine = publisher.flush_with_errors().1.is_empty();
        if fine {
            stored.push(n);
        }
        in_a_row = if fine { in_a_row + 1 } else { 0 };
        n += 1;
        (in_a_row == 50).then_some(())
    });
    // The reader that was there all the time goes on; a new one sees the same: what was refused is not there.
    expect_all(&mut reader, &stored[already..]);
    reader.expect_nothing();
    let mut again = server.client();
    again.subscribe("$REPLAY.all.full.*", "1");
    expect_all(&mut again, &stored);
    again.expect_nothing();
    clock::until("recovery in healthz", || (http::get(server.monitor_address(), "/healthz").0 == 200).then_some(()));
}

/// The answer of the API.
fn ask(client: &mut RawClient, operation: &str, body: &str) -> Value {
    client.send(format!("PUB $JS.API.{operation} _INBOX.full {}\r\n{body}\r\n", body.len()));
    serde_json::from_str(client.message().text()).unwrap()
}

/// A file that leaves so many bytes of its disk.
fn fill(path: &Path, left: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    let mut written = 0;
    while let Ok(n) = file.write(&[1; 1 << 16]) {
        written += n as u64;
    }
    file.set_len(written - left).unwrap();
}

#[test]
fn a_mirror_goes_on_by_itself_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount(80) else {
        println!("SKIPPED: a mirror on a full disk (mounting a small tmpfs needs root)");
        return;
    };
    let args = ["--disk-reserve", "0", "--capture", "off"];
    let server = TestServer::start_in(env!("CARGO_BIN_EXE_sublog-under-test"), &args, &disk.path().join("data"));
    let mut js = server.client();
    js.subscribe("_INBOX.full", "1");
    ask(&mut js, "STREAM.CREATE.O", r#"{"name":"O","subjects":["o"]}"#);
    let payload = |n: usize| format!("{n} {}", "x".repeat(60_000));
    for n in 1..=300 {
        js.publish("o", payload(n));
    }
    assert!(js.flush_with_errors().1.is_empty());
    // So that numbers alone do not tell what was left out.
    ask(&mut js, "STREAM.MSG.DELETE.O", r#"{"seq":250}"#);
    let filler = disk.path().join("filler");
    fill(&filler, 6 << 20);
    ask(&mut js, "STREAM.CREATE.M", r#"{"name":"M","mirror":{"name":"O"}}"#);
    let failed = clock::until("the mirror says that it cannot write", || {
        let info = ask(&mut js, "STREAM.INFO.M", "");
        (!info["mirror"]["error"].is_null()).then_some(info)
    });
    let copied = failed["state"]["messages"].as_u64().unwrap();
    assert!((10..200).contains(&copied), "{failed}");
    // It fails more than once.
    std::thread::sleep(Duration::from_secs(1));
    std::fs::remove_file(&filler).unwrap();
    let info = clock::until("the mirror has all there is", || {
        let info = ask(&mut js, "STREAM.INFO.M", r#"{"deleted_details":true}"#);
        (info["state"]["last_seq"] == 300 && info["mirror"]["lag"] == 0).then_some(info)
    });
    let state = &info["state"];
    assert_eq!((&state["messages"], &state["first_seq"], &state["deleted"]), (&json!(299), &json!(1), &json!([250])));
    for seq in (1..=300).filter(|seq| *seq != 250) {
        let body = json!({ "seq": seq }).to_string();
        let of = |js: &mut RawClient, stream: &str| {
            ask(js, &format!("STREAM.MSG.GET.{stream}"), &body)["message"]["data"].take()
        };
        let (here, there) = (of(&mut js, "M"), of(&mut js, "O"));
        assert!(here == there && here.is_string(), "message {seq}");
    }
}
