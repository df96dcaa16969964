//! Which configurations of a stream make sense by themselves.

use std::collections::BTreeSet;

use sublog_protocol::subject;

use super::source::{check_mirror, check_sources};
use super::{DiscardPolicy, PersistMode, Placement, RetentionPolicy, StorageType, StreamConfig};
use crate::jetstream::config::check::is_asset_name;
use crate::jetstream::config::limits::{
    DESCRIPTION_BYTES_MAX, Limits, METADATA_BYTES_MAX, NAME_BYTES_MAX, REPLICAS_MAX, SUBJECTS_MAX,
};
use crate::jetstream::config::metadata;
use crate::jetstream::config::transform::{Transform, validate_mapping};
use crate::jetstream::errors::ApiError;

/// Message ids are remembered this long unless it is said otherwise, in nanoseconds.
const WINDOW_NS: i64 = 120_000_000_000;
/// Shortest age and window, in nanoseconds.
const SPAN_MIN_NS: i64 = 100_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// Subjects of the API itself, and what may be stored of them with acks all the same.
const RESERVED: [(&str, &str, &str); 4] = [
    ("$JS.>", "$JS.EVENT.>", "jetstream"),
    ("$JSC.>", "$JS.EVENT.>", "jetstream"),
    ("$NRG.>", "$JS.EVENT.>", "jetstream"),
    ("$SYS.>", "$SYS.ACCOUNT.>", "system"),
];

fn invalid<T>(why: impl std::fmt::Display) -> Result<T, ApiError> {
    Err(ApiError::stream_invalid_config(why))
}

fn pedantic_error<T>(why: &str) -> Result<T, ApiError> {
    Err(ApiError::pedantic(why))
}

impl StreamConfig {
    /// The configuration with what was left out filled in, if it makes sense. A `pedantic` client would rather have an
    /// error than have something changed.
    ///
    /// # Errors
    /// What is wrong with it, or that this server does not have it.
    pub fn checked(mut self, limits: &Limits, pedantic: bool) -> Result<Self, ApiError> {
        let level = self.required_level();
        metadata::store(&mut self.metadata, level);
        self.check_names()?;
        self.fill_limits(pedantic)?;
        self.fill_window(limits, pedantic)?;
        if self.deny_purge && self.allow_rollup_hdrs {
            return invalid("roll-ups require the purge permission");
        }
        self.check_counter()?;
        self.check_discard()?;
        self.check_markers(pedantic)?;
        self.check_schedules(pedantic)?;
        self.check_persist_mode()?;
        check_mirror(&self)?;
        check_sources(&self)?;
        self.check_subjects()?;
        self.check_max_bytes(limits)?;
        self.check_transforms(pedantic)?;
        self.check_placement()?;
        Ok(self)
    }

    fn check_names(&self) -> Result<(), ApiError> {
        if !is_asset_name(&self.name) {
            return invalid("stream name is required and can not contain '.', '*', '>', '\\', '/'");
        }
        if self.name.len() > NAME_BYTES_MAX {
            return invalid(format_args!("stream name is too long, maximum allowed is {NAME_BYTES_MAX}"));
        }
        if self.description.len() > DESCRIPTION_BYTES_MAX {
            return invalid(format_args!("stream description is too long, maximum allowed is {DESCRIPTION_BYTES_MAX}"));
        }
        if metadata::is_too_large(&self.metadata) {
            return invalid(format_args!("stream metadata exceeds maximum size of {METADATA_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    fn fill_limits(&mut self, pedantic: bool) -> Result<(), ApiError> {
        if self.num_replicas == 0 {
            self.num_replicas = 1;
        }
        if self.num_replicas > REPLICAS_MAX {
            return invalid(format_args!("maximum replicas is {REPLICAS_MAX}"));
        }
        if self.num_replicas < 0 {
            return Err(ApiError::replicas_count_cannot_be_negative());
        }
        let mut max_msg_size = i64::from(self.max_msg_size);
        for (name, limit) in [
            ("max_msgs", &mut self.max_msgs),
            ("max_msgs_per_subject", &mut self.max_msgs_per_subject),
            ("max_bytes", &mut self.max_bytes),
            ("max_msg_size", &mut max_msg_size),
            ("max_consumers", &mut self.max_consumers),
        ] {
            if pedantic && *limit < -1 {
                return pedantic_error(&format!("{name} must be set to -1"));
            }
            if *limit <= 0 {
                *limit = -1;
            }
        }
        if max_msg_size < 0 {
            self.max_msg_size = -1;
        }
        if self.max_age < 0 {
            return invalid("max age can not be negative");
        }
        if self.max_age != 0 && self.max_age < SPAN_MIN_NS {
            return invalid("max age needs to be >= 100ms");
        }
        Ok(())
    }

    fn fill_window(&mut self, limits: &Limits, pedantic: bool) -> Result<(), ApiError> {
        let most = limits.duplicate_window;
        if self.duplicate_window == 0 && self.mirror.is_none() && self.sources.is_empty() {
            let mut window = WINDOW_NS;
            if most > 0 && window > most {
                if pedantic {
                    return pedantic_error("duplicate window limits are higher than current limits");
                }
                window = most;
            }
            if self.max_age != 0 && self.max_age < window {
                if pedantic {
                    return pedantic_error("duplicate window cannot be bigger than max age");
                }
                window = self.max_age;
            }
            self.duplicate_window = window;
        }
        if self.duplicate_window < 0 {
            return invalid("duplicates window can not be negative");
        }
        if self.max_age != 0 && self.duplicate_window > self.max_age {
            return invalid("duplicates window can not be larger then max age");
        }
        if most > 0 && self.duplicate_window > most {
            return invalid(format_args!("duplicates window can not be larger then server limit of {most} ns"));
        }
        if self.duplicate_window > 0 && self.duplicate_window < SPAN_MIN_NS {
            return invalid("duplicates window needs to be >= 100ms");
        }
        Ok(())
    }

    fn check_counter(&self) -> Result<(), ApiError> {
        if !self.allow_msg_counter {
            return Ok(());
        }
        if self.discard == DiscardPolicy::New {
            return invalid("counter stream cannot use discard new");
        }
        if self.allow_msg_ttl {
            return invalid("counter stream cannot use message TTLs");
        }
        if self.allow_msg_schedules {
            return invalid("counter stream cannot use message schedules");
        }
        if self.retention != RetentionPolicy::Limits {
            return invalid("counter stream can only use limits retention");
        }
        Ok(())
    }

    fn check_discard(&self) -> Result<(), ApiError> {
        if !self.discard_new_per_subject {
            return Ok(());
        }
        if self.discard != DiscardPolicy::New {
            return invalid("discard new per subject requires discard new policy to be set");
        }
        if self.max_msgs_per_subject <= 0 {
            return invalid("discard new per subject requires max msgs per subject > 0");
        }
        Ok(())
    }

    /// Markers are messages with a TTL that replace those before them.
    fn check_markers(&mut self, pedantic: bool) -> Result<(), ApiError> {
        if self.subject_delete_marker_ttl < 0 {
            return invalid("subject delete marker TTL must not be negative");
        }
        if self.subject_delete_marker_ttl == 0 {
            return Ok(());
        }
        if self.subject_delete_marker_ttl < SECOND_NS {
            return invalid("subject delete marker TTL must be at least 1 second");
        }
        if !self.allow_msg_ttl && pedantic {
            return invalid("subject delete marker cannot be set if message TTLs are disabled");
        }
        self.allow_msg_ttl = true;
        if !self.allow_rollup_hdrs {
            if pedantic {
                return invalid("subject delete marker cannot be set if roll-ups are disabled");
            }
            (self.allow_rollup_hdrs, self.deny_purge) = (true, false);
        }
        Ok(())
    }

    fn check_schedules(&mut self, pedantic: bool) -> Result<(), ApiError> {
        if !self.allow_msg_schedules {
            return Ok(());
        }
        if self.discard == DiscardPolicy::New {
            return invalid("message scheduling cannot use discard new");
        }
        if !self.allow_rollup_hdrs {
            if pedantic {
                return invalid("message scheduling cannot be set if roll-ups are disabled");
            }
            (self.allow_rollup_hdrs, self.deny_purge) = (true, false);
        }
        Ok(())
    }

    fn check_persist_mode(&self) -> Result<(), ApiError> {
        if self.persist_mode != PersistMode::Async {
            return Ok(());
        }
        if self.storage != StorageType::File {
            return invalid("async persist mode is only supported on file storage");
        }
        if self.num_replicas > 1 {
            return invalid("async persist mode is not supported on replicated streams");
        }
        if self.allow_atomic {
            return invalid("async persist mode is not supported with atomic batch publish");
        }
        Ok(())
    }

    fn check_subjects(&mut self) -> Result<(), ApiError> {
        if self.subjects.is_empty() && self.mirror.is_none() && self.sources.is_empty() {
            self.subjects.push(self.name.clone());
            return Ok(());
        }
        if self.subjects.len() > SUBJECTS_MAX {
            return invalid(format_args!("a stream can not have more than {SUBJECTS_MAX} subjects"));
        }
        let mut seen = BTreeSet::new();
        for (at, filter) in self.subjects.iter().enumerate() {
            let bytes = filter.as_bytes();
            if !subject::is_valid_filter(bytes) {
                return invalid("invalid subject");
            }
            if !seen.insert(filter) {
                return invalid("duplicate subjects detected");
            }
            if filter == ">" {
                if !self.no_ack {
                    return invalid("capturing all subjects requires no-ack to be true");
                }
                if self.num_replicas != 1 {
                    return invalid("capturing all subjects requires replicas of 1");
                }
            }
            for (reserved, allowed, what) in RESERVED {
                let touches = subject::overlaps(bytes, reserved.as_bytes());
                if !self.no_ack && touches && !subject::is_subset(bytes, allowed.as_bytes()) {
                    return invalid(format_args!("subjects that overlap with {what} api require no-ack to be true"));
                }
            }
            if let Some(other) =
                self.subjects.iter().skip(at + 1).find(|other| subject::overlaps(other.as_bytes(), bytes))
            {
                return invalid(format_args!("subject {filter:?} overlaps with {other:?}"));
            }
        }
        Ok(())
    }

    fn check_max_bytes(&self, limits: &Limits) -> Result<(), ApiError> {
        let most = match self.storage {
            StorageType::File => limits.storage_max_stream_bytes,
            StorageType::Memory => limits.memory_max_stream_bytes,
        };
        if most < 0 {
            return Err(match self.storage {
                StorageType::Memory => ApiError::memory_resources_exceeded(),
                StorageType::File => ApiError::storage_resources_exceeded(),
            });
        }
        if limits.max_bytes_required && self.max_bytes <= 0 {
            return Err(ApiError::stream_max_bytes_required());
        }
        if most > 0 && self.max_bytes > most {
            return Err(ApiError::stream_max_stream_bytes_exceeded());
        }
        Ok(())
    }

    fn check_transforms(&mut self, pedantic: bool) -> Result<(), ApiError> {
        if let Some(transform) = &self.subject_transform {
            if !transform.src.is_empty() && !subject::is_valid_filter(transform.src.as_bytes()) {
                let why = format!("invalid subject {}", transform.src);
                return Err(ApiError::stream_transform_invalid_source(why));
            }
            validate_mapping(&transform.src, &transform.dest)
                .map_err(ApiError::stream_transform_invalid_destination)?;
        }
        let Some(republish) = &mut self.republish else { return Ok(()) };
        if republish.src.is_empty() {
            if pedantic {
                return pedantic_error("republish source can not be empty");
            }
            ">".clone_into(&mut republish.src);
        }
        // From everything to everything would publish what is stored here already, unless messages are stored under
        // other subjects than they came with.
        if let Some(transform) = &self.subject_transform
            && (republish.src.as_str(), republish.dest.as_str()) == (">", ">")
            && let [only] = self.subjects.as_slice()
            && *only == transform.src
        {
            if pedantic {
                return pedantic_error("implicit republish based on subject transform");
            }
            republish.src.clone_from(&transform.dest);
            republish.dest.clone_from(&transform.dest);
        }
        let cycle = |filter: &String| {
            *filter == republish.dest || subject::overlaps(filter.as_bytes(), republish.dest.as_bytes())
        };
        if self.subjects.iter().any(cycle) {
            return invalid("stream configuration for republish destination forms a cycle");
        }
        if Transform::new(&republish.src, &republish.dest).is_err() {
            return invalid(format_args!(
                "stream configuration for republish with transform from '{}' to '{}' not valid",
                republish.src, republish.dest
            ));
        }
        Ok(())
    }

    fn check_placement(&mut self) -> Result<(), ApiError> {
        if self.placement == Some(Placement::default()) {
            self.placement = None;
        }
        if self.placement.as_ref().is_some_and(|placement| !placement.preferred.is_empty()) {
            return invalid("preferred server not permitted in placement");
        }
        Ok(())
    }
}
