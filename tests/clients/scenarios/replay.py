"""Replay through plain subscriptions, with clients that know nothing of it. Skipped aloud for a server that does not remember."""

import re
import time

import nats

from harness import PATIENCE, check, check_equal, check_no_more, check_ran, collect, flush, scenario, unique
from scenarios.subscribers import GoSubscriber, publish

RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$")


def pairs(messages):
    return [(m.subject, m.data.decode()) for m in messages]


def history(root, count, text="report"):
    return [(f"{root}.site.{n % 5}", f"{text} {n}") for n in range(count)]


@scenario
async def all_then_live(context):
    """History first, then live, under the original subjects, with no gap and no repetition at the seam."""
    context.need_replay()
    server, root = context.open, unique("cms.replay")
    old, new = history(root, 500), history(root, 300, "live")
    await publish(server, old)
    client = await nats.connect(server.url, allow_reconnect=False)
    subscription = await client.subscribe(f"$REPLAY.all.{root}.>")
    await flush(client)
    await publish(server, new)
    check_equal(pairs(await collect(subscription, 800)), old + new, "replay")
    await check_no_more(client, subscription)
    await client.close()


@scenario
async def headers(context):
    """A client that knows headers is told sequence, stream, time and subject; sequences rise."""
    context.need_replay()
    server, root = context.open, unique("cms.replay")
    before = time.time()
    await publish(server, history(root, 50))
    client = await nats.connect(server.url, allow_reconnect=False)
    await client.publish(f"{root}.own", b"body", headers={"Own": "kept"})
    await flush(client)
    subscription = await client.subscribe(f"$REPLAY.all.{root}.>")
    got = await collect(subscription, 51)
    sequences = [int(m.headers["Nats-Sequence"]) for m in got]
    check_equal(sequences, sorted(set(sequences)), "sequences")
    for message in got:
        check_equal(message.headers["Nats-Subject"], message.subject, "Nats-Subject")
        check_equal(message.headers["Nats-Stream"], "CAPTURE", "Nats-Stream")
        check(RFC3339.match(message.headers["Nats-Time-Stamp"]), f"Nats-Time-Stamp {message.headers['Nats-Time-Stamp']!r}")
    check_equal((got[-1].headers["Own"], got[-1].data), ("kept", b"body"), "a message with headers of its own")
    stamp = got[0].headers["Nats-Time-Stamp"][:19]
    check(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before - 1)) <= stamp, f"time stamp {stamp} is before publishing")
    await client.close()


@scenario
async def positions(context):
    """`seq.<n>`, `last.<n>`, `since.<duration>` and `time.<unix>` start where they say."""
    context.need_replay()
    server, root = context.open, unique("cms.replay")
    sent = history(root, 200)
    await publish(server, sent)
    client = await nats.connect(server.url, allow_reconnect=False)
    whole = await client.subscribe(f"$REPLAY.all.{root}.>")
    sequences = [int(m.headers["Nats-Sequence"]) for m in await collect(whole, 200)]
    past, future = int(time.time()) - 3600, int(time.time()) + 3600
    for where, wanted in (
        (f"seq.{sequences[150]}", sent[150:]),
        ("seq.1", sent),
        (f"seq.{sequences[-1] + 1}", []),
        ("since.90s", sent),
        ("since.15m", sent),
        ("since.6h", sent),
        ("since.7d", sent),
        (f"time.{past}", sent),
        (f"time.{past * 1000}", sent),
        (f"time.{future}", []),
    ):
        subscription = await client.subscribe(f"$REPLAY.{where}.{root}.>")
        check_equal(pairs(await collect(subscription, len(wanted))), wanted, where)
        await check_no_more(client, subscription)
        await subscription.unsubscribe()
    await client.close()


@scenario
async def last(context):
    """`last.<n>` gives the newest n messages of the filter."""
    context.need_replay()
    server, root = context.open, unique("cms.replay")
    sent = history(root, 200)
    await publish(server, sent)
    client = await nats.connect(server.url, allow_reconnect=False)
    for count, wanted in ((10, sent[-10:]), (1, sent[-1:]), (200, sent), (1000, sent)):
        subscription = await client.subscribe(f"$REPLAY.last.{count}.{root}.>")
        check_equal(pairs(await collect(subscription, len(wanted))), wanted, f"last.{count}")
        await check_no_more(client, subscription)
    await client.close()


@scenario
async def one_subject_and_wildcard(context):
    context.need_replay()
    server, root = context.open, unique("cms.replay")
    sent = history(root, 100)
    await publish(server, sent)
    client = await nats.connect(server.url, allow_reconnect=False)
    for tail, wanted in (("site.3", [m for m in sent if m[0].endswith("site.3")]), ("*.4", [m for m in sent if m[0].endswith(".4")])):
        subscription = await client.subscribe(f"$REPLAY.all.{root}.{tail}")
        check_equal(pairs(await collect(subscription, len(wanted))), wanted, tail)
        await check_no_more(client, subscription)
    await client.close()


@scenario
async def survives_kill(context):
    """What was flushed is replayed after SIGKILL and a restart on the same port."""
    context.need_replay()
    with context.new_server() as server:
        sent = history("cms.killed", 400)
        await publish(server, sent)
        server.kill()
        server.start()
        client = await nats.connect(server.url, allow_reconnect=False)
        subscription = await client.subscribe("$REPLAY.all.cms.killed.>")
        check_equal(pairs(await collect(subscription, 400)), sent, "replay")
        await client.close()


@scenario
async def plain_flush_of_nats_py_is_durable(context):
    """nats-py's own `flush`, whose PING overtakes the messages it is for, is answered after them all the same.

    Lists small and large are published and flushed once, then the server is killed at once: everything must be there.
    """
    context.need_replay()
    # The server waits milliseconds for messages that follow such a PING. On a machine that stops a process for longer than that, now
    # and then, one attempt may fail; a server that does not wait fails all of them.
    for attempt in range(3):
        with context.new_server() as server:
            due = await flushed_lists_with_kills(server)
            reader = await nats.connect(server.url)
            subscription = await reader.subscribe("$REPLAY.all.cms.>")
            replayed = []
            try:
                replayed = pairs(await collect(subscription, len(due), timeout=3.0))
            except TimeoutError:
                if attempt == 2:
                    raise
            await reader.close()
            if replayed == due:
                return
    check_equal(replayed, due, "messages that nats-py flushed")


async def flushed_lists_with_kills(server):
    """Publishes lists small and large, each with one plain flush, and kills the server after each."""
    due = []
    for round_number, (count, size) in enumerate(((3, 20), (200, 100), (60, 20_000), (1, 10), (2000, 50))):
        publisher = await nats.connect(server.url, allow_reconnect=False)
        root = unique("cms.flushed")
        for n in range(count):
            payload = f"{round_number}.{n}.".ljust(size, "x")
            await publisher.publish(f"{root}.{n}", payload.encode())
            due.append((f"{root}.{n}", payload))
        await publisher.flush(timeout=PATIENCE)
        server.kill()
        server.start()
    return due


@scenario
async def old_publishers_are_recorded(context):
    """What the tornado client and nats-pub publish is in the log."""
    context.need_replay()
    server, root = context.open, unique("cms.replay")
    sent = history(root, 30)
    done = context.publish_python2(server.url, "flush", sent)
    check_equal(done.stdout, b"FLUSHED\n", "tornado publisher")
    check_ran(context.publish_go(server.url, f"{root}.site.go", "from go"), "nats-pub")
    client = await nats.connect(server.url, allow_reconnect=False)
    subscription = await client.subscribe(f"$REPLAY.all.{root}.>")
    check_equal(pairs(await collect(subscription, 31)), [*sent, (f"{root}.site.go", "from go")], "replay")
    await client.close()


@scenario
async def go_client_replays(context):
    context.need_replay()
    server, root = context.open, unique("cms.replay")
    sent = history(root, 500)
    await publish(server, sent)
    subscriber = GoSubscriber(context, server, f"$REPLAY.all.{root}.>", "-n", "500")
    check_equal(subscriber.finish(counted=True), sent, "replay")


@scenario
async def live_only_inbox(context):
    """Inboxes and other subjects that start with `_` or `$` are not recorded."""
    context.need_replay()
    server, root = context.open, unique("replay")
    await publish(server, [(f"_{root}.x", "hidden"), (f"{root}.x", "kept")])
    client = await nats.connect(server.url, allow_reconnect=False)
    hidden = await client.subscribe(f"$REPLAY.all._{root}.>")
    kept = await client.subscribe(f"$REPLAY.all.{root}.>")
    check_equal(pairs(await collect(kept, 1)), [(f"{root}.x", "kept")], "kept")
    await publish(server, [(f"{root}.x", "second")])
    check_equal(pairs(await collect(kept, 1)), [(f"{root}.x", "second")], "second")
    await check_no_more(client, hidden)
    await client.close()
