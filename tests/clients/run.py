#!/usr/bin/env python3
"""Runs real NATS clients against one or more servers: `run.py --server sublog=/path/to/sublog --server nats=pip`.

Every scenario is the same program against every server. One line is printed for each, and the last line is the plain count.
See README.md beside this file.
"""

import argparse
import collections
import fnmatch
import pathlib
import sys
import time

import toolbox

SUITE_SECONDS_MAX = 900


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", action="append", default=[], metavar="NAME=PATH", help="a server to test; PATH `pip` is the pinned nats-server; a NAME starting with `nats` is the reference, which has no replay")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN", help="only scenarios that match, e.g. 'wire.*'")
    parser.add_argument("--skip", action="append", default=[], metavar="PATTERN", help="skip scenarios that match, aloud")
    parser.add_argument("--list", action="store_true", help="print the names of the scenarios")
    parser.add_argument("--record-wire", action="store_true", help="record what the (one) reference server answers to the scripts of bytes")
    parser.add_argument("--record-transcripts", action="store_true", help="record what programs print with the (one) reference server, see transcripts.py")
    arguments = parser.parse_args()
    if not arguments.server and not arguments.list:
        parser.error("at least one --server is needed")
    return arguments


def parse_server(text, tools):
    """NAME=PATH into (name, absolute path, whether it remembers)."""
    name, _equals, path = text.partition("=")
    binary = tools.nats_server if path == "pip" else pathlib.Path(path).resolve()
    if not name or not binary.is_file():
        raise SystemExit(f"--server {text}: no such file {binary}")
    return name, binary, not name.startswith("nats")


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def record_wire(context):
    import wire
    import wire_scripts

    answers = {}
    for steps in wire_scripts.SCRIPTS:
        answers[steps.name] = wire.run(steps, context.shared(steps.flavour).port)
        stuck = [line for lines in answers[steps.name].values() for line in lines if line.startswith(("NOTHING", "REST"))]
        print(f"{'STUCK   ' if stuck else 'recorded'} {steps.name}", flush=True)
    wire.save_recording(answers)


def run_all(arguments, tools):
    import harness
    import scenarios  # noqa: F401 - importing registers all scenarios
    from servers import Watchdog

    names = [name for name, _function in harness.SCENARIOS]
    if len(set(names)) != len(names):
        raise SystemExit("two scenarios have one name")
    if arguments.list:
        print("\n".join(names))
        return 0
    chosen = [entry for entry in harness.SCENARIOS if not arguments.only or matches(entry[0], arguments.only)]
    if not chosen:
        raise SystemExit("no scenario matches")
    counts = collections.Counter()
    servers = []
    watchdog = Watchdog(SUITE_SECONDS_MAX, servers)
    for note in tools.notes:
        print(f"note: {note}", flush=True)
    for text in arguments.server:
        name, binary, remembers = parse_server(text, tools)
        context = harness.Context(name, binary, tools, remembers, servers)
        context.recording = arguments.record_transcripts
        began = time.monotonic()
        try:
            if arguments.record_wire:
                record_wire(context)
                continue
            for scenario, function in chosen:
                if matches(scenario, arguments.skip):
                    outcome, detail, seconds = "skipped", "asked to", 0.0
                else:
                    outcome, detail, seconds = harness.run_scenario(scenario, function, context)
                counts[outcome] += 1
                print(f"{outcome:7} {name:8} {scenario:45} {seconds:6.2f} s" + (f"  {detail}" if detail else ""), flush=True)
        finally:
            context.close()
            for server in servers:
                server.close()
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    watchdog.cancel()
    if arguments.record_wire:
        return 0
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['ok']} passed, {counts['FAILED']} failed{skipped}")
    return 1 if counts["FAILED"] else 0


def main():
    arguments = parse_arguments()
    tools = toolbox.install()
    toolbox.enter_venv(tools)
    sys.path.insert(0, str(toolbox.HERE))
    return run_all(arguments, tools)


if __name__ == "__main__":
    sys.exit(main())
