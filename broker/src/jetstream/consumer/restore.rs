//! Consumers of the last run: made again from what was kept of them.

use std::sync::Arc;
use std::time::Duration;

use sublog_storage::Definition;
use sublog_storage::index::FilterSet;

use super::driver::{self, Consumer};
use super::machine::{Closing, Machine, MachineConfig, State};
use super::manage::burst_bytes;
use super::positions::{Kept, Saved, stream_created};
use super::{retention, setup, start};
use crate::account::{Account, Accounts};
use crate::jetstream::config::ConsumerConfig;
use crate::jetstream::config::json::{Read, Unknown};
use crate::jetstream::read::Unreadable;
use crate::jetstream::store::StreamLog;
use crate::jetstream::streams::Declared;

/// How long a stop waits for consumers to take their last turns.
const LAST_TURNS: Duration = Duration::from_secs(2);

/// Makes all consumers again, and lets them run.
pub fn all(account: &Arc<Account>) {
    for declared in account.jetstream.all() {
        let Some(log) = declared.stream.log() else { continue };
        for definition in account.jetstream.positions.meta().consumers(&declared.stream.kept) {
            let made = match definition {
                Ok(definition) => again(account, &declared, log, &definition),
                Err(error) => {
                    tracing::error!(
                        stream = declared.config.name,
                        "A consumer's definition cannot be read, it is left alone: {error}"
                    );
                    false
                }
            };
            if !made {
                // Whatever it needs is kept.
                declared.stream.consumers.set_incomplete();
            }
        }
        declared.stream.look_at_interest();
        account.shared.runtime.spawn(retention::review(declared.stream.clone()));
    }
}

/// Makes one again, if it still has its stream; false when that cannot be done.
fn again(account: &Arc<Account>, declared: &Declared, log: &Arc<StreamLog>, definition: &Definition) -> bool {
    let (stream, name) = (&declared.config.name, &definition.name);
    let kept: Result<Kept, _> = serde_json::from_slice(&definition.body);
    let config = kept.map_err(|e| e.to_string()).and_then(|kept| {
        let config = ConsumerConfig::read(&kept.config, Unknown::Ignore).map_err(|e| e.to_string())?;
        Ok((kept.stream_created_ns, config))
    });
    let (stream_created_ns, config) = match config {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(stream, consumer = name, "The consumer's definition cannot be read: {error}");
            return false;
        }
    };
    if stream_created_ns != stream_created(declared) {
        tracing::debug!(stream, consumer = name, "A consumer of an earlier stream of that name is not made again");
        return true;
    }
    let machine = match machine(account, declared, log, definition, &config) {
        Ok(machine) => machine,
        Err(error) => {
            tracing::error!(stream, consumer = name, "The consumer cannot be made again: {error}");
            return false;
        }
    };
    let consumer = Consumer::new(&declared.stream, name, definition.created_ns, config, log.clone(), machine, true);
    declared.stream.consumers.add(consumer.clone());
    account.shared.runtime.spawn(consumer.run(account.clone(), declared.stream.clone()));
    true
}

fn machine(
    account: &Account,
    declared: &Declared,
    stream_log: &StreamLog,
    definition: &Definition,
    config: &ConsumerConfig,
) -> Result<Machine, Unreadable> {
    let (log, name) = (stream_log.log(), &definition.name);
    let filters = setup::filters(config);
    let machine = setup::machine_config(config, name, &declared.config, burst_bytes(account, &declared.config));
    let (now, last_seq) = (driver::now(), log.readable_seq());
    let saved = account.jetstream.positions.meta().position::<Saved>(&declared.stream.kept, name);
    match saved {
        Ok(Some(saved)) if saved.created_ns == definition.created_ns => {
            as_saved(stream_log, &filters, machine, &saved.state)
        }
        other => {
            if let Err(error) = other {
                tracing::error!(
                    stream = declared.config.name,
                    consumer = name,
                    "How far the consumer was cannot be read, it starts over: {error}"
                );
            }
            Ok(Machine::new(machine, start::start(log, config, &filters, last_seq)?, last_seq, now))
        }
    }
}

/// A machine that goes on where it was.
pub(super) fn as_saved(
    log: &StreamLog,
    filters: &FilterSet,
    machine: MachineConfig,
    state: &State,
) -> Result<Machine, Unreadable> {
    let log = log.log();
    let listed = match state.listed_to {
        Some(resume) => start::last_per_subject(log, filters, state.next_seq, resume)?,
        None => Vec::new(),
    };
    Ok(Machine::restore(machine, state, listed, log.readable_seq(), driver::now()))
}

/// Ends all consumers because the server does: who waits for messages is told, and how far they are is written.
pub async fn stop(accounts: &Accounts) {
    let all: Vec<(Arc<Account>, Arc<Consumer>)> = accounts.all().into_iter().flat_map(of_account).collect();
    for (account, consumer) in &all {
        consumer.end(account, Closing::Shutdown);
    }
    let finished = async {
        while !all.iter().all(|(_, consumer)| consumer.has_finished()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(LAST_TURNS, finished).await.is_err() {
        tracing::warn!("Some consumers are still busy; what they did last is not written");
    }
    tokio::task::block_in_place(|| accounts.global.jetstream.positions.close());
}

fn of_account(account: Arc<Account>) -> Vec<(Arc<Account>, Arc<Consumer>)> {
    let consumers = account.jetstream.all().into_iter().flat_map(|declared| declared.stream.consumers.all());
    consumers.map(|consumer| (account.clone(), consumer)).collect()
}
