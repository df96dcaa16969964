//! From the log into the machine: what it asks for is read, and copied only if it is sent.

use std::ops::ControlFlow;

use sublog_storage::index::FilterSet;
use sublog_storage::{ReadEnd, RecordRef, Visit};

use super::sending::Parcel;
use super::world::Eyes;
use super::{Consumer, Core, now};
use crate::account::Account;
use crate::jetstream::consumer::machine::{Machine, Now, Record, Step, World};
use crate::limits::{DELIVERIES_A_CLOCK, DELIVERY_LOOK_BYTES, DELIVERY_TURN_BYTES};

/// How messages are sent.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// Without payloads.
    pub(super) headers_only: bool,
    /// Of so many acks in a hundred it is told how long they took.
    pub(super) sample_percent: u8,
}

/// What became of a record that was offered.
enum Offered {
    Sent,
    /// The machine wants something else now.
    Refused,
    /// What was copied is not to be believed: read it again.
    Again,
}

fn offer(
    machine: &mut Machine,
    eyes: &Eyes<'_>,
    record: &RecordRef<'_>,
    num_pending: u64,
    style: Style,
    now: Now,
    parcel: &mut Parcel,
) -> Offered {
    let mark = parcel.copy(record, style.headers_only);
    if !record.is_intact() {
        parcel.take_back(mark);
        return Offered::Again;
    }
    let offered =
        Record { stream_seq: record.seq, size: parcel.bytes_since(mark) as u64, time_ns: record.ts_ns, num_pending };
    match machine.deliver(&offered, eyes, now) {
        None => {
            parcel.take_back(mark);
            Offered::Refused
        }
        Some(delivery) => {
            parcel.deliver(mark, record.seq, delivery, machine.ack_prefix());
            eyes.memory.sent(record.seq, style.sample_percent);
            while let Some(action) = machine.pop_action() {
                parcel.actions(action);
            }
            Offered::Sent
        }
    }
}

impl Core {
    /// Offers exactly this message.
    pub(super) fn read_one(
        &mut self,
        account: &Account,
        consumer: &Consumer,
        stream_seq: u64,
        style: Style,
        parcel: &mut Parcel,
    ) {
        let log = consumer.log.log();
        let Self { machine, filters, memory, .. } = self;
        let eyes = Eyes { account, log, filters, memory };
        let mut reader = log.reader();
        loop {
            reader.seek(stream_seq);
            let mut found = None;
            let read = reader.visit(1, &mut |visit| {
                if let Visit::Record(record) = visit
                    && record.seq == stream_seq
                {
                    let num_pending = eyes.pending(machine.next_seq());
                    found = Some(offer(machine, &eyes, &record, num_pending, style, now(), parcel));
                }
                ControlFlow::Break(())
            });
            match (found, read) {
                (Some(Offered::Again), _) => {}
                (Some(_), _) => return,
                (None, read) => {
                    if let Err(error) = read {
                        tracing::error!(
                            stream = &*consumer.stream,
                            consumer = &*consumer.name,
                            "Message {stream_seq} cannot be read and is passed over: {error}"
                        );
                    }
                    return machine.gone(stream_seq);
                }
            }
        }
    }

    /// Offers selected messages from `from_seq` on, as long as the machine goes on asking for the next. `false`: others
    /// should have a turn before more is read.
    pub(super) fn read_on(
        &mut self,
        account: &Account,
        consumer: &Consumer,
        from_seq: u64,
        style: Style,
        parcel: &mut Parcel,
    ) -> bool {
        let log = consumer.log.log();
        let Self { machine, filters, memory, selection, .. } = self;
        let selection = match selection {
            Some(selection) => selection,
            None => selection.insert(log.select(FilterSet::clone(filters), from_seq)),
        };
        if selection.next_seq() != from_seq {
            selection.seek(from_seq);
        }
        let eyes = Eyes { account, log, filters, memory };
        let mut again = None;
        let (mut time, mut offered) = (now(), 0);
        let read = selection.visit(DELIVERY_LOOK_BYTES, &mut |visit| {
            let Visit::Record(record) = visit else { return ControlFlow::Continue(()) };
            let num_pending = eyes.pending(machine.next_seq()).saturating_sub(1);
            match offer(machine, &eyes, &record, num_pending, style, time, parcel) {
                Offered::Sent => memory.passed(record.seq),
                Offered::Refused | Offered::Again => {
                    again = Some(record.seq);
                    return ControlFlow::Break(());
                }
            }
            if parcel.bytes() >= DELIVERY_TURN_BYTES {
                return ControlFlow::Break(());
            }
            offered += 1;
            if offered % DELIVERIES_A_CLOCK == 0 {
                time = now();
            }
            let next = machine.next(&eyes, time);
            while let Some(action) = machine.pop_action() {
                parcel.actions(action);
            }
            match next {
                Step::Fetch { from_seq } if from_seq == record.seq + 1 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        match (read, again) {
            (Err(error), _) => {
                tracing::error!(
                    stream = &*consumer.stream,
                    consumer = &*consumer.name,
                    "The stream cannot be read on from {from_seq}: {error}"
                );
                // Whoever asked waits until there is more, which may be readable again.
                machine.at_end(from_seq.saturating_sub(1));
                true
            }
            (Ok(_), Some(seq)) => {
                selection.seek(seq);
                true
            }
            (Ok(outcome), None) => match outcome.end {
                ReadEnd::Stopped => true,
                ReadEnd::CaughtUp => {
                    let up_to = selection.next_seq().saturating_sub(1);
                    machine.at_end(up_to);
                    memory.skipped(up_to);
                    true
                }
                ReadEnd::Budget => {
                    let up_to = selection.next_seq().saturating_sub(1);
                    if up_to >= from_seq {
                        machine.at_end(up_to);
                        memory.skipped(up_to);
                    }
                    false
                }
            },
        }
    }
}
