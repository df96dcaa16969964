"""JetStream as programs use it through nats-py: streams, consumers of every kind, buckets and objects."""

import asyncio

import nats
import nats.errors
from nats.js.api import ConsumerConfig

from harness import PATIENCE, check, check_equal, scenario, unique

MESSAGES = 300


async def with_stream(context, **config):
    """A connection, and a stream with messages on one subject."""
    client = await nats.connect(context.open.url, allow_reconnect=False)
    stream = client.jetstream(timeout=PATIENCE)
    name, subject = unique("JS").replace(".", "_"), unique("js")
    await stream.add_stream(name=name, subjects=[f"{subject}.>"], **config)
    for n in range(MESSAGES):
        await stream.publish(f"{subject}.{n % 3}", b"%d" % n)
    return client, stream, name, subject


@scenario
async def pull_consumers_share_the_work(context):
    client, js, name, subject = await with_stream(context, retention="workqueue")
    await js.add_consumer(name, ConsumerConfig(durable_name="work", ack_policy="explicit", ack_wait=2))
    done = []

    async def work(number):
        subscription = await js.pull_subscribe_bind("work", name)
        while len(done) < MESSAGES:
            try:
                messages = await subscription.fetch(10, timeout=0.5)
            except (nats.errors.TimeoutError, asyncio.TimeoutError):
                continue
            for message in messages:
                if message.metadata.num_delivered == 1 and message.metadata.sequence.stream % 10 == number:
                    await message.nak()
                else:
                    await message.ack_sync(timeout=PATIENCE)
                    done.append(int(message.data))

    await asyncio.wait_for(asyncio.gather(*[work(number) for number in range(4)]), PATIENCE)
    check_equal(sorted(done), list(range(MESSAGES)), "each message done once")
    info = await js.consumer_info(name, "work")
    check_equal((info.num_pending, info.num_ack_pending), (0, 0), "nothing is left")
    for _attempt in range(100):
        left = (await js.stream_info(name)).state.messages
        if left == 0:
            break
        await asyncio.sleep(0.05)
    check_equal(left, 0, "messages in the queue")
    await js.delete_stream(name)
    await client.close()


@scenario
async def push_consumers_deliver_in_order(context):
    client, js, name, subject = await with_stream(context)
    plain = await js.subscribe(f"{subject}.1", idle_heartbeat=1, flow_control=True)
    ordered = await js.subscribe(f"{subject}.>", ordered_consumer=True)
    headers = await js.subscribe(f"{subject}.>", ordered_consumer=True, headers_only=True)
    for subscription, wanted in [(plain, range(1, MESSAGES, 3)), (ordered, range(MESSAGES)), (headers, range(MESSAGES))]:
        got = [await subscription.next_msg(timeout=PATIENCE) for _ in wanted]
        if subscription is headers:
            check_equal([message.headers["Nats-Msg-Size"] for message in got], [str(len(str(n))) for n in wanted], "sizes")
        else:
            check_equal([int(message.data) for message in got], list(wanted), "messages")
        check_equal(got[-1].metadata.num_pending, 0, "left behind the last")
        await subscription.unsubscribe()
    await js.delete_stream(name)
    await client.close()


@scenario
async def buckets_are_watched_and_listed(context):
    client = await nats.connect(context.open.url, allow_reconnect=False)
    js = client.jetstream(timeout=PATIENCE)
    name = unique("bucket").replace(".", "_")
    bucket = await js.create_key_value(bucket=name, history=3)
    for n in range(5):
        await bucket.put(f"key{n}", b"first")
    await bucket.put("key1", b"second")
    await bucket.delete("key2")
    check_equal(sorted(await bucket.keys()), ["key0", "key1", "key3", "key4"], "keys")
    check_equal([entry.value for entry in await bucket.history("key1")], [b"first", b"second"], "history")
    watcher, seen = await bucket.watchall(), []
    async for entry in watcher:
        if entry is None:
            break
        seen.append((entry.key, entry.operation))
    check_equal(sorted(seen, key=str), sorted([(f"key{n}", "DEL" if n == 2 else None) for n in range(5)], key=str), "seen")
    await bucket.put("key9", b"later")
    check_equal((await watcher.updates(timeout=PATIENCE)).key, "key9", "what came later")
    await watcher.stop()
    await js.delete_key_value(name)
    await client.close()


@scenario
async def objects_are_stored_and_read(context):
    client = await nats.connect(context.open.url, allow_reconnect=False)
    js = client.jetstream(timeout=PATIENCE)
    name = unique("objects").replace(".", "_")
    store = await js.create_object_store(name)
    content = bytes(range(256)) * 2048
    await store.put("large", content)
    await store.put("small", b"x")
    check((await store.get("large")).data == content, "the content comes back as it was")
    check_equal(sorted(entry.name for entry in await store.list()), ["large", "small"], "objects")
    await store.delete("large")
    check_equal([entry.name for entry in await store.list(ignore_deletes=True)], ["small"], "objects that are left")
    await js.delete_object_store(name)
    await client.close()
