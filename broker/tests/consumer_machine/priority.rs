//! Priority groups: who of several that wait gets a message.

use sublog_broker::jetstream::consumer::machine::{Advisory, MachineConfig, PriorityPolicy, Stall};

use crate::support::{MS, Out, SECOND, Sim, acks, advisories, receivers, statuses, with_pull};

fn grouped(priority: PriorityPolicy) -> MachineConfig {
    with_pull(|pull| (pull.priority, pull.groups) = (priority, vec!["g".into()]))
}

fn to(out: &[Out]) -> Vec<String> {
    receivers(out).into_iter().map(|(to, _)| to).collect()
}

#[test]
fn requests_that_do_not_fit_the_policy_are_refused() {
    use PriorityPolicy::{None, Overflow, Pinned, Prioritized};
    for (policy, body, status) in [
        (None, r#"{"min_pending": 1}"#, "a 400 Bad Request - Not a Overflow Priority consumer"),
        (Pinned, r#"{"group": "g", "min_ack_pending": 1}"#, "a 400 Bad Request - Not a Overflow Priority consumer"),
        (Overflow, r#"{"group": "g", "id": "x"}"#, "a 400 Bad Request - Not a Pinned Client Priority consumer"),
        (Prioritized, r#"{"group": "g", "priority": 10}"#, "a 400 Bad Request - Priority must be between 0 and 9"),
        (Prioritized, r#"{"group": "g", "priority": -1}"#, "a 400 Bad Request - Priority must be between 0 and 9"),
        (Overflow, "{}", "a 400 Bad Request - Priority Group missing"),
        (Overflow, r#"{"group": "h"}"#, "a 400 Bad Request - Invalid Priority Group"),
    ] {
        let mut sim = Sim::new(grouped(policy), 0);
        assert_eq!(statuses(&sim.pull("a", body)), [status], "{body}");
    }
}

#[test]
fn the_lowest_number_is_served_first_and_equals_in_turn() {
    let mut sim = Sim::new(grouped(PriorityPolicy::Prioritized), 0);
    sim.pull("none", "1");
    sim.pull("five", r#"{"group": "g", "batch": 1, "priority": 5}"#);
    sim.pull("a", r#"{"group": "g", "batch": 2, "priority": 1}"#);
    sim.pull("b", r#"{"group": "g", "batch": 2, "priority": 1}"#);
    assert_eq!(to(&sim.publish(6)), ["a", "b", "a", "b", "five", "none"]);
}

#[test]
fn overflow_requests_wait_for_a_pile() {
    let mut sim = Sim::new(grouped(PriorityPolicy::Overflow), 0);
    sim.pull("pending", r#"{"group": "g", "batch": 10, "min_pending": 3}"#);
    assert_eq!(to(&sim.publish(1)), [""; 0]);
    assert_eq!(sim.machine.stall(sim.now), Stall::Priority);
    assert_eq!(to(&sim.publish(1)), [""; 0]);
    assert_eq!(to(&sim.publish(1)), ["pending"], "with three of them there, and no longer with two");
    assert_eq!(to(&sim.pull("any", r#"{"group": "g", "batch": 1}"#)), ["any"]);
    assert_eq!(sim.machine.num_waiting(), 1);

    let mut sim = Sim::new(grouped(PriorityPolicy::Overflow), 5);
    assert_eq!(to(&sim.pull("acks", r#"{"group": "g", "batch": 10, "min_ack_pending": 2}"#)), [""; 0]);
    assert_eq!(to(&sim.pull("any", r#"{"group": "g", "batch": 2}"#)), ["any", "any", "acks", "acks", "acks"]);
}

#[test]
fn one_client_is_pinned_until_it_stays_away() {
    let mut sim = Sim::new(grouped(PriorityPolicy::Pinned), 0);
    sim.pull("a", r#"{"group": "g", "batch": 2}"#);
    sim.pull("b", r#"{"group": "g", "batch": 5}"#);
    let out = sim.publish(3);
    assert_eq!(to(&out), ["a", "a"], "b is not pinned, and waits");
    let (id, since) = sim.machine.pinned().unwrap();
    assert_eq!((id.len(), since), (22, sim.now.wall_ns));
    let id = id.to_owned();
    assert!(matches!(&out[0], Out::Delivery(delivery) if delivery.pin.as_deref() == Some(id.as_str())));
    assert_eq!(advisories(&out), [Advisory::Pinned { group: "g".into(), id: id.clone() }]);

    assert_eq!(statuses(&sim.pull("c", r#"{"group": "g", "id": "old"}"#)), ["c 423 Nats-Pin-Id mismatch"]);
    sim.advance(100 * SECOND);
    let mine = Box::leak(format!("{{\"group\": \"g\", \"id\": \"{id}\"}}").into_boxed_str());
    assert_eq!(to(&sim.pull("a", mine)), ["a"]);
    sim.ack(acks(&out)[0], "");
    sim.ack(acks(&out)[1], "");
    sim.publish(1);
    assert_eq!(to(&sim.after(120 * SECOND - MS)), [""; 0], "to have asked keeps the pin");
    let out = sim.after(MS);
    assert_eq!(advisories(&out)[0], Advisory::Unpinned { group: "g".into(), reason: "timeout" });
    assert!(to(&out).iter().all(|to| to == "b") && to(&out).len() == 2, "{out:?}");
    assert_ne!(sim.machine.pinned().unwrap().0, id);
    assert_eq!(statuses(&sim.pull("a", mine)), ["a 423 Nats-Pin-Id mismatch"]);
}

#[test]
fn a_pin_can_be_taken_away() {
    let mut sim = Sim::new(grouped(PriorityPolicy::Pinned), 1);
    assert!(!sim.machine.unpin());
    sim.pull("a", r#"{"group": "g"}"#);
    let id = sim.machine.pinned().unwrap().0.to_owned();
    let mine = Box::leak(format!("{{\"group\": \"g\", \"id\": \"{id}\"}}").into_boxed_str());
    sim.pull("a", mine);
    sim.pull("b", r#"{"group": "g"}"#);
    assert!(sim.machine.unpin());
    let out = sim.publish(1);
    assert_eq!(to(&out), ["b"]);
    let wrong = "a 423 Nats-Wrong-Pin-Id;Nats-Pending-Messages: 1;Nats-Pending-Bytes: 0";
    assert_eq!(statuses(&out), [wrong]);
    let told = advisories(&out);
    assert_eq!(told[0], Advisory::Unpinned { group: "g".into(), reason: "admin" });
    assert!(matches!(told[1], Advisory::Pinned { .. }));
}
