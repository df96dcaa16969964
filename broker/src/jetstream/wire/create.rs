//! Requests for consumers, which come on three kinds of subjects.

use crate::jetstream::config::ConsumerConfig;
use crate::jetstream::config::check::has_path_separator;
use crate::jetstream::config::consumer::admit::Action;
use crate::jetstream::config::json::{self, Unknown, read_fields};
use crate::jetstream::errors::ApiError;

/// What the subject of a request for a consumer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateSubject<'a> {
    /// `CONSUMER.CREATE.S`
    Unnamed {
        /// The stream.
        stream: &'a str,
    },
    /// `CONSUMER.CREATE.S.C` and `CONSUMER.CREATE.S.C.FILTER`
    Named {
        /// The stream.
        stream: &'a str,
        /// The consumer.
        consumer: &'a str,
        /// Its filter; all tokens from the seventh on.
        filter: Option<&'a str>,
    },
    /// `CONSUMER.DURABLE.CREATE.S.C`
    Durable {
        /// The stream.
        stream: &'a str,
        /// The consumer.
        consumer: &'a str,
    },
}

impl<'a> CreateSubject<'a> {
    /// What stands after `$JS.API.CONSUMER.`; `None` if it is no such request.
    #[must_use]
    pub fn parse(subject: &'a str) -> Option<Self> {
        if let Some(rest) = subject.strip_prefix("DURABLE.CREATE.") {
            let (stream, consumer) = rest.split_once('.')?;
            return (!consumer.contains('.')).then_some(Self::Durable { stream, consumer });
        }
        let rest = subject.strip_prefix("CREATE.")?;
        let Some((stream, rest)) = rest.split_once('.') else { return Some(Self::Unnamed { stream: rest }) };
        let (consumer, filter) = match rest.split_once('.') {
            None => (rest, None),
            Some((consumer, filter)) => (consumer, Some(filter)),
        };
        Some(Self::Named { stream, consumer, filter })
    }

    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> &'a str {
        match self {
            Self::Unnamed { stream } | Self::Named { stream, .. } | Self::Durable { stream, .. } => stream,
        }
    }
}

/// A request for a consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerRequest {
    /// The stream, as the body names it.
    pub stream_name: String,
    /// What the consumer is to be, its name taken from the subject.
    pub config: ConsumerConfig,
    /// Whether it may be there already.
    pub action: Action,
    /// The client would rather have an error than have something changed.
    pub pedantic: bool,
}
read_fields!(ConsumerRequest { stream_name, config, action, pedantic });

impl ConsumerRequest {
    /// Reads a body that came on `subject`.
    ///
    /// # Errors
    /// 10025; 10016 to 10020, 10056, 10127, 10131 and 10137 if body and subject do not fit together; 10074 for replicas.
    pub fn parse(subject: &CreateSubject<'_>, body: &[u8], unknown: Unknown) -> Result<Self, ApiError> {
        let mut request: Self = json::parse(body, unknown)?;
        if request.stream_name != subject.stream() {
            return Err(ApiError::stream_mismatch());
        }
        let config = &mut request.config;
        let name = match subject {
            CreateSubject::Unnamed { .. } => config.name.as_str(),
            CreateSubject::Named { consumer, .. } | CreateSubject::Durable { consumer, .. } => consumer,
        };
        if has_path_separator(name) {
            return Err(ApiError::consumer_name_contains_path_separators());
        }
        match *subject {
            CreateSubject::Unnamed { .. } => {
                if config.is_durable() {
                    return Err(ApiError::consumer_ephemeral_with_durable_name());
                }
            }
            CreateSubject::Durable { consumer, .. } => {
                if !config.is_durable() {
                    return Err(ApiError::consumer_durable_name_not_set());
                }
                if config.durable_name != consumer {
                    return Err(ApiError::consumer_durable_name_not_match_subject());
                }
                consumer.clone_into(&mut config.name);
            }
            CreateSubject::Named { consumer, filter, .. } => {
                if config.is_durable() && config.durable_name != consumer {
                    return Err(ApiError::consumer_durable_name_not_match_subject());
                }
                consumer.clone_into(&mut config.name);
                if filter.is_some() && !config.filter_subjects.is_empty() {
                    return Err(ApiError::consumer_multiple_filters_not_allowed());
                }
                if filter.is_some_and(|filter| filter != config.filter_subject) {
                    return Err(ApiError::consumer_create_filter_subject_mismatch());
                }
            }
        }
        if config.num_replicas > 1 {
            return Err(ApiError::stream_replicas_not_supported());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::CreateSubject::{self, Durable, Named, Unnamed};

    #[test]
    fn subjects_come_in_three_kinds() {
        let parse = CreateSubject::parse;
        assert_eq!(parse("CREATE.S"), Some(Unnamed { stream: "S" }));
        assert_eq!(parse("CREATE.S.C"), Some(Named { stream: "S", consumer: "C", filter: None }));
        assert_eq!(parse("CREATE.S.C.a.>"), Some(Named { stream: "S", consumer: "C", filter: Some("a.>") }));
        assert_eq!(parse("DURABLE.CREATE.S.C"), Some(Durable { stream: "S", consumer: "C" }));
        assert_eq!((parse("DURABLE.CREATE.S"), parse("DURABLE.CREATE.S.C.d"), parse("INFO.S.C")), (None, None, None));
    }
}
