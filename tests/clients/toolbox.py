"""Installs what the suite needs, every version pinned, into `.cache` beside this file.

Nothing is taken from the machine but the interpreters themselves: Python 3, Go, and where they exist Node and Python 2.7. What is
missing is reported by `Tools`, so a scenario can say aloud that it was skipped or that it replays recorded bytes instead.
"""

import glob
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CACHE = HERE / ".cache"
PROGRAMS = HERE / "programs"
RECORDINGS = HERE / "recordings"

# The oldest CMS publishers run on Python 2 with exactly this client; its own dependencies are pinned too, so that a release made
# today cannot change what is tested.
PYTHON2_PACKAGES = [
    "nats-client==0.8.4",
    "tornado==5.1",
    "futures==3.4.0",
    "singledispatch==3.7.0",
    "backports_abc==0.5",
    "six==1.17.0",
]
INSTALL_SECONDS_MAX = 600


class Tools:
    """Paths of the installed clients; an attribute is None when the machine has no interpreter for it."""

    def __init__(self):
        self.venv = CACHE / "venv"
        self.python = self.venv / "bin" / "python"
        self.nats_server = self.venv / "bin" / "nats-server"
        self.go_bin = None
        self.go_tools = None
        # The newest nats.go and the `nats` command, which need a newer Go.
        self.go_js_bin = None
        self.go_js_missing = "no go on this machine"
        self.node = None
        self.node_dir = CACHE / "node"
        self.python2 = None
        self.python2_path = CACHE / "python2"
        self.notes = []


def run(command, **kwargs):
    """Runs an installation step quietly; its output is shown only when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=INSTALL_SECONDS_MAX,
        **kwargs,
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode("utf-8", "replace"))
        raise SystemExit(f"installation step failed: {' '.join(str(part) for part in command)}")
    return done.stdout


def fingerprint(*parts):
    """A digest over files and strings: an installation is repeated when what it was made from has changed."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, pathlib.Path) else str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def is_fresh(name, mark):
    stamp = CACHE / f"{name}.stamp"
    return stamp.exists() and stamp.read_text() == mark


def set_fresh(name, mark):
    (CACHE / f"{name}.stamp").write_text(mark)


def install_venv(tools):
    requirements = HERE / "requirements.txt"
    mark = fingerprint(requirements, sys.version)
    if is_fresh("venv", mark) and tools.python.exists():
        return
    shutil.rmtree(tools.venv, ignore_errors=True)
    run([sys.executable, "-m", "venv", tools.venv])
    run([tools.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "-r", requirements])
    set_fresh("venv", mark)


def go_environment():
    env = dict(os.environ)
    env.update(
        GOPATH=str(CACHE / "gopath"),
        GOCACHE=str(CACHE / "gobuild"),
        GOFLAGS="-mod=readonly -modcacherw -buildvcs=false",
        GOTOOLCHAIN="local",
        GOWORK="off",
        CGO_ENABLED="0",
    )
    return env


def install_go(tools):
    go = shutil.which("go")
    if go is None:
        tools.notes.append("no go on this machine: scenarios with nats.go are skipped")
        return
    out = CACHE / "bin"
    sources = sorted((HERE / "go").rglob("*.go"))
    mark = fingerprint(HERE / "go" / "go.mod", HERE / "go" / "go.sum", *sources)
    if not (is_fresh("go", mark) and (out / "nats-pub").exists()):
        out.mkdir(parents=True, exist_ok=True)
        run([go, "build", "-o", f"{out}/", "./..."], cwd=HERE / "go", env=go_environment())
        set_fresh("go", mark)
    tools.go_bin = out


def install_go_tools(tools):
    """nats-top and prometheus-nats-exporter. A Go that is too old for them, or a registry that lacks them, is no failure."""
    go = shutil.which("go")
    if go is None:
        tools.notes.append("no go on this machine: nats-top and prometheus-nats-exporter are skipped")
        return
    sources, out = HERE / "go-tools", CACHE / "tools"
    mark = fingerprint(sources / "go.mod", sources / "go.sum")
    if not (is_fresh("go-tools", mark) and (out / "nats-top").exists()):
        out.mkdir(parents=True, exist_ok=True)
        command = [go, "build", "-o", f"{out}/", "tool"]
        done = subprocess.run(
            command, cwd=sources, env=go_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=INSTALL_SECONDS_MAX
        )
        if done.returncode != 0:
            why = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            tools.notes.append(f"nats-top and prometheus-nats-exporter cannot be built and are skipped: {''.join(why)}")
            return
        set_fresh("go-tools", mark)
    tools.go_tools = out


def install_go_js(tools):
    """The programs of `go-js` and the `nats` command, pinned in its `go.mod`."""
    go = shutil.which("go")
    if go is None:
        return
    folder, out = HERE / "go-js", CACHE / "go-js-bin"
    wanted = next(line.split()[1] for line in (folder / "go.mod").read_text().splitlines() if line.startswith("go "))
    have = run([go, "env", "GOVERSION"]).decode().strip().removeprefix("go")
    if [int(part) for part in re.findall(r"\d+", have)[:2]] < [int(part) for part in wanted.split(".")[:2]]:
        tools.go_js_missing = f"go is {have}, the nats command needs {wanted}"
        tools.notes.append(f"{tools.go_js_missing}: its scenarios are skipped")
        return
    mark = fingerprint(folder / "go.mod", folder / "go.sum", *sorted(folder.rglob("*.go")))
    if not (is_fresh("go-js", mark) and (out / "nats").exists()):
        out.mkdir(parents=True, exist_ok=True)
        run([go, "build", "-o", f"{out}/", "./...", "tool"], cwd=folder, env=go_environment())
        set_fresh("go-js", mark)
    tools.go_js_bin = out


def install_node(tools):
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        tools.notes.append("no node with npm on this machine: the Node scenario is skipped")
        return
    lock = HERE / "node" / "package-lock.json"
    programs = sorted((HERE / "node").glob("*.mjs"))
    tools.node = node
    for program in programs:
        if tools.node_dir.exists():
            shutil.copy(program, tools.node_dir)
    mark = fingerprint(HERE / "node" / "package.json", lock)
    if not is_fresh("node", mark):
        shutil.rmtree(tools.node_dir, ignore_errors=True)
        tools.node_dir.mkdir(parents=True)
        for source in (HERE / "node" / "package.json", lock, *programs):
            shutil.copy(source, tools.node_dir)
        run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=tools.node_dir)
        set_fresh("node", mark)


def find_python2():
    """A Python 2.7 interpreter: SUBLOG_PYTHON2, then PATH, then pyenv. Empty SUBLOG_PYTHON2 means: pretend there is none."""
    if "SUBLOG_PYTHON2" in os.environ:
        return os.environ["SUBLOG_PYTHON2"] or None
    # The real files first: a pyenv shim named python2.7 exists even where no 2.7 is selected, and then fails.
    candidates = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/2.7*/bin/python2.7")))
    candidates += [path for path in (shutil.which("python2.7"), shutil.which("python2")) if path]
    for candidate in candidates:
        probe = subprocess.run(
            [candidate, "-c", "import sys, pip; print(sys.version_info[:2] == (2, 7))"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        if probe.returncode == 0 and probe.stdout.strip() == b"True":
            return candidate
    return None


def install_python2(tools):
    interpreter = find_python2()
    if interpreter is None:
        tools.notes.append(
            "no Python 2.7 on this machine: the tornado client 0.8.4 is stood in for by a replay of its recorded bytes"
        )
        return
    mark = fingerprint(interpreter, *PYTHON2_PACKAGES)
    if not is_fresh("python2", mark):
        shutil.rmtree(tools.python2_path, ignore_errors=True)
        run(
            [interpreter, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
            + ["--target", tools.python2_path]
            + PYTHON2_PACKAGES
        )
        set_fresh("python2", mark)
    tools.python2 = interpreter


def install():
    """Installs everything and returns the `Tools`. Cheap when nothing has changed since the last run."""
    CACHE.mkdir(exist_ok=True)
    tools = Tools()
    install_venv(tools)
    install_go(tools)
    install_go_tools(tools)
    install_go_js(tools)
    install_node(tools)
    install_python2(tools)
    return tools


def enter_venv(tools):
    """Starts the calling script again under the venv's interpreter, unless it is running there already."""
    if pathlib.Path(sys.prefix).resolve() != tools.venv.resolve():
        os.execv(tools.python, [str(tools.python), *sys.argv])
