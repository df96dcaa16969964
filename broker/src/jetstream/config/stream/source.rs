//! Streams that fill other streams.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sublog_protocol::subject;

use super::{StreamConfig, SubjectTransform};
use crate::jetstream::config::Time;
use crate::jetstream::config::check::is_asset_name;
use crate::jetstream::config::json::{absent, read_fields};
use crate::jetstream::config::transform::validate_mapping;
use crate::jetstream::errors::ApiError;

const HASH_CHARS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A stream to copy from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StreamSource {
    /// Its name.
    pub name: String,
    /// The first message to copy.
    #[serde(skip_serializing_if = "absent")]
    pub opt_start_seq: u64,
    /// When the first message to copy was stored.
    #[serde(skip_serializing_if = "absent")]
    pub opt_start_time: Option<Time>,
    /// Messages with these subjects; empty: all.
    #[serde(skip_serializing_if = "absent")]
    pub filter_subject: String,
    /// Several filters, with other subjects for what they select.
    #[serde(skip_serializing_if = "absent")]
    pub subject_transforms: Vec<SubjectTransform>,
    /// Where it is when it is not in this account.
    #[serde(skip_serializing_if = "absent")]
    pub external: Option<ExternalStream>,
    /// The consumer to use.
    #[serde(skip_serializing_if = "absent")]
    pub consumer: Option<ConsumerOfSource>,
}
read_fields!(StreamSource {
    name,
    opt_start_seq,
    opt_start_time,
    filter_subject,
    subject_transforms,
    external,
    consumer
});

/// Where a stream of another account or domain is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExternalStream {
    /// First tokens of the subjects of its API.
    pub api: String,
    /// First tokens of the subjects to deliver to.
    pub deliver: String,
}
read_fields!(ExternalStream { api, deliver });

/// A consumer that is there already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConsumerOfSource {
    /// Its name.
    #[serde(skip_serializing_if = "absent")]
    pub name: String,
    /// Where it delivers to.
    #[serde(skip_serializing_if = "absent")]
    pub deliver_subject: String,
}
read_fields!(ConsumerOfSource { name, deliver_subject });

impl StreamSource {
    /// Two sources of one stream are told apart by what they select.
    fn index(&self) -> (String, String, String) {
        let stream = match &self.external {
            Some(external) => format!("{} {}", self.label(), external.api),
            None => self.label(),
        };
        if self.subject_transforms.is_empty() {
            return (stream, self.filter_subject.clone(), String::new());
        }
        let joined = |field: fn(&SubjectTransform) -> &str| {
            self.subject_transforms.iter().map(field).collect::<Vec<_>>().join("\u{c}")
        };
        (stream, joined(|one| &one.src), joined(|one| &one.dest))
    }

    /// What the stream is called in the messages that come from it: by its name, and by its consumer if one is used.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.consumer {
            None => self.name.clone(),
            Some(consumer) => format!("{}:C={}", self.name, short_hash(&consumer.name)),
        }
    }

    fn has_bad_consumer(&self) -> bool {
        self.consumer.as_ref().is_some_and(|consumer| {
            !is_asset_name(&consumer.name)
                || !subject::is_valid_literal(consumer.deliver_subject.as_bytes())
                || self.opt_start_seq != 0
                || self.opt_start_time.is_some()
                || !self.filter_subject.is_empty()
        })
    }
}

/// What a mirror may not have beside it, and how it may be filtered.
pub(super) fn check_mirror(config: &StreamConfig) -> Result<(), ApiError> {
    let Some(mirror) = &config.mirror else { return Ok(()) };
    if config.first_seq > 0 {
        return Err(ApiError::mirror_with_first_seq());
    }
    if !config.subjects.is_empty() {
        return Err(ApiError::mirror_with_subjects());
    }
    if !config.sources.is_empty() {
        return Err(ApiError::mirror_with_sources());
    }
    if config.allow_msg_counter {
        return Err(ApiError::mirror_with_counters());
    }
    if config.allow_atomic {
        return Err(ApiError::mirror_with_atomic_publish());
    }
    if config.allow_batched {
        return Err(ApiError::mirror_with_batch_publish());
    }
    if config.allow_msg_schedules {
        return Err(ApiError::mirror_with_msg_schedules());
    }
    if mirror.has_bad_consumer() {
        return Err(ApiError::mirror_durable_consumer_cfg_invalid());
    }
    if !mirror.filter_subject.is_empty() && !mirror.subject_transforms.is_empty() {
        return Err(ApiError::mirror_multiple_filters_not_allowed());
    }
    if config.subject_delete_marker_ttl > 0 {
        return Err(ApiError::stream_invalid_config("subject delete markers forbidden on mirrors"));
    }
    for (at, transform) in mirror.subject_transforms.iter().enumerate() {
        if !transform.src.is_empty() && !subject::is_valid_filter(transform.src.as_bytes()) {
            let why = format!("invalid subject {}", transform.src);
            return Err(ApiError::mirror_invalid_subject_filter(why));
        }
        validate_mapping(&transform.src, &transform.dest).map_err(ApiError::mirror_invalid_transform_destination)?;
        let others = mirror.subject_transforms.iter().skip(at + 1);
        if others.into_iter().any(|other| same_or_overlap(&transform.src, &other.src)) {
            return Err(ApiError::mirror_overlapping_subject_filters());
        }
    }
    if mirror.external.is_none() && !is_asset_name(&mirror.name) {
        return Err(ApiError::mirror_invalid_stream_name());
    }
    Ok(())
}

/// How sources may be filtered.
pub(super) fn check_sources(config: &StreamConfig) -> Result<(), ApiError> {
    if !config.sources.is_empty() && config.allow_msg_schedules {
        return Err(ApiError::source_with_msg_schedules());
    }
    let (mut indexes, mut consumers) = (BTreeSet::new(), BTreeSet::new());
    for source in &config.sources {
        if !is_asset_name(&source.name) {
            return Err(ApiError::source_invalid_stream_name());
        }
        if !indexes.insert(source.index()) {
            return Err(ApiError::source_duplicate_detected());
        }
        if !source.filter_subject.is_empty() && !source.subject_transforms.is_empty() {
            return Err(ApiError::source_multiple_filters_not_allowed());
        }
        for transform in &source.subject_transforms {
            if !transform.src.is_empty() && !subject::is_valid_filter(transform.src.as_bytes()) {
                let why = format!("invalid subject {}", transform.src);
                return Err(ApiError::source_invalid_subject_filter(why));
            }
            validate_mapping(&transform.src, &transform.dest)
                .map_err(ApiError::source_invalid_transform_destination)?;
        }
        for (at, one) in source.subject_transforms.iter().enumerate() {
            let within = |other: &SubjectTransform| subject::is_subset(one.src.as_bytes(), other.src.as_bytes());
            if source.subject_transforms.iter().enumerate().any(|(other, with)| other != at && within(with)) {
                return Err(ApiError::source_overlapping_subject_filters());
            }
        }
        if source.has_bad_consumer() {
            return Err(ApiError::source_durable_consumer_cfg_invalid());
        }
        if let Some(consumer) = &source.consumer
            && !consumers.insert((&source.name, source.external.as_ref().map(|it| &it.api), &consumer.name))
        {
            return Err(ApiError::source_durable_consumer_duplicate_detected());
        }
    }
    Ok(())
}

/// Eight characters that stand for a text, as nats-server has them.
fn short_hash(text: &str) -> String {
    let hash = Sha256::digest(text);
    hash.iter().take(8).filter_map(|byte| HASH_CHARS.get(usize::from(byte % 62)).copied().map(char::from)).collect()
}

/// Empty filters select everything, and so the same.
fn same_or_overlap(a: &str, b: &str) -> bool {
    a == b || subject::overlaps(a.as_bytes(), b.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_called_by_its_consumer_too() {
        let mut source = StreamSource { name: "S".to_owned(), ..StreamSource::default() };
        assert_eq!(source.label(), "S");
        source.consumer = Some(ConsumerOfSource { name: "B".to_owned(), deliver_subject: "d".to_owned() });
        // As nats-server 2.15.1 writes it into what it copies.
        assert_eq!(source.label(), "S:C=b2oh2L6w");
        let of = |sources| check_sources(&StreamConfig { sources, ..StreamConfig::default() });
        assert_eq!(of(vec![source.clone(), StreamSource { consumer: None, ..source.clone() }]), Ok(()));
        assert_eq!(of(vec![source.clone(), source.clone()]).unwrap_err().err_code, 10140);
        let transform = SubjectTransform { src: "a".to_owned(), dest: "b".to_owned() };
        let again = StreamSource { subject_transforms: vec![transform], ..source.clone() };
        assert_eq!(of(vec![source, again]).unwrap_err().err_code, 10216);
    }
}
