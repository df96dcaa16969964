//! How mirrors and sources fit to the streams that are there.

use std::collections::{BTreeSet, VecDeque};

use sublog_protocol::subject;

use super::{StreamConfig, StreamSource};
use crate::jetstream::domain::Domain;
use crate::jetstream::errors::ApiError;

/// First tokens of the subjects of the API.
const API: &str = "$JS.API";

/// Whether the other stream is one of this server.
fn is_here(source: &StreamSource, domain: &Domain) -> bool {
    source.external.as_ref().is_none_or(|external| domain.is_own_api(&external.api))
}

impl StreamConfig {
    /// Checks what is copied against `existing` streams; a mirror takes over how its stream can be read directly.
    ///
    /// # Errors
    /// 10030 or 10046 if messages may be too large; 10021, 10022, 10024 or 10052 for where another stream is; 10052 if copies would
    /// come back; 10157 if a pedantic client has it otherwise.
    pub fn check_copies<'a>(
        &mut self,
        existing: impl Iterator<Item = &'a Self> + Clone,
        domain: &Domain,
        pedantic: bool,
    ) -> Result<(), ApiError> {
        let find = |name: &str| existing.clone().find(|there| there.name == name);
        let too_small = |from: &Self| self.max_msg_size > 0 && from.max_msg_size > self.max_msg_size;
        let is_here = |source: &&StreamSource| is_here(source, domain);
        let mut inherited = None;
        if let Some(origin) = self.mirror.as_ref().filter(is_here).and_then(|mirror| find(&mirror.name)) {
            if too_small(origin) {
                return Err(ApiError::mirror_max_message_size_too_big());
            }
            if pedantic && self.mirror_direct != origin.allow_direct {
                return Err(ApiError::pedantic("origin stream has direct get set, mirror has it disabled"));
            }
            inherited = Some(origin.allow_direct);
        }
        for origin in self.sources.iter().filter(is_here).filter_map(|source| find(&source.name)) {
            if too_small(origin) {
                return Err(ApiError::source_max_message_size_too_big());
            }
        }
        self.check_external(&find, domain)?;
        self.check_cycles(&find, domain)?;
        let elsewhere = self.mirror.iter().chain(&self.sources).find(|source| !is_here(source));
        if let Some(external) = elsewhere.and_then(|source| source.external.as_ref()) {
            let why = format!("external {:?} is not supported by this server", external.api);
            return Err(ApiError::stream_invalid_config(why));
        }
        self.mirror_direct = inherited.unwrap_or(self.mirror_direct);
        Ok(())
    }

    fn check_external<'a>(&self, find: &impl Fn(&str) -> Option<&'a Self>, domain: &Domain) -> Result<(), ApiError> {
        let all = || self.mirror.iter().chain(&self.sources);
        let here: Vec<&Self> =
            all().filter(|source| is_here(source, domain)).filter_map(|source| find(&source.name)).collect();
        for external in all().filter_map(|source| source.external.as_ref()) {
            let prefix = &external.deliver;
            if !prefix.is_empty() {
                if !subject::is_valid_literal(prefix.as_bytes()) {
                    return Err(ApiError::stream_invalid_external_delivery_subj(prefix));
                }
                let overlap =
                    |filter: &&String| subject::overlaps(filter.as_bytes(), format!("{prefix}.{filter}").as_bytes());
                if let Some(filter) = here.iter().flat_map(|stream| &stream.subjects).find(overlap) {
                    return Err(ApiError::stream_external_del_prefix_overlaps(prefix, filter));
                }
            }
            if external.api.is_empty() {
                continue;
            }
            if !subject::is_valid_literal(external.api.as_bytes()) {
                let why =
                    format!("stream external api prefix {:?} must be a valid subject without wildcards", external.api);
                return Err(ApiError::stream_invalid_config(why));
            }
            if external.api == API {
                return Err(ApiError::stream_external_api_overlap(&external.api, API));
            }
        }
        Ok(())
    }

    /// Whether what is copied would come back. A message that comes by a source is stored whatever its subject is; whether
    /// it goes on depends on the filter.
    fn check_cycles<'a>(&self, find: &impl Fn(&str) -> Option<&'a Self>, domain: &Domain) -> Result<(), ApiError> {
        let cycle = || Err(ApiError::stream_invalid_config("detected cycle"));
        let mut visited = BTreeSet::new();
        let mut to_visit: VecDeque<&Self> = VecDeque::from([self]);
        while let Some(config) = to_visit.pop_front() {
            visited.insert(config.name.as_str());
            for source in config.sources.iter().filter(|source| is_here(source, domain)) {
                let selects = source.filter_subject.as_bytes();
                if !visited.contains(source.name.as_str()) {
                    to_visit.extend(find(&source.name));
                } else if selects.is_empty()
                    || config.subjects.iter().any(|own| subject::overlaps(own.as_bytes(), selects))
                {
                    return cycle();
                }
            }
            if let Some(mirror) = config.mirror.as_ref().filter(|mirror| is_here(mirror, domain)) {
                if visited.contains(mirror.name.as_str()) {
                    return cycle();
                }
                to_visit.extend(find(&mirror.name));
            }
        }
        Ok(())
    }
}
