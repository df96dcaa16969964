"""Shows that the main job's judge finds what it is there to find: a clean run passes, and every single fault is seen and named."""

import random

import judge
import reports
from harness import check, check_equal, scenario


def history():
    """Two publishers, three connections, five batches, one of them not flushed; with the log a perfect server would have."""
    batches, clock = [], 0.0
    numbers = {"a": 0, "b": 0}
    for publisher, connection, flushed in (("a", 1, True), ("b", 1, True), ("a", 1, False), ("a", 2, True), ("b", 1, True)):
        clock += 1.0
        batch = judge.Batch(publisher, connection, numbers[publisher], clock)
        for _ in range(4):
            attempt = batch.next_id()
            batch.items.append((f"cms.{attempt}", judge.digest(f"cms.{attempt}", attempt.encode())))
        numbers[publisher] += 4
        clock += 1.0
        batch.flushed_at = clock if flushed else None
        batches.append(batch)
    log = [(f"{b.publisher}.{b.connection}.{b.first + n}", mark) for b in batches for n, (_s, mark) in enumerate(b.items)]
    return judge.Ledger(batches), log


def faults(verdict):
    return {kind: count for kind, count in verdict.counts.items() if kind != "live due"}


@scenario
def log_faults_are_found(_context):
    ledger, log = history()
    check_equal((ledger.published, ledger.flushed), (20, 16), "counts")
    check_equal(faults(judge.judge_log(ledger, log)), {}, "clean log")
    unflushed = [entry for entry in log if ledger.attempts[entry[0]][0].flushed_at is None]
    check_equal(faults(judge.judge_log(ledger, [e for e in log if e not in unflushed])), {}, "unflushed may be missing")
    check_equal(faults(judge.judge_log(ledger, log[:3] + log[4:])), {"lost": 1}, "one lost")
    check_equal(faults(judge.judge_log(ledger, log[:4] + log)), {"duplicated": 4}, "a batch twice")
    check_equal(faults(judge.judge_log(ledger, [*log, ("z.1.1", b"")])), {"unknown": 1}, "nobody sent it")
    check_equal(faults(judge.judge_log(ledger, [*log, (None, b"")])), {"unknown": 1}, "no attempt id")
    check_equal(faults(judge.judge_log(ledger, [(log[0][0], b"changed"), *log[1:]])), {"corrupt": 1}, "changed bytes")
    swapped = [log[1], log[0], *log[2:]]
    check_equal(faults(judge.judge_log(ledger, swapped)), {"order breaks": 1}, "two swapped in a batch")
    moved = log[4:8] + log[:4] + log[8:]
    check(judge.judge_log(ledger, moved).get("order breaks") > 0, "a batch before one that was flushed earlier")
    check_equal(faults(judge.judge_log(ledger, [])), {"lost": 16}, "an empty log")


@scenario
def live_faults_are_found(_context):
    ledger, log = history()

    def window(seen, opened_at=0.5, confirmed_at=100.0):
        made = judge.Window("s", opened_at)
        made.confirmed_at = confirmed_at
        made.seen = seen
        return made

    def live(*windows):
        return judge.judge_live(ledger, windows, lambda _subscriber, subject: subject.startswith("cms."))

    check_equal(live(window(log)).counts, {"live due": 16}, "clean")
    check_equal(faults(live(window(log[1:]))), {"live missed": 1}, "one missed")
    check_equal(faults(live(window(log[4:], opened_at=1.5))), {}, "not connected yet")
    check_equal(faults(live(window(log[:4], confirmed_at=3.5))), {}, "not connected any more")
    check_equal(faults(live(window(log + log[:1]))), {"live duplicated": 1}, "twice in one window")
    check_equal(faults(live(window(log[:4], confirmed_at=2.5), window(log[3:], opened_at=2.6))), {"live duplicated": 1}, "in two")
    check_equal(faults(live(window([*log, ("z.1.1", b"")]))), {"live unknown": 1}, "nobody sent it")
    nobody = judge.judge_live(ledger, [window(log)], lambda _subscriber, _subject: False)
    check_equal(faults(nobody), {"live unknown": 20}, "did not ask for it")


@scenario
def reports_have_their_shape(_context):
    """The suite's own reports are 1 to 45 KB, and what is made of any report carries its attempt id where it is looked for."""

    made = reports.generate(reports.GENERATED)
    check_equal(made, reports.generate(reports.GENERATED), "generation is repeatable")
    for document in [*made, *reports.load()[0]]:
        messages = reports.Template(document).vary("t1", random.Random(1))
        sizes = [len(head + "p.1.2" + tail) for _subject, head, tail in messages]
        check(900 <= sizes[0] <= 48_000, f"a document of {sizes[0]} bytes")
        check(len(messages) >= 5, f"only {len(messages)} messages of a report")
        for subject, head, tail in messages:
            check_equal(reports.attempt_of((head + "p.1.2" + tail).encode()), "p.1.2", "attempt id")
            check(" " not in subject and ".." not in subject and subject.startswith("cms.wmarchive."), f"subject {subject!r}")
    check_equal(reports.attempt_of(b"something else"), None, "attempt id of a stranger")
