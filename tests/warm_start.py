"""`remedy` as a process of its own that has its modules already, as importing takes the most time.

One process for each worker imports them, and forks when `remedy` is to be started. From there on
the new process runs the command, with the arguments, environment, folder and output it was given.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import orjson

from tests.processes import die_with_parent

REMEDY = Path(sys.executable).with_name("remedy")
ROOT = Path(__file__).parent.parent
MOST_BYTES = 1 << 17
# Variables that Python, the C library or an import reads: a fork would not heed them.
READ_EARLY = ("COVERAGE", "LANG", "LC_", "LD_", "PYTHON", "SSL_CERT_")


class WarmProcess:
    """A process of `start`, to be used like one of `subprocess`."""

    def __init__(self, pid: int, ending: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ending = ending

    def poll(self) -> int | None:
        with contextlib.suppress(BlockingIOError):
            self._ended(0)
        return self.returncode

    def wait(self, seconds: float | None = None) -> int:
        """Its exit code; TimeoutError if it has none in time."""
        return self._ended(seconds)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _ended(self, seconds: float | None) -> int:
        if self.returncode is None:
            self._ending.settimeout(seconds)
            self.returncode = int(self._ending.recv(16))
            self._ending.close()
        return self.returncode


def can_start(environment: Mapping[str, str]) -> bool:
    """Whether `start` obeys each of these variables."""
    return sys.platform == "linux" and not any(name.startswith(READ_EARLY) for name in environment)


def start(
    *arguments: str, cwd: Path, env: Mapping[str, str], output: int, errors: int
) -> WarmProcess:
    """Start `remedy` with these descriptors as its outputs; it ends with the test process."""
    request = {"arguments": arguments, "cwd": str(cwd), "env": dict(env)}
    ending, told = socket.socketpair()
    with told:
        socket.send_fds(_forking(), [orjson.dumps(request)], [output, errors, told.fileno()])
    if not (pid := ending.recv(16)):
        raise RuntimeError("the process that forks has ended")
    return WarmProcess(int(pid.split()[0]), ending)


@cache
def _forking() -> socket.socket:
    """The way to the process that forks. It ends when this is closed, as by the end of ours; not by
    `die_with_parent`, for which the parent is the thread that was the first to ask.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm_start", str(theirs.fileno())],
            cwd=ROOT,
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def leave() -> None:
        ours.close()
        process.wait()

    atexit.register(leave)
    return ours


# What the process that forks does


def _fork_on_request(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request. Returns the request in each new process, and never in this one."""
    endings: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != requests.fileno():
                poll.unregister(descriptor)
                _tell_the_end(descriptor, *endings.pop(descriptor))
                continue
            message, descriptors, _, _ = socket.recv_fds(requests, MOST_BYTES, 3)
            if not message:
                sys.exit()
            *outputs, told = descriptors
            ending = socket.socket(fileno=told)
            if (pid := os.fork()) == 0:
                for other, (_, unrelated) in endings.items():
                    os.close(other)
                    unrelated.close()
                ending.close()
                requests.close()
                _write_to(*outputs)
                return dict(orjson.loads(message))
            for output in outputs:
                os.close(output)
            ending.send(b"%-16d" % pid)
            watched = os.pidfd_open(pid)
            endings[watched] = pid, ending
            poll.register(watched, select.POLLIN)


def _tell_the_end(descriptor: int, pid: int, ending: socket.socket) -> None:
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    with ending, contextlib.suppress(BrokenPipeError):  # nobody may want to know
        ending.send(b"%d" % os.waitstatus_to_exitcode(status))


def _write_to(output: int, errors: int) -> None:
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)


def _import_all() -> None:
    import uvloop  # noqa: F401

    import keptn_remedy.cli.serve_command  # noqa: F401

    for action in entry_points(group="keptn_remedy.actions"):
        action.load()


def _main() -> None:
    _import_all()
    gc.collect()
    gc.freeze()
    request = _fork_on_request(
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=int(sys.argv[1]))
    )
    die_with_parent()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv = [str(REMEDY), *request["arguments"]]
    sys.path[0] = str(REMEDY.parent)
    from keptn_remedy.cli import main

    main()


if __name__ == "__main__":
    _main()
