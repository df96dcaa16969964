//! A segment file that is truncated while it is mapped.

use std::fs::OpenOptions;
use std::path::Path;

use sublog_tests::{Seen, clock, http};

use crate::{first_seq, payload, publish, read_up_to, segments, server};

fn truncate(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

#[test]
fn a_sealed_segment_that_shrinks_costs_what_was_cut() {
    let server = server(&[]);
    let mut publisher = server.client();
    publish(&mut publisher, 0, 400);
    let files = segments(&server);
    assert!(files.len() >= 3, "{files:?}");
    // Mapped and looked at before.
    let mut reader = server.client();
    reader.subscribe("$REPLAY.all.>", "1");
    assert_eq!(read_up_to(&mut reader, 400), (1..=400).collect::<Vec<_>>());
    let len = std::fs::metadata(&files[1]).unwrap().len();
    truncate(&files[1], (len / 2) & !4095);

    let mut reader = server.client();
    reader.subscribe("$REPLAY.all.>", "1");
    let seen = read_up_to(&mut reader, 400);
    let lost: Vec<u64> = (1..=400).filter(|seq| !seen.contains(seq)).collect();
    let (from, to) = (first_seq(&files[1]), first_seq(&files[2]));
    assert_eq!(lost, (lost[0]..to).collect::<Vec<_>>());
    assert!(lost[0] > from, "{lost:?} of {from}..{to}");
    // The server goes on, and says what it knows.
    publish(&mut publisher, 400, 420);
    assert_eq!(read_up_to(&mut reader, 420), (401..=420).collect::<Vec<_>>());
    let stream = &server.monitor("/streamz")["streams"][0];
    assert!(stream["damaged_ranges"].as_u64().unwrap() > 0, "{stream}");
    assert!(stream["read_faults"].as_u64().unwrap() > 0, "{stream}");
    assert_eq!(http::get(server.monitor_address(), "/healthz").0, 503);
}

#[test]
fn a_message_that_is_gone_before_it_was_sent_ends_its_connection_and_no_other() {
    let server = server(&[]);
    let mut publisher = server.client();
    publish(&mut publisher, 0, 1000);
    let files = segments(&server);
    let last = files.len() - 1;
    assert!(last >= 3, "{files:?}");
    // A reader that has read one message of many megabytes: the rest fills its socket, and the next part waits, checked
    // and mapped, to be sent.
    let mut slow = server.client();
    slow.subscribe("$REPLAY.all.>", "1");
    assert_eq!(slow.message().sequence(), 1);
    let waiting = || {
        let page = server.monitor("/connz");
        page["connections"].as_array().unwrap().iter().map(|c| c["pending_bytes"].as_u64().unwrap()).sum::<u64>()
    };
    let mut before = 0;
    clock::until("a replay that waits for its reader", || {
        let now = waiting();
        let still = now > 200_000 && now == before;
        before = now;
        still.then_some(())
    });
    for path in &files[..last] {
        truncate(path, 4096);
    }
    // Another reader meets the holes first.
    let mut other = server.client();
    other.subscribe("$REPLAY.all.>", "1");
    assert_eq!(read_up_to(&mut other, 1000), (first_seq(&files[last])..=1000).collect::<Vec<_>>());

    // What was in the slow one's socket arrives whole; then the connection ends, in the middle of a message if need be.
    let mut got = 1;
    loop {
        match slow.next() {
            Seen::Message(message) => {
                assert_eq!(message.sequence(), got + 1);
                assert!(message.payload == payload(usize::try_from(got).unwrap()), "message {} is not whole", got + 1);
                got += 1;
            }
            Seen::Closed => break,
            other => panic!("{other:?} after message {got}"),
        }
    }
    assert!(got < first_seq(&files[last]) - 1, "all {got} messages fitted into the socket");
    publish(&mut publisher, 1000, 1010);
    assert_eq!(read_up_to(&mut other, 1010), (1001..=1010).collect::<Vec<_>>());
}
