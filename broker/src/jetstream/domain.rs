//! A server's domain: a name for its JetStream, so that requests can say which of several servers they are for.

use super::API_PREFIX;

/// See the module. Without a name requests come on `$JS.API.>` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domain {
    name: Box<str>,
    /// `$JS.<name>.API.`; empty without a name.
    prefix: Box<[u8]>,
}

impl Domain {
    /// Of this name; an empty one is none.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let prefix = if name.is_empty() { Vec::new() } else { format!("$JS.{name}.API.").into_bytes() };
        Self { name: name.into(), prefix: prefix.into() }
    }

    /// Its name, empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a subject is one of requests to this domain by its name.
    #[must_use]
    pub fn is_addressed(&self, subject: &[u8]) -> bool {
        !self.prefix.is_empty() && subject.starts_with(&self.prefix)
    }

    /// The subject that a request to this domain by its name stands for.
    #[must_use]
    pub fn plain(&self, subject: &[u8]) -> Option<Vec<u8>> {
        let operation = subject.strip_prefix(&*self.prefix).filter(|_| !self.prefix.is_empty())?;
        Some([API_PREFIX, operation].concat())
    }

    /// Whether these are the first tokens of this domain's requests by its name, as a source of a stream has them.
    #[must_use]
    pub fn is_own_api(&self, api: &str) -> bool {
        self.prefix.strip_suffix(b".").is_some_and(|own| own == api.as_bytes())
    }
}

/// Whether a domain may have this name: it is one token of a subject.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>' | b'"' | b'\\');
    !name.is_empty() && name.bytes().all(allowed) && name != "API"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_by_name_are_requests() {
        let domain = Domain::new("hub");
        assert_eq!(domain.plain(b"$JS.hub.API.INFO").as_deref(), Some(&b"$JS.API.INFO"[..]));
        assert!(domain.is_addressed(b"$JS.hub.API.INFO") && domain.is_own_api("$JS.hub.API"));
        for other in ["$JS.hub.API", "$JS.hubs.API.INFO", "$JS.API.INFO", "hub.API.INFO", ""] {
            assert!(domain.plain(other.as_bytes()).is_none() && !domain.is_addressed(other.as_bytes()), "{other}");
        }
        assert!(!domain.is_own_api("$JS.API") && !domain.is_own_api("$JS.hub.API.") && !domain.is_own_api(""));
        let none = Domain::default();
        assert!(none.plain(b"$JS.API.INFO").is_none() && !none.is_addressed(b"x") && !none.is_own_api(""));
        for (name, valid) in [("hub", true), ("a-b_c", true), ("", false), ("a.b", false), ("*", false), ("API", false)]
        {
            assert_eq!(is_valid_name(name), valid, "{name:?}");
        }
    }
}
