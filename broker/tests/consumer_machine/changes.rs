//! Pauses, resets, other configurations, purges, replays at their own pace, consumers nobody uses.

use sublog_broker::jetstream::consumer::machine::{AckPolicy, Action, Advisory, MachineConfig, Removal, Stall, Start};

use crate::support::{MS, Out, SECOND, START, Sim, acks, advisories, pull_config, push_config, seqs};

const NONE: [u64; 0] = [];

#[test]
fn a_pause_ends_by_itself() {
    let until = START.wall_ns + 5_000_000_000;
    let mut sim = Sim::new(MachineConfig { paused_until: Some(until), ..pull_config() }, 3);
    assert_eq!(seqs(&sim.pull("a", "2")), NONE);
    assert_eq!((sim.machine.stall(sim.now), sim.wait), (Stall::Paused, Some(START.mono + 5 * SECOND)));
    assert_eq!(sim.machine.pause_remaining(sim.now), Some(5 * SECOND));
    let out = sim.after(5 * SECOND);
    assert_eq!(seqs(&out), [1, 2]);
    assert_eq!(advisories(&out), [Advisory::Paused { paused: false, until: Some(until) }]);
    let again = sim.now.wall_ns + 1_000_000_000;
    sim.machine.pause(Some(again), sim.now);
    let out = sim.pull("a", "1");
    assert_eq!((seqs(&out), advisories(&out).len()), (vec![], 1));
    sim.machine.pause(None, sim.now);
    let out = sim.run();
    assert_eq!(seqs(&out), [3]);
    assert_eq!(advisories(&out), [Advisory::Paused { paused: false, until: None }]);
    assert_eq!(advisories(&sim.after(2 * SECOND)), []);
}

#[test]
fn a_reset_starts_over() {
    let mut sim = Sim::new(pull_config(), 5);
    let first = acks(&sim.pull("a", "4"));
    sim.ack(first[0], "");
    sim.ack(first[2], "");
    assert_eq!(sim.machine.reset(0), 2);
    assert_eq!((sim.floor(), sim.delivered(), sim.machine.num_ack_pending()), ((0, 1), (0, 1), 0));
    sim.ack(first[3], "");
    let again = acks(&sim.pull("a", "2"));
    let told: Vec<_> = again.iter().map(|ack| (ack.stream_seq, ack.consumer_seq, ack.deliveries)).collect();
    assert_eq!(told, [(2, 1, 1), (3, 2, 1)]);
    assert_eq!(sim.machine.reset(5), 5);
    assert_eq!(seqs(&sim.pull("a", "2")), [5]);
}

#[test]
fn another_ack_wait_holds_for_what_is_out() {
    let mut sim = Sim::new(push_config(), 1);
    sim.machine.interest(true, START);
    sim.run();
    sim.advance(SECOND);
    sim.machine.update(MachineConfig { ack_wait: 10 * SECOND, ..push_config() }, sim.now);
    assert_eq!(seqs(&sim.after(9 * SECOND - MS)), NONE);
    assert_eq!(seqs(&sim.after(MS)), [1]);
    sim.machine.update(MachineConfig { backoff: vec![SECOND, 2 * SECOND], ..push_config() }, sim.now);
    assert_eq!(seqs(&sim.after(2 * SECOND - MS)), NONE);
    assert_eq!(seqs(&sim.after(MS)), [1]);
}

#[test]
fn more_room_is_used_at_once() {
    let mut sim = Sim::new(MachineConfig { max_ack_pending: Some(1), ..pull_config() }, 3);
    assert_eq!(seqs(&sim.pull("a", "3")), [1]);
    sim.machine.update(MachineConfig { max_ack_pending: Some(3), ..pull_config() }, sim.now);
    assert_eq!(seqs(&sim.run()), [2, 3]);
}

#[test]
fn a_purge_settles_what_it_took() {
    let mut sim = Sim::new(MachineConfig { ack: AckPolicy::Explicit, ..pull_config() }, 10);
    sim.pull("a", "4");
    sim.stream.messages.retain(|seq, _| *seq >= 4);
    sim.machine.stream_starts_at(4, Removal::Purge);
    assert_eq!((sim.floor(), sim.machine.num_ack_pending()), ((3, 3), 1));
    assert_eq!(advisories(&sim.run()), []);
    sim.stream.messages.clear();
    sim.machine.stream_starts_at(11, Removal::Purge);
    assert_eq!((sim.floor(), sim.delivered(), sim.machine.next_seq()), ((4, 10), (4, 10), 11));
    assert_eq!(seqs(&sim.pull("a", "5")), NONE);
    assert_eq!(seqs(&sim.publish(1)), [11]);
}

#[test]
fn what_is_removed_in_the_middle_is_not_waited_for() {
    for (removal, told) in [(Removal::Purge, 0), (Removal::Limits, 2)] {
        let mut sim = Sim::new(MachineConfig { max_deliver: Some(1), ..pull_config() }, 10);
        let first = acks(&sim.pull("a", "6"));
        sim.ack(first[1], "-NAK");
        assert!(sim.machine.needs(2), "it was delivered as often as it may be");
        sim.stream.messages.retain(|seq, _| ![2, 3, 4, 8].contains(seq));
        sim.machine.all_gone(&[(2, 4), (8, 8)], removal);
        assert_eq!(advisories(&sim.run()).len(), told, "{removal:?}");
        assert_eq!((sim.machine.num_ack_pending(), sim.machine.needs(2)), (3, false));
        assert_eq!(seqs(&sim.pull("a", "9")), [7, 9, 10]);
    }
    let start = Start::List { seqs: vec![2, 5, 7], resume: 9 };
    let mut sim = Sim::starting(pull_config(), start, 1..=10);
    sim.stream.messages.retain(|seq, _| ![2, 5, 7].contains(seq));
    sim.machine.all_gone(&[(1, 5), (7, 7)], Removal::Purge);
    assert_eq!(seqs(&sim.pull("a", "9")), [10]);
}

#[test]
fn limits_tell_of_what_was_out() {
    let mut sim = Sim::new(pull_config(), 10);
    sim.pull("a", "4");
    sim.machine.stream_starts_at(3, Removal::Limits);
    let told = advisories(&sim.run());
    assert_eq!(told.len(), 2);
    let reason = "Message deleted by stream limits".to_owned();
    assert_eq!(told[0], Advisory::Terminated { stream_seq: 1, consumer_seq: 1, deliveries: 1, reason });
    assert_eq!(sim.floor(), (2, 2));
}

#[test]
fn a_list_comes_first() {
    let start = Start::List { seqs: vec![2, 5, 7], resume: 9 };
    let mut sim = Sim::starting(pull_config(), start, 1..=9);
    let first = acks(&sim.pull("a", "1"));
    assert_eq!((first[0].stream_seq, first[0].pending), (2, 2));
    sim.publish(1);
    assert_eq!((sim.machine.num_pending(&sim.stream), sim.machine.next_seq()), (3, 10));
    sim.stream.messages.remove(&5);
    let rest = acks(&sim.pull("a", "5"));
    let told: Vec<_> = rest.iter().map(|ack| (ack.stream_seq, ack.consumer_seq, ack.pending)).collect();
    assert_eq!(told, [(7, 2, 1), (10, 3, 0)]);
    let empty = Start::List { seqs: vec![], resume: 9 };
    let mut sim = Sim::starting(pull_config(), empty, 1..=9);
    assert_eq!(seqs(&sim.pull("a", "1")), NONE);
    assert_eq!(seqs(&sim.publish(1)), [10]);
}

#[test]
fn a_replay_keeps_its_messages_apart() {
    let mut sim = Sim::new(MachineConfig { replay_original: true, ..push_config() }, 3);
    for (seq, ms) in [(1, 0), (2, 500), (3, 2500)] {
        sim.stream.messages.insert(seq, START.wall_ns - 1_000_000_000_000 + ms * 1_000_000);
    }
    sim.machine.interest(true, START);
    assert_eq!((seqs(&sim.run()), sim.machine.stall(sim.now)), (vec![1], Stall::Replay));
    assert_eq!(seqs(&sim.after(500 * MS - MS)), NONE);
    assert_eq!(seqs(&sim.after(MS)), [2]);
    assert_eq!(seqs(&sim.after(2 * SECOND - MS)), NONE);
    assert_eq!(seqs(&sim.after(MS)), [3]);
    assert_eq!(seqs(&sim.publish(2)), [4, 5], "what comes later comes at once");
}

fn is_inactive(out: &[Out]) -> bool {
    out.contains(&Out::Action(Action::Inactive))
}

#[test]
fn a_pull_consumer_is_unused_when_nobody_asks_or_acks() {
    let config = MachineConfig { inactive_threshold: Some(5 * SECOND), ..pull_config() };
    let mut sim = Sim::new(config.clone(), 1);
    assert!(!is_inactive(&sim.after(4 * SECOND)));
    let first = acks(&sim.pull("a", ""));
    assert!(!is_inactive(&sim.after(34 * SECOND)), "the ack may still come");
    sim.ack(first[0], "");
    assert!(!is_inactive(&sim.after(5 * SECOND - MS)));
    assert!(is_inactive(&sim.after(MS)));
    assert!(!is_inactive(&sim.after(50 * SECOND)), "said once");

    let mut sim = Sim::new(config, 0);
    sim.pull("a", "");
    assert!(!is_inactive(&sim.after(60 * SECOND)), "somebody waits");
    sim.stream.deaf.insert("a".into());
    assert!(is_inactive(&sim.after(60 * SECOND)));
}

#[test]
fn a_push_consumer_is_unused_when_nobody_listens() {
    let mut sim = Sim::new(MachineConfig { inactive_threshold: Some(5 * SECOND), ..push_config() }, 0);
    sim.machine.interest(true, START);
    assert!(!is_inactive(&sim.after(60 * SECOND)));
    sim.machine.interest(false, sim.now);
    assert!(!is_inactive(&sim.after(5 * SECOND - MS)));
    assert!(is_inactive(&sim.after(MS)));
}
