"""What scenarios are written with: registration, skipping aloud, and helpers to run the client programs."""

import asyncio
import inspect
import json
import os
import secrets
import shutil
import subprocess
import time
import traceback

import toolbox
from servers import AUTH, OPEN, Server

SCENARIO_SECONDS_MAX = 60.0
PATIENCE = 10.0

SCENARIOS = []


class Skip(Exception):
    """Raised by a scenario that cannot run here; the text says why and is printed."""


class Failed(AssertionError):
    """Raised by `check`."""


def scenario(function):
    """Registers a scenario under `<module>.<function>`."""
    module = function.__module__.rsplit(".", 1)[-1]
    SCENARIOS.append((f"{module}.{function.__name__}", function))
    return function


def check(condition, text):
    if not condition:
        raise Failed(text)


def check_equal(got, wanted, what):
    """Compares and, for lists, says where the first difference is rather than printing thousands of entries."""
    if got == wanted:
        return
    if isinstance(got, list) and isinstance(wanted, list):
        for index, (left, right) in enumerate(zip(got, wanted)):
            if left != right:
                raise Failed(f"{what}: at {index} got {left!r:.300}, wanted {right!r:.300}")
        raise Failed(f"{what}: got {len(got)} entries, wanted {len(wanted)}")
    raise Failed(f"{what}: got {got!r:.500}, wanted {wanted!r:.500}")


class Context:
    """One server kind under test, and the programs to test it with. Servers of a flavour are shared by the scenarios."""

    def __init__(self, name, binary, tools, remembers, servers):
        self.name = name
        self.binary = binary
        self.tools = tools
        self.remembers = remembers
        # Whether transcripts are recorded rather than compared.
        self.recording = False
        self._servers = servers
        self._shared = {}

    def new_server(self, flavour=OPEN):
        """A server of this scenario's own: use it in a `with`."""
        server = Server(self.name, self.binary, flavour, self.remembers)
        self._servers.append(server)
        return server

    def watch(self, server):
        """Has a server ended with the run, whatever becomes of the scenario that made it."""
        self._servers.append(server)

    def shared(self, flavour):
        server = self._shared.get(flavour.name)
        if server is not None and not server.is_running():
            tail = server.log_tail()
            server.close()
            del self._shared[flavour.name]
            raise Failed(f"the shared server had died\n{tail}")
        if server is None:
            if self.remembers and flavour.config is not None and flavour.flags is None:
                raise Skip("this server reads no configuration file")
            server = self.new_server(flavour).start()
            self._shared[flavour.name] = server
        return server

    @property
    def open(self):
        return self.shared(OPEN)

    @property
    def auth(self):
        return self.shared(AUTH)

    def close(self):
        for server in self._shared.values():
            server.close()
        self._shared.clear()

    def need_replay(self):
        if not self.remembers:
            raise Skip("this server has no replay")

    # --- programs -------------------------------------------------------------------------------------------------------------

    def go(self, program):
        if self.tools.go_bin is None:
            raise Skip("no go on this machine")
        return str(self.tools.go_bin / program)

    def tool(self, program):
        """A monitoring tool, which Go builds from its pinned source."""
        if self.tools.go_tools is None:
            raise Skip("the monitoring tools cannot be built on this machine")
        return str(self.tools.go_tools / program)

    def natscli(self):
        """The `nats` command."""
        if self.tools.go_js_bin is None:
            raise Skip(self.tools.go_js_missing)
        return str(self.tools.go_js_bin / "nats")

    def rust_example(self, name):
        """A program of `tests/examples`; cargo makes it from what the tests of this machine were made of."""
        if shutil.which("cargo") is None:
            raise Skip("no cargo on this machine")
        command = ["cargo", "build", "--quiet", "--message-format=json-render-diagnostics", "-p", "sublog-tests", "--example", name]
        done = subprocess.run(command, cwd=toolbox.HERE.parent, stdout=subprocess.PIPE, check=True)
        made = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
        return next(one["executable"] for one in made if one.get("executable") and one["target"]["name"] == name)

    def python2_command(self, url, how):
        """The tornado publisher, or where there is no Python 2.7 the replay of its bytes; with the environment it needs."""
        env = dict(os.environ)
        if self.tools.python2 is None:
            return [str(self.tools.python), str(toolbox.PROGRAMS / "py2_replay.py"), url, how], env
        env["PYTHONPATH"] = str(self.tools.python2_path)
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        return [self.tools.python2, str(toolbox.PROGRAMS / "py2_publish.py"), url, how], env

    def publish_python2(self, url, how, messages):
        command, env = self.python2_command(url, how)
        return run_program(command, to_lines(messages), env=env)

    def publish_cms(self, url, messages):
        command = [str(self.tools.python), str(toolbox.PROGRAMS / "cms_publish.py"), url]
        return run_program(command, to_lines(messages))

    def publish_go(self, url, subject, payload):
        return run_program([self.go("nats-pub"), "-s", url, subject, payload])


def to_lines(messages):
    """The list format of the publishing programs: one JSON object a line."""
    return "".join(json.dumps({"subject": subject, "payload": payload}) + "\n" for subject, payload in messages).encode()


def run_program(command, stdin=b"", env=None, timeout=SCENARIO_SECONDS_MAX):
    """Runs a program to its end; a non-zero exit code is returned, not raised."""
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=timeout)


def check_ran(done, what):
    check(done.returncode == 0, f"{what} exited {done.returncode}: {done.stderr.decode('utf-8', 'replace')[-1500:]}")


def unique(prefix):
    """A subject root of this call's own, so that scenarios on a shared server do not meet."""
    return f"{prefix}.{secrets.token_hex(4)}"


async def written(client):
    """Waits until nats-py has handed everything to its transport.

    nats-py (2.16.0) keeps messages and subscriptions in a buffer that another task writes out, but writes the PING of `flush` to the
    transport directly: without this the PING overtakes what was published just before it, and the PONG says nothing about that.
    `publishers.nats_py_ping_overtakes` shows it.
    """
    while client.pending_data_size > 0 and client.is_connected:
        await asyncio.sleep(0)


async def flush(client, timeout=PATIENCE):
    """A round trip that really comes after everything the client was given before."""
    await written(client)
    await client.flush(timeout=timeout)


async def collect(subscription, count, timeout=PATIENCE):
    """Exactly `count` messages from a nats-py subscription, in order."""
    got = []
    deadline = time.monotonic() + timeout
    while len(got) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Failed(f"only {len(got)} of {count} messages within {timeout:.0f} s on {subscription.subject}")
        try:
            got.append(await subscription.next_msg(timeout=left))
        except Exception as error:
            raise Failed(f"{type(error).__name__} after {len(got)} of {count} messages on {subscription.subject}") from error
    return got


async def check_no_more(client, subscription):
    """After a round trip to the server nothing more is queued on the subscription."""
    await flush(client)
    check_equal(subscription.pending_msgs, 0, f"messages beyond the expected on {subscription.subject}")


def run_scenario(name, function, context):
    """Runs one scenario and returns (`ok` | `FAILED` | `skipped`, detail, seconds)."""
    began = time.monotonic()
    try:
        if inspect.iscoroutinefunction(function):
            asyncio.run(asyncio.wait_for(function(context), SCENARIO_SECONDS_MAX))
        else:
            function(context)
        outcome, detail = "ok", ""
    except Skip as skip:
        outcome, detail = "skipped", str(skip)
    except Failed as failure:
        outcome, detail = "FAILED", str(failure)
    except Exception:
        outcome, detail = "FAILED", traceback.format_exc(limit=-6)
    return outcome, detail, time.monotonic() - began
