//! Whether a stream may be created beside those that are there.

use sublog_protocol::subject;

use super::StreamConfig;
use crate::jetstream::config::limits::Limits;
use crate::jetstream::errors::ApiError;

/// What a request to create a stream comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// There is to be a new stream.
    New(Box<StreamConfig>),
    /// There is one already, and it is what was asked for.
    There,
}

impl StreamConfig {
    /// Decides about a request to create this stream beside `existing` ones.
    ///
    /// # Errors
    /// What [`StreamConfig::checked`] finds; 10052 for what only an update can do, 10058 if there is another stream of
    /// this name, 10065 if one takes some of its subjects, 10074 for replicas, 10027 if there are enough streams.
    pub fn create<'a>(
        self,
        limits: &Limits,
        pedantic: bool,
        existing: impl Iterator<Item = &'a Self> + Clone,
    ) -> Result<Creation, ApiError> {
        if self.sealed {
            return Err(ApiError::stream_invalid_config("stream configuration for create can not be sealed"));
        }
        if self.mirror_direct && self.mirror.is_none() {
            return Err(ApiError::stream_invalid_config("stream has no mirror but does have mirror direct"));
        }
        let mut config = self.checked(limits, pedantic)?;
        config.check_copies(existing.clone(), &limits.domain, pedantic)?;
        if config.num_replicas > 1 {
            return Err(ApiError::stream_replicas_not_supported());
        }
        if let Some(there) = existing.clone().find(|there| there.name == config.name) {
            return if there.is_same(&config) { Ok(Creation::There) } else { Err(ApiError::stream_name_exists()) };
        }
        if limits.max_streams > 0 && existing.clone().count() >= limits.max_streams {
            return Err(ApiError::maximum_streams_limit());
        }
        config.check_overlap(existing)?;
        Ok(Creation::New(Box::new(config)))
    }

    /// Checks that no other stream takes one of this one's subjects.
    ///
    /// # Errors
    /// 10065.
    pub fn check_overlap<'a>(&self, mut existing: impl Iterator<Item = &'a Self>) -> Result<(), ApiError> {
        let overlaps = |other: &Self| {
            let overlap = |a: &String, b: &String| subject::overlaps(a.as_bytes(), b.as_bytes());
            other.name != self.name && self.subjects.iter().any(|a| other.subjects.iter().any(|b| overlap(a, b)))
        };
        if existing.any(overlaps) { Err(ApiError::stream_subject_overlap()) } else { Ok(()) }
    }
}
