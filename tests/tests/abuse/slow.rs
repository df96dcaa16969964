//! Clients that do not read.

use sublog_tests::{RawClient, clock};

use crate::{Bystander, MIB, server, socket};

const QUIET: &str = r#"{"verbose":false,"headers":true,"no_responders":true}"#;

/// A hundred clients that subscribe and read nothing: each is cut off at `max_pending`, what they are owed is bounded, the others are
/// served; and what it cost serves the next hundred.
#[test]
fn who_does_not_read_is_cut_off_and_costs_what_is_pending() {
    let server = server(&["--max_pending", "1MiB", "--max_payload", "64KiB", "--capture", "off", "-m", "-1"]);
    let mut bystander = Bystander::new(&server, QUIET);
    let before = server.resident_bytes();
    let mut publisher = server.client();
    let payload = vec![b'x'; 32 * 1024];
    let mut worst: Vec<u64> = Vec::new();
    // Each of the allocator's arenas takes its share of the worst case once, in whichever round that falls to it: then it has to
    // settle. What leaked would go on growing.
    while !has_settled(&worst) {
        let (round, mut most) = (worst.len(), 0);
        let slow: Vec<RawClient> = (0..100)
            .map(|_| {
                let mut client = server.client();
                client.subscribe("flood", "1");
                client.sync();
                client
            })
            .collect();
        for n in 0..600 {
            publisher.publish("flood", &payload);
            if n % 50 == 0 {
                publisher.sync();
                bystander.is_served();
                most = server.resident_bytes().saturating_sub(before).max(most);
            }
        }
        publisher.sync();
        clock::until("slow consumers", || {
            (server.monitor("/varz")["slow_consumers"] == 100 * (round + 1)).then_some(())
        });
        bystander.is_served();
        drop(slow);
        // What the next round takes comes after what this one held was let go of.
        clock::until("the end of all of them", || (server.monitor("/varz")["connections"] == 2).then_some(()));
        worst.push(most);
        // Twice what is pending at most, since buffers are freed when their sockets are let go of.
        assert!(most < 200 * MIB && worst.len() < 20, "{worst:?}");
    }
    println!("{:?} MiB at most", worst.iter().map(|bytes| bytes / MIB).collect::<Vec<_>>());
}

/// Whether the last rounds took no more than those before them.
fn has_settled(worst: &[u64]) -> bool {
    const ROUNDS: usize = 4;
    let Some((before, last)) = worst.len().checked_sub(ROUNDS).map(|at| worst.split_at(at)) else { return false };
    let peak = |rounds: &[u64]| rounds.iter().copied().max();
    peak(before).is_some_and(|before| peak(last) <= Some(before + 2 * MIB))
}

/// Who asks and asks and never reads the answers is read no more, or cut off.
#[test]
fn who_never_reads_its_answers_is_bounded() {
    let server = server(&["--max_pending", "1MiB", "--max_payload", "64KiB", "--sync", "os"]);
    let mut bystander = Bystander::new(&server, QUIET);
    let before = server.resident_bytes();
    for line in [
        "PING\r\n",
        "PUB $JS.API.INFO in 0\r\n\r\n",
        "SUB > 1\r\nSUB x..y 2\r\n",
        "PUB $SUBLOG.STATE in 0\r\n\r\n",
        "CONNECT {}\r\n",
    ] {
        let mut stream = socket(server.address());
        stream.set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        use std::io::Write as _;
        let _ = stream.write_all(b"CONNECT {\"verbose\":true}\r\nSUB in 9\r\n");
        let block = line.repeat(64 * 1024 / line.len());
        let begun = clock::now();
        // Until it is read no more, is cut off, or has had its time.
        while begun.elapsed() < std::time::Duration::from_secs(3) && stream.write_all(block.as_bytes()).is_ok() {}
        bystander.is_served();
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 64 * MIB, "{line:?}: {grown}");
    }
}
