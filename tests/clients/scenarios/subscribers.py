"""Subscribers as CMS runs them: wildcards and queue groups, in Go and in Python, with exact counts, contents and order."""

import asyncio
import json
import subprocess
import threading

import nats

from harness import PATIENCE, Failed, check, check_equal, check_no_more, collect, flush, scenario, unique


class GoSubscriber:
    """A running nats-sub; `lines` fills as it prints. Closing its standard input makes it drain and end."""

    def __init__(self, context, server, subject, *extra):
        command = [context.go("nats-sub"), "-s", server.url, *extra, subject]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = []
        if self._process.stdout.readline() != b"ready\n":
            self._process.kill()
            raise Failed(f"nats-sub: {self._process.stderr.read().decode('utf-8', 'replace')}")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            entry = json.loads(line)
            self.lines.append((entry["subject"], entry["payload"]))

    def finish(self, counted=False):
        """Ends the subscriber, or if `counted` waits until its own count ends it, and returns all it printed."""
        if not counted:
            self._process.stdin.close()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Failed("nats-sub did not end") from None
        self._reader.join(PATIENCE)
        check_equal(code, 0, "nats-sub exit code")
        return self.lines


async def publish(server, messages):
    client = await nats.connect(server.url, allow_reconnect=False)
    for subject, payload in messages:
        await client.publish(subject, payload.encode())
    await flush(client)
    await client.close()


def report_messages(root):
    """(subject, payload): two exit codes with tails, sites, and subjects that must not match either wildcard."""
    messages = []
    for index in range(400):
        messages.append((f"{root}.exitCode.{8000 + index % 3}.deep.{index}", f"code {index}"))
        messages.append((f"{root}.site.T2.US.Nebraska", f"site {index}"))
        messages.append((f"{root}.exitCode", f"bare {index}"))
    return messages


@scenario
async def go_wildcards(context):
    server, root = context.open, unique("cms.wmarchive")
    messages = report_messages(root)
    tail = GoSubscriber(context, server, f"{root}.exitCode.>")
    middle = GoSubscriber(context, server, root.replace("wmarchive", "*") + ".site.>")
    await publish(server, messages)
    check_equal(tail.finish(), [m for m in messages if ".exitCode." in m[0]], "exitCode.>")
    check_equal(middle.finish(), [m for m in messages if ".site." in m[0]], "*.site.>")


@scenario
async def python_wildcards(context):
    server, root = context.open, unique("cms.wmarchive")
    messages = report_messages(root)
    client = await nats.connect(server.url, allow_reconnect=False)
    tail = await client.subscribe(f"{root}.exitCode.>")
    star = await client.subscribe(f"{root}.*")
    every = await client.subscribe(f"{root}.>")
    nothing = await client.subscribe(f"{root}.exitCode.*.*.*.*")
    await flush(client)
    await publish(server, messages)
    for subscription, wanted in (
        (tail, [m for m in messages if ".exitCode." in m[0]]),
        (star, [m for m in messages if m[0].endswith(".exitCode")]),
        (every, messages),
    ):
        got = [(m.subject, m.data.decode()) for m in await collect(subscription, len(wanted))]
        check_equal(got, wanted, subscription.subject)
        await check_no_more(client, subscription)
    await check_no_more(client, nothing)
    await client.close()


@scenario
async def order_per_publisher(context):
    """Four publishers at once into one subscriber: each one's messages arrive in the order it sent them."""
    server, root, count = context.open, unique("cms.order"), 3000
    client = await nats.connect(server.url, allow_reconnect=False)
    subscription = await client.subscribe(f"{root}.>", pending_msgs_limit=0, pending_bytes_limit=0)
    await flush(client)
    await asyncio.gather(
        *[publish(server, [(f"{root}.{name}.{n % 11}", f"{name} {n}") for n in range(count)]) for name in "abcd"]
    )
    got = [m.data.decode().split() for m in await collect(subscription, 4 * count, timeout=30)]
    for name in "abcd":
        check_equal([int(n) for who, n in got if who == name], list(range(count)), f"order of {name}")
    await check_no_more(client, subscription)
    await client.close()


def check_shared_out(shares, messages, what):
    """Every message went to exactly one member, each member got some, and in publishing order."""
    check_equal(sorted(entry for share in shares for entry in share), sorted(messages), what)
    position = {entry: index for index, entry in enumerate(messages)}
    for number, share in enumerate(shares):
        check(len(share) > len(messages) // 20, f"{what}: member {number} got only {len(share)} of {len(messages)}")
        places = [position[entry] for entry in share]
        check_equal(places, sorted(places), f"{what}: order at member {number}")


@scenario
async def go_queue_group(context):
    server, root = context.open, unique("cms.queue")
    messages = [(f"{root}.{n % 3}", f"job {n}") for n in range(900)]
    members = [GoSubscriber(context, server, f"{root}.>", "-q", "workers") for _ in range(3)]
    plain = GoSubscriber(context, server, f"{root}.>")
    await publish(server, messages)
    check_shared_out([member.finish() for member in members], messages, "queue group")
    check_equal(plain.finish(), messages, "plain subscriber beside the group")


@scenario
async def python_queue_groups(context):
    """Two groups on overlapping subjects each get every message once."""
    server, root = context.open, unique("cms.queue")
    messages = [(f"{root}.{n % 3}", f"job {n}") for n in range(1200)]
    clients = [await nats.connect(server.url, allow_reconnect=False) for _ in range(3)]
    groups = {"red": [], "blue": []}
    for group, members in groups.items():
        for client in clients:
            members.append((client, await client.subscribe(f"{root}.>" if group == "red" else f"{root}.*", queue=group)))
    for client in clients:
        await flush(client)
    await publish(server, messages)
    for client in clients:
        await flush(client)
    for group, members in groups.items():
        shares = []
        for _client, subscription in members:
            got = await collect(subscription, subscription.pending_msgs)
            shares.append([(m.subject, m.data.decode()) for m in got])
        check_shared_out(shares, messages, group)
    for client in clients:
        await client.close()


@scenario
async def go_counted(context):
    """`nats-sub -n` unsubscribes itself after its count, and the connection survives to be drained."""
    server, root = context.open, unique("cms.counted")
    messages = [(f"{root}.x", str(n)) for n in range(50)]
    subscriber = GoSubscriber(context, server, f"{root}.x", "-n", "20")
    await publish(server, messages)
    check_equal(subscriber.finish(counted=True), messages[:20], "first twenty")


@scenario
async def overlapping_subscriptions(context):
    """One connection with two matching subscriptions gets a message on each."""
    server, root = context.open, unique("cms.overlap")
    client = await nats.connect(server.url, allow_reconnect=False)
    subscriptions = [await client.subscribe(f"{root}.{tail}") for tail in ("a.b", "a.*", "*.b", ">", "a.>")]
    misses = [await client.subscribe(f"{root}.{tail}") for tail in ("a", "a.b.>", "a.b.c", "*", "A.b")]
    await flush(client)
    await publish(server, [(f"{root}.a.b", str(n)) for n in range(30)])
    for subscription in subscriptions:
        check_equal([m.data for m in await collect(subscription, 30)], [b"%d" % n for n in range(30)], subscription.subject)
        await check_no_more(client, subscription)
    for subscription in misses:
        await check_no_more(client, subscription)
    await client.close()
