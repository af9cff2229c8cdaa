"""Starting what is measured, as processes of their own on one core; nothing outlives the bench."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.sink import Sink

BENCH = Path(__file__).resolve().parent
PLAIN, PLANNED = BENCH / "actions", BENCH / "planned_actions"
REMEDY = Path(sys.executable).with_name("remedy")
START_SECONDS = 60.0
LOOK_SECONDS = 0.01
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_PORT = re.compile(r'"event_port": ?(\d+|null)')

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]


@dataclass(frozen=True)
class Server:
    """A running server. `began` is when its process was started, by `time.perf_counter`."""

    process: psutil.Popen
    port: int
    began: float

    @property
    def cpu_seconds(self) -> float:
        """Of all its threads, in user and system mode."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss) / 1e6

    @property
    def peak_megabytes(self) -> float:
        """The most resident memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        return int(_PEAK.findall(status)[0]) * 1024 / 1e6


@asynccontextmanager
async def acknowledge_floor(folder: Path) -> AsyncIterator[Server]:
    command = [sys.executable, str(BENCH / "floors.py")]
    async with _started(command, os.environ, folder / "floor.log") as server:
        yield server


@asynccontextmanager
async def loop_floor(folder: Path, sink: Sink) -> AsyncIterator[Server]:
    command = [sys.executable, str(BENCH / "floors.py"), sink.url]
    async with _started(command, os.environ, folder / "floor.log") as server:
        yield server


@asynccontextmanager
async def provider(
    journal: Path,
    sink: Sink,
    *,
    hold: bool = False,
    max_concurrent: int | None = None,
    actions: Path = PLAIN,
    policy: Path | None = None,
    finished_after: float = 0,
    transport: Mapping[str, str] | None = None,
    database: str = "",
    command: Sequence[str] = (str(REMEDY), "serve"),
) -> AsyncIterator[Server]:
    """`remedy serve` as in a pod: JSON log (to a file beside the journal), metrics, FULL journal.
    With `database` the journal is there, and `journal` only says where the log is.

    Leaving the context is a `kill -9`.
    """
    environ = _environ() | {
        "REMEDY_PORT": "0",
        "REMEDY_OPS_PORT": "0",
        "REMEDY_EVENT_URL": sink.url,
        "REMEDY_KEPTN_API": sink.url.removesuffix("/event"),
        **(transport or {}),
        "REMEDY_JOURNAL": database or str(journal),
        "REMEDY_ACTIONS_DIR": str(actions),
        "REMEDY_ACTIONS": "bench-noop",
        "REMEDY_LOG_FORMAT": "json",
        "REMEDY_FINISHED_AFTER_SECONDS": str(finished_after),
        "BENCH_NOOP_HOLD": str(hold).lower(),
    }
    if policy is not None:
        environ["REMEDY_POLICY"] = str(policy)
    if max_concurrent is not None:
        environ["REMEDY_MAX_CONCURRENT"] = str(max_concurrent)
    journal.parent.mkdir(parents=True, exist_ok=True)
    async with _started(command, environ, journal.with_suffix(".log")) as server:
        yield server


@asynccontextmanager
async def standalone(folder: Path, ops_port: int, intake_port: int) -> AsyncIterator[Server]:
    """`remedy serve --standalone` on the files of the folder. Leaving it is a `kill -9`."""
    environ = _environ() | {
        "REMEDY_OPS_PORT": str(ops_port),
        "REMEDY_INTAKE_PORT": str(intake_port),
        "REMEDY_SOURCES": str(folder / "sources.yaml"),
        "REMEDY_REMEDIATIONS": str(folder / "remediations"),
        "REMEDY_JOURNAL": str(folder / "journal.db"),
        "REMEDY_ACTIONS_DIR": str(PLAIN),
        "REMEDY_ACTIONS": "bench-noop",
        "REMEDY_LOG_FORMAT": "json",
    }
    command = [str(REMEDY), "serve", "--standalone"]
    async with _started(command, environ, folder / "server.log") as server:
        yield server


def _environ() -> dict[str, str]:
    """Ours without settings. Python keeps what it has compiled: the image has it compiled too."""
    left_out = "PYTHONDONTWRITEBYTECODE"
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("REMEDY_") and name != left_out
    }


@asynccontextmanager
async def _started(
    command: Sequence[str], environ: Mapping[str, str], log: Path
) -> AsyncIterator[Server]:
    began = time.perf_counter()
    process = _start(command, environ, log)
    try:
        yield Server(process, await _told_port(process, log), began)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _start(command: Sequence[str], environ: Mapping[str, str], log: Path) -> psutil.Popen:
    with log.open("wb") as output:
        process = psutil.Popen(command, env=dict(environ), stdout=output, stderr=output)
    process.cpu_affinity([SERVER_CORE])  # threads that it starts later inherit this
    return process


async def _told_port(process: psutil.Popen, log: Path) -> int:
    """The free port that the server took, from its first log line; 0 if it needs none."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            told = _read(log)
            if found := _PORT.search(told):
                return 0 if found[1] == "null" else int(found[1])
            if process.poll() is not None:
                raise RuntimeError(f"the server died:\n{told[-2000:]}")
            await asyncio.sleep(LOOK_SECONDS)


def _read(log: Path) -> str:
    return log.read_text("utf-8", "replace")
