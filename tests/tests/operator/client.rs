//! The official Rust client (async-nats, pinned) with the credentials that `nsc` makes.

use std::time::Duration;

use async_nats::{ConnectOptions, Event};
use futures_util::StreamExt as _;
use serde_json::json;
use sublog_tests::clock::PATIENCE;
use sublog_tests::jwt;

/// What stands in a `.creds` file.
fn credentials(account: &str, user: &str) -> String {
    let rule = |name: &str, text: &str| format!("-----BEGIN {name}-----\n{text}\n------END {name}------\n\n");
    let seed = jwt::user(user).seed().unwrap();
    rule("NATS USER JWT", &jwt::user_token(account, user, json!({}))) + &rule("USER NKEY SEED", &seed)
}

#[tokio::test]
async fn credentials_let_in_until_they_are_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "operator: {}\nresolver {{ type: full, dir: {:?} }}\njetstream: enabled\n",
        jwt::operator_token(json!({})),
        folder.path().join("jwt").to_str().unwrap()
    );
    let configured = crate::start(&text);
    let url = configured.server.url();
    let connect = |account: &str, user: &str| {
        ConnectOptions::with_credentials(&credentials(account, user)).unwrap().connect(url.clone())
    };
    let system = connect("SYS", "sys").await.unwrap();
    let push = async |more: serde_json::Value| {
        let mut claims =
            json!({"nats": {"limits": {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}}});
        jwt::merge(&mut claims, more);
        let token = jwt::account_token("A", claims);
        let answer = system.request("$SYS.REQ.CLAIMS.UPDATE", token.into()).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["data"]["code"], 200, "{answer}");
    };
    push(json!({})).await;
    let (tell, mut told) = tokio::sync::mpsc::channel(16);
    let options = ConnectOptions::with_credentials(&credentials("A", "u")).unwrap();
    let options = options.max_reconnects(1).event_callback(move |event| {
        let tell = tell.clone();
        async move { drop(tell.send(event).await) }
    });
    let client = options.connect(url.clone()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client.clone());
    let config =
        async_nats::jetstream::stream::Config { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() };
    let stream = jetstream.create_stream(config).await.unwrap();
    assert_eq!(jetstream.publish("s.a", "one".into()).await.unwrap().await.unwrap().sequence, 1);
    assert_eq!(&stream.get_raw_message(1).await.unwrap().payload[..], b"one");
    let mut subscriber = client.subscribe("x").await.unwrap();
    client.publish("x", "hi".into()).await.unwrap();
    let message = tokio::time::timeout(PATIENCE, subscriber.next()).await.unwrap().unwrap();
    assert_eq!(&message.payload[..], b"hi");

    push(json!({"nats": {"revocations": {"*": jwt::now()}}})).await;
    let revoked = async {
        while let Some(event) = told.recv().await {
            if matches!(event, Event::Disconnected | Event::Closed) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, revoked).await.unwrap());
    let again = tokio::time::timeout(Duration::from_secs(30), connect("A", "u")).await.unwrap();
    assert!(again.is_err(), "a revoked user is let in");
}
