//! What is told about a consumer.

use super::Consumer;
use super::driver;
use super::machine::{self, Machine, World};
use crate::clock;
use crate::jetstream::config::{ConsumerConfig, Time};
use crate::jetstream::server_level;
use crate::jetstream::wire::info::{ConsumerInfo, Position, PriorityGroupState};
use crate::server::Server;

fn position(at: machine::Position, active_ns: Option<i64>) -> Position {
    Position { consumer_seq: at.consumer, stream_seq: at.stream, last_active: active_ns.map(Time::from_ns) }
}

/// The same, in a list: without what single answers say of the server.
#[must_use]
pub fn listed(server: &Server, consumer: &Consumer) -> ConsumerInfo {
    ConsumerInfo { config: ConsumerConfig::clone(&consumer.config()), ..info(server, consumer) }
}

/// A consumer as it is now.
#[must_use]
pub fn info(server: &Server, consumer: &Consumer) -> ConsumerInfo {
    consumer.with(server, |machine, world| {
        // Requests that are over, or whose clients are gone, do not wait.
        let _ = machine.next(world, driver::now());
        machine.drop_uninterested(world);
        describe(consumer, machine, world)
    })
}

fn describe(consumer: &Consumer, machine: &Machine, world: &dyn World) -> ConsumerInfo {
    let remaining = machine.pause_remaining(driver::now());
    let config = consumer.config();
    let pinned = machine.pinned();
    let groups = config.priority_groups.iter().map(|group| PriorityGroupState {
        group: group.clone(),
        pinned_client_id: pinned.map_or_else(String::new, |(id, _)| id.to_owned()),
        pinned_ts: pinned.map_or(Time::NEVER, |(_, since_ns)| Time::from_ns(since_ns)),
    });
    ConsumerInfo {
        stream_name: consumer.stream.to_string(),
        name: consumer.name.to_string(),
        created: Time::from_ns(consumer.created_ns),
        config: config.shown(&server_level()),
        delivered: position(machine.delivered(), machine.last_delivery_ns()),
        ack_floor: position(machine.ack_floor(), machine.last_ack_ns()),
        num_ack_pending: machine.num_ack_pending() as u64,
        num_redelivered: machine.num_redelivered() as u64,
        num_waiting: machine.num_waiting() as u64,
        num_pending: machine.num_pending(world),
        cluster: None,
        // Asked anew: the machine hears of a subscription that came or went a little later.
        push_bound: config.is_push() && world.interested(config.deliver_subject.as_bytes()),
        paused: remaining.is_some(),
        pause_remaining: remaining.map_or(0, |left| i64::try_from(left.as_nanos()).unwrap_or(i64::MAX)),
        ts: Time::from_ns(clock::unix_ns()),
        priority_groups: groups.collect(),
    }
}
