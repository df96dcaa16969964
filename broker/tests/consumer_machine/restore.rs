//! What is saved is where the consumer is, and what is restored is never ahead of the stream.

use std::time::Duration;

use sublog_broker::jetstream::consumer::machine::{
    AckPolicy, Machine, MachineConfig, Now, PendingState, Position, Start, State,
};

use crate::support::{MS, SECOND, START, Sim, acks, advisories, pull_config, push_config, seqs};

fn restored(sim: &mut Sim, config: MachineConfig) -> State {
    let state = sim.machine.save(sim.now);
    sim.machine = Machine::restore(config, &state, Vec::new(), sim.stream.last, sim.now);
    assert_eq!(sim.machine.save(sim.now), state, "it is what was saved");
    state
}

#[test]
fn nothing_is_lost_in_between() {
    let config = MachineConfig { max_deliver: Some(2), ..push_config() };
    let mut sim = Sim::new(config.clone(), 4);
    sim.machine.interest(true, START);
    let first = acks(&sim.run());
    assert!(sim.machine.take_changed() && !sim.machine.take_changed());
    sim.ack(first[0], "");
    assert!(sim.machine.take_changed());
    sim.after(30 * SECOND);
    sim.after(10 * SECOND);
    sim.ack(first[2], "-NAK {\"delay\": 60000000000}");
    let state = restored(&mut sim, config.clone());
    assert_eq!(
        (state.delivered, state.ack_floor),
        (Position { consumer: 7, stream: 4 }, Position { consumer: 1, stream: 1 })
    );
    assert_eq!(state.pending.len(), 3);
    sim.machine.interest(true, sim.now);
    assert_eq!(sim.run(), []);
    assert_eq!(advisories(&sim.after(20 * SECOND)).len(), 2, "2 and 4 have run out");
    let state = restored(&mut sim, config);
    assert_eq!(state.exhausted, [(2, 2), (4, 2)]);
    assert_eq!(sim.machine.num_redelivered(), 3);
    assert_eq!(advisories(&sim.after(40 * SECOND - MS)), []);
    assert_eq!(advisories(&sim.after(MS)).len(), 1, "3 was put off");
    assert_eq!(sim.floor(), (7, 4));
}

#[test]
fn time_passes_while_nothing_runs_but_never_backwards() {
    let mut sim = Sim::new(push_config(), 1);
    sim.machine.interest(true, START);
    sim.run();
    let state = sim.machine.save(sim.now);
    for (wall_seconds, waits) in [(10, 20), (60, 0), (-1_000_000, 30)] {
        let now = Now { mono: MS, wall_ns: START.wall_ns + wall_seconds * 1_000_000_000 };
        sim.machine = Machine::restore(push_config(), &state, Vec::new(), 1, now);
        sim.machine.interest(true, now);
        sim.now = now;
        if waits > 0 {
            assert_eq!(seqs(&sim.run()), [0_u64; 0]);
            assert_eq!(sim.wait, Some(MS + Duration::from_secs(waits)));
        } else {
            assert_eq!(seqs(&sim.run()), [1]);
        }
    }
}

#[test]
fn a_shorter_stream_cuts_the_position_back() {
    let mut sim = Sim::new(push_config(), 5);
    sim.machine.interest(true, START);
    let first = acks(&sim.run());
    sim.ack(first[0], "");
    let state = sim.machine.save(sim.now);
    sim.stream.messages.retain(|seq, _| *seq <= 3);
    sim.stream.last = 3;
    sim.machine = Machine::restore(push_config(), &state, Vec::new(), 3, sim.now);
    assert_eq!((sim.delivered(), sim.floor(), sim.machine.num_ack_pending()), ((5, 3), (1, 1), 2));
    sim.machine.interest(true, sim.now);
    let out = acks(&sim.publish(2));
    let told: Vec<_> = out.iter().map(|ack| (ack.stream_seq, ack.consumer_seq, ack.deliveries)).collect();
    assert_eq!(told, [(4, 6, 1), (5, 7, 1)]);
}

#[test]
fn a_list_is_made_again() {
    let start = Start::List { seqs: vec![2, 5, 7], resume: 9 };
    let mut sim = Sim::starting(pull_config(), start, 1..=9);
    sim.pull("a", "1");
    let state = sim.machine.save(sim.now);
    assert_eq!((state.listed_to, state.next_seq), (Some(9), 3));
    sim.machine = Machine::restore(pull_config(), &state, vec![1, 2, 5, 7, 12], 9, sim.now);
    assert_eq!(seqs(&sim.pull("a", "5")), [5, 7]);
    assert_eq!(sim.machine.save(sim.now).listed_to, None);
    sim.machine = Machine::restore(pull_config(), &state, vec![], 9, sim.now);
    assert_eq!(seqs(&sim.pull("a", "5")), [0_u64; 0]);
    assert_eq!(seqs(&sim.publish(1)), [10]);
}

#[test]
fn nonsense_is_survived() {
    let entry =
        |stream_seq, consumer_seq| PendingState { stream_seq, consumer_seq, deliveries: u64::MAX, due_ns: i64::MIN };
    let far = Position { consumer: u64::MAX - 10, stream: u64::MAX };
    let state = State {
        delivered: far,
        ack_floor: far,
        next_seq: u64::MAX,
        listed_to: Some(u64::MAX),
        saved_at_ns: i64::MAX,
        pending: vec![entry(0, 0), entry(2, 0), entry(2, 5), entry(1, u64::MAX), entry(u64::MAX, 1)],
        exhausted: vec![(u64::MAX, 1), (2, 0), (0, 0)],
    };
    for ack in [AckPolicy::None, AckPolicy::All, AckPolicy::Explicit] {
        let config = MachineConfig { ack, max_deliver: Some(5), ..push_config() };
        let mut sim = Sim::new(config.clone(), 3);
        sim.machine = Machine::restore(config, &state, vec![0, 5, 1, u64::MAX], 3, sim.now);
        sim.machine.interest(true, sim.now);
        sim.run();
        let first = acks(&sim.publish(3));
        assert_eq!(first.iter().map(|ack| ack.stream_seq).collect::<Vec<_>>(), [4, 5, 6]);
        for ack in first {
            sim.ack(ack, "");
        }
        sim.after(100 * SECOND);
        let _ = sim.machine.save(sim.now);
    }
}
