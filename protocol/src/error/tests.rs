//! The texts, letter by letter.

use super::*;

fn bytes(text: &str) -> Vec<u8> {
    text.into()
}

#[test]
fn every_text_and_whether_it_closes() {
    let subscribe = |subject, queue: Option<&str>| ServerError::PermissionSubscribe {
        subject: bytes(subject),
        queue: queue.map(bytes),
    };
    let revoked = |queue: Option<&str>| ServerError::PermissionSubscribeRevoked {
        subject: bytes("a.>"),
        queue: queue.map(bytes),
        sid: bytes("7"),
    };
    let cases = [
        (ServerError::UnknownOperation, "Unknown Protocol Operation", true),
        (ServerError::AuthorizationViolation, "Authorization Violation", true),
        (ServerError::AuthenticationTimeout, "Authentication Timeout", true),
        (ServerError::AuthenticationExpired, "User Authentication Expired", true),
        (ServerError::AuthenticationRevoked, "User Authentication Revoked", true),
        (ServerError::AccountAuthenticationExpired, "Account Authentication Expired", true),
        (ServerError::TlsRequired, "Secure Connection - TLS Required", true),
        (ServerError::InvalidClientProtocol, "invalid client protocol", true),
        (ServerError::NoRespondersRequiresHeaders, "no responders requires headers support", true),
        (ServerError::MaxPayload, "Maximum Payload Violation", true),
        (ServerError::MaxControlLine, "maximum control line exceeded", true),
        (ServerError::MaxConnections, "maximum connections exceeded", true),
        (ServerError::MaxAccountConnections, "maximum account active connections exceeded", true),
        (ServerError::ConnectionThrottled, "Connection throttling is active. Please try again later.", true),
        (ServerError::StaleConnection, "Stale Connection", true),
        (ServerError::AttemptedRoutePort, "attempted to connect to route port", true),
        (ServerError::AttemptedLeafNodePort, "attempted to connect to leaf node port", true),
        (ServerError::AttemptedGatewayPort, "attempted to connect to gateway port", true),
        (ServerError::FailedAccountRegistration, "Failed Account Registration", true),
        (ServerError::HeadersNotSupported, "message headers not supported", true),
        (ServerError::MaxSubscriptions, "maximum subscriptions exceeded", false),
        (ServerError::InvalidSubject, "Invalid Subject", false),
        (ServerError::InvalidPublishSubject, "Invalid Publish Subject", false),
        (
            ServerError::PermissionPublish { subject: bytes("a.b") },
            r#"Permissions Violation for Publish to "a.b""#,
            false,
        ),
        (
            ServerError::PermissionPublishReply { reply: bytes("$JS.ACK.x") },
            r#"Permissions Violation for Publish with Reply of "$JS.ACK.x""#,
            false,
        ),
        (subscribe("a.>", None), r#"Permissions Violation for Subscription to "a.>""#, false),
        (subscribe("a.>", Some("q")), r#"Permissions Violation for Subscription to "a.>" using queue "q""#, false),
        (
            ServerError::TooManyTokens { subject: bytes("a.b.c") },
            r#"Permissions Violation for Subscription to "a.b.c", too many tokens"#,
            false,
        ),
        (revoked(None), r#"Permissions Violation for Subscription to "a.>" (sid "7")"#, false),
        (revoked(Some("q")), r#"Permissions Violation for Subscription to "a.>" using queue "q" (sid "7")"#, false),
        (ServerError::Other("our own".into()), "our own", false),
    ];
    for (error, text, closes) in cases {
        assert_eq!(error.text(), text);
        assert_eq!(error.to_string(), text);
        assert_eq!(error.closes(), closes, "{text}");
        let mut out = Vec::new();
        crate::encode::err(&mut out, &error);
        assert_eq!(String::from_utf8(out).unwrap(), format!("-ERR '{text}'\r\n"));
    }
}

/// The long one was taken from nats-server 2.15.1 itself.
#[test]
fn subjects_are_quoted_as_go_does() {
    let cases: &[(&[u8], &str)] = &[
        (b"", r#""""#),
        (
            b"n\"o\\x\x01\x07\x7f'\xff\xc2\xa0\xc2\xad\xe2\x82\xac\xf0\x9f\x98\x80\xcc\x81\xe2\x80\x8b",
            "\"n\\\"o\\\\x\\x01\\a\\x7f'\\xff\\u00a0\\u00ad\u{20ac}\u{1f600}\u{301}\\u200b\"",
        ),
        (b"no\xed\xa0\x80\xf4\x8f\xbf\xbd", r#""no\xed\xa0\x80\U0010fffd""#),
        (b"\x08\x0c\n\r\t\x0b\x00\x1b", r#""\b\f\n\r\t\v\x00\x1b""#),
        (b"a\xe2\x82", r#""a\xe2\x82""#),
    ];
    for (subject, quoted) in cases {
        assert_eq!(go_quoted(subject), *quoted);
    }
}

#[test]
fn no_text_leaves_its_line_or_its_quotes() {
    let text = ServerError::Other("it's\r\n-ERR 'x'\u{85}".into()).text().into_owned();
    assert_eq!(text, "it\"s  -ERR \"x\" ");
    for byte in 0..=255_u8 {
        let text = ServerError::PermissionPublish { subject: vec![byte] }.text().into_owned();
        assert!(!text.contains(char::is_control), "{byte}");
    }
}
