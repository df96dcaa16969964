//! The official Rust client's JetStream API.

use async_nats::jetstream::{self, consumer, context::PublishErrorKind, kv, stream};
use futures_util::StreamExt as _;

use crate::server;

#[tokio::test]
async fn streams_and_acknowledgements() {
    let server = server(&[]);
    let client = async_nats::connect(server.url()).await.unwrap();
    let js = jetstream::new(client);
    let config =
        stream::Config { name: "S".into(), subjects: vec!["s.>".into()], allow_direct: true, ..Default::default() };
    let mut stream = js.create_stream(config.clone()).await.unwrap();
    js.get_or_create_stream(config).await.unwrap();
    let mut acks = Vec::new();
    for n in 0..500 {
        acks.push(js.publish("s.a", n.to_string().into()).await.unwrap());
    }
    for (n, ack) in acks.into_iter().enumerate() {
        let ack = ack.await.unwrap();
        assert_eq!((ack.sequence, ack.stream.as_str(), ack.duplicate), (n as u64 + 1, "S", false));
    }
    assert_eq!(stream.info().await.unwrap().state.messages, 500);
    assert_eq!(&stream.direct_get(7).await.unwrap().payload[..], b"6");
    assert_eq!(&stream.get_raw_message(8).await.unwrap().payload[..], b"7");
    assert!(stream.delete_message(8).await.unwrap());
    assert!(stream.get_raw_message(8).await.is_err());
    assert_eq!(stream.purge().filter("s.a").keep(10).await.unwrap().purged, 489);
    let mut names: Vec<String> = js.stream_names().map(|name| name.unwrap()).collect().await;
    names.sort();
    assert_eq!(names, ["CAPTURE", "S"]);
    let error = js.publish("nobody.takes.this", "x".into()).await.unwrap().await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::StreamNotFound);
    js.delete_stream("S").await.unwrap();
}

#[tokio::test]
async fn a_key_value_bucket_without_watching() {
    let server = server(&[]);
    let client = async_nats::connect(server.url()).await.unwrap();
    let js = jetstream::new(client);
    let config = kv::Config { bucket: "B".into(), history: 3, ..Default::default() };
    let bucket = js.create_key_value(config).await.unwrap();
    let first = bucket.create("k", "1".into()).await.unwrap();
    assert!(bucket.create("k", "again".into()).await.is_err());
    let second = bucket.update("k", "2".into(), first).await.unwrap();
    assert!(bucket.update("k", "3".into(), first).await.is_err());
    assert_eq!(bucket.get("k").await.unwrap().unwrap(), "2");
    assert_eq!(bucket.entry("k").await.unwrap().unwrap().revision, second);
    bucket.delete("k").await.unwrap();
    assert_eq!(bucket.get("k").await.unwrap(), None);
    bucket.put("k", "4".into()).await.unwrap();
    bucket.purge("k").await.unwrap();
    assert_eq!(bucket.get("k").await.unwrap(), None);
    let mut stream = js.get_stream("KV_B").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1, "the purge marker alone");
}

#[tokio::test]
async fn consumers_of_both_kinds() {
    let server = server(&[]);
    let js = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config = stream::Config { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() };
    let stream = js.create_stream(config).await.unwrap();
    for n in 0..300 {
        js.publish(format!("s.{}", n % 3), n.to_string().into()).await.unwrap().await.unwrap();
    }
    let pull = consumer::pull::Config { durable_name: Some("PULL".into()), ..Default::default() };
    let mut pull = stream.create_consumer(pull).await.unwrap();
    let mut messages = pull.messages().await.unwrap().take(300);
    let mut wanted = 1;
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let info = message.info().unwrap();
        assert_eq!((info.stream_sequence, info.pending), (wanted, 300 - wanted));
        message.double_ack().await.unwrap();
        wanted += 1;
    }
    let info = pull.info().await.unwrap();
    assert_eq!((info.ack_floor.stream_sequence, info.num_ack_pending, info.num_pending), (300, 0, 0));
    let ordered = consumer::pull::OrderedConfig { filter_subject: "s.1".into(), ..Default::default() };
    let ordered = stream.create_consumer(ordered).await.unwrap().messages().await.unwrap().take(100);
    assert_eq!(ordered.map(|message| message.unwrap().payload.len()).count().await, 100);
    let push = consumer::push::OrderedConfig { deliver_subject: "to.me".into(), ..Default::default() };
    let push = stream.create_consumer(push).await.unwrap().messages().await.unwrap().take(300);
    assert_eq!(push.map(|message| message.unwrap()).count().await, 300);
    assert_eq!(stream.consumer_names().count().await, 3);
}

#[tokio::test]
async fn a_key_value_bucket_is_watched_and_listed() {
    let server = server(&[]);
    let js = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let bucket = kv::Config { bucket: "B".into(), history: 5, ..Default::default() };
    let bucket = js.create_key_value(bucket).await.unwrap();
    for n in 0..5 {
        bucket.put("a", n.to_string().into()).await.unwrap();
        bucket.put(format!("k{n}"), "v".into()).await.unwrap();
    }
    bucket.delete("k0").await.unwrap();
    let mut keys: Vec<String> = bucket.keys().await.unwrap().map(|key| key.unwrap()).collect().await;
    keys.sort();
    assert_eq!(keys, ["a", "k1", "k2", "k3", "k4"]);
    let history: Vec<_> = bucket.history("a").await.unwrap().map(|entry| entry.unwrap().value).collect().await;
    assert_eq!(history, ["0", "1", "2", "3", "4"]);
    let mut watch = bucket.watch("a").await.unwrap();
    bucket.put("a", "new".into()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().value, "new");
}

#[tokio::test]
async fn keys_of_a_bucket_live_as_long_as_they_say() {
    let server = server(&[]);
    let client = async_nats::connect(server.url()).await.unwrap();
    let js = jetstream::new(client);
    let second = std::time::Duration::from_secs(1);
    let config = kv::Config { bucket: "B".into(), limit_markers: Some(second), ..Default::default() };
    let bucket = js.create_key_value(config).await.unwrap();
    bucket.put("stays", "1".into()).await.unwrap();
    bucket.create_with_ttl("goes", "1".into(), second).await.unwrap();
    assert!(bucket.create_with_ttl("goes", "again".into(), second).await.is_err());
    assert_eq!(bucket.get("goes").await.unwrap().unwrap(), "1");
    let mut watch = bucket.watch("goes").await.unwrap();
    let told = tokio::time::timeout(crate::PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    assert_ne!(told.operation, kv::Operation::Put, "watchers learn of the end: {told:?}");
    assert_eq!(bucket.get("goes").await.unwrap(), None);
    bucket.create("goes", "2".into()).await.unwrap();
    bucket.purge_with_ttl("stays", second).await.unwrap();
    let mut stream = js.get_stream("KV_B").await.unwrap();
    let deadline = sublog_tests::clock::now() + crate::PATIENCE;
    while stream.info().await.unwrap().state.messages > 1 {
        assert!(sublog_tests::clock::now() < deadline, "the purge's marker stays");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(bucket.get("goes").await.unwrap().unwrap(), "2");
}
