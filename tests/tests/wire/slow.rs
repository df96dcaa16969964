//! Destinations that cannot keep up, and the publishers that feed them.

use std::time::Duration;

use sublog_tests::{Message, RawClient, Seen, TestServer, clock};

use crate::server;

const CHUNK: usize = 32 * 1024;

/// Publishes `count` numbered messages of [`CHUNK`] bytes on another thread.
fn pump(server: &TestServer, count: usize) -> std::thread::JoinHandle<()> {
    let address = server.address();
    std::thread::spawn(move || {
        let mut client = RawClient::connect(address);
        client.hello(sublog_tests::client::CONNECT);
        let mut payload = vec![b'x'; CHUNK];
        for n in 0..count {
            payload[..8].copy_from_slice(format!("{n:08}").as_bytes());
            client.publish("flood", &payload);
        }
        client.sync();
    })
}

fn numbers(messages: &[Message]) -> Vec<usize> {
    messages.iter().map(|m| std::str::from_utf8(&m.payload[..8]).unwrap().parse().unwrap()).collect()
}

/// Reads what is left for a client that was cut off: whole messages from the first on, no words, then the end.
fn read_to_the_end(client: &mut RawClient) -> usize {
    let mut seen = 0;
    loop {
        match client.next() {
            Seen::Message(message) => {
                assert_eq!(numbers(&[message]), [seen]);
                seen += 1;
            }
            Seen::Closed => return seen,
            other => panic!("{other:?} instead of the end"),
        }
    }
}

#[test]
fn too_many_bytes_waiting_close_the_connection_without_words() {
    const COUNT: usize = 2000;
    let mut server = server(&["--max_pending", "1MiB", "-m", "-1", "--capture", "off"]);
    let (mut slow, mut healthy) = (server.client(), server.client());
    slow.subscribe("flood", "1");
    slow.sync();
    healthy.subscribe("flood", "1");
    healthy.sync();
    let pump = pump(&server, COUNT);
    assert_eq!(numbers(&healthy.messages(COUNT)), (0..COUNT).collect::<Vec<_>>());
    pump.join().unwrap();
    server.log_line("Slow Consumer (Pending Bytes)");
    clock::until("slow consumer in varz", || (server.monitor("/varz")["slow_consumers"] == 1).then_some(()));
    assert!(read_to_the_end(&mut slow) < COUNT);
    healthy.expect_nothing();
    assert_eq!(server.monitor("/varz")["connections"], 1);
}

#[test]
fn a_socket_that_takes_nothing_for_too_long_is_closed() {
    const COUNT: usize = 800;
    let mut server = server(&["--write_deadline", "300ms", "-m", "-1", "--capture", "off"]);
    let (mut slow, mut healthy) = (server.client(), server.client());
    slow.subscribe("flood", "1");
    slow.sync();
    healthy.subscribe("flood", "1");
    healthy.sync();
    let pump = pump(&server, COUNT);
    assert_eq!(healthy.messages(COUNT).len(), COUNT);
    pump.join().unwrap();
    server.log_line("Slow Consumer (Write Deadline)");
    clock::until("slow consumer in varz", || (server.monitor("/varz")["slow_consumers"] == 1).then_some(()));
    assert!(read_to_the_end(&mut slow) < COUNT);
    healthy.expect_nothing();
}

#[test]
fn a_slow_but_steady_reader_slows_its_publisher_and_loses_nothing() {
    const COUNT: usize = 2000;
    let server = server(&["--max_pending", "4MiB", "-m", "-1", "--capture", "off"]);
    let mut slow = server.client();
    slow.subscribe("flood", "1");
    slow.sync();
    let pump = pump(&server, COUNT);
    let mut seen = Vec::with_capacity(COUNT);
    for _ in 0..COUNT / 20 {
        seen.extend(numbers(&slow.messages(20)));
        // The pace of this reader (a network, a script), some 60 MB/s at most; the publisher could do more.
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
    pump.join().unwrap();
    let varz = server.monitor("/varz");
    assert_eq!(varz["slow_consumers"], 0);
    assert!(varz["stalled_clients"].as_u64().unwrap() > 0, "the publisher was never slowed down: {varz}");
}
