//! Encryption on the command line: what its flags and a configuration's block make together.

use std::path::PathBuf;
use std::time::Duration;

use super::super::flags::{UsageError, Value};
use super::super::values::{self, Port};
use super::Draft;
use crate::config::{Pair, TlsOptions};
use crate::tls::{Tls, TlsError};

/// How much longer than a handshake a client may take to say who it is, unless it is said.
const AUTH_AFTER_HANDSHAKE: Duration = Duration::from_secs(1);

/// The flags as they were given.
#[derive(Default)]
pub(super) struct Flags {
    pub(super) on: Option<bool>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) verify: Option<bool>,
}

/// The port of monitoring, which has one.
pub(super) fn monitor(draft: &mut Draft, value: Value<'_>, secure: bool) -> Result<(), String> {
    let port = match values::port(value.text()?)? {
        Port::Free => Some(0),
        Port::Default => None,
        Port::Number(port) => Some(port),
    };
    if port.is_some() || draft.server.monitor_tls == secure {
        (draft.server.monitor_port, draft.server.monitor_tls) = (port, secure && port.is_some());
    }
    Ok(())
}

/// Puts the flags over what a configuration says, and looks into the files.
pub(super) fn finish(draft: &mut Draft) -> Result<(), UsageError> {
    let refuse = |flag: &str, reason: String| Err(UsageError::BadValue { flag: flag.to_owned(), reason });
    let flags = std::mem::take(&mut draft.tls);
    let tls = over(flags, draft.server.tls.take());
    if let Some(tls) = &tls {
        match Tls::load(tls) {
            Ok(_) => {}
            Err(error @ TlsError::Missing) => return refuse("--tls", error.to_string()),
            Err(error) => return Err(UsageError::Config(error.to_string())),
        }
        if !draft.auth_timeout_given {
            draft.server.limits.auth_timeout = tls.timeout + AUTH_AFTER_HANDSHAKE;
        }
    } else if draft.server.monitor_tls {
        return refuse("-ms", "HTTPS needs the certificate of the tls block, or --tlscert and --tlskey".to_owned());
    }
    draft.server.tls = tls;
    if let Some(port) = &draft.server.websocket {
        if port.port != 0 && port.port == draft.server.port {
            return Err(UsageError::Config("websocket: the clients' port is the same".to_owned()));
        }
        if let Some(tls) = &port.tls {
            Tls::load(tls).map_err(|error| UsageError::Config(format!("websocket: {error}")))?;
        }
    }
    Ok(())
}

fn over(flags: Flags, file: Option<TlsOptions>) -> Option<TlsOptions> {
    let named = flags.cert.is_some() || flags.key.is_some() || flags.ca.is_some() || flags.verify == Some(true);
    if flags.on == Some(false) || (file.is_none() && !named && flags.on.is_none()) {
        return None;
    }
    let mut tls = file.unwrap_or_default();
    if flags.cert.is_some() || flags.key.is_some() {
        let old = tls.certificates.drain(..).next();
        let (cert, key) = old.map(|pair| (pair.cert_file, pair.key_file)).unzip();
        if let (Some(cert_file), Some(key_file)) = (flags.cert.or(cert), flags.key.or(key)) {
            tls.certificates = vec![Pair { cert_file, key_file }];
        }
    }
    tls.ca_file = flags.ca.or(tls.ca_file);
    tls.verify = flags.verify.unwrap_or(tls.verify);
    tls.verify_and_map &= tls.verify;
    Some(tls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HandshakeFirst;

    fn pair(cert: &str, key: &str) -> Pair {
        Pair { cert_file: cert.into(), key_file: key.into() }
    }

    #[test]
    fn flags_over_a_file() {
        let file = || {
            Some(TlsOptions {
                certificates: vec![pair("a", "b")],
                ca_file: Some("c".into()),
                verify: true,
                first: HandshakeFirst::Yes,
                ..TlsOptions::default()
            })
        };
        assert_eq!(over(Flags::default(), None), None);
        assert_eq!(over(Flags::default(), file()), file());
        assert_eq!(over(Flags { on: Some(false), ..Flags::default() }, file()), None);
        let key = Flags { key: Some("k".into()), verify: Some(false), ..Flags::default() };
        let both = over(key, file()).unwrap();
        assert_eq!((both.certificates, both.verify, both.first), (vec![pair("a", "k")], false, HandshakeFirst::Yes));
        let half = over(Flags { cert: Some("x".into()), ..Flags::default() }, None).unwrap();
        assert!(half.certificates.is_empty());
        assert!(over(Flags { verify: Some(true), ..Flags::default() }, None).is_some());
        assert!(over(Flags { on: Some(true), ..Flags::default() }, None).is_some());
    }
}
