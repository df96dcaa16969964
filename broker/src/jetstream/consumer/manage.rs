//! How consumers come, change and go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::driver::{self, Consumer, Event};
use super::machine::{Closing, Machine, Removal, State};
use super::{info, restore, retention, setup, start};
use crate::account::Account;
use crate::capture::CAPTURE;
use crate::clock;
use crate::jetstream::advisories;
use crate::jetstream::config::consumer::admit::{Action, Admission, Beside};
use crate::jetstream::config::metadata;
use crate::jetstream::config::stream::{RetentionPolicy, StorageType};
use crate::jetstream::config::{ConsumerConfig, StreamConfig, Time};
use crate::jetstream::errors::ApiError;
use crate::jetstream::stream::Stream;
use crate::jetstream::streams::Declared;
use crate::jetstream::wire::info::ConsumerInfo;

/// What a stream's consumers have to fit to. What the capture stream takes is none of what is sent to inboxes: nothing
/// that is delivered comes back to it.
fn fitted(stream: &StreamConfig) -> StreamConfig {
    let mut config = stream.clone();
    if config.name == CAPTURE {
        config.subjects.clear();
    }
    config
}

/// The largest message that the stream can hold.
pub(super) fn burst_bytes(account: &Account, stream: &StreamConfig) -> u64 {
    let most = account.shared.max_payload as u64;
    u64::try_from(stream.max_msg_size).ok().filter(|bytes| *bytes > 0).map_or(most, |bytes| bytes.min(most))
}

/// Makes a consumer, or has one go on as it is asked for.
///
/// # Errors
/// What the client is told.
pub fn create(
    account: &Arc<Account>,
    declared: &Declared,
    config: ConsumerConfig,
    action: Action,
    pedantic: bool,
) -> Result<ConsumerInfo, ApiError> {
    let stream = &declared.stream;
    let log = stream.log().ok_or_else(ApiError::stream_offline)?;
    let _changing = stream.consumers.changing();
    if stream.is_gone() {
        return Err(ApiError::stream_not_found());
    }
    let there: Vec<(Arc<Consumer>, Arc<ConsumerConfig>)> =
        stream.consumers.all().into_iter().map(|consumer| (consumer.clone(), consumer.config())).collect();
    let existing = stream.consumers.get(config.asset_name());
    let bound = existing.as_ref().is_some_and(|there| {
        let config = there.config();
        config.is_push() && account.router.has_interest(config.deliver_subject.as_bytes())
    });
    let (fitted, limits) = (fitted(&declared.config), account.jetstream.streams.limits());
    let beside = Beside {
        stream: &fitted,
        limits: &limits,
        consumers: there.iter().map(|(consumer, config)| (&*consumer.name, &**config)),
        bound,
    };
    let burst = burst_bytes(account, &declared.config);
    if let Some(subject) = setup::dead_letter(&config, &declared.config) {
        driver::check_dead_letter(account, &stream.name, &setup::filters(&config), subject)
            .map_err(ApiError::consumer_create)?;
    }
    match (config.admit(action, pedantic, &beside)?, existing) {
        (Admission::Update(config), Some(consumer)) => {
            if *consumer.config() != config {
                let machine = setup::machine_config(&config, &consumer.name, &declared.config, burst);
                account.jetstream.positions.keep(declared, &consumer, &config)?;
                consumer.change(account, config, machine);
                stream.look_at_interest();
            }
            Ok(info::info(account, &consumer))
        }
        (Admission::Update(config) | Admission::Create(config), _) => {
            let name = match config.asset_name() {
                "" => setup::random_name(),
                name => name.to_owned(),
            };
            let filters = setup::filters(&config);
            let start = start::start(log.log(), &config, &filters, stream.last_seq()).map_err(|error| {
                tracing::error!(stream = &*stream.name, "Where a consumer begins cannot be read: {error}");
                ApiError::consumer_create("the stream cannot be read")
            })?;
            let machine = setup::machine_config(&config, &name, &declared.config, burst);
            let machine = Machine::new(machine, start, log.log().readable_seq(), driver::now());
            let persists = !config.mem_storage && declared.config.storage == StorageType::File;
            let consumer = Consumer::new(stream, &name, clock::unix_ns(), config, log.clone(), machine, persists);
            let config = consumer.config();
            account.jetstream.positions.keep(declared, &consumer, &config)?;
            stream.consumers.add(consumer.clone());
            stream.look_at_interest();
            // What is told is how it is before it delivers anything.
            let created = info::info(account, &consumer);
            account.shared.runtime.spawn(consumer.clone().run(account.clone(), stream.clone()));
            advisories::consumer_created(account, &consumer);
            Ok(created)
        }
    }
}

/// Makes a consumer of a stream that was restored, as far as it was.
///
/// # Errors
/// What the client is told.
pub fn restore(
    account: &Arc<Account>,
    declared: &Declared,
    config: ConsumerConfig,
    created_ns: i64,
    state: &State,
) -> Result<(), ApiError> {
    let stream = &declared.stream;
    let log = stream.log().ok_or_else(ApiError::stream_offline)?;
    let _changing = stream.consumers.changing();
    let there: Vec<(Arc<Consumer>, Arc<ConsumerConfig>)> =
        stream.consumers.all().into_iter().map(|consumer| (consumer.clone(), consumer.config())).collect();
    let limits = account.jetstream.streams.limits();
    let beside = Beside {
        stream: &declared.config,
        limits: &limits,
        consumers: there.iter().map(|(consumer, config)| (&*consumer.name, &**config)),
        bound: false,
    };
    let (Admission::Create(config) | Admission::Update(config)) = config.admit(Action::Create, false, &beside)?;
    let (name, filters) = (config.asset_name().to_owned(), setup::filters(&config));
    let machine = setup::machine_config(&config, &name, &declared.config, burst_bytes(account, &declared.config));
    let machine = restore::as_saved(log, &filters, machine, state).map_err(|error| {
        tracing::error!(stream = &*stream.name, "Where a consumer is cannot be read: {error}");
        ApiError::consumer_create("the stream cannot be read")
    })?;
    let persists = !config.mem_storage && declared.config.storage == StorageType::File;
    let consumer = Consumer::new(stream, &name, created_ns, config, log.clone(), machine, persists);
    account.jetstream.positions.keep(declared, &consumer, &consumer.config())?;
    stream.consumers.add(consumer.clone());
    stream.look_at_interest();
    account.shared.runtime.spawn(consumer.run(account.clone(), stream.clone()));
    Ok(())
}

/// Ends a consumer for good. Whether it was there.
///
/// # Errors
/// What the client is told: that it is gone could not be written.
pub fn delete(account: &Arc<Account>, declared: &Declared, consumer: &Arc<Consumer>) -> Result<bool, ApiError> {
    let consumers = &declared.stream.consumers;
    let _changing = consumers.changing();
    if !consumers.remove(consumer) {
        return Ok(false);
    }
    consumer.end(account, Closing::Deleted);
    declared.stream.look_at_interest();
    if declared.stream.retention() == RetentionPolicy::Interest {
        account.shared.runtime.spawn(retention::review(declared.stream.clone()));
    }
    advisories::consumer_deleted(account, consumer);
    account.jetstream.positions.forget(std::slice::from_ref(consumer))?;
    Ok(true)
}

/// Ends a consumer that nobody uses.
pub fn delete_unused(account: &Arc<Account>, consumer: &Arc<Consumer>) {
    let Some(declared) = account.jetstream.get(&consumer.stream) else { return };
    tracing::debug!(stream = &*consumer.stream, consumer = &*consumer.name, "Nobody uses the consumer, it is deleted");
    // What it was is not there any more for anybody; if that could not be written, it comes back once more.
    let _ = delete(account, &declared, consumer);
}

/// Ends all consumers of a stream that is gone.
pub fn delete_all(account: &Arc<Account>, stream: &Stream) {
    let consumers = stream.consumers.take_all();
    for consumer in &consumers {
        consumer.end(account, Closing::Deleted);
        advisories::consumer_deleted(account, consumer);
    }
    // They would not come back either if this failed: their stream is another.
    let _ = account.jetstream.positions.forget(&consumers);
}

/// A stream is something else now, which its consumers have to know.
pub fn stream_changed(account: &Arc<Account>, declared: &Declared) {
    let burst = burst_bytes(account, &declared.config);
    for consumer in declared.stream.consumers.all() {
        let config = ConsumerConfig::clone(&consumer.config());
        let machine = setup::machine_config(&config, &consumer.name, &declared.config, burst);
        consumer.change(account, config, machine);
    }
    declared.stream.look_at_interest();
    // It may keep less than before.
    account.shared.runtime.spawn(retention::review(declared.stream.clone()));
}

/// Has messages of a stream removed by `remove`, and tells its consumers: ranges with both ends, ascending. Many at once are
/// a purge, of which nobody else is told.
///
/// # Errors
/// What `remove` says; nothing is removed then.
pub fn removing<T, E>(
    stream: &Stream,
    ranges: &[(u64, u64)],
    removal: Removal,
    remove: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let consumers = &stream.consumers;
    consumers.telling.fetch_add(1, Ordering::AcqRel);
    let removed = remove();
    if removed.is_ok() {
        let ranges: Arc<[(u64, u64)]> = ranges.into();
        for consumer in consumers.all() {
            consumer.tell(Event::Removed { ranges: ranges.clone(), removal });
        }
    }
    consumers.telling.fetch_sub(1, Ordering::AcqRel);
    removed
}

/// Pauses a consumer until then, or ends that. Returns the time that holds.
///
/// # Errors
/// What the client is told.
pub fn pause(
    account: &Arc<Account>,
    declared: &Declared,
    consumer: &Arc<Consumer>,
    until: Time,
) -> Result<(), ApiError> {
    let _changing = declared.stream.consumers.changing();
    let pause_until = until.ns().map(|_| until);
    let mut config = ConsumerConfig { pause_until, ..ConsumerConfig::clone(&consumer.config()) };
    let level = config.required_level();
    metadata::store(&mut config.metadata, level);
    let burst = burst_bytes(account, &declared.config);
    let machine = setup::machine_config(&config, &consumer.name, &declared.config, burst);
    account.jetstream.positions.keep(declared, consumer, &config)?;
    consumer.change(account, config, machine);
    Ok(())
}
