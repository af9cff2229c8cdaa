"""The real `remedy serve` as a process that tests kill, stop and start again."""

import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM, Signals
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import ClientConnectionError, ClientSession, ClientTimeout

from keptn_remedy.journal import open_read_only
from keptn_remedy.testing import FakeKeptn
from tests import warm_start
from tests.processes import die_with_parent
from tests.waiting import is_finished
from tests.warm_start import WarmProcess

REMEDY = Path(sys.executable).with_name("remedy")
DROP_IN = Path(__file__).parent / "drop_in"
START_SECONDS = 30.0
EXIT_SECONDS = 30.0
LOOK_SECONDS = 0.01
LOG_TAIL = 6000


async def eventually(
    condition: Callable[[], Any], what: str = "the condition", *, seconds: float = 20.0
) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        await asyncio.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Exit:
    """How a process ended, and how long that took from the call that waited for it."""

    code: int
    seconds: float


class ProviderProcess:
    """A provider with a journal and ports of its own, reporting to a FakeKeptn.

    An async context manager. Leaving it stops the process; an error gets the end of the log as a
    note. `settings` are those of the process, without `REMEDY_`; `environment` is what its actions
    want besides.
    """

    start_seconds = START_SECONDS
    # Whether the first start is that of the command `remedy`, too, which takes longer than a fork.
    starts_cold = True

    def __init__(
        self,
        folder: Path,
        keptn: FakeKeptn,
        environment: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        self.folder = folder
        self._output: int | None = None
        self.journal = folder / "journal.db"
        self.log = folder / "provider.log"
        self._traces = folder / "traces"
        self._keptn = keptn
        self._given = environment or {}
        self._settings = settings
        self._process: subprocess.Popen[bytes] | WarmProcess | None = None
        self._is_known = not self.starts_cold
        # Bound but not listening: the ports are ours while no process of ours listens.
        self._ports = [_reserved_port() for _ in range(2)]
        self.url, self.ops_url = (
            f"http://127.0.0.1:{port.getsockname()[1]}/" for port in self._ports
        )

    async def __aenter__(self) -> Self:
        self._make_folders()
        self._session = ClientSession(timeout=ClientTimeout(total=5))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        await self._session.close()
        for port in self._ports:
            port.close()
        if error is not None:
            error.add_note(f"the end of the provider's log:\n{self.log_tail()}")

    # Its life

    def write_to(self, descriptor: int) -> None:
        """Have the process write there instead of to the log."""
        self._output = descriptor

    def launch(self) -> None:
        """Start the process, on the ports of before: the first time as the command `remedy`, later
        by a fork that runs the same, which is quicker.
        """
        assert self._process is None
        environment = self._environment()
        with self.log.open("ab") as log:
            output = log.fileno() if self._output is None else self._output
            if self._is_known and warm_start.can_start(environment):
                self._process = warm_start.start(
                    "serve", cwd=self.folder, env=environment, output=output, errors=output
                )
            else:
                self._process = subprocess.Popen(
                    [str(REMEDY), "serve"],
                    cwd=self.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that locks
                )
        self._is_known = True

    async def ready(self) -> None:
        """Wait until `/readyz` says so."""
        await self._started(lambda status: status == 200, "ready")

    async def answers(self) -> None:
        """Wait until `/readyz` answers, whatever it says."""
        await self._started(lambda status: status is not None, "there")

    async def _started(self, condition: Callable[[int | None], bool], what: str) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not condition(await self.readiness()):
            if self._running.poll() is not None:
                raise AssertionError(f"the provider ended with {self._running.returncode}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the provider was not {what} within {self.start_seconds} s")
            await asyncio.sleep(LOOK_SECONDS)

    async def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.launch()
        await self.ready()

    def kill(self) -> None:
        """`kill -9`, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send(self, number: Signals) -> None:
        self._running.send_signal(number)

    def heeds(self, number: Signals) -> bool:
        """Whether it does with the signal anything but end."""
        status = Path(f"/proc/{self._running.pid}/status").read_text()
        masks = dict(line.split(":", 1) for line in status.splitlines())
        return any(int(masks[name], 16) >> (number - 1) & 1 for name in ("SigIgn", "SigCgt"))

    async def heard(self, number: Signals) -> None:
        """Wait until a signal that was sent is no longer pending."""
        status = Path(f"/proc/{self._running.pid}/status")

        def is_heard() -> bool:
            masks = dict(line.split(":", 1) for line in status.read_text().splitlines())
            pending = int(masks["SigPnd"], 16) | int(masks["ShdPnd"], 16)
            return not pending >> (number - 1) & 1

        await eventually(is_heard, f"{number.name} heard")

    async def exited(self, *, within: float = EXIT_SECONDS) -> Exit:
        """Wait until the process has ended by itself."""
        began = time.monotonic()
        process = self._running
        await eventually(lambda: process.poll() is not None, "the exit", seconds=within)
        self._process = None
        return Exit(process.wait(), time.monotonic() - began)

    async def stop(self, number: Signals = SIGTERM) -> Exit:
        """Ask it to leave, and wait until it has."""
        self.send(number)
        return await self.exited()

    # What it shows

    async def readiness(self) -> int | None:
        """The status of `/readyz`; None while nobody answers."""
        try:
            async with self._session.get(f"{self.ops_url}readyz") as answer:
                return answer.status
        except (ClientConnectionError, TimeoutError):
            return None

    def rows(self, sql: str, *bound: object) -> list[tuple[Any, ...]]:
        """What a query finds in the journal; nothing before there is one."""
        if not self.journal.exists():
            return []
        uri = f"{self.journal.as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return []
            return connection.execute(sql, bound).fetchall()

    def state(self, execution: str) -> str | None:
        """The state of an execution in the journal."""
        found = self.rows("SELECT state FROM executions WHERE id = ?", execution)
        return found[0][0] if found else None

    async def has_finished(self, execution: str) -> None:
        """Wait until the journal reports that change."""
        journal = open_read_only(self.journal)
        try:
            await is_finished(journal, execution)
        finally:
            await journal.close()

    def unsent(self) -> list[dict[str, Any]]:
        """The reports that the journal holds as unsent."""
        found = self.rows("SELECT event FROM reports WHERE state = 'unsent' ORDER BY seq")
        return [orjson.loads(event) for (event,) in found]

    def is_quiet(self) -> bool:
        """Whether nothing is open: each execution finished, each report sent."""
        return not self.rows(
            "SELECT 1 FROM executions WHERE state <> 'finished' UNION ALL SELECT 1 FROM reports"
        )

    async def quiet(self, *, seconds: float = 60.0) -> None:
        await eventually(self.is_quiet, "an empty journal", seconds=seconds)

    def is_intact(self) -> bool:
        """What SQLite itself says of the file."""
        return self.rows("PRAGMA integrity_check") == [("ok",)]

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_TAIL:] if self.log.exists() else ""

    # The drop-in actions

    def shut(self, gate: str) -> None:
        """Make the actions wait at this gate."""
        (self._traces / "shut" / gate).touch()

    def open(self, gate: str) -> None:
        """Let them pass."""
        (self._traces / "shut" / gate).unlink()

    def is_shut(self, gate: str) -> bool:
        return (self._traces / "shut" / gate).exists()

    def traces(self, step: str, execution: str) -> list[str]:
        """What an execution's action left at each run of a step."""
        path = self._traces / step / execution
        return path.read_text().splitlines() if path.exists() else []

    def effect(self, name: str) -> str | None:
        """The content of the file that an action wrote."""
        path = self._traces / "effects" / name
        return path.read_text() if path.exists() else None

    async def runs(self, execution: str) -> None:
        """Wait until its action has begun."""
        await eventually(lambda: self.traces("ran", execution), f"{execution} running")

    def _make_folders(self) -> None:
        for name in ("shut", "effects"):
            (self._traces / name).mkdir(parents=True)
        shutil.copytree(DROP_IN, self.folder / "actions", ignore=shutil.ignore_patterns("__*"))

    def _environment(self) -> dict[str, str]:
        host, port = "127.0.0.1", [str(port.getsockname()[1]) for port in self._ports]
        given = {f"REMEDY_{name.upper()}": str(value) for name, value in self._settings.items()}
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "REMEDY_HOST": host,
            "REMEDY_PORT": port[0],
            "REMEDY_OPS_HOST": host,
            "REMEDY_OPS_PORT": port[1],
            "REMEDY_JOURNAL": str(self.journal),
            **self._keptn.environment,
            "REMEDY_FINISHED_AFTER_SECONDS": "0",
            "REMEDY_ACTIONS_DIR": str(self.folder / "actions"),
            "CRASH_FOLDER": str(self._traces),
            **self._given,
            **given,
        }

    @property
    def _running(self) -> subprocess.Popen[bytes] | WarmProcess:
        assert self._process is not None, "the provider was not started"
        return self._process


def _reserved_port() -> socket.socket:
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind(("127.0.0.1", 0))
    return port
