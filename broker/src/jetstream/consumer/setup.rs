//! From a consumer's configuration to what its machine has to know.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use sublog_storage::index::{FilterSet, SubjectFilter};

use super::machine::{AckPolicy, MachineConfig, Mode, PriorityPolicy, PullConfig, PushConfig, RateLimit};
use crate::jetstream::config::consumer::{self as config, ReplayPolicy};
use crate::jetstream::config::stream::RetentionPolicy;
use crate::jetstream::config::{ConsumerConfig, StreamConfig};

/// A consumer that nobody uses lives up to so much longer: consumers that were left at once do not end at once.
const INACTIVE_JITTER_NS: u64 = 100_000_000;
/// The key in the metadata of a consumer or a stream that names the subject of dead letters.
pub const DEAD_LETTER: &str = "sublog.dead_letter";
/// Length of a name that the server chooses.
const NAME_CHARS: usize = 8;

fn count<T: TryFrom<i64>>(number: i64) -> Option<T> {
    T::try_from(number).ok().filter(|_| number > 0)
}

fn span(ns: i64) -> Option<Duration> {
    count(ns).map(Duration::from_nanos)
}

/// A number that nobody can guess.
#[must_use]
pub fn random() -> u64 {
    RandomState::new().hash_one(crate::clock::unix_ns())
}

/// A name for a consumer that was asked for without one.
#[must_use]
pub fn random_name() -> String {
    const CHARS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = random();
    let char = |at: usize| CHARS.get((bits >> (5 * at)) as usize & 31).map(|byte| char::from(*byte));
    (0..NAME_CHARS).filter_map(char).collect()
}

/// The messages a consumer is about.
#[must_use]
pub fn filters(config: &ConsumerConfig) -> FilterSet {
    let mut filters: Vec<SubjectFilter> =
        config.filters().filter_map(|filter| SubjectFilter::parse(filter.as_bytes()).ok()).collect();
    if filters.is_empty() {
        filters.extend(SubjectFilter::parse(b">"));
    }
    FilterSet::new(filters)
}

/// Where copies of messages go that are not delivered again: what the consumer's metadata says, or else its stream's.
#[must_use]
pub fn dead_letter<'a>(config: &'a ConsumerConfig, stream: &'a StreamConfig) -> Option<&'a str> {
    let subject = config.metadata.get(DEAD_LETTER).or_else(|| stream.metadata.get(DEAD_LETTER))?;
    Some(subject.as_str()).filter(|subject| !subject.is_empty())
}

/// What the machine of a consumer called `name` has to know; `burst_bytes` is the largest message there can be.
#[must_use]
pub fn machine_config(config: &ConsumerConfig, name: &str, stream: &StreamConfig, burst_bytes: u64) -> MachineConfig {
    let mode = if config.is_push() { Mode::Push(push(config, burst_bytes)) } else { Mode::Pull(pull(config)) };
    let jitter = Duration::from_nanos(random() % INACTIVE_JITTER_NS);
    MachineConfig {
        stream: stream.name.clone(),
        consumer: name.to_owned(),
        mode,
        ack: match config.ack_policy {
            config::AckPolicy::None => AckPolicy::None,
            config::AckPolicy::All => AckPolicy::All,
            config::AckPolicy::Explicit => AckPolicy::Explicit,
            config::AckPolicy::FlowControl => AckPolicy::FlowControl,
        },
        ack_wait: span(config.ack_wait).unwrap_or_default(),
        backoff: config.backoff.iter().map(|ns| span(*ns).unwrap_or_default()).collect(),
        max_deliver: count(config.max_deliver),
        max_ack_pending: count(config.max_ack_pending),
        replay_original: config.replay_policy == ReplayPolicy::Original,
        inactive_threshold: span(config.inactive_threshold).map(|threshold| threshold.saturating_add(jitter)),
        paused_until: config.pause_until.and_then(|until| until.ns()),
        report_settled: stream.retention != RetentionPolicy::Limits,
        dead_letters: matches!(config.ack_policy, config::AckPolicy::All | config::AckPolicy::Explicit)
            && dead_letter(config, stream).is_some(),
        seed: random(),
    }
}

fn pull(config: &ConsumerConfig) -> PullConfig {
    PullConfig {
        max_waiting: count(config.max_waiting).unwrap_or(usize::MAX),
        max_batch: count(config.max_batch),
        max_expires: span(config.max_expires),
        max_bytes: count(config.max_bytes),
        priority: match config.priority_policy {
            config::PriorityPolicy::None => PriorityPolicy::None,
            config::PriorityPolicy::Overflow => PriorityPolicy::Overflow,
            config::PriorityPolicy::PinnedClient => PriorityPolicy::Pinned,
            config::PriorityPolicy::Prioritized => PriorityPolicy::Prioritized,
        },
        groups: config.priority_groups.clone(),
        pin_timeout: span(config.priority_timeout).unwrap_or(Duration::MAX),
    }
}

fn push(config: &ConsumerConfig, burst_bytes: u64) -> PushConfig {
    PushConfig {
        deliver_subject: Bytes::copy_from_slice(config.deliver_subject.as_bytes()),
        idle_heartbeat: span(config.idle_heartbeat),
        flow_control: config.flow_control,
        rate_limit: (config.rate_limit_bps > 0)
            .then_some(RateLimit { bits_per_second: config.rate_limit_bps, burst_bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unlike_each_other() {
        let names: std::collections::HashSet<String> = (0..100).map(|_| random_name()).collect();
        assert!(names.len() > 95 && names.iter().all(|name| name.len() == NAME_CHARS), "{names:?}");
    }

    #[test]
    fn what_is_not_set_is_no_limit() {
        let config = ConsumerConfig { max_deliver: -1, max_ack_pending: -1, max_waiting: 512, ..Default::default() };
        let stream = StreamConfig { name: "S".to_owned(), ..StreamConfig::default() };
        let machine = machine_config(&config, "C", &stream, 1 << 20);
        assert_eq!((machine.max_deliver, machine.max_ack_pending, machine.inactive_threshold), (None, None, None));
        let Mode::Pull(pull) = machine.mode else { panic!("pull") };
        assert_eq!((pull.max_waiting, pull.max_batch, pull.max_expires), (512, None, None));
        assert!(filters(&config).filters().iter().all(SubjectFilter::is_everything));
    }
}
