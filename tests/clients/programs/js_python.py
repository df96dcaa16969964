"""JetStream through nats-py; prints what it sees. Arguments: url, part."""

import asyncio
import sys

import nats
from nats.js.api import (
    AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, KeyValueConfig, ObjectMeta, ObjectStoreConfig, RetentionPolicy, StorageType, StreamConfig,
)
from nats.micro import ServiceConfig, add_service
from seen import attempt, message, show

PATIENCE = 10.0


async def publishing(nc, js):
    await attempt("add", js.add_stream(name="S", subjects=["s.*"], duplicate_window=60, max_msgs_per_subject=3))
    await attempt("plain", js.publish("s.a", b"1"))
    await attempt("id", js.publish("s.a", b"2", headers={"Nats-Msg-Id": "one"}))
    await attempt("same id", js.publish("s.b", b"3", headers={"Nats-Msg-Id": "one"}))
    for header, values in {
        "Nats-Expected-Stream": ["S", "T"],
        "Nats-Expected-Last-Sequence": ["2", "7", "x"],
        "Nats-Expected-Last-Subject-Sequence": ["3", "1", "0"],
        "Nats-Expected-Last-Msg-Id": ["one", "two"],
        "Nats-Rollup": ["sub", "all", "neither"],
        "Nats-TTL": ["1s", "never", "x"],
        "Nats-Msg-Id": ["x" * 300],
        "Nats-Required-Api-Level": ["0", "99", "x"],
    }.items():
        for value in values:
            await attempt(f"{header} {value[:10]}", js.publish("s.a", b"x", headers={header: value}))
    await attempt("wrong stream", js.publish("s.a", b"x", stream="T"))
    await attempt("nobody", js.publish("nobody.takes", b"x"))
    await attempt("two expectations", js.publish("s.z", b"", headers={"Nats-Expected-Last-Subject-Sequence": "0", "Nats-Expected-Last-Subject-Sequence-Subject": "s.q"}))
    await attempt("empty", js.publish("s.a", b""))
    for _ in range(4):
        await js.publish("s.many", b"m")
    await attempt("async", await js.publish_async("s.c", b"later"))
    await attempt("info", js.stream_info("S", subjects_filter="s.>"))
    for limit in [dict(max_msgs=2), dict(max_bytes=100), dict(max_msg_size=10), dict(max_msgs=2, max_msgs_per_subject=1, discard_new_per_subject=True)]:
        await attempt(f"limits {limit}", js.add_stream(name="L", subjects=["l.*"], discard=DiscardPolicy.NEW, **limit))
        for n, subject in enumerate(["l.a", "l.b", "l.a", "l.c"]):
            await attempt(f"publish {n}", js.publish(subject, b"payload " * n))
        await attempt("state", js.stream_info("L"))
        await attempt("delete", js.delete_stream("L"))


async def streams(nc, js):
    await attempt("none", js.streams_info())
    await attempt("not there", js.stream_info("NONE"))
    await attempt("add", js.add_stream(StreamConfig(name="A", subjects=["a.>"], description="first", max_age=3600, metadata={"k": "v"})))
    await attempt("add again", js.add_stream(StreamConfig(name="A", subjects=["a.>"], description="first", max_age=3600, metadata={"k": "v"})))
    await attempt("add different", js.add_stream(name="A", subjects=["b.>"]))
    await attempt("overlap", js.add_stream(name="B", subjects=["a.b"]))
    await attempt("memory", js.add_stream(name="M", subjects=["m"], storage=StorageType.MEMORY, retention=RetentionPolicy.INTEREST))
    await attempt("bad subject", js.add_stream(name="X", subjects=["a..b"]))
    await attempt("replicas", js.add_stream(name="X", subjects=["x"], num_replicas=3))
    await attempt("api subjects", js.add_stream(name="X", subjects=["$JS.API.>"]))
    await attempt("no subjects", js.add_stream(name="N"))
    await attempt("update", js.update_stream(StreamConfig(name="A", subjects=["a.>", "c"], description="second", max_msgs=100, allow_direct=True)))
    await attempt("update retention", js.update_stream(StreamConfig(name="A", subjects=["a.>"], retention=RetentionPolicy.WORK_QUEUE)))
    await attempt("update storage", js.update_stream(StreamConfig(name="A", subjects=["a.>"], storage=StorageType.MEMORY)))
    await attempt("update nothing there", js.update_stream(StreamConfig(name="NONE", subjects=["n"])))
    for n in range(9):
        await js.publish(f"a.{n % 3}", b"%d" % n, headers={"N": str(n)})
    await attempt("get", js.get_msg("A", 3))
    await attempt("get direct", js.get_msg("A", 3, direct=True))
    await attempt("get last", js.get_last_msg("A", "a.1"))
    await attempt("get last direct", js.get_last_msg("A", "a.1", direct=True))
    await attempt("get next", js.get_msg("A", 4, subject="a.0", next=True))
    await attempt("get next direct", js.get_msg("A", 4, subject="a.0", next=True, direct=True))
    await attempt("get none", js.get_msg("A", 30))
    await attempt("get none direct", js.get_msg("A", 30, direct=True))
    await attempt("delete message", js.delete_msg("A", 5))
    await attempt("delete message again", js.delete_msg("A", 5))
    await attempt("get deleted", js.get_msg("A", 5))
    await attempt("info with deleted", js.stream_info("A", subjects_filter=">"))
    await attempt("purge subject", js.purge_stream("A", subject="a.1"))
    await attempt("purge keep", js.purge_stream("A", keep=2))
    await attempt("purge seq", js.purge_stream("A", seq=9))
    await attempt("purge both", js.purge_stream("A", seq=9, keep=1))
    await attempt("purge all", js.purge_stream("A"))
    await attempt("info purged", js.stream_info("A"))
    await attempt("names by subject", js.find_stream_name_by_subject("c"))
    await attempt("names by nobody's subject", js.find_stream_name_by_subject("zzz"))
    show("list", sorted((info.config.name, info.state.messages) for info in await js.streams_info()))
    await attempt("account", js.account_info())
    for name in ["A", "M", "N", "NONE"]:
        await attempt(f"delete {name}", js.delete_stream(name))


async def fill(js, count=12, **config):
    await js.add_stream(name="S", subjects=["s.>"], **config)
    for n in range(count):
        await js.publish(f"s.{n % 3}", b"%d" % n, headers={"N": str(n)})


async def fetch(label, subscription, *args, **kwargs):
    try:
        got = await subscription.fetch(*args, **kwargs)
    except Exception as error:
        # What a timeout says depends on which of the client's clocks ran out first.
        show(label, f"error: {type(error).__name__} {'' if isinstance(error, asyncio.TimeoutError) else error}")
        return []
    show(label, [message(one) for one in got])
    return got


async def consumers(nc, js):
    await fill(js)
    await attempt("durable", js.add_consumer("S", ConsumerConfig(durable_name="D", ack_policy=AckPolicy.EXPLICIT, ack_wait=30, max_deliver=3, description="d", metadata={"a": "b"})))
    await attempt("again", js.add_consumer("S", ConsumerConfig(durable_name="D", ack_policy=AckPolicy.EXPLICIT, ack_wait=30, max_deliver=3, description="d", metadata={"a": "b"})))
    await attempt("updated", js.add_consumer("S", ConsumerConfig(durable_name="D", ack_policy=AckPolicy.EXPLICIT, ack_wait=31, max_deliver=4)))
    await attempt("changed policy", js.add_consumer("S", ConsumerConfig(durable_name="D", ack_policy=AckPolicy.NONE)))
    await attempt("named", js.add_consumer("S", ConsumerConfig(name="E", filter_subject="s.1", inactive_threshold=30)))
    await attempt("two filters", js.add_consumer("S", ConsumerConfig(name="F", filter_subjects=["s.0", "s.2"])))
    await attempt("overlapping filters", js.add_consumer("S", ConsumerConfig(name="G", filter_subjects=["s.*", "s.2"])))
    await attempt("both filters", js.add_consumer("S", ConsumerConfig(name="G", filter_subject="s.1", filter_subjects=["s.2"])))
    await attempt("foreign filter", js.add_consumer("S", ConsumerConfig(name="G", filter_subject="t.1")))
    await attempt("no stream", js.add_consumer("NONE", ConsumerConfig(name="G")))
    await attempt("bad policy", js.add_consumer("S", ConsumerConfig(name="G", deliver_policy=DeliverPolicy.BY_START_SEQUENCE)))
    await attempt("backoff too long", js.add_consumer("S", ConsumerConfig(name="G", ack_policy=AckPolicy.EXPLICIT, max_deliver=1, backoff=[1, 2])))
    await attempt("bad name", js.add_consumer("S", ConsumerConfig(name="a.b")))
    show("names", sorted(info.name for info in await js.consumers_info("S")))
    await attempt("info", js.consumer_info("S", "D"))
    await attempt("info of nobody", js.consumer_info("S", "NONE"))
    sub = await js.pull_subscribe_bind("D", "S")
    got = await fetch("first", sub, 4, timeout=PATIENCE)
    await attempt("ack sync", got[0].ack_sync(timeout=PATIENCE))
    await got[1].nak()
    await got[2].term()
    # Acks are dealt with in their order: once this one is answered, what was given back waits before all that is new.
    await attempt("barrier", got[3].ack_sync(timeout=PATIENCE))
    again = await fetch("nak", sub, 2, timeout=PATIENCE)
    await again[0].nak(delay=0.4)
    await again[1].in_progress()
    later = []
    for _attempt in range(40):
        if len(later) == 8:
            break
        try:
            later += await sub.fetch(8 - len(later), timeout=0.5)
        except nats.errors.TimeoutError:
            continue
    show("delayed", sorted((one.metadata.sequence.stream, one.metadata.num_delivered) for one in later))
    for one in [again[1], *later]:
        await one.ack_sync(timeout=PATIENCE)
    await attempt("nothing", sub.fetch(1, timeout=0.3))
    await attempt("info at the end", js.consumer_info("S", "D"))
    await attempt("delete", js.delete_consumer("S", "D"))
    await attempt("delete again", js.delete_consumer("S", "D"))
    for policy in [
        dict(deliver_policy=DeliverPolicy.ALL), dict(deliver_policy=DeliverPolicy.LAST), dict(deliver_policy=DeliverPolicy.NEW),
        dict(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT), dict(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=7),
        dict(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT, filter_subject="s.2"), dict(headers_only=True, filter_subject="s.2"),
        dict(ack_policy=AckPolicy.ALL, max_ack_pending=5), dict(ack_policy=AckPolicy.NONE),
    ]:
        label = ", ".join(f"{key} {getattr(value, 'value', value)}" for key, value in policy.items())
        config = ConsumerConfig(name="P", **policy)
        await attempt(f"add with {label}", js.add_consumer("S", config))
        await fetch(label, await js.pull_subscribe_bind("P", "S"), 20, timeout=0.4)
        await attempt("delete", js.delete_consumer("S", "P"))


async def redelivery(nc, js):
    await fill(js, 2)
    advisories = await nc.subscribe("$JS.EVENT.ADVISORY.CONSUMER.>")
    await js.add_consumer("S", ConsumerConfig(durable_name="B", ack_policy=AckPolicy.EXPLICIT, max_deliver=3, backoff=[0.2, 0.4]))
    await attempt("backoff", js.consumer_info("S", "B"))
    sub = await js.pull_subscribe_bind("B", "S")
    for turn in range(4):
        await fetch(f"turn {turn}", sub, 2, timeout=1.5)
    show("advisories", sorted([(await advisories.next_msg(timeout=PATIENCE)).subject for _ in range(3)]))
    info = await js.consumer_info("S", "B")
    show("left", [info.num_pending, info.num_ack_pending, info.num_redelivered, info.delivered.consumer_seq, info.delivered.stream_seq])
    await attempt("pause", js.pause_consumer("S", "B", "2100-01-01T00:00:00Z"))
    await attempt("resume", js.resume_consumer("S", "B"))


async def pushed(nc, js):
    await fill(js)

    async def take(label, count, subject, **options):
        sub = await js.subscribe(subject, **options)
        show(label, [message(await sub.next_msg(timeout=PATIENCE)) for _ in range(count)])
        info = await sub.consumer_info()
        config = info.config
        show(f"{label} is", [config.deliver_policy, config.ack_policy, config.flow_control, config.headers_only, bool(config.mem_storage), info.num_pending, info.push_bound])
        await sub.unsubscribe()

    await take("plain", 12, "s.>")
    await take("filter", 4, "s.1")
    await take("ordered", 12, "s.>", ordered_consumer=True)
    await take("ordered headers", 4, "s.2", ordered_consumer=True, headers_only=True)
    await take("last", 1, "s.>", deliver_policy=DeliverPolicy.LAST)
    await take("flow control", 12, "s.>", flow_control=True, idle_heartbeat=1)
    await take("durable", 12, "s.>", durable="D")
    # A server sees that nobody listens any more when it comes to it.
    async def left():
        while (await js.consumer_info("S", "D")).push_bound:
            await asyncio.sleep(0.02)

    await asyncio.wait_for(left(), PATIENCE)
    await attempt("the durable", js.consumer_info("S", "D"))
    members = [await js.subscribe("s.>", queue="W", durable="W", manual_ack=True) for _ in range(2)]
    seen = []
    for sub in members:
        while True:
            try:
                one = await sub.next_msg(timeout=0.5)
            except nats.errors.TimeoutError:
                break
            await one.ack_sync(timeout=PATIENCE)
            seen.append(int(one.data))
    show("shared", sorted(seen))
    await attempt("taken by another queue", js.subscribe("s.>", queue="others", durable="W"))
    await attempt("bound without a queue", js.subscribe("s.>", durable="W"))
    await attempt("W", js.consumer_info("S", "W"))


def entry(got):
    return got and {"key": got.key, "value": got.value, "revision": got.revision, "delta": got.delta, "operation": got.operation}


async def buckets(nc, js):
    kv = await js.create_key_value(KeyValueConfig(bucket="B", history=3, description="a bucket", max_value_size=100))
    await attempt("stream", js.stream_info("KV_B"))
    await attempt("create", kv.create("a", b"1"))
    await attempt("create again", kv.create("a", b"2"))
    await attempt("update", kv.update("a", b"3", last=1))
    await attempt("update wrong", kv.update("a", b"4", last=1))
    await attempt("put", kv.put("b.c", b"5"))
    await attempt("large", kv.put("b.d", b"x" * 200))
    await attempt("bad key", kv.put("b c", b"x"))
    for key, revision in [("a", None), ("a", 1), ("a", 3), ("a", 99), ("none", None)]:
        try:
            show(f"get {key} {revision}", entry(await kv.get(key, revision=revision)))
        except Exception as error:
            show(f"get {key} {revision}", f"{type(error).__name__} {error}")
    await attempt("delete", kv.delete("a"))
    await attempt("delete wrong", kv.delete("b.c", last=1))
    await attempt("get deleted", kv.get("a"))
    await attempt("create deleted", kv.create("a", b"6"))
    for n in range(5):
        await kv.put("many", b"%d" % n)
    show("history", [entry(one) for one in await kv.history("many")])
    for filters in [None, ["b."], ["b.", "a"], ["nothing"]]:
        try:
            show(f"keys {filters}", sorted(await kv.keys(filters=filters)))
        except Exception as error:
            show(f"keys {filters}", f"{type(error).__name__} {error}")

    async def watch(label, *args, **options):
        watcher, seen = await kv.watch(*args, **options), []
        while True:
            got = await watcher.updates(timeout=PATIENCE)
            if got is None:
                break
            seen.append(entry(got))
        await kv.put("later", b"x")
        if not args[0].startswith("b"):
            seen.append(entry(await watcher.updates(timeout=PATIENCE)))
        await watcher.stop()
        show(label, seen)

    await watch("watch all", ">")
    await watch("watch history", ">", include_history=True)
    await watch("watch ignoring deletes", ">", ignore_deletes=True)
    await watch("watch meta", ">", meta_only=True)
    await watch("watch some", "b.*")
    await kv.delete("b.c")
    await attempt("purge", kv.purge("many"))
    show("history of purged", [entry(one) for one in await kv.history("many")])
    await attempt("purge deletes", kv.purge_deletes(olderthan=-1))
    show("keys left", sorted(await kv.keys()))
    status = await kv.status()
    show("status", [status.bucket, status.values, status.history, status.ttl])
    await attempt("other bucket", js.key_value("NONE"))
    await attempt("bad bucket", js.create_key_value(bucket="a.b"))
    short = await js.create_key_value(KeyValueConfig(bucket="SHORT", ttl=0.5))
    await short.put("x", b"1")
    for _ in range(100):
        if (await js.stream_info("KV_SHORT")).state.messages == 0:
            break
        await asyncio.sleep(0.05)
    await attempt("expired", short.get("x"))
    await attempt("drop", js.delete_key_value("B"))


async def objects(nc, js):
    store = await js.create_object_store("O", config=ObjectStoreConfig(description="objects", max_bytes=10_000_000))
    await attempt("stream", js.stream_info("OBJ_O"))
    content = bytes(range(256)) * 2048
    for name, data in [("small", b"abc"), ("large", content), ("empty", b"")]:
        info = await store.put(name, data, meta=ObjectMeta(description=f"the {name}", headers={"A": "b"}))
        show(f"put {name}", [info.name, info.size, info.chunks, info.digest, info.description, info.headers])
        got = await store.get(name)
        show(f"get {name}", [got.data == data, got.info.size, got.info.digest])
    await attempt("get none", store.get("none"))
    await store.put("small", b"replaced")
    show("list", sorted((one.name, one.size) for one in await store.list()))
    await attempt("meta", store.update_meta("small", ObjectMeta(name="renamed", description="new")))
    show("list", sorted((one.name, one.size, one.description) for one in await store.list()))
    await attempt("rename onto another", store.update_meta("renamed", ObjectMeta(name="large")))
    watcher, seen = await store.watch(), []
    while True:
        one = await watcher.updates(timeout=PATIENCE)
        if one is None:
            break
        seen.append((one.name, one.deleted))
    show("watch", sorted(seen, key=str))
    await store.delete("large")
    await attempt("get deleted", store.get("large"))
    show("list", sorted(one.name for one in await store.list(ignore_deletes=True)))
    status = await store.status()
    show("status", [status.bucket, status.description, status.replicas, status.sealed])
    await attempt("state", js.stream_info("OBJ_O"))
    await attempt("seal", store.seal())
    await attempt("put when sealed", store.put("x", b"x"))
    await attempt("drop", js.delete_object_store("O"))


async def services(nc, js):
    service = await add_service(nc, ServiceConfig(name="adder", version="1.0.0", description="adds"))

    async def add(request):
        if request.data == b"bad":
            await request.respond_error("400", "not numbers", data=b"!")
        else:
            await request.respond(b"%d" % sum(int(one) for one in request.data.split()), headers={"By": "adder"})

    await service.add_endpoint(name="add", handler=add, subject="math.add", queue_group="q", metadata={"unit": "one"})
    for data in [b"1 2 3", b"bad"]:
        got = await nc.request("math.add", data, timeout=PATIENCE)
        show(f"request {data}", [got.data, dict(got.headers or {})])
    for verb in ["PING", "INFO", "STATS"]:
        for subject in [f"$SRV.{verb}", f"$SRV.{verb}.adder", f"$SRV.{verb}.adder.{service.id}"]:
            got = await nc.request(subject, b"", timeout=PATIENCE)
            text = got.data.decode().replace(service.id, "<id>")
            keys = sorted(__import__("json").loads(text))
            show(subject.replace(service.id, "<id>"), keys)
    await attempt("nobody", nc.request("$SRV.PING.nobody", b"", timeout=PATIENCE))
    await service.stop()
    await attempt("stopped", nc.request("math.add", b"1", timeout=PATIENCE))


async def main():
    url, part = sys.argv[1:]
    nc = await nats.connect(url, allow_reconnect=False)
    await globals()[part](nc, nc.jetstream(timeout=PATIENCE))
    await nc.close()


asyncio.run(main())
