"""nats-top and prometheus-nats-exporter, unchanged, beside each server: what they show is what happened."""

import contextlib
import os
import pty
import re
import subprocess
import threading
import time
import urllib.request

from harness import PATIENCE, check, scenario
from scenarios.monitoring import Monitored, drive, pair
from servers import HOST, free_port

SCREEN = (40, 200)
MOVE = re.compile(r"\x1b\[(?:(\d+);(\d+))?H|\x1b\[[0-9;?]*[A-GI-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78]|\x1b\][^\x07]*\x07|\x0f")


class Screen:
    """As much of a terminal as it takes to read a program that moves the cursor and writes."""

    def __init__(self):
        self.rows = [[" "] * SCREEN[1] for _ in range(SCREEN[0])]
        self.row = self.column = 0
        self.unread = ""

    def feed(self, text):
        self.unread += text
        # A sequence that has not come whole waits for the rest.
        cut = self.unread.rfind("\x1b")
        whole = cut < 0 or MOVE.match(self.unread, cut) is not None
        text, self.unread = (self.unread, "") if whole else (self.unread[:cut], self.unread[cut:])
        at = 0
        for found in MOVE.finditer(text):
            self.write(text[at : found.start()])
            at = found.end()
            if found.group(1):
                self.row, self.column = int(found.group(1)) - 1, int(found.group(2)) - 1
            elif found.group().endswith("H"):
                self.row = self.column = 0
            elif found.group().endswith("J"):
                self.rows = [[" "] * SCREEN[1] for _ in range(SCREEN[0])]
        self.write(text[at:])

    def write(self, text):
        for character in text:
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self.row += 1
            elif self.row < SCREEN[0] and self.column < SCREEN[1]:
                self.rows[self.row][self.column] = character
                self.column += 1

    def __str__(self):
        return "\n".join("".join(row).rstrip() for row in self.rows).rstrip()


@contextlib.contextmanager
def on_a_screen(command):
    """A program on a terminal of its own, and what it shows."""
    import fcntl
    import struct
    import termios

    lead, follow = pty.openpty()
    fcntl.ioctl(follow, termios.TIOCSWINSZ, struct.pack("HHHH", *SCREEN, 0, 0))
    env = {**os.environ, "TERM": "xterm", "LINES": str(SCREEN[0]), "COLUMNS": str(SCREEN[1])}
    process = subprocess.Popen(
        command, stdin=follow, stdout=follow, stderr=follow, env=env, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(follow)
    screen = Screen()

    def read():
        with contextlib.suppress(OSError):
            while data := os.read(lead, 65536):
                screen.feed(data.decode("utf-8", "replace"))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield process, screen
    finally:
        process.kill()
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        os.close(lead)


def until(screen, what, look):
    deadline = time.monotonic() + PATIENCE
    while True:
        found = look(str(screen))
        if found:
            return found
        check(time.monotonic() < deadline, f"nats-top did not show {what}:\n{screen}")
        time.sleep(0.05)


def alone(context):
    return Monitored(context, context.binary, context.remembers)


@scenario
def nats_top_shows_the_connections(context):
    program = context.tool("nats-top")
    with alone(context) as monitored:
        drive(monitored)
        done = subprocess.run(
            [program, "-s", HOST, "-m", str(monitored.monitor), "-o", "-", "-b", "-u", "-sort", "subs"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
        )
        check(done.returncode == 0, f"exit {done.returncode}: {done.stderr}")
        lines = done.stdout.splitlines()
        check(re.match(r"NATS server version 2\.15\.1 \(uptime: \d+s\)", lines[0]), lines[0])
        check(lines[1] == "Server: monitored", lines[1])
        check(re.match(r"  ID:   N[A-Z2-7]{55}$", lines[2]), lines[2])
        check(re.match(r"  Load: CPU:  \d+\.\d%  Memory: [\d.]+[KMG]  Slow Consumers: 0$", lines[3]), lines[3])
        check("Connections Polled: 3" in done.stdout, done.stdout)
        rows = {row.split()[2]: row.split() for row in lines if row.strip().startswith(f"{HOST}:")}
        check(sorted(rows) == ["publisher", "streams", "subscriber"], f"rows {sorted(rows)}")
        subscriber = rows["subscriber"]
        # HOST CID NAME SUBS PENDING MSGS_TO MSGS_FROM BYTES_TO BYTES_FROM LANG VERSION
        check(subscriber[3:6] == ["3", "0", "24"] and subscriber[6] == "0", f"row {subscriber}")
        check(subscriber[9:11] == ["raw", "1.2.3"], f"row {subscriber}")
        check("mon.limited" in " ".join(subscriber), f"row {subscriber}")
        check(rows["publisher"][3:7] == ["0", "0", "0", "13"], f"row {rows['publisher']}")


@scenario
def nats_top_shows_rates(context):
    program = context.tool("nats-top")
    with alone(context) as monitored:
        publisher, stop = monitored.client(name="steady"), threading.Event()
        sent = 0

        def publish():
            nonlocal sent
            while not stop.wait(0.02):
                for _ in range(10):
                    publisher.publish("rate", "x" * 100)
                sent += 10

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            with on_a_screen([program, "-s", HOST, "-m", str(monitored.monitor), "-d", "1", "-b"]) as (process, screen):
                rate = re.compile(r"In:\s+Msgs: (\d+)\s+Bytes: (\d+)\s+Msgs/Sec: ([\d.]+)")
                began, before = time.monotonic(), sent

                def steady(text):
                    found = rate.search(text)
                    return found if found and float(found.group(3)) > 0 else None

                found = until(screen, "a rate", steady)
                real = (sent - before) / (time.monotonic() - began)
                shown = float(found.group(3))
                # Two clocks and a publisher that is held up now and then: within a factor of two.
                check(real / 2 < shown < real * 2, f"{shown} messages a second shown, {real:.0f} sent:\n{screen}")
                check(int(found.group(2)) >= int(found.group(1)) * 100 - 100, f"bytes of the messages:\n{screen}")
                until(screen, "the connection", lambda text: re.search(rf"{HOST}:\d+\s+\d+\s+steady\s", text))
                check(process.poll() is None, "nats-top ended")
        finally:
            stop.set()
            thread.join(PATIENCE)


# What the exporter shows of nats-server alone, with the reason.
METRICS_LEFT_OUT = {
    "gnatsd_varz_https_port": "no encryption yet",
    "gnatsd_varz_tls_timeout": "no encryption yet",
    "gnatsd_varz_jetstream_config_sync_interval": "streams are synced before their acknowledgement",
    "gnatsd_varz_jetstream_limits_default_max_consumers": "a stream may have any number of consumers",
}


def metrics(context, monitored):
    """What the exporter makes of a server: each metric with its values."""
    port = free_port()
    options = ["-connz", "-routez", "-subz", "-varz", "-gatewayz", "-leafz", "-accstatz", "-healthz", "-jsz", "all"]
    command = [context.tool("prometheus-nats-exporter"), "-a", HOST, "-p", str(port), *options]
    url = f"http://{HOST}:{monitored.monitor}"
    with subprocess.Popen([*command, url], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                with contextlib.suppress(OSError):
                    text = urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=PATIENCE).read().decode()
                    if "gnatsd_varz_in_msgs" in text:
                        break
                if process.poll() is not None:
                    raise AssertionError(f"the exporter ended: {process.stderr.read()!r}")
                check(time.monotonic() < deadline, "the exporter shows nothing of the server")
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait(PATIENCE)
    found = {}
    for line in text.splitlines():
        name = re.match(r"((?:gnatsd|jetstream)_\w+)", line)
        if name:
            found.setdefault(name.group(1), []).append(float(line.rsplit(" ", 1)[1]))
    return found


@scenario
def prometheus_sees_what_it_sees_of_nats_server(context):
    context.tool("prometheus-nats-exporter")
    ours, theirs = pair(context)
    with ours, theirs:
        for monitored in (ours, theirs):
            drive(monitored)
        ours, theirs = metrics(context, ours), metrics(context, theirs)
    # Which of its own requests the exporter has counted is a matter of their order; the flags are of nats-server's own development.
    compared = {name for name in theirs if "http_req_stats" not in name and "feature_flags" not in name}
    missing = compared - set(ours) - set(METRICS_LEFT_OUT)
    check(not missing, f"metrics of nats-server that are missing: {sorted(missing)}")
    check(len(ours) > 60, f"only {len(ours)} metrics: {sorted(ours)}")
    for name in (
        "gnatsd_varz_connections", "gnatsd_varz_total_connections", "gnatsd_varz_slow_consumers", "gnatsd_connz_num_connections",
        "gnatsd_connz_out_msgs", "gnatsd_connz_pending_bytes", "gnatsd_routez_num_routes", "gnatsd_leafz_conn_nodes_total",
        "gnatsd_healthz_status", "jetstream_server_total_streams", "jetstream_server_total_consumers",
        "jetstream_server_total_messages", "jetstream_stream_total_messages", "jetstream_stream_last_seq",
        "jetstream_consumer_num_pending", "jetstream_consumer_num_ack_pending", "jetstream_consumer_delivered_consumer_seq",
    ):
        left, right = sorted(ours.get(name, [])), sorted(theirs.get(name, []))
        check(left == right, f"{name} is {left}, with nats-server {right}")
