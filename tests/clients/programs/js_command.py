"""JetStream through the `nats` command; prints what it prints. Arguments: path of `nats`, url, part."""

import json
import os
import re
import subprocess
import sys
import tempfile

NATS, URL, PART = sys.argv[1:]
HOME = tempfile.mkdtemp(prefix="sublog-natscli-")
# Not compared: what a stream takes on the disk, how long something took, how fast it was, who the server is.
VAGUE = [
    (re.compile(r"(\d{4}-\d\d-\d\d[T ])?\b\d\d:\d\d:\d\d(\.\d+)?( ?Z|[+-]\d\d:?\d\d| \+0000 UTC)?"), "<time>"),
    (re.compile(r"\b[\d.,]+ ?([KMGT]i?)?B(ytes)?\b"), "<bytes>"),
    (re.compile(r"\b[\d,]+ msgs/sec\b.*|\d[\d.,]*[KM]?/s\b"), "<rate>"),
    (re.compile(r"\b(\d+h)?(\d+m)?\d+(\.\d+)?(ns|µs|ms|s)\b"), "<while>"),
    (re.compile(r"Server ID: .*|Server Name: .*|Cluster: .*|(Client|Server) (IP|Host|ID): .*"), "<server>"),
    (re.compile(r"\bnever\b|\b\d+ (seconds?|minutes?) ago\b|\bnow\b"), "<when>"),
    (re.compile(r"[─━╭╮╰╯┬┴├┤┼│]+"), "|"),
    (re.compile(r"[ \u00a0]+"), " "),
    # Which level is claimed is not what these scenarios are about, see docs/compatibility.md.
    (re.compile(r"hosted at level \d+"), "hosted at level <level>"),
]


def nats(*arguments, stdin=None, only=None, vague=VAGUE):
    """Runs one command and prints its exit code and what it wrote; `only` chooses lines."""
    env = {"HOME": HOME, "PATH": os.environ["PATH"], "XDG_CONFIG_HOME": HOME, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "160", "TZ": "UTC"}
    done = subprocess.run([NATS, "--server", URL, "--timeout", "10s", *arguments], input=stdin, capture_output=True, text=True, env=env, timeout=50)
    print(f"$ nats {' '.join(arguments)} [{done.returncode}]".replace(HOME, "<home>"))
    for line in (done.stdout + done.stderr).splitlines():
        line = line.replace(HOME, "<home>")
        for pattern, word in vague:
            line = pattern.sub(word, line)
        line = line.strip(" |")
        if line and (only is None or re.search(only, line)):
            print(f"  {line}")


def shown_json(*arguments, drop=()):
    """Runs a command that answers in JSON and prints it, sorted and without what differs from run to run."""
    volatile = {"created", "ts", "cluster", "bytes", "_nats.level", "_nats.ver", "first_ts", "last_ts", "last_active", "time", "memory", "storage", "delivered_ts", *drop}

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items() if key not in volatile}
        return [plain(entry) for entry in value] if isinstance(value, list) else value

    env = {"HOME": HOME, "PATH": os.environ["PATH"], "XDG_CONFIG_HOME": HOME}
    done = subprocess.run([NATS, "--server", URL, *arguments], capture_output=True, text=True, env=env, timeout=50)
    print(f"$ nats {' '.join(arguments)} [{done.returncode}]")
    print("  " + (json.dumps(plain(json.loads(done.stdout)), sort_keys=True) if done.returncode == 0 else done.stderr.strip()))


def streams():
    nats("stream", "add", "S", "--subjects", "s.>", "--defaults")
    nats("stream", "add", "S", "--subjects", "s.>", "--defaults", only="error")
    nats("stream", "add", "M", "--subjects", "m.*", "--storage", "memory", "--max-msgs", "5", "--discard", "new", "--max-age", "1h", "--defaults")
    nats("stream", "add", "O", "--subjects", "s.x", "--defaults", only="error")
    nats("pub", "s.a", "message {{Count}}", "--count", "7", "-H", "A:b", "--jetstream", only="Published|Stored|error")
    nats("pub", "m.a", "message {{Count}}", "--count", "7", "--jetstream", only="Stored|error")
    nats("stream", "ls", "--names")
    nats("stream", "ls")
    nats("stream", "info", "S")
    shown_json("stream", "info", "S", "--json")
    nats("stream", "state", "S")
    nats("stream", "subjects", "S")
    nats("stream", "find", "--subject", "s.a")
    nats("stream", "report")
    nats("stream", "get", "S", "3")
    nats("stream", "get", "S", "--last-for", "s.a")
    nats("stream", "get", "S", "300")
    nats("stream", "edit", "S", "--description", "edited", "--max-msgs", "100", "--force", only="Description:|Maximum Messages:|error")
    nats("stream", "copy", "S", "T", "--subjects", "t.>", only="Subjects|Maximum Messages|error")
    nats("stream", "rmm", "S", "3", "--force")
    nats("stream", "gaps", "S", "--force", only="error|[Gg]ap|^[0-9]")
    nats("stream", "purge", "S", "--subject", "s.b", "--force", only="Messages|error")
    nats("stream", "purge", "S", "--keep", "2", "--force", only="Messages|Sequence|error")
    nats("stream", "purge", "S", "--force", only="Messages|Sequence|error")
    nats("stream", "seal", "T", "--force", only="Seal|error")
    nats("stream", "rm", "S", "--force")
    nats("stream", "rm", "S", "--force")
    nats("stream", "info", "S")
    nats("account", "info", only="JetStream|Streams|Consumers|Max|Tier|Domain|error")
    nats("rtt", only="error")


def consumers():
    nats("stream", "add", "S", "--subjects", "s.>", "--defaults", only="error")
    nats("pub", "s.a", "message {{Count}}", "--count", "9", "--jetstream", only="error")
    nats("consumer", "add", "S", "PULL", "--pull", "--ack", "explicit", "--deliver", "all", "--replay", "instant", "--defaults")
    nats("consumer", "add", "S", "PUSH", "--target", "out", "--deliver", "last", "--filter", "s.a", "--heartbeat", "1s", "--flow-control", "--ack", "none", "--defaults")
    nats("consumer", "add", "S", "PINNED", "--pull", "--pinned-groups", "p", "--pinned-ttl", "1m", "--defaults")
    nats("consumer", "add", "S", "WRONG", "--pull", "--filter", "t.a", "--defaults", only="error")
    nats("consumer", "add", "S", "BACKOFF", "--pull", "--backoff", "linear", "--backoff-steps", "3", "--backoff-min", "1s", "--backoff-max", "5s", "--max-deliver", "5", "--defaults", only="Backoff|error")
    nats("consumer", "ls", "S")
    nats("consumer", "ls", "S", "--names")
    nats("consumer", "next", "S", "PULL", "--count", "3", only="(subj|message|Headers|Acknowledged|error)")
    nats("consumer", "next", "S", "PULL", "--no-ack", only="(subj|message|error)")
    nats("consumer", "info", "S", "PULL")
    shown_json("consumer", "info", "S", "PULL", "--json")
    shown_json("consumer", "info", "S", "PINNED", "--json")
    nats("consumer", "state", "S", "PULL")
    nats("consumer", "report", "S")
    nats("consumer", "edit", "S", "PULL", "--description", "edited", "--force", only="Description|error")
    nats("consumer", "pause", "S", "PULL", "2100-01-01 00:00:00", "--force", only="Paused|error")
    nats("consumer", "info", "S", "PULL", only="Paused")
    nats("consumer", "resume", "S", "PULL", "--force", only="Resumed|resumed|error")
    nats("consumer", "copy", "S", "PULL", "COPY", "--description", "c", only="Description|error")
    nats("consumer", "find", "S", "--pull")
    nats("consumer", "unpin", "S", "PINNED", "p", "--force", only="error|npin")
    nats("consumer", "rm", "S", "PULL", "--force")
    nats("consumer", "rm", "S", "PULL", "--force", only="error")
    nats("consumer", "info", "S", "PULL")
    nats("sub", "--stream", "S", "--all", "--count", "9", "--raw")
    nats("sub", "s.>", "--stream", "S", "--last", "--count", "1", "--raw")
    nats("sub", "s.a", "--start-sequence", "8", "--count", "2", "--raw")


def buckets():
    nats("kv", "add", "B", "--history", "3", "--description", "a bucket", only="Bucket|History|Maximum|error")
    for key, value in [("a", "1"), ("b.c", "2"), ("a", "3")]:
        nats("kv", "put", "B", key, value)
    nats("kv", "create", "B", "a", "4")
    nats("kv", "create", "B", "d", "5")
    nats("kv", "update", "B", "a", "6", "3")
    nats("kv", "update", "B", "a", "7", "3")
    nats("kv", "get", "B", "a", "--raw")
    nats("kv", "get", "B", "a", "--revision", "1", "--raw")
    nats("kv", "get", "B", "none")
    nats("kv", "ls", "B")
    nats("kv", "ls", "B", "b.>")
    nats("kv", "del", "B", "d", "--force")
    nats("kv", "get", "B", "d")
    nats("kv", "purge", "B", "a", "--force")
    nats("kv", "history", "B", "a", only="a|PURGE")
    nats("kv", "revert", "B", "b.c", "2", "--force")
    nats("kv", "ls")
    nats("kv", "info", "B", only="Bucket|History|Values|error")
    nats("kv", "compact", "B", "--force", only="error")
    nats("kv", "ls", "B")
    nats("kv", "del", "B", "--force")
    nats("kv", "get", "B", "a")


def objects():
    path = os.path.join(HOME, "file.bin")
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 2000)
    nats("object", "add", "O", "--description", "objects", only="Description|Sealed|Replicas|error")
    nats("object", "put", "O", path, "--name", "large", "--force", "--no-progress", "-H", "A:b", only="Chunks|Digest|Description|A:|Name|error")
    nats("object", "put", "O", "--name", "small", "--force", "--no-progress", stdin="abc", only="Chunks|Digest|error")
    nats("object", "ls", "O", only="large|small|error")
    nats("object", "info", "O", "large", only="Chunks|Digest|A:|error")
    nats("object", "get", "O", "large", "--output", path + ".out", "--force", "--no-progress", only="error")
    print("same:", open(path, "rb").read() == open(path + ".out", "rb").read())
    nats("object", "get", "O", "none", "--output", path + ".out", "--force", "--no-progress", only="error")
    nats("object", "rm", "O", "small", "--force", only="error|emoved")
    nats("object", "ls", "O", only="large|small|error")
    nats("object", "ls", only="O|error")
    nats("object", "seal", "O", "--force", only="Sealed|error|sealed")
    nats("object", "put", "O", path, "--name", "more", "--force", "--no-progress", only="error|sealed")
    nats("object", "rm", "O", "--force", only="error")


def backup():
    nats("stream", "add", "S", "--subjects", "s.>", "--defaults", only="error")
    nats("pub", "s.a", "message {{Count}}", "--count", "9", "-H", "A:b", "--jetstream", only="error")
    nats("consumer", "add", "S", "C", "--pull", "--defaults", only="error")
    nats("consumer", "next", "S", "C", "--count", "2", only="error")
    nats("stream", "backup", "S", os.path.join(HOME, "backup"), "--no-progress", only="error|Received .* chunks")
    nats("stream", "rm", "S", "--force")
    nats("stream", "restore", os.path.join(HOME, "backup"), "--no-progress", only="error|Messages|Sequence|Active Consumers")
    nats("stream", "get", "S", "9")
    nats("consumer", "info", "S", "C", only="Last Delivered|Outstanding|Unprocessed|error")


def bench():
    quiet = "error"
    nats("bench", "js", "pub", "sync", "bench.subject", "--create", "--msgs", "300", "--size", "64", "--storage", "file", "--no-progress", "--stream", "BENCH", only=quiet)
    nats("bench", "js", "pub", "async", "bench.subject", "--msgs", "2000", "--size", "64", "--no-progress", "--stream", "BENCH", only=quiet)
    nats("bench", "js", "ordered", "--msgs", "2000", "--no-progress", "--stream", "BENCH", only=quiet)
    nats("bench", "js", "consume", "--msgs", "2000", "--no-progress", "--stream", "BENCH", only=quiet)
    nats("consumer", "add", "BENCH", "fetcher", "--pull", "--defaults", only=quiet)
    nats("bench", "js", "fetch", "--msgs", "2000", "--no-progress", "--stream", "BENCH", "--consumer", "fetcher", only=quiet)
    nats("stream", "state", "BENCH", only="Messages|Sequence")
    nats("kv", "add", "BK", only=quiet)
    nats("bench", "kv", "put", "--msgs", "300", "--size", "64", "--no-progress", "--bucket", "BK", only=quiet)
    nats("bench", "kv", "get", "--msgs", "300", "--no-progress", "--bucket", "BK", only=quiet)
    nats("kv", "info", "BK", only="Values")


def batches():
    quiet = "error"
    for how in "atomic", "fast":
        nats("bench", "js", "pub", how, "batched.subject", "--create", "--msgs", "3000", "--size", "64", "--batch", "250", "--no-progress", "--stream", "BATCHED", only=quiet)
        nats("stream", "state", "BATCHED", only="Messages|Sequence")
    nats("bench", "js", "pub", "fast", "batched.subject", "--clients", "8", "--max-outstanding-acks", "2", "--msgs", "8000", "--batch", "100", "--no-progress", "--stream", "BATCHED", only=quiet)
    nats("stream", "state", "BATCHED", only="Messages|Sequence")


globals()[PART]()
