#!/usr/bin/env python3
"""The main job: CMS job reports published by the clients CMS has, while the server is killed again and again.

`job.py --server sublog=/path/to/sublog` publishes, kills with SIGKILL, restarts on the same port and data, and at the end replays
everything with a plain subscription: whatever was flushed has to be there exactly once, byte for byte and in order. README.md
beside this file says how to read the result.
"""

import argparse
import asyncio
import collections
import multiprocessing
import random
import secrets
import sys
import time

import toolbox

REPLAY_IDLE_SECONDS_MAX = 60.0
SAMPLE_SUBJECTS = 25


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, metavar="NAME=PATH", help="as for run.py; with the reference the replay is skipped, aloud")
    parser.add_argument("--messages", type=int, help="messages to publish at least (default 200000)")
    parser.add_argument("--kills", type=int, help="SIGKILLs (default 25)")
    parser.add_argument("--seconds", type=int, help="time to spread them over; the replay comes on top (default 50)")
    parser.add_argument("--long", action="store_true", help="2000000 messages, 300 kills, 900 seconds")
    parser.add_argument("--seed", type=int, default=None, help="repeat the choices of an earlier run")
    parser.add_argument("--jetstream", action="store_true", help="with the reference only: replay from a JetStream stream instead, to see the judge at work on a server that promises less")
    arguments = parser.parse_args()
    defaults = (2_000_000, 300, 900) if arguments.long else (200_000, 25, 50)
    for name, value in zip(("messages", "kills", "seconds"), defaults):
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


class Crew:
    """The worker processes, their counters, and what they hand in."""

    def __init__(self, server, tools, arguments, seed):
        import job_workers as workers

        self._context = multiprocessing.get_context("fork")
        self._queue = self._context.Queue()
        self._stop_publishing = self._context.Event()
        self._stop_watching = self._context.Event()
        self.problems = []
        bulk_rate = arguments.messages / arguments.seconds / 3
        plan = [(f"bulk{n}", workers.bulk_worker, bulk_rate) for n in range(3)]
        plan += [("percall", workers.per_call_worker, 120.0), ("closing", workers.close_at_once_worker, 120.0)]
        plan += [("tornado", workers.python2_worker, 25.0)]
        if tools.go_bin is not None:
            plan += [("gopub", workers.go_worker, 10.0)]
        watchers = {"everything": "cms.>", "sites": "cms.*.site.>"}
        self._counters = self._context.Array("Q", len(plan) + len(watchers), lock=False)
        self.publishers = len(plan)
        self.processes = []
        for index, (name, function, rate) in enumerate(plan):
            share = workers.Share(name, server.url, seed, rate, self._counters, index, self._stop_publishing, self._queue, tools)
            self._add(function, share)
        for offset, (name, subject) in enumerate(watchers.items()):
            index = len(plan) + offset
            share = workers.Share(name, server.url, seed, 1.0, self._counters, index, self._stop_watching, self._queue, tools)
            self._add(workers.live_worker, share, subject)

    def _add(self, function, *arguments):
        self.processes.append(self._context.Process(target=function, args=arguments, daemon=True))

    def start(self):
        # Subscribers first, so that the first window is open when publishing begins.
        for process in reversed(self.processes):
            process.start()

    def published(self):
        return sum(self._counters[: self.publishers])

    def check_alive(self):
        for process in self.processes:
            if process.exitcode is not None:
                raise RuntimeError(f"a worker of the suite ended early with {process.exitcode}")

    def _collect(self, kind, count):
        found = []
        for _ in range(count):
            got, _name, entries, problems = self._queue.get(timeout=180)
            if got != kind:
                raise RuntimeError(f"{got} where {kind} were due")
            found += entries
            self.problems += problems
        return found

    def stop_publishers(self):
        self._stop_publishing.set()
        return self._collect("batches", self.publishers)

    def stop_watchers(self):
        self._stop_watching.set()
        return self._collect("windows", len(self.processes) - self.publishers)

    def close(self):
        for process in self.processes:
            if process.pid is not None and process.exitcode is None:
                process.join(5)
                if process.exitcode is None:
                    process.kill()
                    process.join()


class Killer:
    """Kills the server when the count of published messages passes marks drawn at random, some of the kills during recovery."""

    def __init__(self, server, arguments, chance):
        self._server = server
        self._chance = chance
        goal = arguments.messages
        # The last kill comes after publishing, so that the replay always reads what a recovery has found.
        self._marks = sorted(chance.uniform(0.01, 0.98) * goal for _ in range(arguments.kills - 1))
        self.kill_times = []
        self.ready_times = []
        self.restart_seconds = []

    @property
    def kills(self):
        return len(self.kill_times)

    def kill(self):
        self.kill_times.append(time.monotonic())
        self._server.kill()

    def due(self, published):
        return bool(self._marks) and published >= self._marks[0]

    def strike(self):
        self._marks = self._marks[1:]
        time.sleep(self._chance.uniform(0.0, 0.03))
        self.kill()
        if self._chance.random() < 0.2 and self._marks:
            self._server.kill_while_starting(self._chance.uniform(0.0, 0.08))
            self.kill_times.append(time.monotonic())
            self._marks = self._marks[1:]
        began = time.monotonic()
        self._server.start()
        self.ready_times.append(time.monotonic())
        self.restart_seconds.append(self.ready_times[-1] - began)


def publish_under_fire(crew, killer, server, arguments):
    """Runs until enough is published and every mark is passed, telling how it goes."""
    began = told = time.monotonic()
    while crew.published() < arguments.messages or killer.due(crew.published()):
        crew.check_alive()
        if not server.is_running():
            raise RuntimeError(f"the server ended by itself\n{server.log_tail()}")
        if killer.due(crew.published()):
            killer.strike()
        time.sleep(0.005)
        if time.monotonic() - told > 5:
            told = time.monotonic()
            print(f"  {told - began:5.0f} s  {crew.published()} published, {killer.kills} kills", flush=True)
        if time.monotonic() - began > 10 * arguments.seconds + 120:
            raise RuntimeError(f"too slow: {crew.published()} of {arguments.messages} messages published")


async def publish_markers(url, batches, subjects, tag):
    """One flushed message on each subject, entered in the ledger like any other; the last one ends the replay."""
    import harness
    import judge
    import nats

    client = await nats.connect(url, allow_reconnect=False)
    batch = judge.Batch(f"marker-{tag}", 1, 0, time.monotonic())
    for subject in subjects:
        payload = f"attempt:{batch.next_id()}   marker:{subject}".encode()
        batch.items.append((subject, judge.digest(subject, payload)))
        await client.publish(subject, payload)
    await harness.flush(client, timeout=60)
    batch.flushed_at = time.monotonic()
    await client.close()
    batches.append(batch)
    return f"{batch.publisher}.1.{len(subjects) - 1}"


class Replay:
    """Reads a subscription until the marker comes, and checks the headers a replay adds, if `subject` asks for one."""

    def __init__(self, subject, until, jetstream=False):
        self.subject = subject
        self.until = until
        self.jetstream = jetstream
        self.entries = []
        self.subjects = []
        self.header_faults = collections.Counter()
        self._sequence = 0

    def _check_headers(self, message):
        headers = message.headers or {}
        sequence = int(headers.get("Nats-Sequence", "0") or 0)
        self.header_faults["Nats-Sequence"] += sequence <= self._sequence
        self._sequence = sequence
        self.header_faults["Nats-Stream"] += not headers.get("Nats-Stream")
        self.header_faults["Nats-Time-Stamp"] += not headers.get("Nats-Time-Stamp", "").endswith("Z")
        self.header_faults["Nats-Subject"] += headers.get("Nats-Subject") != message.subject

    async def run(self, url):
        """True when the marker came; False when nothing came any more before it did."""
        import judge
        import nats
        import reports

        finished = asyncio.Event()

        async def note(message):
            attempt = reports.attempt_of(message.data)
            self.entries.append((attempt, judge.digest(message.subject, message.data)))
            self.subjects.append(message.subject)
            if not self.jetstream:
                self._check_headers(message)
            if attempt == self.until:
                finished.set()

        client = await nats.connect(url, allow_reconnect=False)
        unlimited = {"pending_msgs_limit": 0, "pending_bytes_limit": 0}
        if self.jetstream:
            await client.jetstream().subscribe(self.subject, cb=note, ordered_consumer=True, **unlimited)
        else:
            await client.subscribe(self.subject, cb=note, **unlimited)
        before = -1
        while not finished.is_set() and before < len(self.entries):
            before = len(self.entries)
            try:
                await asyncio.wait_for(finished.wait(), REPLAY_IDLE_SECONDS_MAX)
            except asyncio.TimeoutError:
                continue
        await client.close()
        return finished.is_set()


def explain_lost(ledger, lost, windows, killer):
    """What tells most about why, for each batch: when its flush came back between two kills, and how much of it was seen live.

    What a live subscriber saw was certainly in the server: then the flush was no mistake of the suite's.
    """
    live = {attempt for window in windows for attempt, _mark in window.seen}
    batches = {id(ledger.attempts[attempt][0]): ledger.attempts[attempt][0] for attempt in lost}
    told = []
    for batch in batches.values():
        later = [at - batch.flushed_at for at in killer.kill_times if at > batch.flushed_at]
        earlier = [batch.started_at - at for at in killer.ready_times if at < batch.flushed_at]
        before = f"{min(later) * 1000:.1f} ms before a kill" if later else "no kill after it"
        after = f"begun {min(earlier) * 1000:.1f} ms after a restart was noticed" if earlier else "no restart before it"
        own = [attempt for attempt in lost if ledger.attempts[attempt][0] is batch]
        name = f"{batch.publisher}.{batch.connection}.{batch.first}"
        told.append(f"{name}: {len(own)} of {len(batch.items)}, {len(live & set(own))} seen live, {after}, flushed {before}")
    return told


async def replay_and_judge(server, batches, arguments, tag, chance, windows, killer, result):
    """Markers, the whole replay, and per-subject replays of a sample, judged against the ledger."""
    import judge

    counted = collections.Counter(subject for batch in batches for subject, _mark in batch.items)
    result["subjects"] = len(counted)
    rare = sorted(counted)
    sample = [subject for subject, _count in counted.most_common(5)] + chance.sample(rare, min(SAMPLE_SUBJECTS - 5, len(rare)))
    sample = list(dict.fromkeys(sample))
    end = await publish_markers(server.url, batches, [*sample, "cms.end"], tag)
    prefix = "" if arguments.jetstream else "$REPLAY.all."
    began = time.monotonic()
    whole = Replay(f"{prefix}cms.>", end, arguments.jetstream)
    complete = await whole.run(server.url)
    result["replay seconds"] = round(time.monotonic() - began, 1)
    result["replayed"] = len(whole.entries)
    ledger = judge.Ledger(batches)
    verdict = judge.judge_log(ledger, whole.entries)
    verdict.examples["lost"] = explain_lost(ledger, verdict.lost, windows, killer)
    unequal = 0
    for number, subject in enumerate(sample):
        one = Replay(f"{prefix}{subject}", f"marker-{tag}.1.{number}", arguments.jetstream)
        await one.run(server.url)
        due = [entry for entry, its in zip(whole.entries, whole.subjects) if its == subject]
        unequal += one.entries != due
        whole.header_faults.update(one.header_faults)
    faults = {kind: (verdict.get(kind), verdict.examples.get(kind)) for kind in ("lost", "duplicated", "corrupt", "unknown", "order breaks")}
    faults["replay cut short"] = (int(not complete), None)
    faults[f"sample of {len(sample)} subjects replayed differently"] = (unequal, None)
    if not arguments.jetstream:
        faults["replay header faults"] = (sum(whole.header_faults.values()), dict(+whole.header_faults))
    return faults


async def make_stream(url):
    import nats

    client = await nats.connect(url, allow_reconnect=False)
    await client.jetstream().add_stream(name="CMS", subjects=["cms.>"], no_ack=True)
    await client.close()


def run_job(arguments, tools, binary, name, remembers, servers):
    """The whole job; returns (counts to print, faults by name, name of what was skipped or None)."""
    import judge
    import reports
    from servers import Flavour, Server

    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1 << 31)
    chance = random.Random(seed)
    flavour = Flavour("jetstream", ["-js"]) if arguments.jetstream else Flavour("open")
    server = Server(name, binary, flavour, remembers)
    servers.append(server)
    tag = secrets.token_hex(4)
    with server:
        if arguments.jetstream:
            asyncio.run(make_stream(server.url))
        print(f"job: {reports.load()[1]}; {arguments.messages} messages, {arguments.kills} kills, seed {seed}", flush=True)
        crew = Crew(server, tools, arguments, seed)
        killer = Killer(server, arguments, chance)
        began = time.monotonic()
        try:
            crew.start()
            publish_under_fire(crew, killer, server, arguments)
            batches = crew.stop_publishers()
            windows = crew.stop_watchers()
        finally:
            crew.close()
        result = {"publishing seconds": round(time.monotonic() - began, 1)}
        killer.kill()
        server.start()
        ledger = judge.Ledger(batches)
        result.update(published=ledger.published, flushed=ledger.flushed, kills=killer.kills)
        live = judge.judge_live(ledger, windows, lambda who, subject: who == "everything" or subject.split(".")[2] == "site")
        result.update({"live windows": len(windows), "live seen": sum(len(w.seen) for w in windows), "live due": live.get("live due")})
        result["slowest restart seconds"] = round(max(killer.restart_seconds, default=0.0), 2)
        kinds = ("live missed", "live duplicated", "live corrupt", "live unknown", "live order breaks")
        faults = {kind: (live.get(kind), live.examples.get(kind)) for kind in kinds}
        faults["problems told by publishers"] = (len(crew.problems), crew.problems[:5])
        faults["kills too few"] = (max(0, arguments.kills - killer.kills), None)
        for batch_kind in {batch.publisher for batch in batches} - {"closing"}:
            none = all(batch.flushed_at is None for batch in batches if batch.publisher == batch_kind)
            faults[f"publisher {batch_kind} flushed nothing"] = (int(none), None)
        faults["live subscribers had nothing due"] = (int(live.get("live due") == 0), None)
        skipped = None
        if remembers or arguments.jetstream:
            faults.update(asyncio.run(replay_and_judge(server, batches, arguments, tag, chance, windows, killer, result)))
        else:
            skipped = f"{name} has no replay: loss, duplication, corruption and order of the log are not judged"
        return result, faults, skipped


def print_result(result, faults, skipped):
    """Counts, then one line for each check, then the plain count; returns the exit code."""
    for what, count in result.items():
        print(f"{what:28} {count}")
    failed = 0
    for what, (count, examples) in faults.items():
        failed += count > 0
        shown = f"  e.g. {examples}" if count and examples else ""
        print(f"{'FAILED' if count else 'ok':7} {what}: {count}{shown}")
    if skipped:
        print(f"skipped {skipped}")
    print(f"{len(faults) - failed} passed, {failed} failed" + (", 1 skipped" if skipped else ""))
    return 1 if failed else 0


def main():
    arguments = parse_arguments()
    tools = toolbox.install()
    toolbox.enter_venv(tools)
    sys.path.insert(0, str(toolbox.HERE))
    from run import parse_server
    from servers import Watchdog

    name, binary, remembers = parse_server(arguments.server, tools)
    if arguments.jetstream and remembers:
        raise SystemExit("--jetstream is for the reference server only")
    for note in tools.notes:
        print(f"note: {note}", flush=True)
    servers = []
    watchdog = Watchdog(20 * arguments.seconds + 600, servers)
    try:
        result, faults, skipped = run_job(arguments, tools, binary, name, remembers, servers)
    finally:
        for server in servers:
            server.close()
    watchdog.cancel()
    return print_result(result, faults, skipped)


if __name__ == "__main__":
    sys.exit(main())
