//! Pull requests: how they are read, in which order served, how they end.

use sublog_broker::jetstream::consumer::machine::{Closing, MachineConfig, Stall, Step};

use crate::support::{
    MS, Out, SECOND, START, Sim, acks, pull_config, push_config, receivers, seqs, statuses, with_pull,
};

const NOTHING: [&str; 0] = [];

#[test]
fn a_batch_is_served_and_then_new_messages_as_they_come() {
    let mut sim = Sim::new(pull_config(), 2);
    assert_eq!(sim.machine.stall(sim.now), Stall::NoRequests);
    assert_eq!(seqs(&sim.pull("a", "4")), [1, 2]);
    assert_eq!((sim.machine.num_waiting(), sim.machine.stall(sim.now)), (1, Stall::UpToDate));
    assert_eq!(seqs(&sim.publish(3)), [3, 4]);
    assert_eq!((sim.machine.num_waiting(), sim.machine.num_pending(&sim.stream)), (0, 1));
}

#[test]
fn requests_take_turns() {
    let mut sim = Sim::new(pull_config(), 0);
    sim.pull("a", "3");
    sim.pull("b", "1");
    sim.pull("c", "2");
    let served: Vec<String> = receivers(&sim.publish(6)).into_iter().map(|(to, _)| to).collect();
    assert_eq!(served, ["a", "b", "c", "a", "c", "a"]);
}

#[test]
fn a_request_expires_with_what_it_did_not_get() {
    let mut sim = Sim::new(pull_config(), 1);
    sim.pull("a", r#"{"batch": 5, "expires": 1000000000, "max_bytes": 1000}"#);
    assert_eq!(sim.wait, Some(START.mono + SECOND));
    assert_eq!(sim.after(SECOND - MS), []);
    let ack_subject = "$JS.ACK.S.C.1.1.1.1700000000000000000.0".len();
    let left = 1000 - 100 - ack_subject;
    assert_eq!(
        statuses(&sim.after(MS)),
        [format!("a 408 Request Timeout;Nats-Pending-Messages: 4;Nats-Pending-Bytes: {left}")]
    );
    assert_eq!(sim.machine.num_waiting(), 0);
}

#[test]
fn no_wait_ends_where_the_stream_does() {
    let mut sim = Sim::new(pull_config(), 2);
    let out = sim.pull("a", r#"{"batch": 5, "no_wait": true}"#);
    assert_eq!((seqs(&out), statuses(&out)), (vec![1, 2], vec!["a 404 No Messages".to_owned()]));
    assert_eq!(statuses(&sim.pull("a", r#"{"batch": 5, "no_wait": true}"#)), ["a 404 No Messages"]);
    assert_eq!(sim.machine.num_waiting(), 0);
}

#[test]
fn no_wait_that_expires_waits_for_the_first_message_only() {
    let body = r#"{"batch": 5, "no_wait": true, "expires": 1000000000}"#;
    let mut sim = Sim::new(pull_config(), 0);
    assert_eq!(statuses(&sim.pull("a", body)), NOTHING);
    let out = sim.publish(2);
    assert_eq!((seqs(&out), statuses(&out)), (vec![1, 2], vec!["a 404 No Messages".to_owned()]));
    sim.pull("a", body);
    let timeout = "a 408 Request Timeout;Nats-Pending-Messages: 5;Nats-Pending-Bytes: 0";
    assert_eq!(statuses(&sim.after(SECOND)), [timeout]);
}

#[test]
fn no_wait_is_not_told_the_end_while_acks_are_awaited() {
    let config = MachineConfig { max_ack_pending: Some(1), ..pull_config() };
    let mut sim = Sim::new(config, 2);
    let out = sim.pull("a", r#"{"batch": 2, "no_wait": true}"#);
    assert_eq!((seqs(&out), statuses(&out)), (vec![1], vec![]));
    assert_eq!(sim.machine.stall(sim.now), Stall::MaxAckPending);
    assert_eq!(seqs(&sim.ack(acks(&out)[0], "")), [2]);
}

#[test]
fn no_wait_ends_at_the_next_timer_while_acks_are_awaited() {
    let config = MachineConfig { max_ack_pending: Some(1), ..pull_config() };
    let body = r#"{"batch": 3, "no_wait": true, "expires": 1000000000, "idle_heartbeat": 100000000}"#;
    let mut sim = Sim::new(config.clone(), 3);
    let out = sim.pull("a", body);
    assert_eq!((seqs(&out), statuses(&out)), (vec![1], vec![]));
    // In the place of a heartbeat.
    assert_eq!(statuses(&sim.after(100 * MS)), ["a 404 No Messages"]);
    assert_eq!(seqs(&sim.ack(acks(&out)[0], "")), Vec::<u64>::new());

    // One that got nothing yet has its heartbeats; and whoever's timer it is, one that got something ends.
    let mut sim = Sim::new(config, 3);
    let out = sim.pull("a", r#"{"batch": 3, "no_wait": true, "expires": 1000000000}"#);
    assert_eq!(seqs(&out), [1]);
    assert_eq!(statuses(&sim.pull("b", body)), NOTHING);
    let out = sim.after(100 * MS);
    let beat = "b 100 Idle Heartbeat;Nats-Last-Consumer: 1;Nats-Last-Stream: 1";
    assert_eq!(statuses(&out), ["a 404 No Messages", beat]);
}

#[test]
fn no_wait_is_refused_when_others_wait_for_all_there_is() {
    let config = MachineConfig { max_ack_pending: Some(1), ..pull_config() };
    let mut sim = Sim::new(config, 4);
    sim.pull("a", "5");
    assert_eq!(statuses(&sim.pull("b", r#"{"no_wait": true}"#)), ["b 408 Requests Pending"]);
    sim.stream.deaf.insert("a".into());
    assert_eq!(statuses(&sim.pull("b", r#"{"no_wait": true}"#)), NOTHING);
    assert_eq!(sim.machine.num_waiting(), 1);
}

#[test]
fn bytes_end_a_request_too() {
    let mut sim = Sim::new(pull_config(), 5);
    let each = 100 + "$JS.ACK.S.C.1.1.1.1700000000000000000.4".len() as u64;
    let body = format!("{{\"batch\": 5, \"max_bytes\": {}}}", 2 * each + 10);
    let out = sim.pull("a", &body);
    assert_eq!(seqs(&out), [1, 2]);
    let too_large = "a 409 Message Size Exceeds MaxBytes;Nats-Pending-Messages: 3;Nats-Pending-Bytes: 10";
    assert_eq!(statuses(&out), [too_large]);
    let exact = sim.pull("a", &format!("{{\"batch\": 5, \"max_bytes\": {}}}", 2 * each));
    assert_eq!((seqs(&exact), statuses(&exact)), (vec![3, 4], vec![]));
    let full = sim.pull("a", &format!("{{\"batch\": 1, \"max_bytes\": {}}}", each + 7));
    let completed = "a 409 Batch Completed;Nats-Pending-Messages: 0;Nats-Pending-Bytes: 7";
    assert_eq!((seqs(&full), statuses(&full)), (vec![5], vec![completed.to_owned()]));
}

#[test]
fn requests_over_the_caps_are_refused() {
    let mut sim = Sim::new(
        with_pull(|pull| {
            (pull.max_batch, pull.max_expires, pull.max_bytes) = (Some(10), Some(90 * SECOND), Some(1000));
        }),
        0,
    );
    for (body, status) in [
        ("11", "a 409 Exceeded MaxRequestBatch of 10"),
        (r#"{"batch": 1, "expires": 90000000001}"#, "a 409 Exceeded MaxRequestExpires of 1m30s"),
        (r#"{"batch": 1, "max_bytes": 1001}"#, "a 409 Exceeded MaxRequestMaxBytes of 1000"),
        (r#"{"batch": "1"}"#, "a 400 Bad Request - invalid value of field batch"),
        (r#"{"idle_heartbeat": 1}"#, "a 400 Bad Request - heartbeat value too large"),
    ] {
        assert_eq!(statuses(&sim.pull("a", body)), [status]);
    }
    let fits = r#"{"batch": 10, "expires": 90000000000, "max_bytes": 1000}"#;
    assert_eq!(statuses(&sim.pull("a", fits)), NOTHING);
    let mut push = Sim::new(push_config(), 0);
    assert_eq!(statuses(&push.pull("a", "")), ["a 409 Consumer is push based"]);
}

#[test]
fn only_so_many_wait() {
    let mut sim = Sim::new(with_pull(|pull| pull.max_waiting = 2), 0);
    sim.pull("a", "");
    sim.pull("b", "");
    assert_eq!(statuses(&sim.pull("c", "")), ["c 409 Exceeded MaxWaiting"]);
    let with_heartbeat = r#"{"expires": 10000000000, "idle_heartbeat": 1000000000}"#;
    assert_eq!(statuses(&sim.pull("c", with_heartbeat)), NOTHING);
    assert_eq!(sim.machine.num_waiting(), 2);
    sim.stream.deaf.insert("a".into());
    assert_eq!(statuses(&sim.pull("c", "")), ["c 409 Exceeded MaxWaiting"], "it has just looked");
    sim.advance(SECOND + MS);
    assert_eq!(statuses(&sim.pull("c", "")), NOTHING);
    assert_eq!(receivers(&sim.publish(2)), [("b".to_owned(), 1), ("c".to_owned(), 2)]);
}

#[test]
fn requests_nobody_listens_to_are_dropped() {
    let mut sim = Sim::new(pull_config(), 0);
    sim.pull("a", "");
    sim.pull("b", "");
    sim.pull("c", "");
    sim.machine.reply_gone(b"b");
    assert_eq!(sim.machine.num_waiting(), 2);
    sim.stream.deaf.insert("a".into());
    let out = sim.publish(2);
    assert_eq!((receivers(&out), statuses(&out)), (vec![("c".to_owned(), 1)], vec![]));
    assert_eq!(sim.machine.num_waiting(), 0);
}

#[test]
fn heartbeats_fill_silences() {
    let mut sim = Sim::new(pull_config(), 2);
    let out = sim.pull("a", r#"{"batch": 5, "expires": 10000000000, "idle_heartbeat": 1000000000}"#);
    assert_eq!(seqs(&out), [1, 2]);
    assert_eq!(sim.wait, Some(START.mono + SECOND));
    let beat = "a 100 Idle Heartbeat;Nats-Last-Consumer: 2;Nats-Last-Stream: 2";
    assert_eq!(statuses(&sim.after(SECOND)), [beat]);
    sim.advance(SECOND / 2);
    sim.publish(1);
    assert_eq!(statuses(&sim.after(SECOND - MS)), NOTHING, "a message is as good");
    assert_eq!(statuses(&sim.after(MS)).len(), 1);
    sim.stream.deaf.insert("a".into());
    assert_eq!(statuses(&sim.after(SECOND)), NOTHING);
    assert_eq!(sim.machine.num_waiting(), 0);
}

#[test]
fn those_who_wait_are_told_of_the_end() {
    for (closing, status) in [(Closing::Deleted, "409 Consumer Deleted"), (Closing::Shutdown, "409 Server Shutdown")] {
        let mut sim = Sim::new(pull_config(), 0);
        sim.pull("a", "");
        sim.pull("b", "");
        sim.machine.close(closing);
        assert_eq!(statuses(&sim.run()), [format!("a {status}"), format!("b {status}")]);
    }
}

#[test]
fn asking_twice_changes_nothing_and_what_was_not_asked_for_is_not_sent() {
    let mut sim = Sim::new(pull_config(), 3);
    sim.machine.pull("a".into(), b"2", &sim.stream, sim.now);
    let step = sim.machine.next(&sim.stream, sim.now);
    assert_eq!(step, Step::Fetch { from_seq: 1 });
    assert_eq!(sim.machine.next(&sim.stream, sim.now), step);
    assert_eq!(seqs(&sim.run()), [1, 2]);
    let record =
        sublog_broker::jetstream::consumer::machine::Record { stream_seq: 2, size: 1, time_ns: 0, num_pending: 0 };
    sim.machine.pull("a".into(), b"1", &sim.stream, sim.now);
    assert_eq!(sim.machine.deliver(&record, &sim.stream, sim.now), None);
}

#[test]
fn a_slow_client_is_passed_over_until_it_is_looked_at_again() {
    let mut sim = Sim::new(pull_config(), 3);
    sim.stream.slow.insert("slow".into());
    assert_eq!(seqs(&sim.pull("slow", "2")), [0_u64; 0]);
    let out = sim.pull("a", "1");
    assert!(matches!(&out[..], [Out::Delivery(delivery)] if delivery.to == "a"), "{out:?}");
    sim.stream.slow.clear();
    assert_eq!(sim.run(), [], "nothing has happened that it knows of");
    sim.machine.look_again();
    assert_eq!(seqs(&sim.run()), [2, 3]);
}
