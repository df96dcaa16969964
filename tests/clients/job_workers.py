"""The processes of the main job: publishers of every kind that keep count of what they sent, and live subscribers.

Each function named `*_worker` runs in a process of its own and puts its findings on a queue when `stop` is set: publishers
("batches", [Batch]) and subscribers ("windows", [Window]), both with a list of problems.
"""

import asyncio
import contextlib
import itertools
import random
import time

import nats
import nats.errors

import harness
import judge
import reports

FLUSH_SECONDS_MAX = 30.0
RETRY_SECONDS = 0.02
CONFIRM_SECONDS = 0.1


class Share:
    """What a worker is given: where to publish, at what pace, and the counter of its own in shared memory."""

    def __init__(self, name, url, seed, per_second, counters, index, stop, queue, tools):
        self.name = name
        self.url = url
        self.seed = seed
        self.per_second = per_second
        self.counters = counters
        self.index = index
        self.stop = stop
        self.queue = queue
        self.tools = tools
        self.problems = []

    def count(self, messages):
        self.counters[self.index] += messages

    def report(self, kind, found):
        self.queue.put((kind, self.name, found, self.problems))


class Source:
    """An endless row of jobs for one publisher, the same for the same seed; makes batches and keeps them."""

    def __init__(self, share):
        self.share = share
        self.batches = []
        self.connection = 0
        self.sent = 0
        self._chance = random.Random(f"{share.seed}.{share.name}")
        self._templates = [reports.Template(document) for document in reports.load()[0]]
        self._jobs = itertools.count()
        self._began = time.monotonic()

    def next_job(self):
        """(subject, head, tail) of every message of the next job."""
        return self._chance.choice(self._templates).vary(f"{self.share.name}_{next(self._jobs)}", self._chance)

    def open_batch(self):
        batch = judge.Batch(self.share.name, self.connection, self.sent, time.monotonic())
        self.batches.append(batch)
        return batch

    def attempt(self, batch, message):
        """Enters a message into the ledger, before it is sent, and returns (subject, payload)."""
        subject, head, tail = message
        payload = (head + batch.next_id() + tail).encode()
        batch.items.append((subject, judge.digest(subject, payload)))
        self.sent += 1
        return subject, payload

    def seconds_ahead(self):
        """How long to wait to keep to the pace; 0 when behind it."""
        return max(0.0, self._began + self.sent / self.share.per_second - time.monotonic())


async def quiet(_error):
    """nats-py prints errors unless it is given somebody to tell."""


class Link:
    """One nats-py connection that does not reconnect, so that a flush can only be answered by the server it was sent to."""

    def __init__(self):
        self.errors = []
        self.closed = asyncio.Event()
        self.client = None

    async def _on_error(self, error):
        self.errors.append(str(error))

    async def _on_closed(self):
        self.closed.set()

    async def open(self, url):
        """True when connected; False when nobody is there just now."""
        try:
            # Without the last two nats-py keeps trying by itself, two seconds apart, and says nothing for two minutes.
            self.client = await nats.connect(
                url,
                allow_reconnect=False,
                connect_timeout=5,
                error_cb=self._on_error,
                closed_cb=self._on_closed,
                reconnect_time_wait=RETRY_SECONDS,
                max_reconnect_attempts=1,
            )
            return True
        except (nats.errors.Error, OSError, asyncio.TimeoutError):
            return False

    async def flush(self):
        """"yes", "gone" when the connection ended first, or "stuck" when neither happened in time.

        nats-py's own `flush` is not enough. Its PING overtakes what was published just before (see `harness.written`); it waits out
        its whole timeout when the connection ends; and it returns without a round trip when its reading task is already dead. What
        counts is a PONG for a PING that left after the messages.
        """
        await harness.written(self.client)
        if not self.client.is_connected:
            return "gone"
        before = self.client._pongs_received
        flush = asyncio.ensure_future(self.client.flush(timeout=FLUSH_SECONDS_MAX))
        closed = asyncio.ensure_future(self.closed.wait())
        try:
            done, _ = await asyncio.wait({flush, closed}, timeout=FLUSH_SECONDS_MAX + 5, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return "stuck"
            if flush not in done:
                return "gone"
            if isinstance(flush.exception(), nats.errors.TimeoutError) and self.client.is_connected:
                return "stuck"
            answered = flush.exception() is None and self.client._pongs_received > before
            return "yes" if answered and not self.errors else "gone"
        finally:
            for task in (flush, closed):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    async def close(self):
        if self.client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.client.close(), 5)


async def publish_lists(share, per_connection, flush):
    """Publishes job after job with nats-py, `per_connection` lists to a connection (0 for as many as it lives)."""
    source, link, lists = Source(share), None, 0
    while not share.stop.is_set():
        await asyncio.sleep(source.seconds_ahead())
        if link is None:
            link, lists = Link(), 0
            if not await link.open(share.url):
                link = None
                await asyncio.sleep(RETRY_SECONDS)
                continue
            source.connection += 1
        batch = source.open_batch()
        try:
            for message in source.next_job():
                await link.client.publish(*source.attempt(batch, message))
            answer = await link.flush() if flush else "not asked"
        except (nats.errors.Error, OSError) as error:
            answer = f"gone: {error}"
        share.count(len(batch.items))
        if answer == "yes":
            batch.flushed_at = time.monotonic()
        elif answer == "stuck":
            share.problems.append(f"{share.name}: a flush on a living connection had no answer within {FLUSH_SECONDS_MAX:.0f} s")
        lists += 1
        refused = [error for error in link.errors if "eof" not in error.lower()]
        share.problems += [f"{share.name}: {error}" for error in refused if "violation" in error.lower() or "store" in error.lower()]
        if link.closed.is_set() or answer not in ("yes", "not asked") or lists == per_connection:
            await link.close()
            link = None
    if link is not None:
        await link.close()
    share.report("batches", source.batches)


def bulk_worker(share):
    """nats-py, one connection for as long as it lives, a flush after every list."""
    asyncio.run(publish_lists(share, 0, flush=True))


def per_call_worker(share):
    """nats-py, a connection for every list, flushed before it is closed."""
    asyncio.run(publish_lists(share, 1, flush=True))


def close_at_once_worker(share):
    """nats-py as CMS runs it: a connection for every list, closed at once without a flush. Nothing of it counts as acknowledged."""
    asyncio.run(publish_lists(share, 1, flush=False))


def python2_worker(share):
    """The tornado client (or its stand-in) as a process for every list, in turn with and without a flush, never closing."""
    source = Source(share)
    context = harness.Context(share.name, None, share.tools, False, [])
    while not share.stop.is_set():
        if share.stop.wait(source.seconds_ahead()):
            break
        how = "flush" if source.connection % 2 else "leave"
        source.connection += 1
        batch = source.open_batch()
        messages = [source.attempt(batch, message) for message in source.next_job()]
        done = context.publish_python2(share.url, how, [(subject, payload.decode()) for subject, payload in messages])
        share.count(len(batch.items))
        if done.returncode == 0 and done.stdout == b"FLUSHED\n":
            batch.flushed_at = time.monotonic()
        elif done.returncode != 0:
            share.stop.wait(RETRY_SECONDS)
    share.report("batches", source.batches)


def go_worker(share):
    """nats-pub as a process for every message; its exit code 0 is the acknowledgement."""
    source = Source(share)
    context = harness.Context(share.name, None, share.tools, False, [])
    while not share.stop.is_set():
        for message in source.next_job():
            if share.stop.wait(source.seconds_ahead()):
                break
            source.connection += 1
            batch = source.open_batch()
            subject, payload = source.attempt(batch, message)
            done = context.publish_go(share.url, subject, payload.decode())
            share.count(1)
            if done.returncode == 0:
                batch.flushed_at = time.monotonic()
            else:
                share.stop.wait(RETRY_SECONDS)
    share.report("batches", source.batches)


async def watch(share, subject):
    """Subscribes, notes everything, and confirms by round trips until when it certainly was connected; comes back when cut off."""
    windows = []
    while not share.stop.is_set():
        link = Link()
        if not await link.open(share.url):
            await asyncio.sleep(RETRY_SECONDS)
            continue
        seen = []

        async def note(message):
            seen.append((reports.attempt_of(message.data), judge.digest(message.subject, message.data)))

        try:
            await link.client.subscribe(subject, cb=note, pending_msgs_limit=0, pending_bytes_limit=0)
            subscribed = await link.flush() == "yes"
        except (nats.errors.Error, OSError):
            subscribed = False
        if subscribed:
            window = judge.Window(share.name, time.monotonic())
            window.seen = seen
            windows.append(window)
            await confirm(share, link, window)
        share.count(len(seen))
        await link.close()
    share.report("windows", windows)


async def confirm(share, link, window):
    """Moves the window's end forward with every round trip whose messages have all reached the callback, until cut off or stopped."""
    while True:
        last = share.stop.is_set()
        sent_at = time.monotonic()
        if await link.flush() != "yes":
            return
        arrived = link.client.stats["in_msgs"]
        while len(window.seen) < arrived and not link.closed.is_set():
            await asyncio.sleep(0.001)
        if len(window.seen) < arrived:
            return
        window.confirmed_at = sent_at
        if last:
            return
        await asyncio.sleep(CONFIRM_SECONDS)


def live_worker(share, subject):
    asyncio.run(watch(share, subject))
