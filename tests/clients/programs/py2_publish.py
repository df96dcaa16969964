# -*- coding: utf-8 -*-
"""Publishes a list with the tornado client 0.8.4 under Python 2.7, and exits without closing the connection.

Arguments: the server's URL, and `flush` or `leave`. Standard input: one JSON object a line, with `subject` and `payload`.
`flush` waits for the server's PONG after the last message and prints `FLUSHED`; `leave` only waits until the client has handed
its bytes to the kernel. Both then end the process on the spot.
"""

from __future__ import print_function

import json
import os
import sys

import tornado.gen
import tornado.ioloop
from nats.io.client import Client


def check_connected(client):
    """The client tells nobody by itself that its connection has ended: it would wait on for an answer that cannot come."""
    if client.last_error() is not None or not client.is_connected:
        raise RuntimeError("connection lost: %r" % client.last_error())


@tornado.gen.coroutine
def publish(url, how, messages):
    client = Client()
    yield client.connect(servers=[url], allow_reconnect=False, max_reconnect_attempts=1)
    for message in messages:
        yield client.publish(message["subject"].encode("ascii"), message["payload"].encode("utf-8"))
    if how == "flush":
        flushed = client.flush(timeout=20)
        while not flushed.done():
            check_connected(client)
            yield tornado.gen.sleep(0.002)
        yield flushed
        check_connected(client)
        print("FLUSHED")
        sys.stdout.flush()
        return
    while client._pending or client.io.writing():
        check_connected(client)
        yield tornado.gen.moment


def main():
    messages = [json.loads(line) for line in sys.stdin]
    tornado.ioloop.IOLoop.current().run_sync(lambda: publish(sys.argv[1], sys.argv[2], messages))
    os._exit(0)


if __name__ == "__main__":
    main()
