//! What acks settle, what is delivered again and when, and how far the floor rises.

use std::time::Duration;

use sublog_broker::jetstream::consumer::machine::{
    AckNumbers, AckPolicy, Action, Advisory, MachineConfig, Position, Stall,
};

use crate::support::{MS, Out, SECOND, START, Sim, acks, advisories, answers, pull_config, push_config, seqs};

/// A push consumer with somebody there, and what it delivers at first.
fn pushing(config: MachineConfig, messages: u64) -> (Sim, Vec<AckNumbers>) {
    let mut sim = Sim::new(config, messages);
    sim.machine.interest(true, START);
    let first = acks(&sim.run());
    (sim, first)
}

fn explicit() -> MachineConfig {
    push_config()
}

#[test]
fn explicit_acks_settle_one_each_and_the_floor_follows_the_first_that_is_out() {
    let (mut sim, acks) = pushing(explicit(), 5);
    assert_eq!(
        acks.iter().map(|ack| (ack.stream_seq, ack.consumer_seq, ack.pending)).collect::<Vec<_>>(),
        [(1, 1, 4), (2, 2, 3), (3, 3, 2), (4, 4, 1), (5, 5, 0)]
    );
    for (ack, floor, left) in [(1, (0, 0), 4), (2, (0, 0), 3), (0, (3, 3), 2), (4, (3, 3), 1), (3, (5, 5), 0)] {
        sim.ack(acks[ack], "+ACK");
        assert_eq!((sim.floor(), sim.machine.num_ack_pending()), (floor, left), "after ack {ack}");
    }
    assert_eq!(sim.after(1000 * SECOND), []);
}

#[test]
fn the_floor_passes_over_messages_that_were_not_selected() {
    let mut sim = Sim::starting(explicit(), sublog_broker::jetstream::consumer::machine::Start::At(1), [5, 10, 15]);
    sim.machine.interest(true, START);
    let acks = acks(&sim.run());
    sim.ack(acks[1], "");
    assert_eq!(sim.floor(), (0, 0), "only an ack right above the floor moves it");
    sim.ack(acks[0], "");
    assert_eq!(sim.floor(), (2, 14));
    sim.ack(acks[2], "");
    assert_eq!((sim.floor(), sim.delivered()), ((3, 15), (3, 15)));
}

#[test]
fn ack_all_settles_everything_below() {
    let (mut sim, acks) = pushing(MachineConfig { ack: AckPolicy::All, ..explicit() }, 5);
    sim.ack(acks[2], "");
    assert_eq!((sim.floor(), sim.machine.num_ack_pending()), ((3, 3), 2));
    sim.ack(acks[1], "");
    assert_eq!((sim.floor(), sim.machine.num_ack_pending()), ((3, 3), 2));
    assert_eq!(seqs(&sim.after(30 * SECOND)), [4, 5]);
    sim.ack(acks[4], "");
    assert_eq!(sim.machine.num_ack_pending(), 0);
    assert_eq!(sim.floor(), sim.delivered());
}

#[test]
fn without_acks_nothing_is_out() {
    let config = MachineConfig { ack: AckPolicy::None, max_ack_pending: Some(1), ..explicit() };
    let (mut sim, acks) = pushing(config, 3);
    assert_eq!(acks.len(), 3);
    assert_eq!((sim.floor(), sim.delivered(), sim.machine.num_ack_pending()), ((3, 3), (3, 3), 0));
    assert_eq!(answers(&sim.double_ack(acks[0], "")), [true; 0]);
    assert_eq!(sim.after(1000 * SECOND), []);
}

#[test]
fn answers_wait_for_the_disk_when_something_was_settled() {
    let (mut sim, acks) = pushing(explicit(), 4);
    assert_eq!(answers(&sim.double_ack(acks[0], "+ACK")), [true]);
    assert_eq!(answers(&sim.double_ack(acks[0], "+ACK")), [true], "again: the answer may have been lost");
    assert_eq!(answers(&sim.double_ack(acks[1], "+TERM")), [true]);
    assert_eq!(answers(&sim.double_ack(acks[2], "-NAK {\"delay\": 1000}")), [false]);
    assert_eq!(answers(&sim.double_ack(acks[2], "+WPI")), [false]);
    assert_eq!(answers(&sim.double_ack(acks[2], "what?")), [false]);
    let unknown = AckNumbers { stream_seq: 9, consumer_seq: 9, ..acks[0] };
    assert_eq!(answers(&sim.double_ack(unknown, "")), [true; 0], "it was never delivered");
    assert_eq!(sim.floor(), (2, 2));
}

#[test]
fn unacked_messages_come_again_before_new_ones() {
    let (mut sim, first) = pushing(explicit(), 3);
    sim.ack(first[1], "");
    assert_eq!(sim.wait, Some(START.mono + 30 * SECOND));
    assert_eq!(sim.after(30 * SECOND - MS), []);
    sim.machine.interest(false, sim.now);
    sim.publish(2);
    sim.advance(MS);
    sim.machine.interest(true, sim.now);
    let again = acks(&sim.run());
    let told: Vec<_> = again.iter().map(|ack| (ack.stream_seq, ack.deliveries, ack.consumer_seq)).collect();
    assert_eq!(told, [(1, 2, 4), (3, 2, 5), (4, 1, 6), (5, 1, 7)]);
    assert_eq!(sim.machine.num_redelivered(), 2);
    sim.ack(again[0], "");
    assert_eq!(sim.floor(), (2, 2), "a message keeps the number of its first delivery");
    assert_eq!(sim.machine.num_redelivered(), 1);
}

#[test]
fn backoff_takes_the_place_of_the_ack_wait() {
    let config = MachineConfig { backoff: vec![SECOND, 5 * SECOND], ..explicit() };
    let (mut sim, _) = pushing(config, 1);
    for (wait, deliveries) in [(1, 2), (5, 3), (5, 4)] {
        assert_eq!(sim.after(wait * SECOND - MS), []);
        assert_eq!(acks(&sim.after(MS))[0].deliveries, deliveries);
    }
}

#[test]
fn at_the_last_delivery_one_advisory_is_sent_and_no_more_waited_for() {
    let config = MachineConfig { max_deliver: Some(3), max_ack_pending: Some(1), ..explicit() };
    let (mut sim, first) = pushing(config, 2);
    assert_eq!(first.len(), 1);
    assert_eq!(acks(&sim.after(30 * SECOND))[0].deliveries, 2);
    assert_eq!(acks(&sim.after(30 * SECOND))[0].deliveries, 3);
    let out = sim.after(30 * SECOND);
    assert_eq!(advisories(&out), [Advisory::MaxDeliveries { stream_seq: 1, deliveries: 3 }]);
    assert_eq!(seqs(&out), [2], "it takes no room");
    assert_eq!((sim.floor(), sim.machine.num_redelivered()), ((3, 1), 1));
    assert!(sim.machine.needs(1), "it has not been acked");
    sim.ack(first[0], "");
    assert_eq!((sim.machine.needs(1), sim.machine.num_redelivered()), (false, 0));
    assert_eq!(advisories(&sim.after(29 * SECOND)), []);
}

#[test]
fn the_only_delivery_is_the_last() {
    let (mut sim, first) = pushing(MachineConfig { max_deliver: Some(1), ..explicit() }, 2);
    assert_eq!(advisories(&sim.after(30 * SECOND)).len(), 2);
    assert_eq!((sim.machine.num_ack_pending(), sim.machine.num_redelivered(), sim.floor()), (0, 0, (2, 2)));
    assert_eq!(advisories(&sim.ack(first[0], "-NAK")), []);
}

#[test]
fn nak_brings_a_message_back_at_once_or_later() {
    let (mut sim, first) = pushing(explicit(), 3);
    let out = sim.ack(first[1], "-NAK");
    assert_eq!(advisories(&out), [Advisory::Nak { stream_seq: 2, consumer_seq: 2, deliveries: 1 }]);
    assert_eq!(acks(&out)[0].deliveries, 2);
    assert_eq!(seqs(&sim.ack(first[0], "-NAK {\"delay\": 90000000000}")), [0_u64; 0]);
    assert_eq!(seqs(&sim.after(30 * SECOND)), [2, 3]);
    assert_eq!(seqs(&sim.after(60 * SECOND - MS)), [2, 3]);
    assert_eq!(seqs(&sim.after(MS)), [1]);
    let stale = AckNumbers { consumer_seq: 99, ..first[0] };
    assert_eq!(sim.ack(stale, "-NAK"), []);
}

#[test]
fn nak_of_the_last_delivery_is_the_end() {
    let (mut sim, first) = pushing(MachineConfig { max_deliver: Some(1), ..explicit() }, 1);
    let out = sim.ack(first[0], "-NAK");
    assert_eq!(advisories(&out)[1], Advisory::MaxDeliveries { stream_seq: 1, deliveries: 1 });
    assert_eq!(seqs(&out), [0_u64; 0]);
}

#[test]
fn progress_starts_the_wait_again() {
    let (mut sim, first) = pushing(explicit(), 1);
    sim.advance(20 * SECOND);
    sim.ack(first[0], "+WPI");
    assert_eq!(sim.after(30 * SECOND - MS), []);
    assert_eq!(seqs(&sim.after(MS)), [1]);
}

#[test]
fn term_settles_and_says_why() {
    let (mut sim, first) = pushing(explicit(), 1);
    let out = sim.ack(first[0], "+TERM no such user");
    let reason = "no such user".to_owned();
    assert_eq!(advisories(&out), [Advisory::Terminated { stream_seq: 1, consumer_seq: 1, deliveries: 1, reason }]);
    assert_eq!((sim.floor(), sim.machine.num_ack_pending()), ((1, 1), 0));
    assert_eq!(advisories(&sim.ack(first[0], "+TERM")), [], "once");
}

#[test]
fn next_is_an_ack_and_a_pull_request() {
    let mut sim = Sim::new(pull_config(), 3);
    let first = acks(&sim.pull("a", ""));
    let out = sim.double_ack(first[0], "+NXT 2");
    assert_eq!((seqs(&out), answers(&out)), (vec![2, 3], vec![]));
    assert_eq!(sim.floor(), (1, 1));
    assert!(matches!(&out[0], Out::Delivery(delivery) if delivery.to == "answer"));
}

#[test]
fn new_messages_wait_for_room() {
    let (mut sim, first) = pushing(MachineConfig { max_ack_pending: Some(2), ..explicit() }, 5);
    assert_eq!(first.len(), 2);
    assert_eq!(sim.machine.stall(sim.now), Stall::MaxAckPending);
    assert_eq!(seqs(&sim.ack(first[1], "")), [3]);
    assert_eq!(seqs(&sim.after(30 * SECOND)), [1, 3], "what was delivered already needs no room");
    assert_eq!(seqs(&sim.ack(first[0], "")), [4]);
}

#[test]
fn deleted_messages_are_not_waited_for() {
    let (mut sim, first) = pushing(explicit(), 4);
    sim.ack(first[2], "");
    sim.stream.messages.remove(&1);
    let out = sim.after(30 * SECOND);
    assert_eq!(seqs(&out), [2, 4]);
    assert!(matches!(&advisories(&out)[..], [Advisory::Terminated { stream_seq: 1, .. }]));
    assert_eq!(sim.floor(), (1, 1));
    sim.stream.messages.remove(&2);
    sim.machine.gone(2);
    assert_eq!((sim.floor(), advisories(&sim.run()).len()), ((3, 3), 1));
}

#[test]
fn what_is_settled_is_reported_when_asked_for() {
    let settled = |out: &[Out]| -> Vec<u64> {
        let seq = |out: &Out| match out {
            Out::Action(Action::Settled { stream_seq }) => Some(*stream_seq),
            _ => None,
        };
        out.iter().filter_map(seq).collect()
    };
    let all = MachineConfig { ack: AckPolicy::All, report_settled: true, ..explicit() };
    let (mut sim, first) = pushing(all, 4);
    assert_eq!(settled(&sim.ack(first[2], "")), [1, 2, 3]);
    let (mut sim, first) = pushing(MachineConfig { report_settled: true, ..explicit() }, 4);
    assert_eq!(settled(&sim.ack(first[2], "")), [3]);
    assert_eq!(settled(&sim.ack(first[2], "")), [0_u64; 0]);
    assert_eq!(settled(&sim.ack(first[1], "+TERM")), [2]);
    let none = MachineConfig { ack: AckPolicy::None, report_settled: true, ..explicit() };
    let mut sim = Sim::new(none, 2);
    sim.machine.interest(true, START);
    assert_eq!(settled(&sim.run()), [1, 2]);
}

#[test]
fn a_delivery_that_reached_nobody_does_not_count() {
    let (mut sim, _) = pushing(MachineConfig { max_deliver: Some(1), ..explicit() }, 1);
    sim.machine.not_delivered(1);
    assert_eq!((sim.run(), sim.machine.stall(sim.now)), (vec![], Stall::NoInterest));
    sim.machine.interest(true, sim.now);
    let again = acks(&sim.run());
    assert_eq!((again[0].deliveries, again[0].consumer_seq), (1, 2));
}

#[test]
fn thousands_out_cost_little() {
    const MESSAGES: u64 = 5_000;
    let config = MachineConfig { max_ack_pending: None, ..explicit() };
    let (mut sim, first) = pushing(config, MESSAGES);
    let begun = sublog_broker::clock::now();
    for ack in first.iter().rev() {
        sim.ack(*ack, "");
        sim.advance(Duration::from_nanos(1));
    }
    assert_eq!(sim.floor(), (MESSAGES, MESSAGES));
    // A walk over what is out at every ack and step would be 25 million steps of a map, several times over.
    assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
}

#[test]
fn what_was_copied_is_delivered_and_settled() {
    let config = MachineConfig { ack: AckPolicy::FlowControl, report_settled: true, ..push_config() };
    let mut sim = Sim::new(config, 10);
    assert_eq!(sim.machine.copies_from(), Some(1));
    sim.machine.copied(&[], sim.now);
    assert_eq!(sim.machine.ack_floor(), Position { consumer: 0, stream: 0 });
    sim.machine.copied(&[1, 2, 5], sim.now);
    let settled = |out: &[Out]| -> Vec<u64> {
        let one = |out: &Out| match out {
            Out::Action(Action::Settled { stream_seq }) => Some(*stream_seq),
            _ => None,
        };
        out.iter().filter_map(one).collect()
    };
    let at = |consumer, stream| Position { consumer, stream };
    assert_eq!(settled(&sim.run()), [1, 2, 5]);
    assert_eq!((sim.machine.delivered(), sim.machine.ack_floor()), (at(3, 5), at(3, 5)));
    assert_eq!((sim.machine.copies_from(), sim.machine.needs(4), sim.machine.needs(6)), (Some(6), false, true));
    // Somebody else listens too, and has messages that are copied then.
    sim.machine.interest(true, sim.now);
    assert_eq!(seqs(&sim.run()), [6, 7, 8, 9, 10]);
    sim.machine.copied(&[6, 7, 7, 3], sim.now);
    assert_eq!(settled(&sim.run()), [6, 7]);
    assert_eq!(sim.machine.ack_floor(), at(5, 7));
    sim.machine.copied(&[8, 9, 10], sim.now);
    assert_eq!((sim.machine.ack_floor(), sim.machine.copies_from()), (at(8, 10), Some(11)));
    // Set back, it is copied again from there.
    assert_eq!(sim.machine.reset(4), 4);
    assert_eq!(sim.machine.copies_from(), Some(4));
}
