"""Compares what a client program saw, line by line, with what the same program saw of nats-server 2.15.1.

A program prints one line for each thing it saw: values, errors, the order of messages. What differs from run to run (times, generated
names) is replaced before. `recordings/transcripts.json` holds the reference's lines, so a comparison needs no nats-server at hand;
when the reference is under test the same scenarios show that the recording is still true. Record again with
`run.py --record-transcripts --server nats=pip --only 'transcripts.*'`.
"""

import difflib
import itertools
import json
import os
import re

import toolbox
from harness import Failed
from servers import Flavour

RECORDING = toolbox.RECORDINGS / "transcripts.json"
# A server of its own without the capture stream, so that everything an account holds can be compared.
QUIET = Flavour("quiet", flags=["--capture", "off"], config="")

# (scenario, pattern of a line of the reference or of ours, why the two differ). A line that matches is left out on both sides.
INTENDED = [
    ("rust_streams", r"^bytes: ", "4 bytes more for each message with headers are counted by nats-server alone"),
    ("python_streams", r"^account: ", "the API's level"),
]
# {scenario: what is missing}. These run only against the reference until the feature is there; delete the entry then.
WAITING = {}

REPLACED = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\bN[A-Z2-7]{55}\b"), "<server>"),
    (re.compile(r"_INBOX\.[A-Za-z0-9.]+"), "<inbox>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
]


def normalised(text):
    """The lines of an output with what changes from run to run replaced, and without blanks at line ends."""
    for pattern, word in REPLACED:
        text = pattern.sub(word, text)
    return [line.rstrip() for line in text.splitlines()]


def load():
    return json.loads(RECORDING.read_text()) if RECORDING.exists() else {}


def save(name, lines):
    recording = load()
    recording[name] = lines
    RECORDING.write_text(json.dumps(recording, indent=1, sort_keys=True) + "\n")


def kept(name, lines):
    patterns = [re.compile(pattern) for scenario, pattern, _reason in INTENDED if scenario == name]
    return [line for line in lines if not any(pattern.search(line) for pattern in patterns)]


def compare(name, lines):
    wanted = load().get(name)
    if wanted is None:
        raise Failed("nothing is recorded for it")
    wanted, got = kept(name, wanted), kept(name, lines)
    if wanted != got:
        raise Failed("\n" + "\n".join(list(differences(wanted, got))[:60]))


def differences(wanted, got):
    """What differs, line by line; of a long line only where it begins to differ."""
    for kind, low, high, other_low, other_high in difflib.SequenceMatcher(None, wanted, got, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        left, right = wanted[low:high], got[other_low:other_high]
        for one, other in itertools.zip_longest(left, right):
            at = len(os.path.commonprefix([one or "", other or ""]))
            for sign, line in (("-", one), ("+", other)):
                if line is not None:
                    head = line if at < 60 else line.split(":")[0][:40] + ": ..." + line[at - 30 :]
                    yield f"{sign} {head[:240]}"
