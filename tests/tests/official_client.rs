//! The official Rust client (async-nats, pinned) against this server, through its public API only.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests report by panicking")]

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, Subscriber};
use futures_util::StreamExt as _;
use sublog_tests::TestServer;
use sublog_tests::clock::PATIENCE;

fn server(args: &[&str]) -> TestServer {
    TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), args)
}

/// The next message, within reason.
async fn next(subscriber: &mut Subscriber) -> async_nats::Message {
    tokio::time::timeout(PATIENCE, subscriber.next()).await.expect("a message in time").expect("a message")
}

fn text(message: &async_nats::Message) -> &str {
    std::str::from_utf8(&message.payload).unwrap()
}

/// Waits until the server has carried out all that `client` sent: its `flush` only empties its own buffer, while a
/// request that nobody serves is answered in its turn.
async fn sync(client: &Client) {
    let error = client.request("nobody.serves.this", "".into()).await.unwrap_err();
    assert_eq!(error.kind(), async_nats::RequestErrorKind::NoResponders);
}

/// Publishes the numbers of `range` as text and sees them through.
async fn publish(client: &Client, subject: &str, range: std::ops::Range<usize>) {
    for n in range {
        client.publish(subject.to_owned(), n.to_string().into()).await.unwrap();
    }
    sync(client).await;
}

#[tokio::test]
async fn publish_subscribe_and_headers() {
    let server = server(&[]);
    let client = async_nats::connect(server.url()).await.unwrap();
    assert!(client.server_info().headers);
    let mut subscriber = client.subscribe("o.>").await.unwrap();
    publish(&client, "o.a", 0..100).await;
    for n in 0..100 {
        assert_eq!(text(&next(&mut subscriber).await), n.to_string());
    }
    let mut headers = HeaderMap::new();
    headers.append("Key", "one");
    headers.append("Key", "two");
    client.publish_with_headers("o.h", headers, "with".into()).await.unwrap();
    let message = next(&mut subscriber).await;
    let values: Vec<&str> = message.headers.as_ref().unwrap().get_all("Key").map(|v| v.as_str()).collect();
    assert_eq!(values, ["one", "two"]);
    let big = vec![7_u8; client.server_info().max_payload];
    client.publish("o.big", big.clone().into()).await.unwrap();
    assert!(next(&mut subscriber).await.payload == big);
    assert!(client.publish("o.big", vec![7_u8; big.len() + 1].into()).await.is_err());
}

#[tokio::test]
async fn requests_are_answered_or_refused_at_once() {
    let server = server(&[]);
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut service = client.queue_subscribe("svc.*", "workers".to_owned()).await.unwrap();
    sync(&client).await;
    let answering = client.clone();
    let answers = tokio::spawn(async move {
        for _ in 0..200 {
            let request = next(&mut service).await;
            let answer = format!("re: {}", text(&request));
            answering.publish(request.reply.unwrap(), answer.into()).await.unwrap();
        }
    });
    for n in 0..200 {
        let answer = client.request(format!("svc.{n}"), n.to_string().into()).await.unwrap();
        assert_eq!(text(&answer), format!("re: {n}"));
    }
    answers.await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(2), client.request("nobody", "x".into())).await.unwrap();
    assert_eq!(error.unwrap_err().kind(), async_nats::RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn a_queue_group_gets_each_message_once() {
    let server = server(&[]);
    let publisher = async_nats::connect(server.url()).await.unwrap();
    let mut members = Vec::new();
    for _ in 0..3 {
        let member = async_nats::connect(server.url()).await.unwrap();
        let subscriber = member.queue_subscribe("q.*", "crew".to_owned()).await.unwrap();
        sync(&member).await;
        members.push((member, subscriber));
    }
    publish(&publisher, "q.x", 0..600).await;
    let mut seen = Vec::new();
    for (member, mut subscriber) in members {
        // Drain delivers what is under way and then ends the stream.
        sync(&member).await;
        subscriber.drain().await.unwrap();
        let before = seen.len();
        while let Some(message) = tokio::time::timeout(PATIENCE, subscriber.next()).await.unwrap() {
            seen.push(text(&message).parse::<usize>().unwrap());
        }
        assert!(seen.len() - before > 80, "one of three got {} of 600", seen.len() - before);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn unsubscribe_after_and_drain() {
    let server = server(&[]);
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut limited = client.subscribe("l.*").await.unwrap();
    limited.unsubscribe_after(5).await.unwrap();
    publish(&client, "l.a", 0..20).await;
    let mut count = 0;
    while tokio::time::timeout(PATIENCE, limited.next()).await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 5);
    let mut subscriber = client.subscribe("l.*").await.unwrap();
    publish(&client, "l.a", 0..10).await;
    client.drain().await.unwrap();
    let mut count = 0;
    while tokio::time::timeout(PATIENCE, subscriber.next()).await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 10);
}

#[tokio::test]
async fn replay_is_a_plain_subscription() {
    let server = server(&[]);
    let client = async_nats::connect(server.url()).await.unwrap();
    publish(&client, "cms.wmarchive.a", 0..500).await;
    publish(&client, "atlas.a", 0..50).await;
    let mut replay = client.subscribe("$REPLAY.all.cms.>").await.unwrap();
    for n in 0..500 {
        let message = next(&mut replay).await;
        assert_eq!((message.subject.as_str(), text(&message)), ("cms.wmarchive.a", n.to_string().as_str()));
        let headers = message.headers.unwrap();
        assert_eq!(headers.get("Nats-Sequence").unwrap().as_str(), (n + 1).to_string());
        assert_eq!(headers.get("Nats-Stream").unwrap().as_str(), "CAPTURE");
    }
    publish(&client, "cms.live", 0..3).await;
    for n in 0..3 {
        assert_eq!(text(&next(&mut replay).await), n.to_string());
    }
    let mut last = client.subscribe("$REPLAY.last.2.cms.wmarchive.>").await.unwrap();
    last.unsubscribe_after(2).await.unwrap();
    assert_eq!((text(&next(&mut last).await), text(&next(&mut last).await)), ("498", "499"));
}

#[tokio::test]
async fn it_reconnects_to_a_killed_server_that_forgot_nothing() {
    let mut server = server(&[]);
    let (events, mut seen) = tokio::sync::mpsc::channel(64);
    let client = ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(20))
        .event_callback(move |event| {
            let events = events.clone();
            async move {
                // The test looks at the first few only.
                let _ = events.try_send(event);
            }
        })
        .connect(server.url())
        .await
        .unwrap();
    let mut live = client.subscribe("r.*").await.unwrap();
    publish(&client, "r.a", 0..100).await;
    for n in 0..100 {
        assert_eq!(text(&next(&mut live).await), n.to_string());
    }
    // This client's `flush` asks the server for nothing; that a message is on disk shows in a replay.
    let mut stored = client.subscribe("$REPLAY.all.r.a").await.unwrap();
    for n in 0..100 {
        assert_eq!(text(&next(&mut stored).await), n.to_string());
    }
    stored.unsubscribe().await.unwrap();
    server.kill9();
    server.restart();
    // From the crash on: gone, then back.
    let mut states = Vec::new();
    while states.last() != Some(&"back") {
        let event = tokio::time::timeout(PATIENCE, seen.recv()).await.expect("an event in time").expect("an event");
        match event {
            Event::Disconnected => states.push("gone"),
            Event::Connected if states.last() == Some(&"gone") => states.push("back"),
            _ => {}
        }
    }
    publish(&client, "r.a", 100..200).await;
    for n in 100..200 {
        assert_eq!(text(&next(&mut live).await), n.to_string());
    }
    let mut replay = client.subscribe("$REPLAY.all.r.a").await.unwrap();
    for n in 0..200 {
        assert_eq!(text(&next(&mut replay).await), n.to_string());
    }
}

#[tokio::test]
async fn wrong_credentials_are_an_authorization_violation() {
    let server = server(&["--user", "u", "--pass", "p"]);
    let right = ConnectOptions::with_user_and_password("u".into(), "p".into()).connect(server.url()).await.unwrap();
    right.flush().await.unwrap();
    let wrong = ConnectOptions::with_user_and_password("u".into(), "q".into()).connect(server.url()).await.unwrap_err();
    assert_eq!(wrong.kind(), async_nats::ConnectErrorKind::AuthorizationViolation);
}
