//! The official Rust client over TLS.

use std::time::Duration;

use futures_util::StreamExt as _;
use sublog_tests::clock::PATIENCE;

use crate::support::Secure;

async fn options(secure: &Secure) -> async_nats::ConnectOptions {
    async_nats::ConnectOptions::new()
        .tls_client_config(secure.config())
        .require_tls(true)
        .user_and_password("user".into(), "password".into())
        .connection_timeout(PATIENCE)
}

#[tokio::test]
async fn publish_subscribe_request() {
    let secure = Secure::start("", "authorization { user: user, password: password }");
    let url = format!("tls://localhost:{}", secure.address().port());
    let client = options(&secure).await.connect(&url).await.unwrap();
    let mut subscriber = client.subscribe("o.>").await.unwrap();
    for n in 0..500 {
        client.publish("o.a", format!("{n}").into()).await.unwrap();
    }
    client.flush().await.unwrap();
    for n in 0..500 {
        let message = tokio::time::timeout(PATIENCE, subscriber.next()).await.unwrap().unwrap();
        assert_eq!(message.payload, format!("{n}"));
    }
    let wrong = async_nats::ConnectOptions::new()
        .tls_client_config(secure.config())
        .user_and_password("user".into(), "wrong".into())
        .connection_timeout(Duration::from_secs(5));
    assert!(wrong.connect(&url).await.is_err());
}

#[tokio::test]
async fn handshake_first() {
    let secure = Secure::start("handshake_first: true", "authorization { user: user, password: password }");
    let url = format!("tls://localhost:{}", secure.address().port());
    let client = options(&secure).await.tls_first().connect(&url).await.unwrap();
    let mut subscriber = client.subscribe("a").await.unwrap();
    client.publish("a", "x".into()).await.unwrap();
    let message = tokio::time::timeout(PATIENCE, subscriber.next()).await.unwrap().unwrap();
    assert_eq!(message.payload, "x");
}
