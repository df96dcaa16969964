"""Stands in for `py2_publish.py` where no Python 2.7 exists: sends byte for byte what the tornado client 0.8.4 sends.

Same arguments and input. That the bytes are the client's own is checked wherever Python 2.7 does exist, by the scenario
`publishers.py2_recording_is_exact`, which records the real client and compares.
"""

import json
import os
import socket
import sys
import urllib.parse

CONNECT_OPEN = '{"echo": true, "lang": "python2", "pedantic": false, "protocol": 1, "verbose": false, "version": "0.8.4"}'
CONNECT_AUTH = (
    '{"echo": true, "lang": "python2", "pass": %s, "pedantic": false, "protocol": 1, "user": %s, "verbose": false, "version": "0.8.4"}'
)


def connect_line(auth_required, user, password):
    """The CONNECT line; the old client sends its login only to a server that asks for one."""
    if auth_required:
        return (f"CONNECT {CONNECT_AUTH % (json.dumps(password), json.dumps(user))}\r\n").encode()
    return f"CONNECT {CONNECT_OPEN}\r\n".encode()


def publish_frame(subject, payload):
    """Two blanks before the size: the client joins an empty reply subject with one blank on either side."""
    return b"PUB %s  %d\r\n%s\r\n" % (subject.encode(), len(payload), payload)


class Lines:
    """Reads control lines from a socket."""

    def __init__(self, sock):
        self._sock = sock
        self._buffer = b""

    def next(self):
        while b"\r\n" not in self._buffer:
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        if line.startswith(b"-ERR"):
            raise ConnectionError(line.decode())
        return line

    def until(self, wanted):
        while self.next() != wanted:
            pass


def main(url, how):
    parts = urllib.parse.urlsplit(url)
    messages = [json.loads(line) for line in sys.stdin]
    sock = socket.create_connection((parts.hostname, parts.port), timeout=20)
    lines = Lines(sock)
    info = json.loads(lines.next().split(b" ", 1)[1])
    sock.sendall(connect_line(info.get("auth_required") is True, parts.username, parts.password))
    sock.sendall(b"PING\r\n")
    lines.until(b"PONG")
    frames = [publish_frame(message["subject"], message["payload"].encode()) for message in messages]
    sock.sendall(b"".join(frames))
    if how == "flush":
        sock.sendall(b"PING\r\n")
        lines.until(b"PONG")
        print("FLUSHED", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
