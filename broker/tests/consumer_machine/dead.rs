//! Messages that are not delivered again, and have to be copied first.

use sublog_broker::jetstream::consumer::machine::{Action, Dead, Machine, MachineConfig, Removal};

use crate::support::{MS, Out, SECOND, START, Sim, acks, pull_config};

fn config() -> MachineConfig {
    MachineConfig { dead_letters: true, max_deliver: Some(2), ack_wait: SECOND, report_settled: true, ..pull_config() }
}

fn dead(seq: u64, deliveries: u64, is_worn_out: bool, reason: Option<&str>) -> Dead {
    Dead { stream_seq: seq, deliveries, is_worn_out, reason: reason.map(str::to_owned) }
}

/// The messages that are reported as settled.
fn settled(outs: &[Out]) -> Vec<u64> {
    outs.iter()
        .filter_map(|out| match out {
            Out::Action(Action::Settled { stream_seq }) => Some(*stream_seq),
            _ => None,
        })
        .collect()
}

#[test]
fn what_was_delivered_often_enough_is_dead_until_it_is_buried() {
    let mut sim = Sim::new(config(), 2);
    for _ in 0..2 {
        assert_eq!(acks(&sim.pull("r", r#"{"batch":2}"#)).len(), 2);
        sim.after(SECOND + MS);
    }
    assert_eq!(sim.machine.dead(10), [dead(1, 2, true, None), dead(2, 2, true, None)]);
    assert_eq!(sim.machine.dead(1).len(), 1);
    assert!(sim.machine.needs(1));
    sim.machine.buried(1);
    assert_eq!(settled(&sim.run()), [1]);
    assert_eq!(sim.machine.dead(10), [dead(2, 2, true, None)]);
    assert!(!sim.machine.needs(1) && sim.machine.take_changed());
    // Once more is no event.
    sim.machine.buried(1);
    assert_eq!(settled(&sim.run()), [] as [u64; 0]);
    // What is gone from the stream cannot be copied.
    sim.machine.all_gone(&[(2, 2)], Removal::Limits);
    assert_eq!(sim.machine.dead(10), []);
}

#[test]
fn what_a_client_ends_is_dead_and_not_settled_before_it_is_buried() {
    let mut sim = Sim::new(config(), 3);
    let out = acks(&sim.pull("r", r#"{"batch":3}"#));
    assert_eq!(settled(&sim.ack(out[1], "+TERM no such user")), [] as [u64; 0]);
    assert_eq!(sim.machine.dead(10), [dead(2, 1, false, Some("no such user"))]);
    assert_eq!(sim.machine.num_ack_pending(), 2);
    // An ack that was on its way all the same.
    assert_eq!(settled(&sim.ack(out[1], "+ACK")), [2]);
    assert_eq!(sim.machine.dead(10), []);
}

#[test]
fn the_dead_outlive_the_process() {
    let mut sim = Sim::new(config(), 2);
    let out = acks(&sim.pull("r", r#"{"batch":2}"#));
    sim.ack(out[0], "+TERM because");
    sim.after(SECOND + MS);
    sim.pull("r", r#"{"batch":1}"#);
    sim.after(SECOND + MS);
    let state = sim.machine.save(sim.now);
    let again = Machine::restore(config(), &state, Vec::new(), 2, START);
    assert_eq!(again.dead(10), [dead(1, 1, false, None), dead(2, 2, true, None)]);
}

#[test]
fn without_dead_letters_nothing_is_dead() {
    let mut sim = Sim::new(MachineConfig { dead_letters: false, ..config() }, 2);
    let out = acks(&sim.pull("r", r#"{"batch":2}"#));
    assert_eq!(settled(&sim.ack(out[0], "+TERM")), [1]);
    sim.after(SECOND + MS);
    assert_eq!(sim.machine.dead(10), []);
}
