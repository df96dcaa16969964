//! Cipher suites and groups by the names that configurations of nats-server use for them.

use rustls::CipherSuite;
use rustls::NamedGroup;
use rustls::crypto::CryptoProvider;

use crate::config::TlsOptions;

/// What nats-server knows by name and is not spoken here: old suites without forward secrecy or with padding that leaks.
const SUITES_LEFT_OUT: &[&str] = &[
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];
/// The same of groups.
const GROUPS_LEFT_OUT: &[&str] = &["CurveP521", "X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024"];

/// A suite's name in configurations and on monitoring pages.
#[must_use]
pub fn suite_name(suite: CipherSuite) -> String {
    let name = suite.as_str().unwrap_or("unknown");
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}

/// What can be chosen, for `--help_tls`.
#[must_use]
pub fn help() -> String {
    let provider = rustls::crypto::ring::default_provider();
    let mut text = String::from(
        "Versions of TLS: 1.2 and 1.3 (min_version)\n\nCipher suites (cipher_suites; those of version 1.3 are always offered):\n",
    );
    for suite in &provider.cipher_suites {
        text.push_str(&format!("    {}\n", suite_name(suite.suite())));
    }
    text.push_str("\nCurves (curve_preferences):\n");
    for group in &provider.kx_groups {
        text.push_str(&format!("    {}\n", group_name(group.name())));
    }
    text
}

fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "CurveP256",
        NamedGroup::secp384r1 => "CurveP384",
        _ => "",
    }
}

/// Leaves in the provider what the options name. The suites of version 1.3 are always there: they are all sound, and
/// nats-server has no choice of them either.
pub(super) fn choose(
    options: &TlsOptions,
    provider: &mut CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let names = &options.cipher_suites;
    if names.is_empty() {
        // As Go has it. Where a publisher connects for every message, SHA-384, which comes with the longer key, took 8 %
        // of the processor.
        provider.cipher_suites.sort_by_key(|suite| !suite_name(suite.suite()).contains("AES_128"));
    } else {
        let known: Vec<String> = provider.cipher_suites.iter().map(|suite| suite_name(suite.suite())).collect();
        sort_out(names, &known, SUITES_LEFT_OUT, "cipher suite", warnings)?;
        let place = |suite: &rustls::SupportedCipherSuite| {
            names.iter().position(|name| *name == suite_name(suite.suite())).unwrap_or(usize::MAX)
        };
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() || place(suite) != usize::MAX);
        provider.cipher_suites.sort_by_key(place);
    }
    let names = &options.curve_preferences;
    if !names.is_empty() {
        let known: Vec<String> = provider.kx_groups.iter().map(|group| group_name(group.name()).to_owned()).collect();
        sort_out(names, &known, GROUPS_LEFT_OUT, "curve preference", warnings)?;
        let mut groups = Vec::new();
        for name in names {
            groups.extend(provider.kx_groups.iter().filter(|group| group_name(group.name()) == name));
        }
        provider.kx_groups = groups;
    }
    Ok(())
}

/// Finds names that nobody knows, and warns of those that are known and not spoken; some must be left.
fn sort_out(
    names: &[String],
    known: &[String],
    left_out: &[&str],
    what: &str,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let mut any = false;
    for name in names {
        if known.contains(name) {
            any = true;
        } else if left_out.contains(&name.as_str()) {
            warnings.push(format!("{what} {name} is not spoken by this server and left out"));
        } else {
            return Err(format!("unrecognized {what} {name}; known are {}", known.join(", ")));
        }
    }
    if any { Ok(()) } else { Err(format!("no {what} is left of {}", names.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(suites: &[&str], groups: &[&str]) -> Result<(Vec<String>, Vec<NamedGroup>, usize), String> {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let options =
            TlsOptions { cipher_suites: own(suites), curve_preferences: own(groups), ..TlsOptions::default() };
        let mut provider = rustls::crypto::ring::default_provider();
        let mut warnings = Vec::new();
        choose(&options, &mut provider, &mut warnings)?;
        let old = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
        let suites = old.map(|suite| suite_name(suite.suite())).collect();
        Ok((suites, provider.kx_groups.iter().map(|group| group.name()).collect(), warnings.len()))
    }

    #[test]
    fn names_choose_and_order() {
        let all = chosen(&[], &[]).unwrap();
        assert_eq!((all.0.len(), all.1.len(), all.2), (6, 3, 0));
        assert!(all.0.iter().take(2).all(|name| name.contains("AES_128")), "{:?}", all.0);
        let suites = [
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        ];
        let some = chosen(&suites, &["CurveP384", "X25519MLKEM768", "X25519"]).unwrap();
        assert_eq!(some.0, [suites[0], suites[2]]);
        assert_eq!((some.1, some.2), (vec![NamedGroup::secp384r1, NamedGroup::X25519], 2));
        // Version 1.3 alone.
        assert!(chosen(&["TLS_AES_128_GCM_SHA256"], &[]).unwrap().0.is_empty());
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(chosen(&["X"], &[]).unwrap_err().starts_with("unrecognized cipher suite X"));
        assert!(chosen(&[], &["P256"]).unwrap_err().starts_with("unrecognized curve preference P256"));
        assert!(chosen(&[], &["CurveP521"]).unwrap_err().starts_with("no curve preference is left"));
        assert!(chosen(&["TLS_RSA_WITH_RC4_128_SHA"], &[]).unwrap_err().starts_with("no cipher suite is left"));
    }
}
