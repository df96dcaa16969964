#!/usr/bin/env python3
"""What a large log costs: fills a server's capture stream, then measures memory, look-ups, replays, disk and a start after SIGKILL.

    benches/scale.py subjects [--messages 10000000]     every message on a subject of its own, but for a subject with a
                                                        hundred messages and a family that is 0.1 % of all
    benches/scale.py bytes    [--gigabytes 10]          messages of 1 KiB: disk use, start after SIGKILL
    benches/scale.py streams  [--streams 10000]         declared streams with one message each: time, threads, files, memory,
                                                        idle processor time, start
    benches/scale.py info     [--messages 1000000]      STREAM.INFO of a stream with a subject for each message
    benches/scale.py reports  --documents FILE.ndjson   JSON documents, one a line, published over and over: compression

Needs Python alone, a built server (--sublog, by default target/release/sublog) and room in --dir. Run it alone on the
machine: it prints times as it finds them.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

RARE = "scale.rare"
RARE_MESSAGES = 100


class Server:
    """A server with a data folder that outlives it."""

    def __init__(self, binary, folder, *flags):
        self.binary, self.folder, self.flags = binary, folder, flags
        self.process = None

    def start(self):
        self.port, self.monitor = free_port(), free_port()
        command = [self.binary, "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor), "-sd", self.folder, *self.flags]
        begin = time.monotonic()
        self.process = subprocess.Popen(command, stdout=open(self.folder + ".out", "a"), stderr=subprocess.STDOUT)
        while True:
            if self.process.poll() is not None:
                sys.exit("the server ended:\n" + open(self.folder + ".out").read()[-2000:])
            try:
                Client(self.port).close()
                return time.monotonic() - begin
            except OSError:
                time.sleep(0.002)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def memory(self):
        """Resident bytes: anonymous, and of mapped files."""
        fields = {}
        for line in open(f"/proc/{self.process.pid}/status"):
            name, _, value = line.partition(":")
            fields[name] = value
        return tuple(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))

    def state(self):
        client = Client(self.port)
        try:
            return json.loads(client.request("$SUBLOG.STATE"))["streams"][0]
        finally:
            client.close()


class Client:
    """The few operations that this needs."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.line()
        self.send(b'CONNECT {"verbose":false,"headers":true,"no_responders":true,"protocol":1}\r\nPING\r\n')
        self.pong()
        self.sid = 0

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise OSError("the server closed the connection")
        self.buffer += data

    def line(self):
        while (at := self.buffer.find(b"\r\n")) < 0:
            self.fill()
        line = bytes(self.buffer[:at])
        del self.buffer[: at + 2]
        return line

    def take(self, size):
        while len(self.buffer) < size + 2:
            self.fill()
        body = bytes(self.buffer[:size])
        del self.buffer[: size + 2]
        return body

    def message(self):
        """The next message: its subject and its payload."""
        while True:
            line = self.line()
            if line.startswith((b"MSG", b"HMSG")):
                fields = line.split(b" ")
                body = self.take(int(fields[-1]))
                headers = int(fields[-2]) if line.startswith(b"H") else 0
                return fields[1].decode(), body[headers:]
            if line.startswith(b"-ERR"):
                sys.exit(line.decode())
            if line == b"PING":
                self.send(b"PONG\r\n")

    def pong(self):
        while (line := self.line()) != b"PONG":
            if line.startswith(b"-ERR"):
                sys.exit(line.decode())

    def flush(self):
        self.send(b"PING\r\n")
        self.pong()

    def subscribe(self, subject):
        self.sid += 1
        self.send(f"SUB {subject} {self.sid}\r\n".encode())
        return self.sid

    def unsubscribe(self, sid):
        self.send(f"UNSUB {sid}\r\n".encode())
        self.flush_messages()

    def flush_messages(self):
        """A flush that passes over messages on their way."""
        self.send(b"PING\r\n")
        while (line := self.line()) != b"PONG":
            if line.startswith((b"MSG", b"HMSG")):
                self.take(int(line.split(b" ")[-1]))

    def request(self, subject):
        sid = self.subscribe("_INBOX.scale")
        self.send(f"PUB {subject} _INBOX.scale 0\r\n\r\n".encode())
        _, payload = self.message()
        self.unsubscribe(sid)
        return payload

    def request_with(self, subject, body):
        sid = self.subscribe("_INBOX.scale")
        self.send(b"PUB %s _INBOX.scale %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        _, payload = self.message()
        self.unsubscribe(sid)
        return payload

    def close(self):
        self.socket.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def mb(size):
    return f"{size / 1e6:.1f} MB"


def quantiles(times):
    times = sorted(times)
    at = lambda q: times[min(len(times) - 1, int(q * len(times)))] * 1e3
    return f"p50 {at(0.5):.3f} ms, p99 {at(0.99):.3f} ms, at most {at(1):.3f} ms"


def settled(server):
    """Waits until the server has nothing left to do: its processor time stands still."""
    def ticks():
        fields = open(f"/proc/{server.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    begin, still, last = time.monotonic(), 0, ticks()
    while still < 6 and time.monotonic() - begin < 900:
        time.sleep(0.5)
        now = ticks()
        still = still + 1 if now - last <= 2 else 0
        last = now
    return time.monotonic() - begin


def publish(port, blocks):
    client = Client(port)
    begin = time.monotonic()
    for block in blocks:
        client.send(block)
    client.flush()
    client.close()
    return time.monotonic() - begin


def pub(subject, payload):
    return b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload)


def subject_blocks(messages):
    """Ten thousand messages each: subjects of their own; 0.1 % in a family; the rare subject now and then."""
    step = messages // RARE_MESSAGES
    block = []
    for i in range(messages):
        if i % step == 0:
            block.append(pub(RARE, b"rare-%012d" % i))
        elif i % 1000 == 1:
            block.append(pub(f"scale.family.{i:09d}", b"family-%010d" % i))
        else:
            block.append(pub(f"scale.site{i % 997:03d}.job.{i:09d}", b"payload-%09d" % i))
        if len(block) == 10_000:
            yield b"".join(block)
            block.clear()
    yield b"".join(block)


def measure_subjects(server, options):
    server.start()
    empty = server.memory()
    took = publish(server.port, subject_blocks(options.messages))
    print(f"published {options.messages} messages in {took:.1f} s; index settled {settled(server):.1f} s later")
    full = server.memory()
    print(f"memory of the empty server: {mb(empty[0])} anonymous, {mb(empty[1])} of files")
    print(f"memory now: {mb(full[0])} anonymous, {mb(full[1])} of files; anonymous grew by {mb(full[0] - empty[0])}")
    state = server.state()
    print(f"disk: {mb(state['disk_bytes'])} in {state['segments']} segments; folder {mb(folder_bytes(server.folder))}")
    questions(server, options.messages)
    used = server.memory()
    print(f"memory after the questions: {mb(used[0])} anonymous, {mb(used[1])} of files")
    server.kill()
    print(f"start after SIGKILL: {server.start():.3f} s")
    again = server.memory()
    print(f"memory after it: {mb(again[0])} anonymous, {mb(again[1])} of files")
    server.stop()


def questions(server, messages):
    client = Client(server.port)
    times = []
    for n in range(5000):
        i = (n * 7_919_993 + 2) % messages
        if i % 1000 < 2 or i % (messages // RARE_MESSAGES) == 0:
            continue
        begin = time.monotonic()
        sid = client.subscribe(f"$REPLAY.last.1.scale.site{i % 997:03d}.job.{i:09d}")
        _, payload = client.message()
        times.append(time.monotonic() - begin)
        assert payload == b"payload-%09d" % i
        client.unsubscribe(sid)
    print(f"last message of a subject, {len(times)} times, round trip through a subscription: {quantiles(times)}")
    times = []
    for _ in range(20):
        begin = time.monotonic()
        sid = client.subscribe(f"$REPLAY.all.{RARE}")
        for _ in range(RARE_MESSAGES):
            client.message()
        times.append(time.monotonic() - begin)
        client.unsubscribe(sid)
    print(f"replay of a subject with {RARE_MESSAGES} messages, 20 times: {quantiles(times)}")
    family = sum(1 for i in range(1, messages, 1000) if i % (messages // RARE_MESSAGES) != 0)
    for _ in range(3):
        begin = time.monotonic()
        sid = client.subscribe("$REPLAY.all.scale.family.>")
        for _ in range(family):
            client.message()
        took = time.monotonic() - begin
        client.unsubscribe(sid)
        print(f"replay of 0.1 % by a wildcard: {family} messages in {took:.3f} s, {took / family * 1e6:.1f} us a message")
    begin = time.monotonic()
    sid = client.subscribe("$REPLAY.all.>")
    for _ in range(min(messages, 300_000)):
        client.message()
    took = time.monotonic() - begin
    print(f"for comparison, replay of everything: {took / min(messages, 300_000) * 1e6:.1f} us a message (this reader's own pace)")
    client.close()


def folder_bytes(folder):
    return sum(path.stat().st_blocks * 512 for path in pathlib.Path(folder).rglob("*") if path.is_file())


def measure_bytes(server, options):
    server.start()
    payload = os.urandom(1024)
    messages = int(options.gigabytes * 1e9 / 1024)
    block = b"".join(pub(f"scale.bytes.{i:04d}", payload) for i in range(1000))
    took = publish(server.port, (block for _ in range(messages // 1000)))
    sent = messages // 1000 * 1000 * (1024 + len("scale.bytes.0000"))
    print(f"published {mb(sent)} of payloads and subjects in {took:.1f} s; settled {settled(server):.1f} s later")
    used = folder_bytes(server.folder)
    print(f"disk: {mb(used)}, {used / sent:.3f} times")
    for _ in range(3):
        publish(server.port, [block])
        server.kill()
        print(f"start after SIGKILL, warm: {server.start():.3f} s")
    server.stop()
    print(f"start after a clean stop: {server.start():.3f} s")
    anonymous, files = server.memory()
    print(f"memory: {mb(anonymous)} anonymous, {mb(files)} of files")
    server.stop()
    measure_index(server, used)
    measure_scrub(server, used)


def measure_index(server, size):
    """The subject index is a cache: what making it again from the segments costs."""
    for path in pathlib.Path(server.folder).rglob("*.idx"):
        path.unlink()
    server.start()
    begin, seen = time.monotonic(), 0
    while time.monotonic() - begin < 600:
        time.sleep(0.05)
        names = [path.name for path in pathlib.Path(server.folder).rglob("*.idx")]
        sealed = len(list(pathlib.Path(server.folder).rglob("*.seg"))) - 1
        # Parts are merged as they come: what the last segment but one belongs to is there when all are.
        seen = max(seen, sum(8 ** int(name.split(".")[1]) for name in names))
        if seen >= sealed:
            break
    took = time.monotonic() - begin
    print(f"subject index made again beside a running server in {took:.1f} s: {size / took / 1e9:.2f} GB/s of log")
    settled(server)
    server.stop()


def measure_scrub(server, size):
    server.flags = ("--scrub-interval", "1s", "--scrub-rate", "10GB")
    server.start()
    begin = time.monotonic()
    while server.state()["scrub"]["passes"] == 0 and time.monotonic() - begin < 600:
        time.sleep(0.1)
    scrub, took = server.state()["scrub"], time.monotonic() - begin
    print(f"scrub of {mb(scrub['last_bytes'])} in {took:.1f} s, {scrub['last_bytes'] / took / 1e6:.0f} MB/s without its usual limit: {scrub['last_result']}")
    server.stop()


def measure_reports(server, options):
    server.start()
    documents = [line.rstrip(b"\n") for line in open(options.documents, "rb")]
    blocks = [b"".join(pub("scale.report", document) for document in documents)]
    size = sum(map(len, documents))
    rounds = max(1, int(options.gigabytes * 1e9 / size))
    took = publish(server.port, (blocks[0] for _ in range(rounds)))
    print(f"published {rounds} times {len(documents)} documents, {mb(size * rounds)}, in {took:.1f} s; settled {settled(server):.1f} s later")
    used = folder_bytes(server.folder)
    print(f"disk: {mb(used)}, the payloads are {size * rounds / used:.2f} times as large")
    *sealed, last = sorted(pathlib.Path(server.folder).rglob("*.seg"))
    whole, rest = divmod(int(last.stem) - 1, len(documents))
    packed, held = sum(path.stat().st_blocks * 512 for path in sealed), whole * size + sum(map(len, documents[:rest]))
    print(f"without the segment that is written to: {mb(packed)}, the payloads are {held / max(packed, 1):.2f} times as large; {len(sealed)} segments")
    server.stop()


def asked(client, requests, window=256):
    """Sends all of them, some at a time, and yields the answers as they come."""
    sid = client.subscribe("_INBOX.many")
    waiting = 0
    for subject, body in requests:
        client.send(b"PUB %s _INBOX.many %d\r\n%s\r\n" % (subject.encode(), len(body), body))
        waiting += 1
        if waiting == window:
            yield client.message()[1]
            waiting -= 1
    for _ in range(waiting):
        yield client.message()[1]
    client.unsubscribe(sid)


def good(answer):
    answer = json.loads(answer)
    if "error" in answer:
        sys.exit(f"the server says {answer['error']}")
    return answer


def process(server):
    """What the process holds: threads, open files, maps, anonymous memory."""
    base = pathlib.Path(f"/proc/{server.process.pid}")
    threads, files = (len(list((base / name).iterdir())) for name in ("task", "fd"))
    maps = sum(1 for _ in open(base / "maps"))
    return f"{threads} threads, {files} open files, {maps} maps, {mb(server.memory()[0])} anonymous memory"


def processor(server):
    """Seconds of processor time that it has taken."""
    fields = open(f"/proc/{server.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(server, seconds=10):
    """Share of one core that the server takes when nobody wants anything."""
    before = processor(server)
    time.sleep(seconds)
    return f"{(processor(server) - before) / seconds * 100:.1f} % of a core idle"


def page(server, path):
    begin = time.monotonic()
    size = len(urllib.request.urlopen(f"http://127.0.0.1:{server.monitor}{path}").read())
    return f"{path} {size} bytes in {(time.monotonic() - begin) * 1e3:.1f} ms"


def measure_streams(server, options):
    server.start()
    print(f"empty: {process(server)}")
    client, count = Client(server.port), options.streams
    names = [f"STREAM{i:05d}" for i in range(count)]
    config = lambda name: json.dumps({"name": name, "subjects": [f"{name}.>"]}).encode()
    begin = last = time.monotonic()
    used = processor(server)
    for n, answer in enumerate(asked(client, ((f"$JS.API.STREAM.CREATE.{name}", config(name)) for name in names)), 1):
        good(answer)
        if n % max(1, count // 5) == 0:
            now = time.monotonic()
            print(f"  {n} created, the last {count // 5} in {now - last:.1f} s, {processor(server) - used:.1f} s of processor time")
            last, used = now, processor(server)
    print(f"created {count} streams in {time.monotonic() - begin:.1f} s: {process(server)}")
    begin = time.monotonic()
    for answer in asked(client, ((f"{name}.first", b"x" * 100) for name in names)):
        good(answer)
    client.close()
    print(f"a message into each, acknowledged, in {time.monotonic() - begin:.1f} s; settled {settled(server):.1f} s later: {process(server)}; {idle(server)}")
    client, infos = Client(server.port), []
    for name in names[:: max(1, count // 500)]:
        begin = time.monotonic()
        good(client.request(f"$JS.API.STREAM.INFO.{name}"))
        infos.append(time.monotonic() - begin)
    print(f"STREAM.INFO: {quantiles(infos)}; {page(server, '/healthz')}, {page(server, '/streamz')}, {page(server, '/varz')}")
    client.close()
    for how, end in (("SIGKILL", server.kill), ("a clean stop", server.stop)):
        begin = time.monotonic()
        end()
        stopped = time.monotonic() - begin
        print(f"start after {how} (which took {stopped:.2f} s): {server.start():.2f} s: {process(server)}")
        print(f"  settled {settled(server):.1f} s later: {process(server)}; {idle(server)}")
    client = Client(server.port)
    for answer in asked(client, ((f"{name}.second", b"x" * 100) for name in names)):
        assert good(answer)["seq"] == 2
    client.close()
    print(f"a second message into each: {process(server)}; settled {settled(server):.1f} s later: {process(server)}")
    client = Client(server.port)
    begin = time.monotonic()
    for answer in asked(client, ((f"$JS.API.STREAM.DELETE.{name}", b"") for name in names)):
        good(answer)
    print(f"deleted all in {time.monotonic() - begin:.1f} s: {process(server)}")
    server.stop()


def measure_info(server, options):
    server.start()
    client, count = Client(server.port), options.messages
    good(client.request_with("$JS.API.STREAM.CREATE.KEYS", b'{"name":"KEYS","subjects":["keys.>"],"max_msgs_per_subject":1}'))
    blocks = (b"".join(pub(f"keys.{i:09d}", b"value") for i in range(at, min(at + 10_000, count))) for at in range(0, count, 10_000))
    client.close()
    took = publish(server.port, blocks)
    print(f"published {count} messages, each on a subject of its own, in {took:.1f} s; settled {settled(server):.1f} s later")

    def info(what):
        client = Client(server.port)
        begin = time.monotonic()
        state = good(client.request("$JS.API.STREAM.INFO.KEYS"))["state"]
        print(f"STREAM.INFO {what}: {state['num_subjects']} subjects in {(time.monotonic() - begin) * 1e3:.2f} ms")
        return state["num_subjects"]

    assert info("the first time") == count
    assert info("again") == count
    publish(server.port, [b"".join(pub(f"keys.new.{i:04d}", b"value") for i in range(1000))])
    assert info("after 1000 new subjects") == count + 1000
    publish(server.port, [b"".join(pub(f"keys.{i * 7:09d}", b"other") for i in range(1000))])
    assert info("after 1000 updates, each of which removes a message") == count + 1000
    assert info("again") == count + 1000
    server.kill()
    server.start()
    assert info("after SIGKILL and a start") == count + 1000
    print(f"{process(server)}")
    server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["subjects", "bytes", "streams", "info", "reports"])
    parser.add_argument("--messages", type=int)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--documents", help="JSON documents, one a line")
    parser.add_argument("--sublog", default="target/release/sublog")
    parser.add_argument("--dir", help="where the data goes")
    options = parser.parse_args()
    if options.messages is None:
        options.messages = 1_000_000 if options.what == "info" else 10_000_000
    if options.what == "reports" and not options.documents:
        parser.error("reports needs --documents")
    parent = tempfile.mkdtemp(prefix="sublog-scale-", dir=options.dir)
    folder = os.path.join(parent, "data")
    flags = ["--compress", "on"] if options.what == "reports" else []
    server = Server(os.path.abspath(options.sublog), folder, *flags)
    try:
        measures = {"subjects": measure_subjects, "bytes": measure_bytes, "streams": measure_streams, "info": measure_info, "reports": measure_reports}
        measures[options.what](server, options)
    finally:
        if server.process and server.process.poll() is None:
            server.kill()
        shutil.rmtree(parent)


main()
