//! The consumer whose messages are copied, where a mirror or source names one.
//!
//! What is copied is read from the log, as without a consumer; the consumer says which messages those are and from where on,
//! and learns what is on disk in the other stream: that counts as delivered and acknowledged. So a work queue lets go of a
//! message once it is stored elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublog_storage::index::FilterSet;

use crate::clock;
use crate::jetstream::config::ConsumerConfig;
use crate::jetstream::config::consumer::AckPolicy;
use crate::jetstream::config::stream::ConsumerOfSource;
use crate::jetstream::consumer::Consumer;
use crate::jetstream::errors::ApiError;
use crate::jetstream::streams::Declared;

/// See the module. As long as it is there, the consumer is shown to be in use.
pub(super) struct Lead {
    consumer: Arc<Consumer>,
    config: Arc<ConsumerConfig>,
}

impl Lead {
    /// The consumer of a stream that `named` stands for.
    ///
    /// # Errors
    /// It is not there, or not of the kind that can be copied.
    pub(super) fn find(origin: &Declared, named: &ConsumerOfSource, is_mirror: bool) -> Result<Self, ApiError> {
        let consumer = origin.stream.consumers.get(&named.name).ok_or_else(ApiError::consumer_not_found)?;
        let config = consumer.config();
        if config.ack_policy != AckPolicy::FlowControl {
            return Err(if is_mirror {
                ApiError::mirror_consumer_requires_ack_fc()
            } else {
                ApiError::source_consumer_requires_ack_fc()
            });
        }
        if config.deliver_subject != named.deliver_subject {
            let why = "the consumer delivers to another subject";
            return Err(if is_mirror {
                ApiError::mirror_consumer_setup_failed(why)
            } else {
                ApiError::source_consumer_setup_failed(why)
            });
        }
        consumer.copiers.fetch_add(1, Ordering::Relaxed);
        Ok(Self { consumer, config })
    }

    /// From where on, and which messages, are copied.
    ///
    /// # Errors
    /// Not all of them are behind a number.
    pub(super) fn begin(&self) -> Result<(u64, FilterSet), ApiError> {
        let why = "a consumer that delivers the last message of each subject can not be copied";
        self.consumer.copies_from().ok_or_else(|| ApiError::general(why))
    }

    /// Whether it is what it was.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn stands(&self, origin: &Declared) -> Result<bool, ApiError> {
        let found = origin.stream.consumers.get(&self.consumer.name).ok_or_else(ApiError::consumer_not_found)?;
        Ok(Arc::ptr_eq(&found, &self.consumer) && Arc::ptr_eq(&found.config(), &self.config))
    }

    /// Whether nothing is copied now.
    pub(super) fn is_paused(&self) -> bool {
        self.config.pause_until.and_then(|until| until.ns()).is_some_and(|until| until > clock::unix_ns())
    }

    /// These messages are stored in the other stream.
    pub(super) fn copied(&self, seqs: &[u64]) {
        self.consumer.copied(seqs);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.consumer.copiers.fetch_sub(1, Ordering::Relaxed);
    }
}
