"""What programs use of nats-py, feature by feature."""

import asyncio
import secrets
import time

import nats
import nats.errors

from harness import PATIENCE, check, check_equal, check_no_more, collect, flush, scenario, unique


async def connect(server, **options):
    options.setdefault("allow_reconnect", False)
    return await nats.connect(server.url, **options)


@scenario
async def request_reply(context):
    client = await connect(context.open)
    root = unique("py.request")

    async def answer(message):
        await message.respond(b"re:" + message.data)

    await client.subscribe(f"{root}.echo", cb=answer)
    answers = await asyncio.gather(*[client.request(f"{root}.echo", b"%d" % n, timeout=PATIENCE) for n in range(300)])
    check_equal([a.data for a in answers], [b"re:%d" % n for n in range(300)], "answers")
    old = await client.request(f"{root}.echo", b"old", timeout=PATIENCE, old_style=True)
    check_equal(old.data, b"re:old", "old-style answer")
    await client.close()


@scenario
async def no_responders(context):
    client = await connect(context.open)
    began = time.monotonic()
    try:
        await client.request(unique("py.nobody"), b"x", timeout=PATIENCE)
        raise AssertionError("a request nobody listens to was answered")
    except nats.errors.NoRespondersError:
        pass
    check(time.monotonic() - began < PATIENCE / 2, "no responders is told at once, not by timeout")
    await client.close()


@scenario
async def headers_round_trip(context):
    client = await connect(context.open)
    subject = unique("py.headers")
    subscription = await client.subscribe(subject)
    sent = {"Nats-Msg-Id": "7", "X-Blank": "two words", "lower": "kept", "Colon": "a:b:c"}
    await client.publish(subject, b"body", headers=sent)
    await client.publish(subject, b"", headers={"Only": "header"})
    await client.publish(subject, b"plain")
    with_body, empty, plain = await collect(subscription, 3)
    check_equal(dict(with_body.headers), sent, "headers")
    check_equal(with_body.data, b"body", "body")
    check_equal((dict(empty.headers), empty.data), ({"Only": "header"}, b""), "empty body")
    check_equal((plain.headers, plain.data), (None, b"plain"), "plain message")
    await client.close()


@scenario
async def drain(context):
    server, subject, count = context.open, unique("py.drain"), 3000
    publisher, client = await connect(server), await connect(server)
    seen = []

    async def slow(message):
        seen.append(int(message.data))
        if len(seen) % 100 == 0:
            await asyncio.sleep(0)

    await client.subscribe(subject, cb=slow)
    await flush(client)
    for n in range(count):
        await publisher.publish(subject, b"%d" % n)
    await flush(publisher)
    # This round trip brings everything to the client; drain then has to hand it all to the callback before it closes.
    await flush(client)
    await client.drain()
    check(client.is_closed, "drain closes")
    check_equal(seen, list(range(count)), "drained messages")
    await publisher.close()


@scenario
async def auto_unsubscribe(context):
    client = await connect(context.open)
    subject = unique("py.auto")
    got = []
    done = asyncio.Event()

    async def keep(message):
        got.append(message.data)
        if len(got) == 5:
            done.set()

    subscription = await client.subscribe(subject, cb=keep)
    await subscription.unsubscribe(limit=5)
    for n in range(12):
        await client.publish(subject, b"%d" % n)
    await flush(client)
    await asyncio.wait_for(done.wait(), PATIENCE)
    await flush(client)
    check_equal(got, [b"%d" % n for n in range(5)], "limited messages")
    check_equal(client.stats["in_msgs"], 5, "messages the server sent")
    await client.close()


@scenario
async def unsubscribe(context):
    client = await connect(context.open)
    subject = unique("py.unsub")
    stopped, kept = await client.subscribe(subject), await client.subscribe(subject)
    await stopped.unsubscribe()
    await client.publish(subject, b"after")
    await collect(kept, 1)
    await flush(client)
    check_equal(client.stats["in_msgs"], 1, "messages the server sent")
    await client.close()


@scenario
async def max_payload(context):
    client = await connect(context.open)
    check_equal(client.max_payload, 1048576, "max_payload in INFO")
    try:
        await client.publish("py.big", b"x" * (1048576 + 1))
        raise AssertionError("a payload over the limit was taken")
    except nats.errors.MaxPayloadError:
        pass
    await client.close()


@scenario
async def max_payload_enforced(context):
    """A client that does not look at the limit is told by the server and disconnected."""
    errors, closed = [], asyncio.Event()

    async def on_error(error):
        errors.append(str(error).lower())

    async def on_closed():
        closed.set()

    client = await connect(context.open, error_cb=on_error, closed_cb=on_closed)
    client._max_payload = 1 << 30
    await client.publish("py.big", b"x" * (1048576 + 1))
    await asyncio.wait_for(closed.wait(), PATIENCE)
    # Linux may deliver the reset before the client has read the error line, so only what was read is looked at.
    check(all("maximum payload" in e or "eof" in e or "reset" in e or "broken pipe" in e for e in errors), f"errors {errors}")


@scenario
async def verbose_and_pedantic(context):
    client = await connect(context.open, verbose=True, pedantic=True)
    subject = unique("py.verbose")
    subscription = await client.subscribe(f"{subject}.*")
    for n in range(100):
        await client.publish(f"{subject}.x", b"%d" % n)
    await flush(client)
    check_equal([m.data for m in await collect(subscription, 100)], [b"%d" % n for n in range(100)], "messages")
    check(client.last_error is None, f"error {client.last_error}")
    await client.close()


@scenario
async def echo_off(context):
    server, subject = context.open, unique("py.echo")
    silent, other = await connect(server, no_echo=True), await connect(server)
    subscription = await silent.subscribe(subject)
    await flush(silent)
    await silent.publish(subject, b"own")
    await flush(silent)
    await other.publish(subject, b"other")
    await flush(other)
    check_equal([m.data for m in await collect(subscription, 1)], [b"other"], "messages")
    await check_no_more(silent, subscription)
    await silent.close()
    await other.close()


@scenario
async def large_payload(context):
    client = await connect(context.open)
    subject = unique("py.large")
    subscription = await client.subscribe(subject)
    bodies = [secrets.token_bytes(size) for size in (1048576, 0, 1, 65535, 65536, 65537, 1048575, 1048576)]
    for body in bodies:
        await client.publish(subject, body)
        await flush(client)
    got = await collect(subscription, len(bodies))
    check(all(m.data == body for m, body in zip(got, bodies)), "a large payload came back changed")
    await client.close()


@scenario
async def many_subjects(context):
    client = await connect(context.open)
    root, count = unique("py.many"), 20000
    subscription = await client.subscribe(f"{root}.>", pending_msgs_limit=0)
    one = await client.subscribe(f"{root}.5.*")
    for n in range(count):
        await client.publish(f"{root}.{n % 20}.{n}", b"%d" % n)
    await flush(client)
    got = [m.subject for m in await collect(subscription, count, timeout=30)]
    check_equal(got, [f"{root}.{n % 20}.{n}" for n in range(count)], "subjects")
    check_equal(len(await collect(one, count // 20)), count // 20, "one twentieth")
    await check_no_more(client, one)
    await client.close()


@scenario
async def many_subscriptions(context):
    """Five thousand subscriptions on one connection; each gets its own message, and they can all be taken back."""
    client = await connect(context.open)
    root, count = unique("py.subs"), 5000
    got = set()

    async def keep(message):
        got.add(message.subject)

    subscriptions = [await client.subscribe(f"{root}.{n}", cb=keep) for n in range(count)]
    await flush(client)
    for n in range(count):
        await client.publish(f"{root}.{n}", b"")
    await flush(client)
    deadline = time.monotonic() + PATIENCE
    while len(got) < count and time.monotonic() < deadline:
        await asyncio.sleep(0.001)
    check_equal(len(got), count, "subscriptions that got their message")
    for subscription in subscriptions:
        await subscription.unsubscribe()
    before = client.stats["in_msgs"]
    for n in range(0, count, 50):
        await client.publish(f"{root}.{n}", b"")
    await flush(client)
    check_equal(client.stats["in_msgs"], before, "messages after unsubscribing")
    await client.close()


async def reconnects(context, end):
    """A client with subscriptions sees its server end, come back on the same port, and goes on with the same subscriptions."""
    with context.new_server() as server:
        back, gone = asyncio.Event(), asyncio.Event()

        async def on_back():
            back.set()

        async def on_gone():
            gone.set()

        async def quiet(_error):
            pass

        client = await connect(
            server,
            allow_reconnect=True,
            reconnect_time_wait=0.02,
            max_reconnect_attempts=-1,
            reconnected_cb=on_back,
            disconnected_cb=on_gone,
            error_cb=quiet,
        )
        subscription = await client.subscribe("again.>")
        await client.publish("again.before", b"1")
        await collect(subscription, 1)
        end(server)
        await asyncio.wait_for(gone.wait(), PATIENCE)
        server.start()
        await asyncio.wait_for(back.wait(), PATIENCE)
        await flush(client)
        await client.publish("again.after", b"2")
        check_equal([(m.subject, m.data) for m in await collect(subscription, 1)], [("again.after", b"2")], "after")
        await client.close()


@scenario
async def reconnect_after_restart(context):
    await reconnects(context, lambda server: server.stop())


@scenario
async def reconnect_after_kill(context):
    await reconnects(context, lambda server: server.kill())
