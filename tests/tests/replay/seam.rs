//! Where history meets live.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sublog_tests::{Random, RawClient, clock, random};

use crate::{fill, server};

const PUBLISHERS: usize = 3;
const REPLAYS: usize = 50;
/// Messages each publisher sends as fast as it can; then it goes on, slower, until all readers are under way.
const FULL_SPEED: usize = 12_000;

/// What the threads of the seam test share.
struct Run {
    /// Publishers end.
    stop: AtomicBool,
    /// Publishers have ended, and `totals` says how far they went.
    finish: AtomicBool,
    totals: [AtomicUsize; PUBLISHERS],
    /// Readers that have seen a message of every publisher.
    under_way: AtomicUsize,
    /// Messages each reader has seen.
    seen: [AtomicUsize; REPLAYS],
}

impl Run {
    fn new() -> Self {
        Self {
            stop: AtomicBool::new(false),
            finish: AtomicBool::new(false),
            totals: [const { AtomicUsize::new(0) }; PUBLISHERS],
            under_way: AtomicUsize::new(0),
            seen: [const { AtomicUsize::new(0) }; REPLAYS],
        }
    }
}

/// Payload `n` of a publisher: it can be told from any other, and its length varies.
fn payload(publisher: usize, n: usize) -> String {
    format!("{publisher}:{n}:{}", "p".repeat((n * 37) % 1500))
}

/// Publishes until told to stop; the number published.
fn publisher(address: SocketAddr, number: usize, stop: &AtomicBool) -> usize {
    let mut client = RawClient::connect(address);
    client.hello(sublog_tests::client::CONNECT);
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..50 {
            client.publish(&format!("seam.{number}"), payload(number, n));
            n += 1;
        }
        client.sync();
        if n >= FULL_SPEED {
            // Fifty readers must be able to follow on a small machine, unoptimised: each message is read fifty times.
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    n
}

/// Reads one replay up to the last message of each publisher and checks it on the way; the number read.
fn reader(address: SocketAddr, at: usize, start: &str, run: &Run) -> usize {
    let Run { finish, totals, under_way, .. } = run;
    let mut client = RawClient::connect(address);
    client.hello(sublog_tests::client::CONNECT);
    client.subscribe(&format!("$REPLAY.{start}.seam.*"), "1");
    let mut next: [Option<usize>; PUBLISHERS] = [None; PUBLISHERS];
    let (mut last_seq, mut count) = (0, 0);
    let deadline = clock::now() + 3 * clock::PATIENCE;
    loop {
        let done = finish.load(Ordering::Acquire)
            && next.iter().zip(totals).all(|(next, total)| *next == Some(total.load(Ordering::Relaxed)));
        if done {
            client.expect_nothing();
            return count;
        }
        assert!(clock::now() < deadline, "replay from {start} stopped at {last_seq}, {next:?} of {totals:?}");
        let message = match client.receive(std::time::Duration::from_millis(100)).unwrap() {
            Some(sublog_tests::Seen::Message(message)) => message,
            None => continue,
            Some(other) => panic!("{other:?} instead of a message"),
        };
        let seq = message.sequence();
        assert!(last_seq == 0 || seq == last_seq + 1, "from {start}: {seq} after {last_seq}");
        last_seq = seq;
        let mut parts = message.text().split(':');
        let number: usize = parts.next().unwrap().parse().unwrap();
        let n: usize = parts.next().unwrap().parse().unwrap();
        assert!(next[number].is_none_or(|next| next == n), "from {start}: {n} of publisher {number}, not {next:?}");
        assert_eq!(message.text(), payload(number, n));
        assert_eq!(message.subject, format!("seam.{number}"));
        let complete = next.iter().all(Option::is_some);
        next[number] = Some(n + 1);
        count += 1;
        run.seen[at].store(count, Ordering::Relaxed);
        if !complete && next.iter().all(Option::is_some) {
            under_way.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn replays_that_start_while_everybody_publishes_have_no_gap_and_no_duplicate() {
    let server = server(&[]);
    let address = server.address();
    let run = Arc::new(Run::new());
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let run = run.clone();
            std::thread::spawn(move || publisher(address, number, &run.stop))
        })
        .collect();
    let mut random = Random::new(11);
    let readers: Vec<_> = (0..REPLAYS)
        .map(|at| {
            let start = match at % 4 {
                0 => "all".to_owned(),
                1 => format!("last.{}", random.between(1, 2000)),
                2 => format!("seq.{}", random.between(1, 3000)),
                _ => "since.1s".to_owned(),
            };
            let run = run.clone();
            // Starts are spread over the run: this is the randomness under test, not a wait for something.
            std::thread::sleep(std::time::Duration::from_millis(random.below(30)));
            std::thread::spawn(move || reader(address, at, &start, &run))
        })
        .collect();
    let deadline = clock::now() + clock::PATIENCE;
    while run.under_way.load(Ordering::Relaxed) < REPLAYS && !readers.iter().any(|r| r.is_finished()) {
        assert!(clock::now() < deadline, "readers that saw nothing of some publisher: {:?}", run.seen);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run.stop.store(true, Ordering::Relaxed);
    for (total, publisher) in run.totals.iter().zip(publishers) {
        total.store(publisher.join().unwrap(), Ordering::Relaxed);
    }
    run.finish.store(true, Ordering::Release);
    let published: usize = run.totals.iter().map(|total| total.load(Ordering::Relaxed)).sum();
    let counts: Vec<usize> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    for (at, count) in counts.iter().enumerate().step_by(4) {
        assert_eq!(*count, published, "replay {at} from the beginning");
    }
    println!("seam: {published} messages, {REPLAYS} replays saw {}", counts.iter().sum::<usize>());
}

#[test]
fn a_replay_and_a_live_subscription_on_one_connection_agree() {
    let server = server(&[]);
    let mut client = server.client();
    fill(&server, "both.a", 50);
    client.send("SUB both.* live\r\nSUB $REPLAY.all.both.* replay\r\n");
    client.sync();
    fill(&server, "both.a", 500);
    let seen = client.messages(1050);
    let of =
        |sid: &str| -> Vec<u64> { seen.iter().filter(|m| m.sid == sid).map(|m| random::hash(&m.payload)).collect() };
    let (live, replay) = (of("live"), of("replay"));
    assert_eq!((live.len(), replay.len()), (500, 550));
    assert_eq!(live, replay[50..]);
}

#[test]
fn unsub_ends_a_replay_at_once_or_by_count() {
    let server = server(&["-m", "-1"]);
    fill(&server, "u.a", 1000);
    let mut client = server.client();
    client.send("SUB $REPLAY.all.u.a 1\r\nUNSUB 1 10\r\n");
    // The limit may come after the first deliveries, never after more than it says when it came with the SUB.
    let first = client.messages(10);
    assert_eq!(first[9].text(), "9");
    client.send("SUB $REPLAY.all.u.a 2\r\n");
    assert_eq!(client.message().sid, "2");
    client.send("UNSUB 2\r\n");
    client.flush();
    fill(&server, "u.a", 10);
    clock::until("end of all replays", || (server.monitor("/varz")["sublog"]["replays"] == 0).then_some(()));
    // What had been on its way when UNSUB came has passed by now.
    client.flush();
    fill(&server, "u.a", 10);
    client.expect_nothing();
    // The name is free again.
    client.subscribe("$REPLAY.last.1.u.a", "1");
    assert_eq!(client.message().text(), "9");
}

#[test]
fn replays_end_with_their_connection() {
    let server = server(&["-m", "-1"]);
    fill(&server, "e.a", 100);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = server.client();
            client.subscribe("$REPLAY.all.e.>", "1");
            assert_eq!(client.messages(100).len(), 100);
            client
        })
        .collect();
    assert_eq!(server.monitor("/varz")["sublog"]["replays"], 20);
    drop(clients);
    clock::until("end of all replays", || (server.monitor("/varz")["sublog"]["replays"] == 0).then_some(()));
}
