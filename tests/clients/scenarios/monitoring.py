"""The monitoring pages, each field of them beside nats-server's after the same traffic."""

import contextlib
import json
import socket
import time

import monitoring_pages
from harness import PATIENCE, check, scenario
from monitoring_pages import fetch, fetch_json
from servers import HOST, Flavour, Server, free_port

LINE = 64 * 1024
NAME = "monitored"


class Raw:
    """A client that says exactly what it is told."""

    def __init__(self, port, connect=True, **options):
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        self.file = self.socket.makefile("rb")
        self.inbox = 0
        self.info = json.loads(self.file.readline()[len("INFO ") :])
        if connect:
            options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 0, **options}
            self.send(f"CONNECT {json.dumps(options)}\r\n")
            self.sync()

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def publish(self, subject, payload, reply=""):
        self.send(f"PUB {subject} {reply + ' ' if reply else ''}{len(payload)}\r\n{payload}\r\n")

    def lines(self):
        """What comes until the PONG: (line, payload) of messages, (line, None) of others."""
        while True:
            line = self.file.readline(LINE).rstrip().decode()
            check(line, "the server hung up")
            if line == "PONG":
                return
            if line == "PING":
                self.send("PONG\r\n")
            elif line.startswith(("MSG ", "HMSG ")):
                yield line, self.file.read(int(line.split()[-1]) + 2)[:-2]
            else:
                yield line, None

    def sync(self):
        self.send("PING\r\n")
        return list(self.lines())

    def request(self, subject, body=""):
        """The answer to a request, which may come after the PONG."""
        self.inbox += 1
        reply = f"_INBOX.mon.{self.inbox}"
        self.send(f"SUB {reply} r{self.inbox}\r\n")
        self.publish(subject, body, reply)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line, payload in self.sync():
                if line.split()[2] == f"r{self.inbox}":
                    self.send(f"UNSUB r{self.inbox}\r\n")
                    self.sync()
                    return payload, line
        raise AssertionError(f"no answer to {subject}")

    def api(self, subject, **body):
        payload, _line = self.request(f"$JS.API.{subject}", json.dumps(body) if body else "")
        return json.loads(payload)

    def until_closed(self):
        with contextlib.suppress(OSError):
            while self.socket.recv(LINE):
                pass
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()


class Monitored:
    """A server with its monitoring port, and the clients that stay."""

    def __init__(self, context, binary, remembers, arguments=(), **login):
        self.monitor = free_port()
        ours = ["--capture", "off"] if remembers else []
        flavour = Flavour("monitored", ["-m", str(self.monitor), "-n", NAME, *ours, *arguments], **login)
        self.server = Server("sublog" if remembers else "nats", binary, flavour, remembers)
        context.watch(self.server)
        self.clients = []

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *exception):
        for client in self.clients:
            client.close()
        self.server.__exit__(*exception)

    @property
    def port(self):
        return self.server.port

    def client(self, **options):
        client = Raw(self.port, **options)
        self.clients.append(client)
        return client

    def wait(self, path, field, value):
        """Until a number of a page is what it will be."""
        deadline = time.monotonic() + PATIENCE
        while True:
            seen = fetch_json(self.monitor, path)[field]
            if seen == value:
                return
            check(time.monotonic() < deadline, f"{path} says {field}={seen}, not {value}")
            time.sleep(0.02)


def pair(context, *arguments, **login):
    """The server under test and the reference, each with its port for monitoring."""
    ours = Monitored(context, context.binary, context.remembers, arguments, **login)
    return ours, Monitored(context, context.tools.nats_server, False, arguments, **login)


def drive(monitored):
    """Subscriptions, messages, streams and consumers, and one connection of each way to end."""
    subscriber = monitored.client(name="subscriber", lang="raw", version="1.2.3")
    subscriber.send("SUB mon.a 1\r\nSUB mon.* q 2\r\nSUB mon.limited 3\r\nUNSUB 3 5\r\n")
    subscriber.sync()
    publisher = monitored.client(name="publisher")
    for number in range(10):
        publisher.publish("mon.a", f"message {number}")
    publisher.publish("mon.limited", "one")
    publisher.publish("nobody", "here")
    publisher.send(b"HPUB mon.a 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nok\r\n")
    publisher.sync()
    check(len(subscriber.sync()) == 11 + 1 + 12, "deliveries")

    streams = monitored.client(name="streams")
    streams.api("STREAM.CREATE.MON", name="MON", subjects=["js.>"], storage="file", max_bytes=1000000)
    streams.api("STREAM.CREATE.MEM", name="MEM", subjects=["mem"], storage="memory")
    streams.api("STREAM.INFO.NONE")
    for number in range(5):
        streams.request("js.%d" % (number % 2), f"message {number}")
    config = {"durable_name": "pull", "ack_policy": "explicit", "filter_subject": "js.0"}
    streams.api("CONSUMER.DURABLE.CREATE.MON.pull", stream_name="MON", config=config)
    _payload, line = streams.request("$JS.API.CONSUMER.MSG.NEXT.MON.pull", "")
    streams.request(line.split()[3], "+ACK")
    streams.request("$JS.API.CONSUMER.MSG.NEXT.MON.pull", "")

    gone = Raw(monitored.port, name="gone")
    gone.send("SUB gone.a 1\r\nSUB gone.b q 2\r\nPUB gone.a 2\r\nhi\r\n")
    gone.sync()
    gone.close()
    monitored.wait("/connz?state=closed", "total", 2)
    for number, last_words in enumerate(ENDS):
        end = Raw(monitored.port, name="ends")
        end.send(last_words)
        end.until_closed()
        monitored.wait("/connz?state=closed", "total", 3 + number)


ENDS = [
    b"NONSENSE\r\n",
    b"PUB a 2000000\r\n",
    b"SUB " + b"a" * 5000 + b" 1\r\n",
    b'CONNECT {"protocol":7}\r\n',
    b'CONNECT {"no_responders":true,"headers":false}\r\n',
    b"PUB a 1\r\nxyz\r\n",
]

PAGES = [
    "/varz",
    "/connz",
    "/connz?subs=1&sort=cid",
    "/connz?subs=detail&auth=1",
    "/connz?sort=subs&limit=1",
    "/connz?sort=msgs_to&limit=2",
    "/connz?sort=bytes_from",
    "/connz?sort=uptime&offset=1",
    "/connz?sort=start&limit=1&offset=1",
    "/connz?offset=9223372036854775807&limit=9223372036854775807",
    "/connz?offset=-9223372036854775808&limit=-9223372036854775808",
    "/connz?state=closed",
    "/connz?state=closed&subs=1",
    "/connz?state=CLOSED&subs=detail&auth=true",
    "/connz?state=closed&sort=stop&limit=3",
    "/connz?state=closed&sort=reason&limit=1",
    "/connz?state=any",
    "/connz?state=all&limit=2&offset=2",
    "/connz?user=nobody",
    "/connz?acc=$G",
    "/connz?mqtt_client=x",
    "/connz?cid=18446744073709551615",
    "/connz?callback=show",
    "/subsz",
    "/subscriptionsz?acc=$G",
    "/subsz?acc=nobody",
    "/subsz?subs=1&acc=$G&test=mon.a",
    "/subsz?subs=1&acc=$G&test=mon.limited&limit=9223372036854775807&offset=-1",
    "/subsz?subs=1&test=mon.a&offset=9223372036854775807&limit=9223372036854775807",
    "/routez",
    "/routez?subs=detail",
    "/gatewayz?accs=1",
    "/leafz?subs=1",
    "/accountz",
    "/accountz?acc=$G",
    "/accstatz",
    "/accstatz?unused=1",
    "/jsz",
    "/jsz?accounts=1",
    "/jsz?streams=1",
    "/jsz?consumers=1&config=1&raft=1",
    "/jsz?consumers=1&acc=$G",
    "/jsz?acc=nobody",
    "/jsz?accounts=1&limit=9223372036854775807&offset=9223372036854775807",
    "/jsz?accounts=1&limit=-1&offset=5",
    "/jsz?leader-only=1&stream-leader-only=1&direct-consumers=1&consumers=1",
    "/healthz",
    "/healthz?js-enabled-only=1",
    "/healthz?js-server-only=true&details=1",
    "/healthz?account=$G",
    "/healthz?account=$G&stream=MON&details=1",
    "/healthz?account=$G&stream=MON&consumer=pull",
    "/ipqueuesz?all=1&queues=JetStream+API+queue",
    "/ipqueuesz?queues=nothing",
]

# Status and text must be the same, letter by letter.
REFUSED = [
    "/connz?sort=zz",
    "/connz?sort=stop",
    "/connz?sort=reason&state=any",
    "/connz?state=gone",
    "/connz?auth=yes",
    "/connz?subs=maybe",
    "/connz?offset=a%22b%0A",
    "/connz?offset=9223372036854775808",
    "/connz?limit=1.5",
    "/connz?cid=-1",
    "/connz?cid=18446744073709551616",
    "/subsz?test=a.*",
    "/subsz?subs=x",
    "/subsz?limit=--1",
    "/routez?subs=x",
    "/gatewayz?accs=x",
    "/leafz?subs=detail",
    "/accountz?acc=nobody",
    "/accstatz?unused=x",
    "/jsz?limit=x",
    "/jsz?accounts=2",
    "/jsz?raft=x",
    "/healthz?details=x",
    "/healthz?stream=MON",
    "/healthz?stream=MON&details=1",
    "/healthz?account=$G&consumer=pull",
    "/healthz?account=nobody",
    "/healthz?account=nobody&details=1",
    "/healthz?account=$G&stream=NONE",
    "/healthz?account=$G&stream=NONE&details=1",
    "/healthz?account=$G&stream=MON&consumer=NONE",
    "/healthz?account=$G&stream=MON&consumer=NONE&details=1",
    "/ipqueuesz?all=x",
    "/raftz",
    "/nothing",
    "/varz/",
]


@scenario
def pages_are_those_of_nats_server(context):
    ours, theirs = pair(context)
    with ours, theirs:
        for monitored in (ours, theirs):
            drive(monitored)
        comparison = monitoring_pages.Comparison()
        for page in PAGES:
            left, right = fetch(ours.monitor, page), fetch(theirs.monitor, page)
            check(left[:2] == right[:2], f"{page} is {left[:2]}, with nats-server {right[:2]}")
            name = page.partition("?")[0].strip("/").replace("subscriptionsz", "subsz")
            comparison.pages(page, name, json.loads(left[2]), json.loads(right[2]))
        for page in REFUSED:
            left, right = fetch(ours.monitor, page), fetch(theirs.monitor, page)
            if left != right:
                comparison.problems.append(f"{page} is {left}, with nats-server {right}")
        if context.remembers:
            comparison.problems += [f"no longer so: {entry}" for entry in comparison.unused()]
        check(not comparison.problems, "\n  " + "\n  ".join(comparison.problems))


@scenario
def logins_are_shown_as_nats_server_does(context):
    ours, theirs = pair(context, "--user", "u", "--pass", "p", user="u", password="p")
    with ours, theirs:
        seen = []
        for monitored in (ours, theirs):
            monitored.client(user="u", **{"pass": "p"}, name="in")
            wrong = Raw(monitored.port, connect=False)
            wrong.send('CONNECT {"user":"u","pass":"secret-canary"}\r\n')
            wrong.until_closed()
            silent = Raw(monitored.port, connect=False)
            silent.until_closed()
            monitored.wait("/connz?state=closed", "total", 3)
            pages = ["/connz?auth=1", "/connz?auth=1&user=u", "/connz?auth=1&user=v", "/connz?state=closed&auth=1", "/varz"]
            texts = [fetch(monitored.monitor, page)[2] for page in pages]
            check(not any("secret-canary" in text for text in texts), "a password is shown")
            connections = [connection for text in texts[:4] for connection in json.loads(text)["connections"]]
            for connection in connections:
                # nats-server shows the name that somebody gave and could not prove; Sublog shows who was let in.
                if connection.get("reason") == "Authentication Failure":
                    connection.pop("authorized_user", None)
            fields = [(c.get("name"), c.get("authorized_user"), c.get("reason")) for c in connections]
            seen.append((fields, json.loads(texts[4])["auth_required"]))
        check(seen[0] == seen[1], f"{seen[0]}, with nats-server {seen[1]}")
