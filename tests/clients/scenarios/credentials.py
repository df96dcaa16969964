"""Logins: the right one works, every wrong one is an Authorization Violation, and a server without users asks for none."""

import json
import os
import socket

import nats
import nats.errors

import toolbox
from harness import PATIENCE, check, check_equal, check_ran, collect, flush, run_program, scenario, unique
from servers import HOST


async def refused(url, **options):
    errors = []

    async def keep(error):
        errors.append(str(error))

    try:
        client = await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=0, error_cb=keep, **options)
    except nats.errors.Error as error:
        errors.append(str(error))
    else:
        await client.close()
        raise AssertionError(f"{url} with {options} was let in")
    check(any("authorization violation" in error.lower() for error in errors), f"errors {errors}")


@scenario
async def wrong_logins(context):
    server = context.auth
    for login in ("u:wrong@", "wrong:p@", "u:@", "U:p@", ":p@", "u:p%20@", ""):
        await refused(f"nats://{login}{HOST}:{server.port}")
    await refused(server.bare_url, token="p")
    await refused(server.bare_url, user="u", password="p" * 1000)


@scenario
async def right_login_by_option(context):
    client = await nats.connect(context.auth.bare_url, user="u", password="p", allow_reconnect=False)
    subject = unique("login")
    subscription = await client.subscribe(subject)
    await client.publish(subject, b"in")
    check_equal([m.data for m in await collect(subscription, 1)], [b"in"], "messages")
    await client.close()


@scenario
async def login_where_none_is_needed(context):
    """A publisher configured with a login works against a server that has no users."""
    client = await nats.connect(context.open.bare_url, user="any", password="thing", allow_reconnect=False)
    await flush(client)
    await client.close()


@scenario
def python2_wrong_login(context):
    server = context.auth
    done = context.publish_python2(server.url.replace("u:p@", "u:wrong@"), "flush", [("x", "y")])
    check(done.returncode != 0 and b"FLUSHED" not in done.stdout, f"exit {done.returncode}, {done.stdout!r}")
    # The tornado client swallows the server's text and says only that no server was left to try; its stand-in shows the text.
    told = b"Authorization Violation" if context.tools.python2 is None else b"ErrNoServers"
    check(told in done.stderr, f"stderr {done.stderr[-500:]!r}")


@scenario
def go_wrong_login(context):
    done = run_program([context.go("nats-sub"), "-s", context.auth.bare_url, ">"])
    check_equal(done.returncode, 1, "exit code")
    check(b"Authorization Violation" in done.stderr, f"stderr {done.stderr!r}")


@scenario
async def nothing_leaks_before_login(context):
    """A connection that never logged in gets no message, and its publish reaches nobody."""
    server, subject = context.auth, unique("leak")
    client = await nats.connect(server.url, allow_reconnect=False)
    subscription = await client.subscribe(f"{subject}.>")
    await flush(client)
    with socket.create_connection((HOST, server.port), timeout=PATIENCE) as intruder:
        intruder.sendall(b"SUB > 1\r\nPUB %s.x 2\r\nhi\r\n" % subject.encode())
        received = b""
        while data := intruder.recv(65536):
            received += data
    check(b"-ERR 'Authorization Violation'\r\n" in received, f"received {received!r}")
    check(b"MSG" not in received, f"received {received!r}")
    await client.publish(f"{subject}.y", b"mine")
    check_equal([m.data for m in await collect(subscription, 1)], [b"mine"], "messages")
    await flush(client)
    check_equal(subscription.pending_msgs, 0, "messages beyond")
    await client.close()


@scenario
def login_is_not_in_the_log(context):
    """Whoever may read the log does not learn a password from it, right or wrong."""
    with context.new_server(context.auth.flavour) as server:
        secret = f"password-{os.getpid()}-in-clear"
        with socket.create_connection((HOST, server.port), timeout=PATIENCE) as client:
            client.sendall(b"CONNECT %s\r\nPING\r\n" % json.dumps({"user": "u", "pass": secret}).encode())
            while client.recv(65536):
                pass
        server.stop()
        check(secret not in server.log_path.read_text("utf-8", "replace"), "the log shows a password")


@scenario
def publisher_programs_fail_loudly(context):
    """The nats-py publisher does not end with 0 when it was refused."""
    url = context.auth.url.replace("u:p@", "u:wrong@")
    script = str(toolbox.PROGRAMS / "cms_publish.py")
    done = run_program([str(context.tools.python), script, url], b'{"subject":"x","payload":"y"}\n')
    check(done.returncode != 0, "exit code 0 with a wrong password")
    check_ran(context.publish_cms(context.auth.url, [("x", "y")]), "cms_publish.py")
