"""JetStream through the official clients, with every line they print compared with what nats-server gave the same program."""


import toolbox
import transcripts
from harness import SCENARIOS, Failed, Skip, run_program

PYTHON_PARTS = ["publishing", "streams", "consumers", "redelivery", "pushed", "buckets", "objects", "services"]


def lines_of(context, command, server):
    done = run_program(command)
    if done.returncode != 0:
        raise Failed(f"exited {done.returncode}: {done.stderr.decode('utf-8', 'replace')[-1500:]}")
    return transcripts.normalised(done.stdout.decode("utf-8", "replace"))


def register(name, command):
    """Registers a scenario: what `command(context, server)` prints on a fresh server is what was recorded of the reference."""

    def run(context):
        if context.remembers and name in transcripts.WAITING:
            raise Skip(f"waits for {transcripts.WAITING[name]}")
        # In what order nats-server delivers again, and when it shows who listens, is a matter of moments: it has three tries to be
        # what was recorded of it. Sublog has one.
        for last in [True] if context.remembers or context.recording else [False, False, True]:
            with context.new_server(transcripts.QUIET) as server:
                lines = lines_of(context, command(context, server), server)
            if context.recording:
                return transcripts.save(name, lines)
            try:
                return transcripts.compare(name, lines)
            except Failed:
                if last:
                    raise

    SCENARIOS.append((f"transcripts.{name}", run))


def python(part):
    return lambda context, server: [str(context.tools.python), str(toolbox.PROGRAMS / "js_python.py"), server.url, part]


for part in PYTHON_PARTS:
    register(f"python_{part}", python(part))


RUST_PARTS = ["streams", "consumers", "pushed", "buckets", "objects"]


def rust(part):
    return lambda context, server: [context.rust_example("js_rust"), server.url, part]


for part in RUST_PARTS:
    register(f"rust_{part}", rust(part))


def command(part):
    return lambda context, server: [str(context.tools.python), str(toolbox.PROGRAMS / "js_command.py"), context.natscli(), server.url, part]


for part in ["streams", "consumers", "buckets", "objects", "backup", "bench", "batches"]:
    register(f"command_{part}", command(part))


def node(part):
    def command(context, server):
        if context.tools.node is None:
            raise Skip("no node on this machine")
        return [context.tools.node, str(context.tools.node_dir / "js.mjs"), server.bare_url, part]

    return command


for part in ["streams", "consumers", "pausing", "buckets", "objects", "fast", "services"]:
    register(f"node_{part}", node(part))


def go(part):
    def command(context, server):
        context.natscli()  # The same Go builds both.
        return [str(context.tools.go_js_bin / "js-go"), server.url, part]

    return command


for part in ["streams", "consumers", "legacy", "buckets", "objects", "services"]:
    register(f"go_{part}", go(part))
