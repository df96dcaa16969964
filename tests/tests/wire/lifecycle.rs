//! A server's start, its traces on disk, and its ends.

use std::time::Duration;

use rustix::process::Signal;
use sublog_tests::{RawClient, Seen, clock};

use crate::server;

#[test]
fn term_and_interrupt_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = server(&[]);
        let mut client = server.client();
        client.send("SUB a 1\r\nPUB a 1\r\nx\r\n");
        client.sync();
        server.signal(signal);
        let status = server.wait();
        assert_eq!(status.code(), Some(0), "{:#?}", server.log());
        assert!(matches!(client.next(), Seen::Message(_)));
        client.expect_closed();
        assert!(RawClient::try_connect(server.address()).is_err());
        // The port is free for the next at once.
        server.restart();
        server.client().expect_nothing();
    }
}

#[test]
fn what_was_published_last_is_delivered_before_the_end() {
    let mut server = server(&[]);
    let (mut subscriber, mut publisher) = (server.client(), server.client());
    subscriber.subscribe("last.>", "1");
    subscriber.sync();
    for n in 0..500 {
        publisher.publish(&format!("last.{n}"), vec![b'x'; 2000]);
    }
    publisher.sync();
    server.stop();
    assert_eq!(subscriber.messages(500).last().unwrap().subject, "last.499");
    subscriber.expect_closed();
}

#[test]
fn pid_and_ports_files_say_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let mut server =
        server(&["-m", "-1", "-P", pid_file.to_str().unwrap(), "--ports_file_dir", dir.path().to_str().unwrap()]);
    let pid = server.pid();
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap().trim(), pid.to_string());
    let ports_file = dir.path().join(format!("sublog_{pid}.ports"));
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(&ports_file).unwrap()).unwrap();
    assert_eq!(ports["nats"][0], server.url());
    assert_eq!(ports["monitoring"][0], format!("http://{}", server.monitor_address()));
    server.stop();
    assert!(!pid_file.exists() && !ports_file.exists());
}

#[test]
fn a_lame_duck_sends_its_clients_away_in_time() {
    let mut server = server(&["--lame_duck_duration", "2s", "--lame_duck_grace_period", "300ms"]);
    let mut modern: Vec<_> = (0..3)
        .map(|_| {
            let mut client = server.raw();
            client.hello(r#"{"verbose":false,"protocol":1}"#);
            client.subscribe("a", "1");
            client.sync();
            client
        })
        .collect();
    let mut old = server.client();
    let start = clock::now();
    server.signal(Signal::USR2);
    for client in &mut modern {
        let Seen::Info(info) = client.next() else { panic!("no INFO") };
        assert_eq!(info["ldm"], true);
    }
    clock::until("end of listening", || RawClient::try_connect(server.address()).is_err().then_some(()));
    // Business goes on for a while.
    old.publish("a", "still here");
    for client in &mut modern {
        assert_eq!(client.message().text(), "still here");
    }
    let status = server.wait();
    let took = start.elapsed();
    assert_eq!(status.code(), Some(0), "{:#?}", server.log());
    assert!((Duration::from_millis(1500)..Duration::from_secs(6)).contains(&took), "{took:?}");
    modern.iter_mut().for_each(RawClient::expect_closed);
    old.expect_closed();
}

#[test]
fn with_capture_off_it_is_a_plain_server_and_leaves_no_message_on_disk() {
    let mut server = server(&["--capture", "off"]);
    let mut client = server.client();
    client.send("SUB a 1\r\nPUB a 1\r\nx\r\n");
    assert_eq!(client.flush().len(), 1);
    client.subscribe("$REPLAY.all.>", "2");
    let (messages, errors) = client.flush_with_errors();
    assert!(messages.is_empty(), "{messages:?}");
    assert!(matches!(&errors[..], [text] if text.contains("capture off")), "{errors:?}");
    server.stop();
    assert!(!server.data().join("streams").exists());
}

#[test]
fn two_servers_do_not_share_a_data_directory() {
    let first = server(&[]);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sublog-under-test"))
        .args(["-a", "127.0.0.1", "-p", "-1", "-sd"])
        .arg(first.data())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&first.pid().to_string()), "the owner's pid is not named: {said}");
    first.client().expect_nothing();
}

#[test]
fn connections_that_came_and_went_leave_no_memory_behind() {
    const CYCLES: usize = 10_000;
    let server = server(&[]);
    let cycle = |n: usize| {
        let mut client = server.raw();
        client.send(format!(
            "CONNECT {}\r\nSUB cycle.{n} {n}\r\nSUB cycle.{n} q shared\r\nPUB cycle.{n} 1\r\nx\r\n",
            sublog_tests::client::CONNECT
        ));
        assert_eq!(client.messages(2).len(), 2);
    };
    // A publisher that stays sees all of them come and go.
    let mut publisher = server.client();
    (0..CYCLES / 5).for_each(cycle);
    publisher.publish("cycle.1", "x");
    publisher.sync();
    let before = server.resident_bytes();
    for n in 0..CYCLES {
        cycle(n);
        if n % 100 == 0 {
            publisher.publish("cycle.1", "x");
            publisher.sync();
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 6 << 20, "{CYCLES} connections left {grown} bytes");
}
