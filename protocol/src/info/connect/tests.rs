//! `CONNECT` documents and what nats-server 2.15.1 was seen to make of them.

use super::*;

fn parse(json: impl AsRef<[u8]>) -> ConnectOptions {
    ConnectOptions::parse(json.as_ref()).unwrap()
}

#[test]
fn absent_fields_have_the_defaults_of_the_server() {
    for json in ["{}", " { } ", "null", r#"{"verbose":null,"echo":null,"protocol":null,"name":null,"import":null}"#] {
        let options = parse(json);
        assert_eq!(options, ConnectOptions::default(), "{json}");
        assert!(options.verbose && options.pedantic && options.echo);
        assert!(!options.headers && !options.no_responders && options.protocol == 0);
    }
}

#[test]
fn every_field_is_read() {
    let options = parse(
        r#"{"verbose":false,"pedantic":false,"echo":false,"protocol":1,"headers":true,"no_responders":true,
        "tls_required":true,"user":"u","pass":"p","auth_token":"t","jwt":"j","nkey":"k","sig":"s","name":"n",
        "lang":"l","version":"v","account":"a","new_account":true}"#,
    );
    let some = |text: &str| Some(text.to_owned());
    let expected = ConnectOptions {
        verbose: false,
        pedantic: false,
        echo: false,
        protocol: 1,
        headers: true,
        no_responders: true,
        tls_required: true,
        user: some("u"),
        pass: some("p"),
        auth_token: some("t"),
        jwt: some("j"),
        nkey: some("k"),
        sig: some("s"),
        name: some("n"),
        lang: some("l"),
        version: some("v"),
        account: some("a"),
        new_account: true,
    };
    assert_eq!(options, expected);
    let mut out = Vec::new();
    expected.write_json(&mut out);
    assert_eq!(parse(out), expected);
}

#[test]
fn keys_in_any_case_and_the_last_one_wins() {
    assert!(!parse(r#"{"VERBOSE":false}"#).verbose);
    assert!(!parse(r#"{"verbose":true,"verbose":false}"#).verbose);
    assert!(parse(r#"{"verbose":false,"Verbose":true}"#).verbose);
    assert!(!parse("{\"verbo\u{17f}e\":false}").verbose);
    assert_eq!(parse("{\"auth_to\u{212a}en\":\"t\"}").auth_token.as_deref(), Some("t"));
    assert_eq!(parse(r#"{"\u006eame":"x"}"#).name.as_deref(), Some("x"));
    assert!(parse(r#"{"a":{"verbose":false}}"#).verbose);
}

#[test]
fn text_that_is_not_unicode_is_replaced() {
    assert_eq!(parse(b"{\"name\":\"a\xffb\"}").name.as_deref(), Some("a\u{fffd}b"));
    assert!(parse(r#"{"name":"\ud800"}"#).name.unwrap().contains('\u{fffd}'));
    assert_eq!(parse(r#"{"name":"\ud83d\ude00\t"}"#).name.as_deref(), Some("\u{1f600}\t"));
    assert_eq!(parse(b"{\"\xff\":1,\"x\":\"\xff\",\"y\":\"\\ud800\",\"\\udc00\":0}"), ConnectOptions::default());
}

#[test]
fn wrong_documents_are_refused() {
    let cases: &[&[u8]] = &[
        b"",
        b"[]",
        b"\"x\"",
        b"1",
        b"true",
        b"{\"verbose\":false",
        b"{} x",
        b"{}{}",
        b"X{}",
        b"{\"verbose\":\"false\"}",
        b"{\"verbose\":0}",
        b"{\"name\":1}",
        b"{\"name\":[97]}",
        b"{\"name\":\"a\tb\"}",
        b"{\"x\":\"a\x01\"}",
        b"{\"\x01\":1}",
        b"{\"protocol\":1.0}",
        b"{\"protocol\":1e0}",
        b"{\"protocol\":3.5}",
        b"{\"protocol\":\"1\"}",
        b"{\"protocol\":99999999999999999999}",
        b"{\"x\":NaN}",
        b"{\"x\":01}",
        b"{\"verbose\":false,}",
        b"{\"echo\":\"x\"}",
        b"{\"headers\":1}",
        b"{\"tls_required\":\"x\"}",
        b"{\"lang\":1}",
        b"{\"pass\":1}",
        b"{\"version\":1}",
        b"{\"jwt\":{}}",
        b"{\"nkey\":[]}",
        b"{\"import\":1}",
        b"{\"export\":\"x\"}",
        b"{\"remote_account\":1}",
        b"{\"proxy_sig\":1}",
        b"\xef\xbb\xbf{}",
    ];
    for json in cases {
        assert!(ConnectOptions::parse(json).is_err(), "{}", json.escape_ascii());
    }
}

#[test]
fn unknown_fields_may_hold_anything() {
    assert_eq!(
        parse(r#"{"x":1e999,"y":[{"z":[null,true,-0.5]}],"import":{"allow":[">"]}}"#),
        ConnectOptions::default()
    );
}

#[test]
fn depth_and_length_cost_no_stack() {
    let depth = 1_000_000;
    let deep = format!(r#"{{"x":{}{},"name":"n"}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(parse(deep).name.as_deref(), Some("n"));
    let open = "{\"x\":".repeat(depth);
    assert!(ConnectOptions::parse(open.as_bytes()).is_err());
    let import = format!(r#"{{"import":{open}1{}}}"#, "}".repeat(depth));
    assert_eq!(parse(import), ConnectOptions::default());
    let long = "n".repeat(depth);
    assert_eq!(parse(format!(r#"{{"name":"{long}"}}"#)).name, Some(long));
}

#[test]
fn a_further_connect_keeps_what_it_does_not_name() {
    let mut options = parse(r#"{"verbose":false,"echo":false,"name":"n"}"#);
    options.update(br#"{"pedantic":false,"name":null}"#).unwrap();
    assert_eq!((options.verbose, options.echo, options.pedantic), (false, false, false));
    assert_eq!(options.name.as_deref(), Some("n"));
    let before = options.clone();
    assert!(options.update(br#"{"verbose":true,"name":1}"#).is_err());
    assert_eq!(options, before);
}

#[test]
fn refusals() {
    let cases = [
        (r#"{"protocol":1,"headers":true,"no_responders":true,"account":""}"#, None),
        (r#"{"protocol":2}"#, Some(ServerError::InvalidClientProtocol)),
        (r#"{"protocol":-1}"#, Some(ServerError::InvalidClientProtocol)),
        (r#"{"no_responders":true}"#, Some(ServerError::NoRespondersRequiresHeaders)),
        (r#"{"account":"A","protocol":2}"#, Some(ServerError::AuthorizationViolation)),
        (r#"{"new_account":true}"#, Some(ServerError::AuthorizationViolation)),
    ];
    for (json, expected) in cases {
        assert_eq!(parse(json).refusal(), expected, "{json}");
    }
}

#[test]
fn secrets_stay_out_of_logs() {
    let shown =
        format!("{:?}", parse(r#"{"user":"me","pass":"s3cret","auth_token":"s3cret","jwt":"s3cret","sig":"s3cret"}"#));
    assert!(shown.contains("me") && !shown.contains("s3cret"), "{shown}");
}
