//! What may change in a stream that exists.

use super::{DiscardPolicy, RetentionPolicy, StreamConfig};
use crate::jetstream::config::consumer::ConsumerConfig;
use crate::jetstream::config::limits::Limits;
use crate::jetstream::errors::ApiError;

impl StreamConfig {
    /// Decides about a request to make this stream `new`: the configuration to go on with.
    ///
    /// `existing` are all streams (this one among them), `consumers` this one's consumers with their names.
    ///
    /// # Errors
    /// What [`StreamConfig::checked`] finds; 10052 with what may not change; 10069 if a consumer goes beyond a new limit;
    /// 10065 if another stream takes a new subject.
    pub fn update<'a>(
        &self,
        new: Self,
        limits: &Limits,
        pedantic: bool,
        existing: impl Iterator<Item = &'a Self> + Clone,
        consumers: impl Iterator<Item = (&'a str, &'a ConsumerConfig)>,
    ) -> Result<Self, ApiError> {
        let mut new = new.checked(limits, pedantic)?;
        new.check_copies(existing.clone(), &limits.domain, pedantic)?;
        self.check_changes(&new).map_or(Ok(()), |why| Err(ApiError::stream_invalid_config(why)))?;
        if new.num_replicas > 1 {
            return Err(ApiError::stream_replicas_not_supported());
        }
        if new.mirror.is_some() && new.mirror != self.mirror {
            return Err(ApiError::stream_mirror_not_updatable());
        }
        if new.sealed {
            // Nothing goes in or out, so nothing may fall out either.
            new.max_age = 0;
            new.discard = DiscardPolicy::New;
            (new.deny_delete, new.deny_purge, new.allow_rollup_hdrs) = (true, true, false);
        }
        self.check_consumers(&new, consumers)?;
        new.check_overlap(existing)?;
        Ok(new)
    }

    fn check_changes(&self, new: &Self) -> Option<&'static str> {
        let work_queue = |config: &Self| config.retention == RetentionPolicy::WorkQueue;
        [
            (self.name != new.name, "stream configuration name must match original"),
            (self.storage != new.storage, "stream configuration update can not change storage type"),
            (
                work_queue(self) != work_queue(new),
                "stream configuration update can not change retention policy to/from workqueue",
            ),
            (self.sealed && !new.sealed, "stream configuration update can not unseal a sealed stream"),
            (self.deny_delete && !new.deny_delete, "stream configuration update can not cancel deny message deletes"),
            (self.deny_purge && !new.deny_purge, "stream configuration update can not cancel deny purge"),
            (self.allow_msg_ttl && !new.allow_msg_ttl, "message TTL status can not be disabled"),
            (
                self.allow_msg_counter != new.allow_msg_counter,
                "stream configuration update can not change message counter setting",
            ),
            (self.allow_msg_schedules && !new.allow_msg_schedules, "message schedules can not be disabled"),
            (self.persist_mode != new.persist_mode, "stream configuration update can not change persist mode"),
        ]
        .into_iter()
        .find_map(|(changed, why)| changed.then_some(why))
    }

    fn check_consumers<'a>(
        &self,
        new: &Self,
        consumers: impl Iterator<Item = (&'a str, &'a ConsumerConfig)>,
    ) -> Result<(), ApiError> {
        let (old, new) = (&self.consumer_limits, &new.consumer_limits);
        if old == new {
            return Ok(());
        }
        let beyond = |config: &ConsumerConfig| {
            new.inactive_threshold > 0 && config.inactive_threshold > new.inactive_threshold
                || new.max_ack_pending > 0 && config.max_ack_pending > new.max_ack_pending
        };
        let mut names: Vec<&str> = consumers.filter(|(_, config)| beyond(config)).map(|(name, _)| name).collect();
        if names.is_empty() {
            return Ok(());
        }
        names.sort_unstable();
        Err(ApiError::stream_update(format_args!("change to limits violates consumers: {}", names.join(", "))))
    }
}
