#!/usr/bin/env python3
"""Runs nats.py's own tests of JetStream, key-value, object store and services against several servers and compares test by test.

`upstream.py --repo CLONE --server sublog=target/debug/sublog`, or with `--server nats=pip` before it

CLONE is a git clone of github.com/nats-io/nats.py (bare or not) that has the pinned commit; its tests are in no package on PyPI, so
they cannot be installed like everything else here. Nothing of it is copied into this repository: it is unpacked below `.cache`.

What passes with nats-server must pass with the others, or stand in `upstream_expected.json` with the reason. A test listed there
that passes after all is a failure too, so the list cannot rot. What passed with nats-server 2.15.1 is in `recordings/upstream.json`
(`--record` writes it), so one run is enough. Some tests depend on moments: one that fails is tried once more, with either server. The tests listen on fixed ports: where the system allows it, each run
has a network namespace of its own.
"""

import argparse
import collections
import ctypes
import fcntl
import glob
import json
import os
import pathlib
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import toolbox

COMMIT = "06b677808029274b64e06af9eee7170d3b80a09b"
EXPECTED = toolbox.HERE / "upstream_expected.json"
RECORDING = toolbox.RECORDINGS / "upstream.json"
REQUIREMENTS = toolbox.HERE / "upstream_requirements.txt"
SUITE_SECONDS_MAX = 1500
# Each part: where its tests are, what it imports, and what pytest is told. nats and nats-core are two packages of one name.
PARTS = {
    "nats": (["nats/tests/test_js.py", "nats/tests/test_micro_service.py"], ["nats/src"]),
    "nats-jetstream": (["nats-jetstream/tests"], ["nats-jetstream/src", "nats-core/src", "nats-server/src"]),
}
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def own_network():
    """Called in the child before the tests: a loopback of its own, so that the fixed ports are free. Does nothing where it may not."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        return
    with socket.socket() as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(probe, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def unpack(repository):
    """The pinned commit's files below `.cache`."""
    folder = toolbox.CACHE / "nats.py"
    if toolbox.is_fresh("nats.py", COMMIT) and folder.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", repository, "archive", COMMIT], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    toolbox.set_fresh("nats.py", COMMIT)
    return folder


def python_of(minor):
    """An interpreter of this version or a later one: the newer packages need 3.13."""
    candidates = [sys.executable, *sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3")))]
    for candidate in candidates:
        probe = subprocess.run([candidate, "-c", "import sys; print(sys.version_info[1])"], stdout=subprocess.PIPE, check=True)
        if int(probe.stdout) >= minor:
            return candidate
    raise SystemExit(f"Python 3.{minor} or later is needed")


def python():
    """An interpreter with pytest; the tests bring the client themselves."""
    venv = toolbox.CACHE / "upstream-venv"
    interpreter = python_of(13)
    mark = toolbox.fingerprint(REQUIREMENTS, interpreter)
    if not toolbox.is_fresh("upstream-venv", mark):
        shutil.rmtree(venv, ignore_errors=True)
        toolbox.run([interpreter, "-m", "venv", venv])
        toolbox.run([venv / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "-r", REQUIREMENTS])
        toolbox.set_fresh("upstream-venv", mark)
    return venv / "bin" / "python"


def run_part(part, interpreter, sources, binary, is_reference, pattern):
    """Runs a part and returns {test: (outcome, first line of the reason)}."""
    more = ["-k", pattern] if pattern else []
    seen = run_tests(part, interpreter, sources, binary, is_reference, [*more, *(str(sources / path) for path in PARTS[part][0])])
    failed = {name: node for name, (outcome, _reason, node) in seen.items() if outcome == "failed"}
    if failed:
        again = run_tests(part, interpreter, sources, binary, is_reference, [str(sources / node) for node in failed.values()])
        seen.update((name, found) for name, found in again.items() if name in failed)
    return {name: (outcome, reason) for name, (outcome, reason, _node) in seen.items()}


def run_tests(part, interpreter, sources, binary, is_reference, chosen):
    """Runs tests of a part and returns {test: (outcome, first line of the reason, what pytest calls it)}."""
    _tests, imports = PARTS[part]
    with tempfile.TemporaryDirectory(prefix="sublog-upstream-") as folder:
        folder = pathlib.Path(folder)
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        # The tests look at all that an account holds, so Sublog runs without its capture stream.
        more = "" if is_reference else " --capture=off"
        wrapper = bin_folder / "nats-server"
        wrapper.write_text(f'#!/bin/bash\nexec -a nats-server {shlex.quote(str(binary))} "$@"{more}\n')
        wrapper.chmod(0o755)
        report = folder / "report.xml"
        env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        env["PYTHONPATH"] = ":".join(str(sources / path) for path in imports)
        command = [interpreter, "-m", "pytest", "-q", "-c", "/dev/null", f"--rootdir={sources}", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", f"--junitxml={report}"]
        command += ["-o", "junit_family=xunit1", "--timeout=60", "--tb=short", *chosen]
        with open(toolbox.CACHE / f"upstream-{part}-{os.path.basename(binary)}.log", "wb") as log:
            process = subprocess.Popen(
                [str(word) for word in command], cwd=sources, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=own_network,
            )
            try:
                process.wait(SUITE_SECONDS_MAX)
            finally:
                # Servers of tests that were cut off are in the session of pytest.
                try:
                    os.killpg(process.pid, 9)
                except ProcessLookupError:
                    pass
                process.wait(10)
        if not report.exists():
            raise SystemExit(f"{part}: pytest made no report, see {log.name}")
        return dict(outcomes(report, part))


def outcomes(report, part):
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name = f"{part}:{case.get('classname').rsplit('.', 1)[-1]}.{case.get('name')}"
        module = case.get("file")[: -len(".py")].replace("/", ".")
        within = [word for word in case.get("classname")[len(module) :].split(".") if word]
        node = "::".join([case.get("file"), *within, case.get("name")])
        problem = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        if problem is None:
            yield name, ("passed", "", node)
        else:
            outcome = "skipped" if problem.tag == "skipped" else "failed"
            yield name, (outcome, (problem.get("message") or "").splitlines()[0][:160] if problem.get("message") else "", node)


def judge(reference, seen, expected):
    """Yields (verdict, test, detail) for every test of the reference."""
    for test, (outcome, _reason) in sorted(reference.items()):
        got, reason = seen.get(test, ("missing", "not run"))
        listed = expected.get(test)
        if outcome == "passed" and got == "passed":
            yield ("FAILED", test, "passes, but is listed as an expected difference") if listed else ("ok", test, "")
        elif outcome == "passed":
            yield ("expected", test, listed) if listed else ("FAILED", test, f"{got}: {reason}")
        else:
            yield "no reference", test, f"{outcome} with the reference, {got} here"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", required=True, help="a git clone of nats.py")
    parser.add_argument("--server", action="append", required=True, metavar="NAME=PATH", help="PATH `pip` is the pinned nats-server, the reference if it comes first")
    parser.add_argument("--record", action="store_true", help="write down what passes with nats-server")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part")
    parser.add_argument("-k", dest="pattern", help="handed to pytest")
    arguments = parser.parse_args()
    toolbox.CACHE.mkdir(exist_ok=True)
    tools = toolbox.Tools()
    toolbox.install_venv(tools)
    sources, interpreter = unpack(arguments.repo), python()
    expected = json.loads(EXPECTED.read_text())
    counts, reference = collections.Counter(), None
    if not arguments.server[0].startswith("nats"):
        chosen = tuple(f"{part}:" for part in arguments.part or PARTS)
        reference = {name: ("passed" if passed else "failed", "") for name, passed in json.loads(RECORDING.read_text()).items() if name.startswith(chosen)}
    for text in arguments.server:
        name, _equals, path = text.partition("=")
        binary = tools.nats_server if path == "pip" else pathlib.Path(path).resolve()
        seen = {}
        for part in arguments.part or PARTS:
            seen.update(run_part(part, interpreter, sources, binary, name.startswith("nats"), arguments.pattern))
        tally = collections.Counter(outcome for outcome, _reason in seen.values())
        print(f"{name}: {', '.join(f'{count} {outcome}' for outcome, count in sorted(tally.items()))}", flush=True)
        if reference is None:
            reference = seen
            if arguments.record:
                passed = {test: outcome == "passed" for test, (outcome, _reason) in sorted(seen.items())}
                RECORDING.write_text(json.dumps(passed, indent=1) + "\n")
            continue
        if arguments.pattern:
            reference = {test: found for test, found in reference.items() if test in seen}
        for verdict, test, detail in judge(reference, seen, expected):
            counts[verdict] += 1
            if verdict != "ok":
                print(f"{verdict:12} {name:8} {test}  {detail}", flush=True)
    print(f"{counts['ok']} passed, {counts['FAILED']} failed, {counts['expected'] + counts['no reference']} skipped")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
