//! What a consumer is when it does not say.

use super::{AckPolicy, ConsumerConfig, PriorityPolicy};
use crate::jetstream::config::limits::Limits;
use crate::jetstream::config::stream::StreamConfig;
use crate::jetstream::errors::ApiError;

/// Pull requests that may wait.
const MAX_WAITING: i64 = 512;
/// Nanoseconds to wait for an ack.
const ACK_WAIT_NS: i64 = 30_000_000_000;
/// Messages that may be unacked.
const MAX_ACK_PENDING: i64 = 1000;
/// Nanoseconds that a pinned client may be silent.
const PRIORITY_TIMEOUT_NS: i64 = 120_000_000_000;
/// Nanoseconds after which a consumer that is not durable is deleted when nobody uses it.
const INACTIVE_THRESHOLD_NS: i64 = 5_000_000_000;
/// Nanoseconds between heartbeats of a consumer whose acks are flow control.
pub(super) const FLOW_CONTROL_HEARTBEAT_NS: i64 = 1_000_000_000;

fn pedantic_error<T>(why: &str) -> Result<T, ApiError> {
    Err(ApiError::pedantic(why))
}

impl ConsumerConfig {
    pub(super) fn fill(&mut self, stream: &StreamConfig, limits: &Limits, pedantic: bool) -> Result<(), ApiError> {
        self.fill_negatives(pedantic)?;
        if !self.is_push() && self.max_waiting == 0 {
            self.max_waiting = MAX_WAITING;
        }
        let waits = matches!(self.ack_policy, AckPolicy::Explicit | AckPolicy::All);
        if self.ack_wait == 0 && waits {
            self.ack_wait = ACK_WAIT_NS;
        }
        if let Some(first) = self.backoff.first().copied() {
            if pedantic && self.ack_wait != first {
                return pedantic_error("first backoff value has to equal batch AckWait");
            }
            self.ack_wait = first;
        }
        if self.max_ack_pending == 0 {
            if pedantic && stream.consumer_limits.max_ack_pending > 0 {
                return pedantic_error("max_ack_pending must be set if it's configured in stream limits");
            }
            self.max_ack_pending = stream.consumer_limits.max_ack_pending;
        }
        if self.inactive_threshold == 0 {
            if pedantic && stream.consumer_limits.inactive_threshold > 0 {
                return pedantic_error("inactive_threshold must be set if it's configured in stream limits");
            }
            self.inactive_threshold = stream.consumer_limits.inactive_threshold;
        }
        if self.max_ack_pending == 0 && self.ack_policy != AckPolicy::None {
            let most = if limits.max_ack_pending > 0 { limits.max_ack_pending } else { MAX_ACK_PENDING };
            self.max_ack_pending = MAX_ACK_PENDING.min(most);
        }
        if !self.is_push() && self.max_batch == 0 && limits.max_request_batch > 0 {
            if pedantic {
                return pedantic_error("max_request_batch must be set if it's JetStream limits are set");
            }
            self.max_batch = limits.max_request_batch;
        }
        if self.priority_policy == PriorityPolicy::PinnedClient && self.priority_timeout == 0 {
            self.priority_timeout = PRIORITY_TIMEOUT_NS;
        }
        if self.ack_policy == AckPolicy::FlowControl && !pedantic {
            self.flow_control = true;
            self.idle_heartbeat = FLOW_CONTROL_HEARTBEAT_NS;
        }
        Ok(())
    }

    /// Numbers below what means "no limit", or "not set".
    fn fill_negatives(&mut self, pedantic: bool) -> Result<(), ApiError> {
        if pedantic && self.max_deliver < -1 {
            return pedantic_error("max_deliver must be set to -1");
        }
        if self.max_deliver <= 0 {
            self.max_deliver = -1;
        }
        for (name, least, number) in [
            ("max_waiting must not be negative", 0, &mut self.max_waiting),
            ("max_ack_pending must be set to -1", -1, &mut self.max_ack_pending),
            ("max_batch must not be negative", 0, &mut self.max_batch),
            ("max_expires must not be negative", 0, &mut self.max_expires),
            ("max_bytes must not be negative", 0, &mut self.max_bytes),
            ("idle_heartbeat must not be negative", 0, &mut self.idle_heartbeat),
            ("inactive_threshold must not be negative", 0, &mut self.inactive_threshold),
            ("priority_timeout must not be negative", 0, &mut self.priority_timeout),
        ] {
            if *number < least {
                if pedantic {
                    return pedantic_error(name);
                }
                *number = least;
            }
        }
        Ok(())
    }

    /// A consumer that is not durable does not stay for ever.
    pub(super) fn fill_inactive_threshold(&mut self) {
        if self.inactive_threshold == 0 {
            self.inactive_threshold = INACTIVE_THRESHOLD_NS;
        }
    }
}
