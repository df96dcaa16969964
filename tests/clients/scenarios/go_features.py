"""What programs use of nats.go: each feature is a function of the `features` program, run by name."""

import subprocess

from harness import PATIENCE, check_equal, check_ran, run_program, scenario
from harness import SCENARIOS

NAMES = [
    "request_reply",
    "old_request",
    "no_responders",
    "headers",
    "drain",
    "auto_unsubscribe",
    "max_payload",
    "verbose_pedantic",
    "no_echo",
    "large_payload",
    "many_subjects",
    "queue_group",
]


def register(name):
    def run(context):
        check_ran(run_program([context.go("features"), "-s", context.open.url, name]), name)

    SCENARIOS.append((f"go_features.{name}", run))


for feature in NAMES:
    register(feature)


@scenario
def all_features_are_run(context):
    """The list above and the program's own table hold the same names."""
    listed = run_program([context.go("features"), "-list"]).stdout.decode().split()
    check_equal(listed, sorted([*NAMES, "reconnect"]), "features")


@scenario
def with_login(context):
    check_ran(run_program([context.go("features"), "-s", context.auth.url, "request_reply"]), "request_reply")


@scenario
def reconnect(context):
    """nats.go comes back by itself after a restart on the same port, with its subscription."""
    with context.new_server() as server:
        command = [context.go("features"), "-s", server.url, "reconnect"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            check_equal(process.stdout.readline(), b"ready\n", "first line")
            server.restart()
            _out, err = process.communicate(b"restarted\n", timeout=PATIENCE)
            check_equal((process.returncode, err), (0, b""), "exit code and stderr")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE)
