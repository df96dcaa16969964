#!/usr/bin/env python3
"""Asks a real nats-server what it makes of every case in cases.txt, and writes its verdicts into that file.

    python3 refresh.py path/to/nats-server

A case is `#### title`, a line `## nats <verdict>`, maybe a line `## sublog <verdict>: <why it differs>`, and the text.
`[V]` in a title appends lines that use the variable V, so that a value of any kind may stand there. `[crlf]` ends
lines as Windows does, `[cut]` leaves the last line without an end. Variables of the environment: environment.txt.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
USE = "\nport: $V\nport: 4222\n"


def content(title: str, text: str) -> bytes:
    if "[cut]" in title:
        text = text.removesuffix("\n")
    if "[V]" in title:
        text += USE
    if "[crlf]" in title:
        text = text.replace("\n", "\r\n")
    return text.encode()


def verdict(server: str, title: str, text: str) -> str:
    environment = dict(line.split("=", 1) for line in (HERE / "environment.txt").read_text().splitlines())
    with tempfile.NamedTemporaryFile(dir=HERE, suffix=".conf") as file:
        file.write(content(title, text))
        file.flush()
        run = subprocess.run([server, "-t", "-c", file.name], capture_output=True, text=True, cwd=HERE,
                             env={**os.environ, **environment}, timeout=10)
    found = re.search(r"is valid \((sha256:[0-9a-f]{64})\)", run.stderr + run.stdout)
    return found.group(1) if found and run.returncode == 0 else "refused"


def main() -> None:
    path = HERE / "cases.txt"
    out = []
    for case in path.read_text().split("#### ")[1:]:
        title, _, rest = case.partition("\n")
        marks, text = [], rest
        while text.startswith("## "):
            mark, _, text = text.partition("\n")
            marks.append(mark)
        ours = [mark for mark in marks if mark.startswith("## sublog ")]
        out.append("\n".join([f"#### {title}", f"## nats {verdict(sys.argv[1], title, text)}", *ours, text]))
    path.write_text("".join(out))


if __name__ == "__main__":
    main()
