"""Decides whether a log and what live subscribers saw agree with what was published. No IO: lists in, counts out.

An attempt is one message sent once; its id is `<publisher>.<connection>.<number>`, and numbers rise within a publisher over all its
connections. A batch is what was sent before one flush. A batch is flushed when its flush came back without an error; what was not
flushed may be in the log or not, but never twice and never changed.
"""

import hashlib
import math


def digest(subject, payload):
    """What is kept of a message, to compare byte for byte without keeping the bytes."""
    return hashlib.blake2b(subject.encode() + b"\0" + payload, digest_size=16).digest()


class Batch:
    """What one publisher sent before one flush. Times are of the monotonic clock, in seconds; `flushed_at` is None if it was not."""

    __slots__ = ("publisher", "connection", "first", "items", "started_at", "flushed_at")

    def __init__(self, publisher, connection, first, started_at):
        self.publisher = publisher
        self.connection = connection
        self.first = first
        self.items = []
        self.started_at = started_at
        self.flushed_at = None

    def next_id(self):
        return f"{self.publisher}.{self.connection}.{self.first + len(self.items)}"


class Window:
    """What one connection of a live subscriber saw, and the time between which it is known to have been connected."""

    def __init__(self, subscriber, opened_at):
        self.subscriber = subscriber
        self.opened_at = opened_at
        self.confirmed_at = opened_at
        self.seen = []


class Ledger:
    """All attempts by id."""

    def __init__(self, batches):
        self.attempts = {}
        for batch in batches:
            for offset, (subject, mark) in enumerate(batch.items):
                attempt = f"{batch.publisher}.{batch.connection}.{batch.first + offset}"
                if attempt in self.attempts:
                    raise ValueError(f"attempt id {attempt} was used twice by the suite itself")
                self.attempts[attempt] = (batch, batch.first + offset, subject, mark)
        self.batches = batches

    @property
    def published(self):
        return len(self.attempts)

    @property
    def flushed(self):
        return sum(len(batch.items) for batch in self.batches if batch.flushed_at is not None)


class Verdict:
    """Counts, and the first few examples of each kind of fault."""

    EXAMPLES_MAX = 5

    def __init__(self):
        self.counts = {}
        self.examples = {}
        self.lost = []

    def add(self, kind, example=None, count=1):
        self.counts[kind] = self.counts.get(kind, 0) + count
        examples = self.examples.setdefault(kind, [])
        if example is not None and len(examples) < self.EXAMPLES_MAX:
            examples.append(example)

    def get(self, kind):
        return self.counts.get(kind, 0)


def judge_stream(ledger, entries, verdict, prefix=""):
    """Faults that neither a log nor a subscriber may show: unknown, corrupt, duplicated, out of a connection's order.

    `entries` is a list of (attempt id or None, digest). Returns the known entries as (batch, number, id), in their order.
    """
    known = []
    seen = set()
    newest = {}
    for attempt, mark in entries:
        entry = ledger.attempts.get(attempt)
        if entry is None:
            verdict.add(f"{prefix}unknown", attempt)
            continue
        batch, number, _subject, due = entry
        if mark != due:
            verdict.add(f"{prefix}corrupt", attempt)
        if attempt in seen:
            verdict.add(f"{prefix}duplicated", attempt)
            continue
        seen.add(attempt)
        key = (batch.publisher, batch.connection)
        if number < newest.get(key, -1):
            verdict.add(f"{prefix}order breaks", attempt)
        newest[key] = max(number, newest.get(key, -1))
        known.append((batch, number, attempt))
    return known


def judge_log(ledger, entries):
    """The log as replayed, against everything that was sent."""
    verdict = Verdict()
    known = judge_stream(ledger, entries, verdict)
    present = {attempt for _batch, _number, attempt in known}
    for attempt, (batch, _number, _subject, _mark) in ledger.attempts.items():
        if batch.flushed_at is not None and attempt not in present:
            verdict.add("lost", attempt)
            verdict.lost.append(attempt)
    # What was flushed before something else was begun lies before it, whoever sent the two. Read backwards: nothing may begin
    # after a flush that came back for an entry further down. This takes in each publisher's own order over its connections.
    earliest_flush_below = math.inf
    for batch, _number, attempt in reversed(known):
        if batch.started_at > earliest_flush_below:
            verdict.add("order breaks", attempt)
        if batch.flushed_at is not None:
            earliest_flush_below = min(earliest_flush_below, batch.flushed_at)
    return verdict


def judge_live(ledger, windows, wants):
    """What live subscribers saw; `wants(subscriber, subject)` says whether a subscriber asked for a subject.

    Due is whatever was begun after a window was open, and flushed before the last round trip that confirmed the window was sent.
    """
    verdict = Verdict()
    seen_by = {}
    for window in windows:
        known = judge_stream(ledger, window.seen, verdict, "live ")
        here = {attempt for _batch, _number, attempt in known}
        before = seen_by.setdefault(window.subscriber, set())
        for attempt in here & before:
            verdict.add("live duplicated", attempt)
        before |= here
        for batch in ledger.batches:
            if batch.flushed_at is None or batch.started_at < window.opened_at or batch.flushed_at > window.confirmed_at:
                continue
            for offset, (subject, _mark) in enumerate(batch.items):
                if wants(window.subscriber, subject):
                    verdict.add("live due")
                    attempt = f"{batch.publisher}.{batch.connection}.{batch.first + offset}"
                    if attempt not in here:
                        verdict.add("live missed", attempt)
        for attempt in here:
            if not wants(window.subscriber, ledger.attempts[attempt][2]):
                verdict.add("live unknown", attempt)
    return verdict
