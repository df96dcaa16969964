//! Which configurations of a consumer make sense for a stream.

use sublog_protocol::subject;

use super::defaults::FLOW_CONTROL_HEARTBEAT_NS;
use super::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy};
use crate::jetstream::config::check::is_asset_name;
use crate::jetstream::config::limits::{DESCRIPTION_BYTES_MAX, FILTERS_MAX, Limits, METADATA_BYTES_MAX};
use crate::jetstream::config::stream::{RetentionPolicy, StreamConfig};
use crate::jetstream::config::{metadata, unsupported};
use crate::jetstream::errors::ApiError;

/// Shortest heartbeat, in nanoseconds.
const HEARTBEAT_MIN_NS: i64 = 100_000_000;
/// Shortest limit of an expiry, in nanoseconds.
const EXPIRES_MIN_NS: i64 = 1_000_000;
/// Longest name of a priority group, in bytes.
const GROUP_BYTES_MAX: usize = 16;

/// Whether a priority group may have this name.
#[must_use]
pub fn is_group_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'=' | b'-');
    (1..=GROUP_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

impl ConsumerConfig {
    /// The configuration with what was left out filled in, if it makes sense for `stream`. A `pedantic` client would
    /// rather have an error than have something changed.
    ///
    /// # Errors
    /// What is wrong with it, or that this server does not have it.
    pub fn checked(mut self, stream: &StreamConfig, limits: &Limits, pedantic: bool) -> Result<Self, ApiError> {
        let level = self.required_level();
        metadata::store(&mut self.metadata, level);
        self.fill(stream, limits, pedantic)?;
        self.check_names()?;
        self.check_replicas(stream)?;
        self.check_acks()?;
        if self.is_push() {
            self.check_push(stream)?
        } else {
            self.check_pull(stream, limits)?
        }
        self.check_stream_limits(stream, limits)?;
        self.check_direct()?;
        self.check_filters()?;
        self.check_start().map_or(Ok(()), |why| Err(ApiError::consumer_invalid_policy(why)))?;
        self.check_sampling()?;
        if self.flow_control && self.idle_heartbeat == 0 {
            return Err(ApiError::consumer_with_flow_control_needs_heartbeats());
        }
        if self.is_durable() && !self.name.is_empty() && self.name != self.durable_name {
            return Err(ApiError::consumer_create_durable_and_name_mismatch());
        }
        if metadata::is_too_large(&self.metadata) {
            return Err(ApiError::consumer_metadata_length(format_args!("{}KB", METADATA_BYTES_MAX / 1024)));
        }
        self.check_groups()?;
        unsupported::check_consumer(&self)?;
        Ok(self)
    }

    fn check_names(&self) -> Result<(), ApiError> {
        let bad = |name: &str| !name.is_empty() && !is_asset_name(name);
        if bad(&self.name) {
            let why = "consumer name can not contain '.', '*', '>', '\\', '/'";
            return Err(ApiError::stream_invalid_config(why));
        }
        if bad(&self.durable_name) {
            let why = "consumer durable name can not contain '.', '*', '>', '\\', '/'";
            return Err(ApiError::stream_invalid_config(why));
        }
        Ok(())
    }

    fn check_replicas(&self, stream: &StreamConfig) -> Result<(), ApiError> {
        if self.num_replicas > 0 && self.num_replicas > stream.num_replicas {
            return Err(ApiError::consumer_replicas_exceeds_stream());
        }
        if self.num_replicas < 0 {
            return Err(ApiError::replicas_count_cannot_be_negative());
        }
        if stream.retains_by_interest() && self.num_replicas != 0 && self.num_replicas != stream.num_replicas {
            return Err(ApiError::consumer_replicas_should_match_stream());
        }
        Ok(())
    }

    fn check_acks(&self) -> Result<(), ApiError> {
        if self.backoff.iter().any(|wait| *wait < 0) {
            return Err(ApiError::consumer_back_off_negative());
        }
        if self.ack_wait < 0 {
            return Err(ApiError::consumer_ack_wait_negative());
        }
        if self.ack_policy == AckPolicy::FlowControl {
            self.check_flow_control_acks()?;
        }
        if self.max_deliver != -1 && i64::try_from(self.backoff.len()).is_ok_and(|steps| steps > self.max_deliver) {
            return Err(ApiError::consumer_max_deliver_backoff());
        }
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            return Err(ApiError::consumer_description_too_long(DESCRIPTION_BYTES_MAX));
        }
        Ok(())
    }

    fn check_flow_control_acks(&self) -> Result<(), ApiError> {
        if !self.is_push() {
            return Err(ApiError::consumer_ack_fc_requires_push());
        }
        if !self.flow_control {
            return Err(ApiError::consumer_ack_fc_requires_fc());
        }
        if self.idle_heartbeat != FLOW_CONTROL_HEARTBEAT_NS {
            return Err(ApiError::stream_invalid_config("flow control ack policy heartbeat needs to be 1s"));
        }
        if self.max_ack_pending <= 0 {
            return Err(ApiError::consumer_ack_fc_requires_max_ack_pending());
        }
        if self.ack_wait != 0 || !self.backoff.is_empty() {
            return Err(ApiError::consumer_ack_fc_requires_no_ack_wait());
        }
        if self.max_deliver > 0 {
            return Err(ApiError::consumer_ack_fc_requires_no_max_deliver());
        }
        Ok(())
    }

    fn check_push(&self, stream: &StreamConfig) -> Result<(), ApiError> {
        let deliver = self.deliver_subject.as_bytes();
        if subject::has_wildcard(deliver) {
            return Err(ApiError::consumer_deliver_to_wildcards());
        }
        if !subject::is_valid_filter(deliver) {
            return Err(ApiError::consumer_invalid_deliver_subject());
        }
        if stream.subjects.iter().any(|filter| subject::is_subset(deliver, filter.as_bytes())) {
            return Err(ApiError::consumer_deliver_cycle());
        }
        if self.max_waiting != 0 {
            return Err(ApiError::consumer_push_max_waiting());
        }
        if self.max_ack_pending > 0 && self.ack_policy == AckPolicy::None {
            return Err(ApiError::consumer_max_pending_ack_policy_required());
        }
        if self.idle_heartbeat > 0 && self.idle_heartbeat < HEARTBEAT_MIN_NS {
            return Err(ApiError::consumer_small_heartbeat());
        }
        Ok(())
    }

    fn check_pull(&self, stream: &StreamConfig, limits: &Limits) -> Result<(), ApiError> {
        if self.ack_policy == AckPolicy::None && stream.retention == RetentionPolicy::WorkQueue {
            return Err(ApiError::consumer_pull_requires_ack());
        }
        if self.rate_limit_bps > 0 {
            return Err(ApiError::consumer_pull_with_rate_limit());
        }
        if self.idle_heartbeat > 0 {
            return Err(ApiError::consumer_hb_requires_push());
        }
        if self.flow_control {
            return Err(ApiError::consumer_fc_requires_push());
        }
        if self.max_expires != 0 && self.max_expires < EXPIRES_MIN_NS {
            return Err(ApiError::consumer_max_request_expires_too_small());
        }
        if limits.max_request_batch > 0 && self.max_batch > limits.max_request_batch {
            return Err(ApiError::consumer_max_request_batch_exceeded(limits.max_request_batch));
        }
        Ok(())
    }

    fn check_stream_limits(&self, stream: &StreamConfig, limits: &Limits) -> Result<(), ApiError> {
        for most in [limits.max_ack_pending, stream.consumer_limits.max_ack_pending] {
            if most > 0 && self.max_ack_pending > most {
                return Err(ApiError::consumer_max_pending_ack_excess(most));
            }
        }
        let most = stream.consumer_limits.inactive_threshold;
        if most > 0 && self.inactive_threshold > most {
            return Err(ApiError::consumer_inactive_threshold_excess(GoDuration(most)));
        }
        Ok(())
    }

    fn check_direct(&self) -> Result<(), ApiError> {
        if self.direct && !self.is_push() {
            return Err(ApiError::consumer_direct_requires_push());
        }
        if self.direct && self.is_durable() {
            return Err(ApiError::consumer_direct_requires_ephemeral());
        }
        Ok(())
    }

    fn check_filters(&self) -> Result<(), ApiError> {
        if !self.filter_subject.is_empty() && !self.filter_subjects.is_empty() {
            return Err(ApiError::consumer_duplicate_filter_subjects());
        }
        if self.filter_subjects.len() > FILTERS_MAX {
            let why = format!("a consumer can not have more than {FILTERS_MAX} filters");
            return Err(ApiError::stream_invalid_config(why));
        }
        if self.filter_subjects.iter().any(String::is_empty) {
            return Err(ApiError::consumer_empty_filter());
        }
        for (at, filter) in self.filters().enumerate() {
            if !subject::is_valid_filter(filter.as_bytes()) {
                return Err(ApiError::stream_invalid_config("invalid subject"));
            }
            let within = |other: &str| subject::is_subset(filter.as_bytes(), other.as_bytes());
            if self.filters().enumerate().any(|(other_at, other)| other_at != at && within(other)) {
                return Err(ApiError::consumer_overlapping_subject_filters());
            }
        }
        Ok(())
    }

    /// What is wrong with where it begins.
    fn check_start(&self) -> Option<String> {
        let (sequence, time) = (self.opt_start_seq > 0, self.opt_start_time.is_some());
        let also = |policy: &str, what: &str| {
            Some(format!("consumer delivery policy is deliver {policy}, but optional start {what} is also set"))
        };
        let missing = |policy: &str, what: &str| {
            Some(format!("consumer delivery policy is deliver {policy}, but optional {what} is not set"))
        };
        match self.deliver_policy {
            DeliverPolicy::ByStartSequence if !sequence => missing("by start sequence", "start sequence"),
            DeliverPolicy::ByStartSequence if time => also("by start sequence", "time"),
            DeliverPolicy::ByStartTime if !time => missing("by start time", "start time"),
            DeliverPolicy::ByStartTime if sequence => also("by start time", "start sequence"),
            DeliverPolicy::ByStartSequence | DeliverPolicy::ByStartTime => None,
            _ if sequence => also(self.policy_in_words(), "sequence"),
            _ if time => also(self.policy_in_words(), "time"),
            DeliverPolicy::LastPerSubject if self.filters().next().is_none() => {
                missing("last per subject", "filter subject")
            }
            _ => None,
        }
    }

    fn policy_in_words(&self) -> &'static str {
        match self.deliver_policy {
            DeliverPolicy::LastPerSubject => "last per subject",
            other => other.as_str(),
        }
    }

    fn check_sampling(&self) -> Result<(), ApiError> {
        if self.sample_freq.is_empty() {
            return Ok(());
        }
        let text = self.sample_freq.strip_suffix('%').unwrap_or(&self.sample_freq);
        if text.parse::<i64>().is_ok_and(|percent| percent >= 0) {
            return Ok(());
        }
        Err(ApiError::consumer_invalid_sampling(format_args!("{text:?} is not a whole number from 0 on")))
    }

    fn check_groups(&self) -> Result<(), ApiError> {
        if self.priority_policy == PriorityPolicy::None {
            if !self.priority_groups.is_empty() {
                return Err(ApiError::consumer_priority_group_with_policy_none());
            }
            if self.priority_timeout > 0 {
                return Err(ApiError::consumer_pinned_ttl_without_priority_policy_none());
            }
            return Ok(());
        }
        if self.is_push() {
            return Err(ApiError::consumer_push_with_priority_group());
        }
        if self.priority_groups.is_empty() {
            return Err(ApiError::consumer_priority_policy_without_group());
        }
        for group in &self.priority_groups {
            if group.is_empty() {
                return Err(ApiError::consumer_empty_group_name());
            }
            if !is_group_name(group) {
                return Err(ApiError::consumer_invalid_group_name());
            }
        }
        Ok(())
    }
}

/// Nanoseconds as Go prints a duration: `1h0m0s`, `1.5s`, `250ms`.
struct GoDuration(i64);

impl std::fmt::Display for GoDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decimal = |whole: u64, unit: u64| {
            let (digits, width) = (whole % unit, unit.ilog10() as usize);
            let fraction = format!("{digits:0width$}");
            let fraction = fraction.trim_end_matches('0');
            if digits == 0 { format!("{}", whole / unit) } else { format!("{}.{fraction}", whole / unit) }
        };
        let ns = self.0.unsigned_abs();
        match ns {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{ns}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(ns, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(ns, 1_000_000)),
            _ => {
                let (hours, minutes) = (ns / 3_600_000_000_000, ns / 60_000_000_000 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", decimal(ns % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::GoDuration;

    #[test]
    fn durations_read_as_go_prints_them() {
        let shown = [0, 5, 1_500, 250_000_000, 1_500_000_000, 60_000_000_000, 3_600_000_000_000, 3_661_050_000_000]
            .map(|ns| GoDuration(ns).to_string());
        assert_eq!(shown, ["0s", "5ns", "1.5µs", "250ms", "1.5s", "1m0s", "1h0m0s", "1h1m1.05s"]);
    }
}
