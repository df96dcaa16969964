//! Every signal, and its word: what a server does when it gets one.

use std::fmt::Write as _;

use rustix::process::Signal;
use sublog_tests::Seen;
use tempfile::TempDir;

use crate::running::{Running, binary, run};

fn start() -> Running {
    let folder = TempDir::with_prefix("sublog-signal-").unwrap();
    std::fs::write(
        folder.path().join("t.conf"),
        "listen: '127.0.0.1:-1', ports_file_dir: ports, store_dir: data, log_file: out.log, max_payload: 1000
         lame_duck_duration: 2s, lame_duck_grace_period: 100ms",
    )
    .unwrap();
    Running::start(&binary(), folder, &["-c", "t.conf"], &[]).unwrap()
}

/// A signal as it is sent, the word for it, and what is seen of a server that got it.
type Row = (&'static str, Signal, &'static str, fn(Running) -> &'static str);

const SIGNALS: &[Row] = &[
    ("KILL", Signal::KILL, "stop", |mut server| {
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(server.ended().signal(), Some(9));
        "ends it at once"
    }),
    ("INT", Signal::INT, "quit", |server| ends(server, "ends it in order, exit code 0")),
    ("TERM", Signal::TERM, "term", |server| ends(server, "ends it in order, exit code 0; in lame duck mode nothing")),
    ("HUP", Signal::HUP, "reload", |server| {
        server.wait_for("Reloaded: max_payload = 2000", 1);
        assert_eq!(server.raw().info["max_payload"], 2000);
        "reads the configuration again"
    }),
    ("USR1", Signal::USR1, "reopen", |server| {
        sublog_tests::clock::until("a new log file", || server.folder.path().join("out.log").exists().then_some(()));
        server.wait_for("File log re-opened", 1);
        "opens the log file anew"
    }),
    ("USR2", Signal::USR2, "ldm", |mut server| {
        server.wait_for("Entering lame duck mode", 1);
        server.signal(Signal::TERM);
        assert!(server.ended().success());
        "lame duck: clients are told and closed one by one, then it ends"
    }),
];

fn ends(mut server: Running, says: &'static str) -> &'static str {
    assert_eq!(server.ended().code(), Some(0));
    assert!(server.log().contains("Server Exiting.."));
    says
}

/// The table.
pub(crate) fn table() -> String {
    let mut text = String::from("\n### Signals\n\n| signal | `--signal` | |\n|---|---|---|\n");
    for (name, signal, word, found) in SIGNALS {
        let mut said = None;
        for by_word in [false, true] {
            let server = start();
            let folder = server.folder.path().to_owned();
            // What the one or other is to see.
            std::fs::write(
                folder.join("t.conf"),
                std::fs::read_to_string(folder.join("t.conf")).unwrap().replace("1000", "2000"),
            )
            .unwrap();
            if *name == "USR1" {
                std::fs::rename(folder.join("out.log"), folder.join("old.log")).unwrap();
            }
            let mut client = server.client();
            if by_word {
                let output = run(&folder, &["--signal", &format!("{word}={}", server.pid())]);
                assert!(output.status.success(), "{word}: {}", String::from_utf8_lossy(&output.stderr));
            } else {
                server.signal(*signal);
            }
            let found = found(server);
            assert!(said.is_none_or(|said| said == found));
            said = Some(found);
            let _ = client.receive(std::time::Duration::from_millis(1)).map(|seen| matches!(seen, Some(Seen::Closed)));
        }
        writeln!(text, "| {name} | `{word}` | {} |", said.unwrap()).unwrap();
    }
    text
}
