//! What is told about a consumer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::machine::{self, Machine, Stall, World};
use super::{Consumer, driver, setup};
use crate::account::Account;
use crate::clock;
use crate::jetstream::config::{ConsumerConfig, Time};
use crate::jetstream::read::{self, Unreadable};
use crate::jetstream::server_level;
use crate::jetstream::wire::info::{ConsumerInfo, Position, PriorityGroupState, Standing};

fn position(at: machine::Position, active_ns: Option<i64>) -> Position {
    Position { consumer_seq: at.consumer, stream_seq: at.stream, last_active: active_ns.map(Time::from_ns) }
}

/// The same as [`info`], in a list: without what single answers say of the server.
#[must_use]
pub fn listed(account: &Account, consumer: &Consumer) -> ConsumerInfo {
    ConsumerInfo { config: ConsumerConfig::clone(&consumer.config()), ..info(account, consumer) }
}

/// A consumer as it is now, as NATS tells it.
#[must_use]
pub fn info(account: &Account, consumer: &Consumer) -> ConsumerInfo {
    let (info, ..) = look(account, consumer);
    info
}

fn look(account: &Account, consumer: &Consumer) -> (ConsumerInfo, Option<u64>, u64, Stall) {
    consumer.with(account, |machine, world| {
        // Requests that are over, or whose clients are gone, do not wait.
        let _ = machine.next(world, driver::now());
        machine.drop_uninterested(world);
        let info = describe(consumer, machine, world);
        let stall = machine.held_up(info.num_pending, world, driver::now());
        (info, machine.oldest_out(), machine.first_ahead(), stall)
    })
}

/// How far it is behind, and what holds it up.
#[must_use]
pub fn standing(account: &Account, consumer: &Consumer) -> Standing {
    let (info, oldest_out, first_ahead, stall) = look(account, consumer);
    // Whoever copies its messages needs no subscription.
    let is_copied = stall == Stall::NoInterest && consumer.copiers.load(Ordering::Relaxed) > 0;
    // Reading may have to wait for a disk: the machine is not held for it.
    let oldest_ns = oldest_out.and_then(|seq| known(read::stored_ns(consumer.log().log(), seq))).or_else(|| {
        let ahead = info.num_pending > 0;
        let next = || read::next_matching(consumer.log().log(), setup::filters(&consumer.config()), first_ahead);
        ahead.then(next).and_then(known).map(|record| record.ts_ns)
    });
    Standing {
        lag_messages: info.num_pending.saturating_add(info.num_ack_pending),
        lag_seconds: oldest_ns.map_or(0.0, seconds_since),
        stalled: stall.name().filter(|_| !is_copied),
    }
}

/// What was read; that it could not be is told where messages are delivered.
fn known<T>(read: Result<Option<T>, Unreadable>) -> Option<T> {
    read.ok().flatten()
}

/// To the millisecond.
fn seconds_since(ns: i64) -> f64 {
    let span = Duration::from_nanos(u64::try_from(clock::unix_ns().saturating_sub(ns)).unwrap_or(0));
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
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
        push_bound: config.is_push()
            && (consumer.copiers.load(Ordering::Relaxed) > 0 || world.interested(config.deliver_subject.as_bytes())),
        paused: remaining.is_some(),
        pause_remaining: remaining.map_or(0, |left| i64::try_from(left.as_nanos()).unwrap_or(i64::MAX)),
        ts: Time::from_ns(clock::unix_ns()),
        priority_groups: groups.collect(),
        sublog: None,
    }
}
