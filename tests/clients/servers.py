"""Starts, kills and restarts one server under test. Sublog and nats-server take the same command line, so one class does for both."""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0
HOST = "127.0.0.1"


class ServerFailed(Exception):
    """The server did not start, or not in time; the text holds the end of its log."""


class Flavour:
    """How a server is started: extra arguments, or the text of a configuration file, and the login clients need."""

    def __init__(self, name, arguments=(), config=None, user=None, password=None, flags=None):
        self.name = name
        self.arguments = list(arguments)
        self.config = config
        # What Sublog is told instead of a configuration file; None: it cannot be told.
        self.flags = flags
        self.user = user
        self.password = password


OPEN = Flavour("open")
AUTH = Flavour("auth", ["--user", "u", "--pass", "p"], user="u", password="p")


def free_port():
    """A port nobody listens on, below the range the kernel hands out for outgoing connections.

    The distance matters: clients here try to reconnect to a dead server's port on loopback thousands of times, and a client whose
    own outgoing port happens to be that port would connect to itself.
    """
    try:
        low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        low = 32768
    low = max(low, 12000)
    while True:
        port = random.randrange(10000, low)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


class Server:
    """One server process, its port, and its data folder, which outlives restarts and ends with `close`."""

    def __init__(self, name, binary, flavour=OPEN, remembers=False):
        self.name = name
        self.binary = str(binary)
        self.flavour = flavour
        self.remembers = remembers
        self.port = None
        self.process = None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sublog-clients-"))
        self.log_path = self.folder / "server.log"
        self.starts = 0

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_exc):
        self.close()

    @property
    def url(self):
        """The URL as a person would write it, with the login where one is needed."""
        login = f"{self.flavour.user}:{self.flavour.password}@" if self.flavour.user else ""
        return f"nats://{login}{HOST}:{self.port}"

    @property
    def bare_url(self):
        return f"nats://{HOST}:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def command(self):
        command = [self.binary, "-a", HOST, "-p", str(self.port), "-sd", str(self.folder / "data")]
        if not self.remembers:
            # Sublog always has it.
            command.append("-js")
        command += self.flavour.arguments
        if self.flavour.config is not None and self.remembers:
            command += self.flavour.flags
        elif self.flavour.config:
            path = self.folder / "server.conf"
            path.write_text(self.flavour.config)
            command += ["-c", str(path)]
        return command

    def start(self):
        """Starts on the port of the last start, or on a fresh one, and returns when clients can connect."""
        last_error = None
        for _attempt in range(5):
            if self.port is None:
                self.port = free_port()
            try:
                self._start_once()
                self.starts += 1
                return self
            except ServerFailed as error:
                last_error = error
                self._reap()
                if "address already in use" not in str(error).lower() or self.starts > 0:
                    raise
                self.port = None
        raise last_error

    def _start_once(self):
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            if self.process.poll() is not None:
                raise ServerFailed(f"{self.name} ended with {self.process.returncode} at start\n{self._tail(offset)}")
            if b"Server is ready" in self._log_since(offset) and self._accepts():
                return
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} not ready after {READY_SECONDS_MAX:.0f} s\n{self._tail(offset)}")
            time.sleep(0.005)

    def _accepts(self):
        try:
            with socket.create_connection((HOST, self.port), timeout=1.0) as probe:
                return probe.recv(5) == b"INFO "
        except OSError:
            return False

    def _log_since(self, offset):
        with open(self.log_path, "rb") as log:
            log.seek(offset)
            return log.read()

    def _tail(self, offset=0):
        return self._log_since(offset)[-3000:].decode("utf-8", "replace")

    def log_tail(self):
        return self._tail()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, by pid, and wait until the kernel has taken the process away."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS_MAX)

    def stop(self):
        """SIGTERM and wait; a server that does not go is killed and reported."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"{self.name} did not stop within {STOP_SECONDS_MAX:.0f} s of SIGTERM") from None

    def kill_while_starting(self, seconds):
        """Starts on the same port and data, and kills it this long after, ready or not: a crash during recovery."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        time.sleep(seconds)
        self.kill()

    def restart(self):
        self.stop()
        return self.start()

    def _reap(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def close(self):
        """Ends the process and removes the folder, whatever happened before."""
        try:
            self._reap()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class Watchdog:
    """Ends the whole program when it overruns: a hang must become a failure, and no server may be left behind."""

    def __init__(self, seconds, servers_to_close):
        self._servers = servers_to_close
        self._timer = threading.Timer(seconds, self._fire, [seconds])
        self._timer.daemon = True
        self._timer.start()

    def _fire(self, seconds):
        for server in list(self._servers):
            server.close()
        os.write(2, f"overran {seconds:.0f} s: given up\n".encode())
        os._exit(3)

    def cancel(self):
        self._timer.cancel()
