//! Whether a consumer may be created beside those that are there, or changed.

use super::{AckPolicy, ConsumerConfig, DeliverPolicy};
use crate::jetstream::config::json::words;
use crate::jetstream::config::limits::{Limits, NAME_BYTES_MAX};
use crate::jetstream::config::stream::{RetentionPolicy, StreamConfig};
use crate::jetstream::errors::ApiError;

pub use super::check::is_group_name;

words! {
    /// What a request wants if there is, or is not, such a consumer.
    Action {
        /// One or the other.
        CreateOrUpdate = "",
        /// That it is there only from now on.
        Create = "create",
        /// That it was there before.
        Update = "update",
    }
}

/// What a request to create a consumer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// There is to be a new one. If it has no name, the server chooses one.
    Create(ConsumerConfig),
    /// The one that is there is to go on like this.
    Update(ConsumerConfig),
}

/// What is there when somebody asks for a consumer.
#[derive(Debug, Clone)]
pub struct Beside<'a, I> {
    /// The stream.
    pub stream: &'a StreamConfig,
    /// What the server allows.
    pub limits: &'a Limits,
    /// The stream's consumers with their names.
    pub consumers: I,
    /// Whether somebody subscribes to the deliver subject of the consumer that has the requested name.
    pub bound: bool,
}

impl ConsumerConfig {
    /// Decides about a request for this consumer.
    ///
    /// # Errors
    /// What [`ConsumerConfig::checked`] finds; 10148 and 10149 for `action`; 10012 with what may not change; 10026 if
    /// there are enough consumers; 10098 to 10101 if a work queue's messages would go to two.
    pub fn admit<'a, I>(self, action: Action, pedantic: bool, beside: &Beside<'a, I>) -> Result<Admission, ApiError>
    where
        I: Iterator<Item = (&'a str, &'a Self)> + Clone,
    {
        let consumers = beside.consumers.clone();
        let name = self.asset_name().to_owned();
        let existing = consumers.clone().find(|(there, _)| !name.is_empty() && *there == name).map(|(_, there)| there);
        let mut asked = self;
        if let Some(existing) = existing {
            // A consumer is paused by a request of its own; a client that does not know of it must not resume it.
            asked.pause_until = existing.pause_until;
        }
        let mut config = asked.checked(beside.stream, beside.limits, pedantic)?;
        let work_queue = beside.stream.retention == RetentionPolicy::WorkQueue;
        let others = consumers.clone().filter(|(there, _)| *there != name).map(|(_, there)| there);
        let unique =
            |config: &Self| config.filters().next().is_none() || !others.clone().any(|other| other.overlaps(config));
        if let Some(existing) = existing {
            if action == Action::Create && !existing.is_same(&config) {
                return Err(ApiError::consumer_already_exists());
            }
            if work_queue && !unique(&config) {
                return Err(ApiError::consumer_wq_consumer_not_unique());
            }
            existing.check_changes(&config, beside.bound)?;
            if !existing.is_durable() {
                config.fill_inactive_threshold();
            }
            return Ok(Admission::Update(config));
        }
        if action == Action::Update {
            return Err(ApiError::consumer_does_not_exist());
        }
        config.check_room(beside.stream, beside.limits, consumers.clone().count())?;
        if work_queue {
            if config.ack_policy != AckPolicy::Explicit && config.ack_policy != AckPolicy::FlowControl {
                return Err(ApiError::consumer_wq_requires_explicit_ack());
            }
            if config.deliver_policy != DeliverPolicy::All {
                return Err(ApiError::consumer_wq_consumer_not_deliver_all());
            }
            if consumers.clone().next().is_some() && config.filters().next().is_none() {
                return Err(ApiError::consumer_wq_multiple_unfiltered());
            }
            if !unique(&config) {
                return Err(ApiError::consumer_wq_consumer_not_unique());
            }
        }
        if config.asset_name().len() > NAME_BYTES_MAX {
            return Err(ApiError::consumer_name_too_long(NAME_BYTES_MAX));
        }
        if !config.is_durable() {
            config.fill_inactive_threshold();
        }
        Ok(Admission::Create(config))
    }

    fn check_room(&self, stream: &StreamConfig, limits: &Limits, count: usize) -> Result<(), ApiError> {
        let most = match (stream.max_consumers, limits.max_consumers) {
            (stream, server) if stream <= 0 || server > 0 && server < stream => server,
            (stream, _) => stream,
        };
        if most > 0 && i64::try_from(count).is_ok_and(|count| count >= most) {
            return Err(ApiError::maximum_consumers_limit());
        }
        Ok(())
    }

    /// What may change in a consumer that exists; `bound` if somebody subscribes to its deliver subject.
    fn check_changes(&self, new: &Self, bound: bool) -> Result<(), ApiError> {
        let start = |config: &Self| config.opt_start_time;
        let refused = [
            (self.deliver_policy != new.deliver_policy, "deliver policy can not be updated"),
            (self.mem_storage != new.mem_storage, "storage type can not be updated"),
            (self.direct != new.direct, "direct can not be updated"),
            (self.sourcing != new.sourcing, "sourcing can not be updated"),
            (self.opt_start_seq != new.opt_start_seq, "start sequence can not be updated"),
            (start(self) != start(new), "start time can not be updated"),
            (self.ack_policy != new.ack_policy, "ack policy can not be updated"),
            (self.replay_policy != new.replay_policy, "replay policy can not be updated"),
            (self.idle_heartbeat != new.idle_heartbeat, "heart beats can not be updated"),
            (self.flow_control != new.flow_control, "flow control can not be updated"),
            (!self.is_push() && new.is_push(), "can not update pull consumer to push based"),
            (self.is_push() && !new.is_push(), "can not update push consumer to pull based"),
        ];
        if let Some((_, why)) = refused.into_iter().find(|(changed, _)| *changed) {
            return Err(ApiError::consumer_create(why));
        }
        if self.deliver_subject != new.deliver_subject && bound {
            return Err(ApiError::consumer_name_exist());
        }
        if self.max_waiting != new.max_waiting {
            return Err(ApiError::consumer_create("max waiting can not be updated"));
        }
        Ok(())
    }
}
