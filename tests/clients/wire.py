"""Byte-level conversations: runs a script of raw bytes against a server and turns what comes back into comparable lines.

The scripts are in `wire_scripts.py`. What nats-server 2.15.1 answered to each is kept in `recordings/wire.json`, so a server can be
compared without the reference being there; when the reference is under test too, the same comparison shows that the recording is
still true. Record again with `python3 tests/clients/run.py --record-wire --server nats=pip`.
"""

import json
import re
import socket
import time

import toolbox
from harness import Failed
from servers import HOST

RECORDING = toolbox.RECORDINGS / "wire.json"
STEP_SECONDS_MAX = 10.0
MESSAGE = re.compile(rb"^(MSG|HMSG) .*?(\d+)$")
INFO_TYPES = {
    "server_id": str,
    "server_name": str,
    "version": str,
    "proto": int,
    "host": str,
    "port": int,
    "headers": bool,
    "max_payload": int,
    "client_id": int,
    "client_ip": str,
}
INFO_BYTES_MAX = 1024


def info_event(text):
    """The parts of INFO that clients depend on; everything that differs from run to run is reduced to its type."""
    fields = json.loads(text)
    if fields.get("connect_info"):
        return "INFO connect_info"
    wrong = [name for name, kind in INFO_TYPES.items() if type(fields.get(name)) is not kind]
    if len(text) >= INFO_BYTES_MAX:
        wrong.append("longer than old clients can read")
    if not re.match(r"^\d+\.\d+\.\d+", str(fields.get("version"))):
        wrong.append("version is no semver")
    if not re.match(r"^N[A-Z2-7]{55}$", str(fields.get("server_id"))):
        wrong.append("server_id is no public server key")
    flags = [name for name in ("auth_required", "tls_required", "tls_available", "ldm") if fields.get(name)]
    parts = ["INFO", f"proto={fields.get('proto')}", f"max_payload={fields.get('max_payload')}", *flags]
    return " ".join(parts + [f"WRONG({name})" for name in wrong])


class Conversation:
    """One raw connection: sends, and collects the server's answers as events, one string each."""

    def __init__(self, port):
        self.socket = socket.create_connection((HOST, port), timeout=STEP_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.events = []
        self.pings = 0
        self.pongs = 0
        self.ended = False
        self.mute = False

    def send(self, data):
        """Sends; that the server may have hung up already is part of what is tested."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def _add(self, event):
        if event == "PING":
            # When the server measures its round trip is a matter of timers, not of the conversation.
            if not self.mute:
                self.send(b"PONG\r\n")
            return
        self.pongs += event == "PONG"
        self.events.append(event)

    def _parse(self):
        while b"\r\n" in self.buffer:
            line, rest = self.buffer.split(b"\r\n", 1)
            message = MESSAGE.match(line)
            if message:
                size = int(message.group(2))
                if len(rest) < size + 2:
                    return
                payload, trailer, rest = rest[:size], rest[size : size + 2], rest[size + 2 :]
                shown = repr(payload)[2:-1] if size <= 200 else f"<{size} bytes, first {payload[:8]!r}>"
                self._add(f"{line.decode('latin-1')} | {shown}" + ("" if trailer == b"\r\n" else f" TRAILER {trailer!r}"))
            elif line.startswith(b"INFO "):
                self._add(info_event(line[5:].decode()))
            else:
                self._add(line.decode("latin-1"))
            self.buffer = rest

    def _read(self, deadline):
        """Reads once. False at the deadline; sets `ended` at the end of the connection."""
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if data:
            self.buffer += data
            self._parse()
        else:
            self.ended = True
            if self.buffer:
                self.events.append(f"REST {self.buffer!r}")
            self.events.append("END")
        return True

    def read_until(self, done, what):
        deadline = time.monotonic() + STEP_SECONDS_MAX
        while not self.ended and not done():
            if not self._read(deadline):
                self.events.append(f"NOTHING within {STEP_SECONDS_MAX:.0f} s, waiting for {what}; buffered {self.buffer!r}")
                return

    def sync(self):
        """Sends PING and reads until the PONG for it, and so until everything before it has been answered."""
        self.pings += 1
        self.send(b"PING\r\n")
        self.read_until(lambda: self.pongs >= self.pings, "PONG")

    def close(self):
        self.socket.close()


class Steps:
    """A script: methods add steps, `a`, `b`, ... name connections, which open on first use."""

    def __init__(self, name, flavour):
        self.name = name
        self.flavour = flavour
        self.steps = []

    def send(self, who, *chunks, pings=0):
        """Sends each chunk in a write of its own; a number among them is a pause in seconds. `pings` counts PINGs among them."""
        self.steps.append(("send", who, chunks, pings))
        return self

    def open(self, who):
        self.steps.append(("open", who))
        return self

    def admit(self, *names):
        """Opens connections one after the other, each again until the server lets it in: those of the script before may still
        be counted for a moment."""
        for who in names:
            self.steps.append(("admit", who))
        return self

    def sync(self, *names):
        for who in names:
            self.steps.append(("sync", who))
        return self

    def end(self, who):
        """Waits until the server closes the connection."""
        self.steps.append(("end", who))
        return self

    def fin(self, who):
        """Closes the sending half and reads until the server closes."""
        self.steps.append(("fin", who))
        return self

    def mute(self, who):
        """From here on this connection does not answer the server's PINGs."""
        self.steps.append(("mute", who))
        return self

    def drop(self, who):
        """Closes the connection at once, without reading what is there."""
        self.steps.append(("drop", who))
        return self

    def read(self, who, count):
        """Reads until the connection has had this many events in all."""
        self.steps.append(("read", who, count))
        return self


def run(steps, port):
    """Runs a script and returns the events of each connection."""
    conversations = {}
    dropped = set()

    def admit(who):
        deadline = time.monotonic() + STEP_SECONDS_MAX
        while True:
            conversation = Conversation(port)
            conversation.read_until(lambda: conversation.events, "INFO")
            conversation.send(b'CONNECT {"verbose":false,"protocol":0}\r\n')
            conversation.sync()
            if not conversation.ended or time.monotonic() > deadline:
                conversations[who] = conversation
                return
            conversation.close()

    def get(who):
        if who not in conversations:
            conversation = conversations[who] = Conversation(port)
            conversation.read_until(lambda: conversation.events, "INFO")
        return conversations[who]

    try:
        for step, who, *rest in steps.steps:
            if step == "admit":
                admit(who)
                continue
            conversation = get(who)
            if step == "send":
                chunks, pings = rest
                conversation.pings += pings
                for chunk in chunks:
                    if isinstance(chunk, (int, float)):
                        time.sleep(chunk)
                    else:
                        conversation.send(chunk)
            elif step == "sync":
                conversation.sync()
            elif step == "end":
                conversation.read_until(lambda: False, "the end")
            elif step == "fin":
                conversation.socket.shutdown(socket.SHUT_WR)
                conversation.read_until(lambda: False, "the end")
            elif step == "mute":
                conversation.mute = True
            elif step == "drop":
                dropped.add(who)
                conversation.close()
            elif step == "read":
                conversation.read_until(lambda c=conversation, n=rest[0]: len(c.events) >= n, f"{rest[0]} events")
        return {who: c.events for who, c in sorted(conversations.items()) if who not in dropped}
    finally:
        for conversation in conversations.values():
            conversation.close()


def load_recording():
    return json.loads(RECORDING.read_text()) if RECORDING.exists() else {}


def save_recording(answers):
    RECORDING.write_text(json.dumps(answers, indent=1, sort_keys=True, ensure_ascii=True) + "\n")


def compare(got, wanted):
    """Raises `Failed` with the first connection and line that differ."""
    for who in sorted(set(got) | set(wanted)):
        left, right = got.get(who, []), wanted.get(who, [])
        if left != right:
            shown = "\n".join(f"    got {line}" for line in left) + "\n" + "\n".join(f"    due {line}" for line in right)
            raise Failed(f"connection {who}\n{shown}")
