//! Push consumers: interest, heartbeats, the flow control window, the rate.

use std::time::Duration;

use bytes::Bytes;
use sublog_broker::jetstream::consumer::machine::{
    AckPolicy, Action, FLOW_CONTROL_BLOCK, MachineConfig, Position, RateLimit, Stall,
};

use crate::support::{MS, Out, SECOND, START, Sim, push_config, seqs, statuses, with_push};

/// What an answer to flow control says that names no message.
const NOWHERE: Position = Position { consumer: 0, stream: 0 };

fn requests(out: &[Out]) -> Vec<Bytes> {
    let request = |out: &Out| match out {
        Out::Action(Action::FlowControlRequest { to, reply }) => {
            assert_eq!(to, "deliver");
            Some(reply.clone())
        }
        _ => None,
    };
    out.iter().filter_map(request).collect()
}

#[test]
fn nothing_is_sent_to_nobody() {
    let mut sim = Sim::new(push_config(), 2);
    assert_eq!((sim.run(), sim.machine.stall(sim.now)), (vec![], Stall::NoInterest));
    sim.machine.interest(true, sim.now);
    assert!(sim.machine.is_push_bound());
    let out = sim.run();
    assert_eq!(seqs(&out), [1, 2]);
    assert!(out.iter().all(|out| matches!(out, Out::Delivery(delivery) if delivery.to == "deliver")));
    sim.machine.interest(false, sim.now);
    assert_eq!(sim.publish(1), []);
}

#[test]
fn heartbeats_come_when_nothing_else_does() {
    let mut sim = Sim::new(with_push(|push| push.idle_heartbeat = Some(SECOND)), 2);
    assert_eq!(sim.after(SECOND), [], "nobody is there");
    sim.machine.interest(true, sim.now);
    sim.run();
    assert_eq!(sim.after(SECOND - MS), []);
    assert_eq!(statuses(&sim.after(MS)), ["deliver 100 Idle Heartbeat;Nats-Last-Consumer: 2;Nats-Last-Stream: 2"]);
    sim.advance(SECOND / 2);
    sim.publish(1);
    assert_eq!(sim.after(SECOND / 2), []);
    sim.machine.pause(Some(sim.now.wall_ns + 10_000_000_000), sim.now);
    sim.run();
    assert_eq!(statuses(&sim.after(SECOND)).len(), 1, "also while it is paused");
}

#[test]
fn the_window_grows_with_answers_and_closes_without() {
    let mut sim = Sim::new(with_push(|push| (push.flow_control, push.idle_heartbeat) = (true, Some(SECOND))), 0);
    sim.size = 1 << 20;
    sim.machine.interest(true, START);
    let out = sim.publish(100);
    // The window is 2 MiB, and messages are a little larger than 1 MiB.
    let asked = requests(&out);
    assert_eq!((seqs(&out), asked.len()), (vec![1, 2], 1));
    assert!(matches!(out[1], Out::Action(Action::FlowControlRequest { .. })), "after the first: it is over half");
    assert!(asked[0].starts_with(b"$JS.FC.S.C.") && asked[0].len() == "$JS.FC.S.C.".len() + 4);
    assert_eq!(sim.machine.stall(sim.now), Stall::FlowControl);
    let beat = statuses(&sim.after(SECOND));
    let stalled = String::from_utf8(asked[0].to_vec()).unwrap();
    assert_eq!(
        beat,
        [format!(
            "deliver 100 Idle Heartbeat;Nats-Last-Consumer: 2;Nats-Last-Stream: 2;Nats-Consumer-Stalled: {stalled}"
        )]
    );
    assert!(!sim.machine.flow_control_response(b"$JS.FC.S.C.none", NOWHERE, sim.now));
    assert_eq!(sim.run(), []);
    let mut reply = asked[0].clone();
    let mut sent = Vec::new();
    for _ in 0..6 {
        assert!(sim.machine.flow_control_response(&reply, NOWHERE, sim.now));
        assert!(!sim.machine.flow_control_response(&reply, NOWHERE, sim.now), "it is answered once");
        let out = sim.run();
        sent.push(seqs(&out).len());
        reply = requests(&out)[0].clone();
    }
    // Windows of 4, 8, 16, 32 MiB less what was sent after the request that was answered.
    assert_eq!(sent[..4], [3, 6, 12, 24]);
    assert!(sent[4..].iter().all(|count| *count <= 32));
    assert_eq!(FLOW_CONTROL_BLOCK, b"NATS/1.0 100 FlowControl Request\r\n\r\n");
}

#[test]
fn messages_larger_than_the_window_get_through() {
    let mut sim = Sim::new(with_push(|push| push.flow_control = true), 0);
    sim.size = 8 << 20;
    sim.machine.interest(true, START);
    let mut out = sim.publish(20);
    let mut got = 0;
    while let Some(reply) = requests(&out).first().cloned() {
        got += seqs(&out).len();
        assert!(sim.machine.flow_control_response(&reply, NOWHERE, sim.now));
        out = sim.run();
    }
    assert_eq!(got + seqs(&out).len(), 20);
}

#[test]
fn the_rate_is_kept() {
    let rate_limit = Some(RateLimit { bits_per_second: 8 * 1000, burst_bytes: 1000 });
    let config = MachineConfig { ack_wait: Duration::ZERO, ..with_push(|push| push.rate_limit = rate_limit) };
    let mut sim = Sim::new(config, 0);
    sim.machine.interest(true, START);
    let each = 100 + "$JS.ACK.S.C.1.100.100.1700000000000000000.100".len() as u64;
    let mut got = seqs(&sim.publish(200)).len() as u64;
    assert!((1000 / each..=1000 / each + 2).contains(&got), "{got} at once");
    assert_eq!(sim.machine.stall(sim.now), Stall::RateLimit);
    for _ in 0..20 {
        let wait = sim.wait.unwrap() - sim.now.mono;
        got += seqs(&sim.after(wait)).len() as u64;
    }
    let bytes = 1000 + ((sim.now.mono - START.mono).as_millis() as u64);
    assert!((bytes / each - 2..=bytes / each + 3).contains(&got), "{got} messages in {bytes} bytes");
}

#[test]
fn a_new_deliver_subject_gets_what_the_old_one_did_not_ack() {
    let mut sim = Sim::new(with_push(|push| push.flow_control = true), 2);
    sim.size = 2 << 20;
    sim.machine.interest(true, START);
    assert_eq!(seqs(&sim.run()), [1]);
    let changed = with_push(|push| (push.flow_control, push.deliver_subject) = (true, "other".into()));
    sim.machine.update(changed, sim.now);
    let out = sim.run();
    assert_eq!(seqs(&out), [1], "the window is that of a new subscriber");
    assert!(matches!(&out[0], Out::Delivery(delivery) if delivery.to == "other" && delivery.ack.deliveries == 2));
}

#[test]
fn the_window_is_as_wide_as_clients_know_it() {
    let mut sim = Sim::new(with_push(|push| push.flow_control = true), 0);
    sim.size = 900_001;
    sim.machine.interest(true, START);
    let mut out = sim.publish(60);
    // What nats-server 2.15.1 sends between a stall and the next, and after which message it asks.
    for (sent, asked_after) in [(3, 2), (4, 2), (8, 3), (14, 5), (29, 10)] {
        let before = out.iter().take_while(|out| matches!(out, Out::Delivery(_))).count();
        assert_eq!((seqs(&out).len(), before), (sent, asked_after));
        assert!(sim.machine.flow_control_response(&requests(&out)[0], NOWHERE, sim.now));
        out = sim.run();
    }
}

#[test]
fn answers_to_flow_control_may_be_acks() {
    let push = with_push(|push| (push.flow_control, push.idle_heartbeat) = (true, Some(SECOND)));
    let (ack, ack_wait) = (AckPolicy::FlowControl, Duration::ZERO);
    let mut sim = Sim::new(MachineConfig { ack, ack_wait, max_ack_pending: Some(4), report_settled: true, ..push }, 12);
    sim.machine.interest(true, START);
    let out = sim.run();
    let asked = requests(&out);
    assert_eq!((seqs(&out), asked.len()), (vec![1, 2, 3, 4], 1), "as many are out as may be");
    // An ack is none, and an answer that is not to this request neither.
    let Some(Out::Delivery(third)) = out.get(2) else { panic!("{out:?}") };
    sim.machine.ack(third.ack, b"", Some("to".into()), &sim.stream, sim.now);
    let at = |consumer, stream| Position { consumer, stream };
    assert!(!sim.machine.flow_control_response(b"$JS.FC.S.C.none", at(4, 4), sim.now));
    assert_eq!(sim.run(), []);
    // A number beyond what was delivered is no answer to anything; the request is gone all the same.
    assert!(sim.machine.flow_control_response(&asked[0], at(9, 9), sim.now));
    assert_eq!(sim.run(), []);
    // Nothing is sent that could be followed by a request: one comes with the heartbeat.
    let out = sim.after(SECOND);
    let asked = requests(&out);
    assert_eq!((statuses(&out).len(), asked.len()), (1, 1), "{out:?}");
    assert!(sim.machine.flow_control_response(&asked[0], at(3, 3), sim.now));
    let out = sim.run();
    let settled: Vec<u64> = out
        .iter()
        .filter_map(|out| match out {
            Out::Action(Action::Settled { stream_seq }) => Some(*stream_seq),
            _ => None,
        })
        .collect();
    assert_eq!((settled, seqs(&out)), (vec![1, 2, 3], vec![5, 6, 7]));
    assert_eq!(sim.machine.ack_floor(), at(3, 3));
    // Nothing is sent again because of the time.
    assert!(seqs(&sim.after(600 * SECOND)).is_empty());
    // Somebody who lost something begins behind what he has said.
    assert_eq!(sim.machine.reset(0), 4);
    assert_eq!(seqs(&sim.run()), [4, 5, 6, 7]);
}
