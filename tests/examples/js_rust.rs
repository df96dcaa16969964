//! JetStream through async-nats; prints what it sees. Arguments: url, part.
//!
//! `tests/clients` runs it against nats-server and Sublog and compares the lines.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull, push};
use async_nats::jetstream::object_store::ObjectMetadata;
use async_nats::jetstream::{self, AckKind, Context, Message, kv, object_store, stream};
use futures_util::StreamExt as _;
use tokio::io::AsyncReadExt as _;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const PATIENCE: Duration = Duration::from_secs(10);

/// Prints what something came to.
fn show<T: Debug, E: Display>(what: &str, result: Result<T, E>) {
    match result {
        Ok(value) => println!("{what}: {value:?}"),
        Err(error) => println!("{what}: error: {error}"),
    }
}

fn one(message: &Message) -> Outcome<String> {
    let info = message.info()?;
    let text = String::from_utf8_lossy(&message.payload);
    let text = if text.len() > 20 { format!("{} bytes", text.len()) } else { text.into_owned() };
    Ok(format!(
        "{} {text:?} stream {} consumer {} delivered {} pending {} of {} {}",
        message.subject,
        info.stream_sequence,
        info.consumer_sequence,
        info.delivered,
        info.pending,
        info.stream,
        info.domain.unwrap_or("no domain"),
    ))
}

fn state(info: &stream::Info) -> String {
    let state = &info.state;
    format!(
        "messages {} first {} last {} subjects {} deleted {:?} consumers {} config {:?}",
        state.messages,
        state.first_sequence,
        state.last_sequence,
        state.subjects_count,
        state.deleted_count,
        state.consumer_count,
        info.config,
    )
}

/// A stream's configuration, without what the server says of itself.
fn plain(mut info: stream::Info) -> stream::Info {
    info.config.metadata.retain(|key, _| !key.starts_with("_nats."));
    info
}

fn about<C>(consumer: &Consumer<C>) -> String
where
    C: jetstream::consumer::IntoConsumerConfig,
{
    let info = consumer.cached_info();
    format!(
        "{} of {}: delivered {}/{} floor {}/{} out {} again {} waiting {} pending {}",
        info.name,
        info.stream_name,
        info.delivered.consumer_sequence,
        info.delivered.stream_sequence,
        info.ack_floor.consumer_sequence,
        info.ack_floor.stream_sequence,
        info.num_ack_pending,
        info.num_redelivered,
        info.num_waiting,
        info.num_pending,
    )
}

async fn streams(js: &Context) -> Outcome {
    show("none", js.get_stream("S").await.map(|_| ()));
    let config = stream::Config {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        description: Some("first".into()),
        max_messages_per_subject: 3,
        allow_direct: true,
        allow_rollup: true,
        ..Default::default()
    };
    let mut made = js.create_stream(config.clone()).await?;
    show("again", js.create_stream(config.clone()).await.map(|_| ()));
    show("other", js.create_stream(stream::Config { max_messages: 5, ..config.clone() }).await.map(|_| ()));
    let overlap = stream::Config { name: "T".into(), subjects: vec!["s.a".into()], ..Default::default() };
    show("overlap", js.create_stream(overlap).await.map(|_| ()));
    show("replicas", js.create_stream(stream::Config { num_replicas: 3, ..config.clone() }).await.map(|_| ()));
    let mut acks = Vec::new();
    for n in 0..12 {
        acks.push(js.publish(format!("s.{}", n % 3), format!("message {n}").into()).await?);
    }
    for ack in acks {
        show("ack", ack.await);
    }
    show("nobody", js.publish("nobody.takes", "x".into()).await?.await);
    let publish = |message: jetstream::message::PublishMessage| async move {
        js.send_publish("s.x", message).await?.await.map_err(Box::<dyn Error + Send + Sync>::from)
    };
    let build = || jetstream::message::PublishMessage::build().payload("x".into());
    show("id", publish(build().message_id("one")).await);
    show("same id", publish(build().message_id("one")).await);
    show("expected", publish(build().expected_last_sequence(13)).await);
    show("not expected", publish(build().expected_last_sequence(3)).await);
    show("of subject", publish(build().expected_last_subject_sequence(14)).await);
    show("not of subject", publish(build().expected_last_subject_sequence(1)).await);
    show("of a stream", publish(build().expected_stream("T")).await);
    show("last id", publish(build().expected_last_message_id("two")).await);
    let info = plain(made.get_info().await?);
    println!("info: {}", state(&info));
    println!("bytes: {}", info.state.bytes);
    show("get", made.get_raw_message(5).await.map(|it| (it.subject, it.sequence, it.payload)));
    show("none there", made.get_raw_message(500).await.map(|_| ()));
    show("last of", made.get_last_raw_message_by_subject("s.1").await.map(|it| (it.sequence, it.payload)));
    show("direct", made.direct_get(6).await.map(|it| (it.subject, it.sequence, it.payload)));
    show("next", made.direct_get_next_for_subject("s.2", Some(7)).await.map(|it| it.sequence));
    show("last directly", made.direct_get_last_for_subject("s.2").await.map(|it| it.sequence));
    show("nothing directly", made.direct_get_last_for_subject("s.none").await.map(|_| ()));
    show("delete", made.delete_message(5).await);
    show("delete again", made.delete_message(5).await);
    show("purge", made.purge().filter("s.1").await.map(|it| it.purged));
    show("keep", made.purge().keep(3).await.map(|it| it.purged));
    show("up to", made.purge().sequence(13).await.map(|it| it.purged));
    println!("after: {}", state(&plain(made.info().await?.clone())));
    let updated = js.update_stream(stream::Config { description: None, max_messages: 7, ..config.clone() }).await;
    show("update", updated.map(|info| state(&plain(info))));
    show("bad update", js.update_stream(stream::Config { name: "NONE".into(), ..config }).await.map(|_| ()));
    let mut names: Vec<String> = js.stream_names().filter_map(|name| async { name.ok() }).collect().await;
    names.sort();
    println!("names: {names:?}");
    let mut listed: Vec<String> =
        js.streams().filter_map(|it| async { it.ok().map(|it| it.config.name) }).collect().await;
    listed.sort();
    println!("listed: {listed:?}");
    show("by subject", js.stream_by_subject("s.1").await);
    let account = js.query_account().await?;
    println!("account: {} streams {} consumers", account.streams, account.consumers);
    show("remove", js.delete_stream("S").await.map(|it| it.success));
    show("remove again", js.delete_stream("S").await.map(|it| it.success));
    Ok(())
}

async fn filled(js: &Context, messages: usize) -> Outcome<stream::Stream> {
    let config = stream::Config { name: "S".into(), subjects: vec!["s.*".into()], ..Default::default() };
    let made = js.create_stream(config).await?;
    for n in 0..messages {
        js.publish(format!("s.{}", n % 3), n.to_string().into()).await?.await?;
    }
    Ok(made)
}

async fn consumers(js: &Context) -> Outcome {
    let stream = filled(js, 12).await?;
    let config = pull::Config {
        durable_name: Some("D".into()),
        ack_policy: AckPolicy::Explicit,
        max_deliver: 3,
        ..Default::default()
    };
    let mut durable = stream.create_consumer(config.clone()).await?;
    println!("made: {}", about(&durable));
    let other = pull::Config { ack_policy: AckPolicy::None, ..config.clone() };
    show("other", stream.create_consumer(other).await.map(|_| ()));
    let filtered = pull::Config { filter_subject: "s.1".into(), durable_name: Some("F".into()), ..config.clone() };
    println!("filtered: {}", about(&stream.create_consumer(filtered).await?));
    show("not there", stream.get_consumer::<pull::Config>("NONE").await.map(|_| ()));
    let mut batch = durable.fetch().max_messages(4).messages().await?;
    let mut got = Vec::new();
    while let Some(message) = batch.next().await {
        let message = message?;
        println!("fetched: {}", one(&message)?);
        got.push(message);
    }
    let [first, second, third, fourth] = got.as_slice() else { return Err("not four messages".into()) };
    show("double ack", first.double_ack().await);
    second.ack_with(AckKind::Nak(None)).await?;
    third.ack_with(AckKind::Term).await?;
    // Acks are dealt with in their order.
    show("barrier", fourth.double_ack().await);
    let mut batch = durable.batch().max_messages(3).expires(PATIENCE).messages().await?;
    while let Some(message) = batch.next().await {
        let message = message?;
        println!("batch: {}", one(&message)?);
        message.double_ack().await?;
    }
    durable.info().await?;
    println!("info: {}", about(&durable));
    let mut messages = durable.stream().max_messages_per_batch(2).expires(PATIENCE).messages().await?.take(6);
    while let Some(message) = messages.next().await {
        let message = message?;
        println!("streamed: {}", one(&message)?);
        message.double_ack().await?;
    }
    drop(messages);
    let mut nothing = durable.fetch().max_messages(5).messages().await?;
    println!("nothing: {:?}", nothing.next().await.is_none());
    let info = stream.consumer_info("D").await?;
    println!("at the end: {} {}", info.num_pending, info.num_ack_pending);
    show("delete", stream.delete_consumer("D").await.map(|it| it.success));
    show("delete again", stream.delete_consumer("D").await.map(|_| ()));
    let mut names: Vec<String> = stream.consumer_names().filter_map(|name| async { name.ok() }).collect().await;
    names.sort();
    println!("names: {names:?}");
    for policy in [
        DeliverPolicy::All,
        DeliverPolicy::Last,
        DeliverPolicy::New,
        DeliverPolicy::LastPerSubject,
        DeliverPolicy::ByStartSequence { start_sequence: 9 },
    ] {
        let made = stream
            .create_consumer(pull::Config {
                deliver_policy: policy,
                filter_subject: "s.*".into(),
                ..Default::default()
            })
            .await?;
        let mut batch = made.fetch().max_messages(20).messages().await?;
        let mut seqs = Vec::new();
        while let Some(message) = batch.next().await {
            seqs.push(message?.info()?.stream_sequence);
        }
        println!("{policy:?}: {seqs:?}");
    }
    Ok(())
}

async fn pushed(client: &async_nats::Client, js: &Context) -> Outcome {
    let stream = filled(js, 9).await?;
    let config = push::Config {
        deliver_subject: client.new_inbox(),
        durable_name: Some("P".into()),
        ack_policy: AckPolicy::Explicit,
        ..Default::default()
    };
    let made = stream.create_consumer(config).await?;
    let mut messages = made.messages().await?.take(9);
    while let Some(message) = messages.next().await {
        let message = message?;
        println!("pushed: {}", one(&message)?);
        message.double_ack().await?;
    }
    let ordered = push::OrderedConfig { deliver_subject: client.new_inbox(), ..Default::default() };
    let mut messages = stream.create_consumer(ordered).await?.messages().await?.take(9);
    while let Some(message) = messages.next().await {
        println!("ordered: {}", one(&message?)?);
    }
    let ordered = pull::OrderedConfig { filter_subject: "s.2".into(), ..Default::default() };
    let mut messages = stream.create_consumer(ordered).await?.messages().await?.take(3);
    while let Some(message) = messages.next().await {
        println!("ordered pull: {}", one(&message?)?);
    }
    Ok(())
}

fn entry(entry: &kv::Entry) -> String {
    let value = String::from_utf8_lossy(&entry.value);
    format!(
        "{}/{} {value:?} revision {} {:?} {}",
        entry.bucket, entry.key, entry.revision, entry.operation, entry.delta
    )
}

async fn buckets(js: &Context) -> Outcome {
    show("none", js.get_key_value("B").await.map(|_| ()));
    let config = kv::Config { bucket: "B".into(), history: 3, description: "d".into(), ..Default::default() };
    let bucket = js.create_key_value(config).await?;
    show("create", bucket.create("k", "1".into()).await);
    show("create again", bucket.create("k", "2".into()).await);
    show("put", bucket.put("k", "2".into()).await);
    show("update", bucket.update("k", "3".into(), 2).await);
    show("stale update", bucket.update("k", "4".into(), 2).await);
    show("bad key", bucket.put("a b", "x".into()).await);
    for n in 0..4 {
        bucket.put("many", n.to_string().into()).await?;
    }
    show("get", bucket.get("k").await);
    show("nothing", bucket.get("none").await);
    show("entry", bucket.entry("many").await.map(|it| it.as_ref().map(entry)));
    show("of revision", bucket.entry_for_revision("k", 2).await.map(|it| it.as_ref().map(entry)));
    let mut watch = bucket.watch_with_history("many").await?.take(1);
    while let Some(seen) = watch.next().await {
        println!("watched: {}", entry(&seen?));
    }
    drop(watch);
    show("delete", bucket.delete("k").await);
    show("deleted", bucket.entry("k").await.map(|it| it.as_ref().map(entry)));
    let mut history = bucket.history("k").await?;
    while let Some(seen) = history.next().await {
        println!("history: {}", entry(&seen?));
    }
    show("create after delete", bucket.create("k", "5".into()).await);
    show("purge", bucket.purge("many").await);
    let mut keys: Vec<String> = bucket.keys().await?.filter_map(|key| async { key.ok() }).collect().await;
    keys.sort();
    println!("keys: {keys:?}");
    let mut all = bucket.watch_all().await?;
    bucket.put("later", "6".into()).await?;
    if let Some(seen) = all.next().await {
        println!("all: {}", entry(&seen?));
    }
    let bound = js.get_key_value("B").await?;
    show("values", bound.status().await.map(|it| it.values()));
    show("remove", js.delete_key_value("B").await.map(|it| it.success));
    show("remove again", js.delete_key_value("B").await.map(|it| it.success));
    Ok(())
}

fn object(info: &object_store::ObjectInfo) -> String {
    let (size, chunks, digest) = (info.size, info.chunks, info.digest.as_deref().unwrap_or("none"));
    let (name, bucket, deleted, link) = (&info.name, &info.bucket, info.deleted, info.options.is_some());
    format!("{bucket}/{name} {:?} {size} bytes in {chunks} {digest} deleted {deleted} options {link}", info.description)
}

async fn objects(js: &Context) -> Outcome {
    show("none", js.get_object_store("O").await.map(|_| ()));
    let config = object_store::Config { bucket: "O".into(), description: Some("d".into()), ..Default::default() };
    let store = js.create_object_store(config).await?;
    let large: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).take(1_000_003).collect();
    let meta = ObjectMetadata { name: "large".into(), description: Some("many chunks".into()), ..Default::default() };
    show("put", store.put(meta, &mut large.as_slice()).await.map(|it| object(&it)));
    show("small", store.put("small", &mut b"abc".as_slice()).await.map(|it| object(&it)));
    show("empty", store.put("empty", &mut b"".as_slice()).await.map(|it| object(&it)));
    show("info", store.info("large").await.map(|it| object(&it)));
    show("nothing", store.info("none").await.map(|it| object(&it)));
    for name in ["large", "small", "empty"] {
        let mut read = Vec::new();
        store.get(name).await?.read_to_end(&mut read).await?;
        let right = name != "large" || read == large;
        println!("get {name}: {} bytes {right}", read.len());
    }
    show("again", store.put("small", &mut b"other".as_slice()).await.map(|it| object(&it)));
    let link = store.get("small").await?;
    show("link", store.add_link("link", &link).await.map(|it| object(&it)));
    show("delete", store.delete("empty").await);
    let mut names = Vec::new();
    let mut listed = store.list().await?;
    while let Some(info) = listed.next().await {
        names.push(object(&info?));
    }
    names.sort();
    names.iter().for_each(|name| println!("listed: {name}"));
    let mut store = js.get_object_store("O").await?;
    show("seal", store.seal().await);
    show("sealed", store.put("new", &mut b"x".as_slice()).await.map(|_| ()));
    show("remove", js.delete_object_store("O").await);
    show("remove again", js.delete_object_store("O").await);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(part)) = (arguments.next(), arguments.next()) else { return Err("url and part".into()) };
    let client = async_nats::connect(url).await?;
    let js = jetstream::new(client.clone());
    let work = async {
        match part.as_str() {
            "streams" => streams(&js).await,
            "consumers" => consumers(&js).await,
            "pushed" => pushed(&client, &js).await,
            "buckets" => buckets(&js).await,
            "objects" => objects(&js).await,
            other => Err(format!("no part {other}").into()),
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work).await?
}
