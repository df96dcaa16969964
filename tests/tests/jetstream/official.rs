//! The official Rust client's JetStream API.

use async_nats::jetstream::{self, context::PublishErrorKind, kv, stream};
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
