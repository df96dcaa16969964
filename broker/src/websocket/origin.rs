//! Where a page comes from, and whether it may speak to this server.

/// Scheme, host and port of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// `http://host:port`, or `https`; the port may be left out.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("{text:?} is no URL"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(format!("{text:?} is neither http nor https")),
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return Err(format!("{text:?} names a user"));
        }
        Self::of(secure, host).ok_or_else(|| format!("{text:?} names no host"))
    }

    /// Where somebody is who asks for this host.
    #[must_use]
    pub fn of(secure: bool, host_port: &str) -> Option<Self> {
        let default = if secure { 443 } else { 80 };
        let (host, port) = match host_port.rsplit_once(':') {
            // The colons of an address of version 6 are inside of brackets.
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (host_port, default),
        };
        (!host.is_empty()).then(|| Self { secure, host: host.to_ascii_lowercase(), port })
    }
}

/// Whether a page from `origin` may speak to `host`. Who names no origin is no page.
///
/// # Errors
/// Why it may not.
pub fn check(same: bool, allowed: &[Origin], origin: Option<&str>, secure: bool, host: &str) -> Result<(), String> {
    let Some(origin) = origin.filter(|origin| !origin.is_empty() && (same || !allowed.is_empty())) else {
        return Ok(());
    };
    let origin = Origin::parse(origin)?;
    if same && Origin::of(secure, host).as_ref() != Some(&origin) {
        return Err("not same origin".to_owned());
    }
    if !allowed.is_empty() && !allowed.contains(&origin) {
        return Err("not in the allowed list".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_their_places() {
        let allowed: Vec<Origin> =
            ["https://cms.example", "http://[::1]:8080"].iter().map(|text| Origin::parse(text).unwrap()).collect();
        for (same, list, origin, host, fine) in [
            (false, false, Some("https://evil.example"), "a", true),
            (false, true, None, "a", true),
            (false, true, Some("https://cms.example"), "a", true),
            (false, true, Some("HTTPS://CMS.example:443"), "a", true),
            (false, true, Some("http://[::1]:8080"), "a", true),
            (false, true, Some("http://cms.example"), "a", false),
            (false, true, Some("https://cms.example:444"), "a", false),
            (false, true, Some("https://cms.example.evil"), "a", false),
            (false, true, Some("null"), "a", false),
            (false, true, Some("file://x"), "a", false),
            (false, true, Some("https://cms.example@evil"), "a", false),
            (true, false, Some("http://a"), "A:80", true),
            (true, false, Some("http://a:81"), "a:81", true),
            (true, false, Some("https://a"), "a", false),
            (true, false, Some("http://b"), "a", false),
            (true, true, Some("https://cms.example"), "a", false),
        ] {
            let result = check(same, if list { &allowed } else { &[] }, origin, false, host);
            assert_eq!(result.is_ok(), fine, "{origin:?} {host} {result:?}");
        }
        for text in ["", "cms.example", "ftp://a", "http://", "http://:80", "http://a:b"] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
