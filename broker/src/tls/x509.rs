//! What the server has to know of a certificate beyond whether it is right: when it ends, its public key, and the names
//! in it, which may be those of users.
//!
//! A cursor over DER, checked at every step: `None` is the answer to whatever is malformed.

mod name;

pub use name::DistinguishedName;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const LONG_TIME: u8 = 0x18;
/// `[0]` of a certificate: its version.
const VERSION: u8 = 0xa0;
/// `[3]` of a certificate: its extensions.
const EXTENSIONS: u8 = 0xa3;
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// Kinds of alternative names.
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// DER of SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// When it ends, in seconds since the epoch.
    pub not_after: i64,
    /// Its subject.
    pub subject: Option<DistinguishedName>,
    /// Alternative names.
    pub emails: Vec<String>,
    /// As above.
    pub dns_names: Vec<String>,
    /// As above.
    pub uris: Vec<String>,
}

impl Certificate {
    /// Reads a certificate in DER.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let mut outer = Der(Der(der).content(SEQUENCE)?);
        let mut fields = Der(outer.content(SEQUENCE)?);
        if fields.tag() == Some(VERSION) {
            fields.next()?;
        }
        let (_serial, _algorithm, _issuer) = (fields.next()?, fields.content(SEQUENCE)?, fields.content(SEQUENCE)?);
        let mut validity = Der(fields.content(SEQUENCE)?);
        validity.next()?;
        let not_after = time(validity.next()?)?;
        let subject = DistinguishedName::from_der(fields.content(SEQUENCE)?);
        let public_key = fields.next().filter(|key| key.tag == SEQUENCE)?.whole.to_vec();
        let mut certificate =
            Self { public_key, not_after, subject, emails: Vec::new(), dns_names: Vec::new(), uris: Vec::new() };
        // What may stand between are unique identifiers, which nobody uses.
        while let Some(field) = fields.next() {
            if field.tag == EXTENSIONS {
                certificate.extensions(Der(Der(field.content).content(SEQUENCE)?))?;
            }
        }
        Some(certificate)
    }

    fn extensions(&mut self, mut all: Der<'_>) -> Option<()> {
        while let Some(extension) = all.next() {
            let mut parts = Der(extension.content);
            if parts.content(OID)? != ALTERNATIVE_NAMES {
                continue;
            }
            // Whether it is critical stands before the value, if it does.
            let value = std::iter::from_fn(|| parts.next()).find(|part| part.tag == OCTETS)?;
            let mut names = Der(Der(value.content).content(SEQUENCE)?);
            while let Some(name) = names.next() {
                let list = match name.tag {
                    EMAIL => &mut self.emails,
                    DNS => &mut self.dns_names,
                    URI => &mut self.uris,
                    _ => continue,
                };
                list.push(std::str::from_utf8(name.content).ok().filter(|name| name.is_ascii())?.to_owned());
            }
        }
        Some(())
    }

    /// The one of `users` that this certificate is about, as nats-server looks for it: an e-mail address, a DNS name, a
    /// URI, then the whole subject, at first in its own order. Nothing is compared but whole names, byte for byte.
    #[must_use]
    pub fn user<'u>(&self, users: &[&'u str]) -> Option<&'u str> {
        let plain = self.emails.iter().chain(&self.dns_names).chain(&self.uris);
        for name in plain {
            if let Some(user) = users.iter().find(|user| *user == name) {
                return Some(user);
            }
        }
        let subject = self.subject.as_ref()?;
        let named: Vec<(&'u str, DistinguishedName)> =
            users.iter().filter_map(|user| Some((*user, DistinguishedName::parse(user)?))).collect();
        let same = named.iter().find(|(_, name)| name == subject);
        same.or_else(|| named.iter().find(|(_, name)| name.is_permutation_of(subject))).map(|(user, _)| *user)
    }
}

/// One value.
#[derive(Debug, Clone, Copy)]
struct Value<'d> {
    tag: u8,
    content: &'d [u8],
    whole: &'d [u8],
}

/// What is left of some values.
#[derive(Debug, Clone, Copy)]
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value; `None` at the end, or if it is malformed.
    fn next(&mut self) -> Option<Value<'d>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - rest.len())?;
        self.0 = rest;
        Some(Value { tag, content, whole })
    }

    /// What is in the next value, which has this tag.
    fn content(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next().filter(|value| value.tag == tag).map(|value| value.content)
    }
}

/// Seconds since the epoch.
fn time(value: Value<'_>) -> Option<i64> {
    let text = std::str::from_utf8(value.content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match value.tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        LONG_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| rest.get(at..at + 2).and_then(|digits| digits.parse::<i8>().ok());
    let at = jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn fields_of_a_certificate() {
        let der = made(|params| {
            params.not_after = rcgen::date_time_ymd(2031, 2, 3);
            params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
            params.distinguished_name.push(rcgen::DnType::OrganizationName, "Test, Inc");
            let name = |text: &str| text.try_into().unwrap();
            params.subject_alt_names = vec![
                rcgen::SanType::DnsName(name("alice.example")),
                rcgen::SanType::Rfc822Name(name("alice@example")),
                rcgen::SanType::URI(name("urn:alice")),
            ];
        });
        let certificate = Certificate::parse(&der).unwrap();
        let at: jiff::Timestamp = "2031-02-03T00:00:00Z".parse().unwrap();
        assert_eq!(certificate.not_after, at.as_second());
        assert_eq!(certificate.dns_names, ["alice.example"]);
        let users = |users: &[&'static str]| certificate.user(users);
        assert_eq!(users(&["bob", "alice.example"]), Some("alice.example"));
        assert_eq!(users(&["alice.example", "alice@example"]), Some("alice@example"));
        assert_eq!(users(&["urn:alice"]), Some("urn:alice"));
        assert_eq!(users(&["CN=alice,O=Test\\, Inc"]), Some("CN=alice,O=Test\\, Inc"));
        assert_eq!(users(&["O=Test\\, Inc, CN=alice"]), Some("O=Test\\, Inc, CN=alice"));
        for other in ["alice", "CN=alice", "CN=Alice,O=Test\\, Inc", "CN=alice,O=Test", "CN=alice+O=Test\\, Inc", ""] {
            assert_eq!(users(&[other]), None, "{other}");
        }
    }

    #[test]
    fn after_2049_times_are_written_another_way() {
        let der = made(|params| params.not_after = rcgen::date_time_ymd(2100, 1, 1));
        let at: jiff::Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(Certificate::parse(&der).unwrap().not_after, at.as_second());
    }

    #[test]
    fn nothing_malformed_is_a_panic() {
        let der = made(|params| {
            params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
            params.subject_alt_names = vec![rcgen::SanType::DnsName("a.b".try_into().unwrap())];
        });
        for length in 0..der.len() {
            assert_eq!(Certificate::parse(&der[..length]), None);
        }
        for at in 0..der.len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = der.clone();
                changed[at] = value;
                let _ = Certificate::parse(&changed);
            }
        }
    }
}
