"""A process that has the service's modules. Each line it reads has it fork a process that serves,
which so begins without the time that modules take. It answers `ready`, and then each line with that
process' id.

A line is JSON: the folder, the environment, and the file of the log.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import entry_points

import orjson

from keptn_remedy.cli import serve_command
from keptn_remedy.service import standalone
from tests.processes import die_with_parent

PRELOADED = (standalone,)


def main() -> None:
    for entry in entry_points(group="keptn_remedy.actions"):
        entry.load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who is killed is gone at once
    answer("ready")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            serve(**orjson.loads(line))
        answer(str(child))


def answer(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(folder: str, environment: dict[str, str], log: str) -> None:
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, written, written)):
        os.dup2(stream, number)
    try:
        serve_command.serve(local=False, demo=False)
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
