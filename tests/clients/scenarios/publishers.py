"""The three publishers that CMS runs today, unchanged in behaviour: nats-py, the Python 2 tornado client, and nats-pub in Go."""

import contextlib
import re
import socket
import threading

import nats

import toolbox
from harness import PATIENCE, Failed, Skip, check, check_equal, check_no_more, check_ran, collect, flush, run_program, scenario
from harness import to_lines, unique


def digest_list(root, count):
    """A list such as one job report gives: short `key:value` texts on subjects made of its values."""
    return [
        (f"{root}.site.T2.US.Nebraska.{index % 7}", f"exitCode:{8000 + index}   site:T2_US_Nebraska   task:/r/é{index}")
        for index in range(count)
    ]


@contextlib.asynccontextmanager
async def listening(server, subject):
    """A subscription that the server has confirmed, on a connection of its own."""
    client = await nats.connect(server.url, allow_reconnect=False)
    try:
        subscription = await client.subscribe(subject)
        await flush(client)
        yield client, subscription
    finally:
        await client.close()


async def check_arrives(server, root, messages, publish):
    """What `publish` sends arrives complete, in order and unchanged."""
    async with listening(server, f"{root}.>") as (client, subscription):
        publish()
        got = [(message.subject, message.data.decode()) for message in await collect(subscription, len(messages))]
        check_equal(got, messages, "messages")
        await check_no_more(client, subscription)


async def nats_py(context, server):
    root = unique("cms.pub3")
    messages = digest_list(root, 300)
    await check_arrives(server, root, messages, lambda: check_ran(context.publish_cms(server.url, messages), "cms_publish.py"))


@scenario
async def nats_py_close_at_once(context):
    await nats_py(context, context.open)


@scenario
async def nats_py_close_at_once_with_login(context):
    await nats_py(context, context.auth)


async def python2(context, server, how):
    root = unique("cms.pub2")
    messages = digest_list(root, 200)

    def publish():
        done = context.publish_python2(server.url, how, messages)
        check_ran(done, "tornado publisher")
        check_equal(done.stdout, b"FLUSHED\n" if how == "flush" else b"", "output")

    await check_arrives(server, root, messages, publish)


@scenario
async def py2_exit_without_close(context):
    await python2(context, context.open, "leave")


@scenario
async def py2_exit_without_close_with_login(context):
    await python2(context, context.auth, "leave")


@scenario
async def py2_flush_then_exit(context):
    await python2(context, context.open, "flush")


@scenario
async def py2_flush_then_exit_with_login(context):
    await python2(context, context.auth, "flush")


async def replayed_bytes(context, server):
    root = unique("cms.pub2bytes")
    messages = digest_list(root, 200)
    command = [str(context.tools.python), str(toolbox.PROGRAMS / "py2_replay.py"), server.url, "leave"]
    await check_arrives(server, root, messages, lambda: check_ran(run_program(command, to_lines(messages)), "py2_replay.py"))


@scenario
async def py2_replayed_bytes(context):
    """The stand-in for machines without Python 2.7 works against this server too."""
    await replayed_bytes(context, context.open)


@scenario
async def py2_replayed_bytes_with_login(context):
    await replayed_bytes(context, context.auth)


class RecordingServer:
    """Accepts one connection, speaks just enough of a server to keep the client going, and keeps every byte it was sent."""

    def __init__(self, auth_required):
        required = ',"auth_required":true' if auth_required else ""
        self._info = ('INFO {"server_id":"X","version":"2.15.1","proto":1,"max_payload":1048576%s}\r\n' % required).encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]
        self.received = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(PATIENCE)
            connection.sendall(self._info)
            answered = 0
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                self.received += data
                pings = self.received.count(b"PING\r\n")
                with contextlib.suppress(OSError):
                    connection.sendall(b"PONG\r\n" * (pings - answered))
                answered = pings

    def finish(self):
        self._thread.join(PATIENCE)
        self._listener.close()
        if self._thread.is_alive():
            raise Failed("the recorded client did not go away")
        return self.received


def record(command, login, messages, env):
    server = RecordingServer(auth_required=bool(login))
    url = f"nats://{login}127.0.0.1:{server.port}"
    done = run_program([*command, url, "flush"], to_lines(messages), env=env)
    received = server.finish()
    check_ran(done, command[-1])
    return received


@scenario
def py2_recording_is_exact(context):
    """Where the real tornado client exists, the stand-in's bytes are its bytes, with and without a login."""
    if context.tools.python2 is None:
        raise Skip("no Python 2.7 on this machine to record")
    messages = digest_list("cms.record", 20)
    real, env = context.python2_command("", "")
    stand_in = [str(context.tools.python), str(toolbox.PROGRAMS / "py2_replay.py")]
    for login in ("", "u:p@"):
        recorded = record(real[:2], login, messages, env)
        check_equal(len(re.findall(rb"PUB \S+  \d+\r\n", recorded)), len(messages), "PUBs with two blanks")
        check_equal(
            record(stand_in, login, messages, None).splitlines(keepends=True),
            recorded.splitlines(keepends=True),
            f"bytes with login {login!r}",
        )


@scenario
async def nats_py_ping_overtakes(_context):
    """What a PONG is worth to a nats-py program: its `flush` puts the PING before messages published just before it.

    The suite's own `flush` waits for the buffer first, and everything it counts as flushed depends on that, so both are shown. When
    a newer nats-py puts the PING last by itself, this fails, and `harness.written` can go.
    """
    for own_flush, last in ((False, b"PUB"), (True, b"PING")):
        server = RecordingServer(auth_required=False)
        client = await nats.connect(f"nats://127.0.0.1:{server.port}", allow_reconnect=False)
        for n in range(3):
            await client.publish("order", b"%d" % n)
        if own_flush:
            await flush(client)
        else:
            await client.flush(timeout=PATIENCE)
        await client.close()
        operations = re.findall(rb"(?m)^(CONNECT|PUB|PING)\b", server.finish())
        check_equal(operations[:2], [b"CONNECT", b"PING"], "handshake")
        check_equal(sorted(operations[2:]), [b"PING", b"PUB", b"PUB", b"PUB"], "operations")
        check_equal(operations[-1], last, f"last operation with the suite's flush {own_flush}")


async def go_pub(context, server):
    root = unique("cms.go")
    messages = digest_list(root, 25)

    def publish():
        for subject, payload in messages:
            check_ran(context.publish_go(server.url, subject, payload), "nats-pub")

    await check_arrives(server, root, messages, publish)


@scenario
async def go_pub_per_message(context):
    await go_pub(context, context.open)


@scenario
async def go_pub_per_message_with_login(context):
    await go_pub(context, context.auth)


@scenario
def go_pub_reports_failure(context):
    """A wrong password and a dead port both give a non-zero exit: a shell script can rely on the exit code."""
    wrong = context.auth.url.replace("u:p@", "u:wrong@")
    done = context.publish_go(wrong, "cms.x", "y")
    check_equal(done.returncode, 1, "exit code with a wrong password")
    check(b"Authorization Violation" in done.stderr, f"stderr {done.stderr!r}")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    done = context.publish_go(f"nats://127.0.0.1:{port}", "cms.x", "y")
    check_equal(done.returncode, 1, "exit code without a server")


@scenario
async def all_publishers_at_once(context):
    """All three kinds, several of each, into one wildcard subscription: nothing lost, and each one's own order kept."""
    server = context.open
    root = unique("cms.together")
    lists = {f"p{index}": [(f"{root}.p{index}.{n % 5}", f"p{index} {n}") for n in range(60)] for index in range(6)}
    lists["go"] = [(f"{root}.go.{n % 5}", f"go {n}") for n in range(10)]
    failures = []

    def publish(name, messages):
        try:
            if name == "go":
                for subject, payload in messages:
                    check_ran(context.publish_go(server.url, subject, payload), "nats-pub")
            elif int(name[1:]) % 2:
                check_ran(context.publish_cms(server.url, messages), "cms_publish.py")
            else:
                check_ran(context.publish_python2(server.url, "leave", messages), "tornado publisher")
        except Exception as error:
            failures.append(f"{name}: {error}")

    async with listening(server, f"{root}.>") as (client, subscription):
        threads = [threading.Thread(target=publish, args=item, daemon=True) for item in lists.items()]
        for thread in threads:
            thread.start()
        got = await collect(subscription, sum(map(len, lists.values())), timeout=30)
        for thread in threads:
            thread.join(PATIENCE)
        check_equal(failures, [], "failures")
        for name, messages in lists.items():
            own = [(m.subject, m.data.decode()) for m in got if m.data.decode().split()[0] == name]
            check_equal(own, messages, f"messages of {name}")
        await check_no_more(client, subscription)
