"""How often one event changes modules on its way: `.venv/bin/python -m tests.tools.hops`.

A provider in local mode, in this process, handles a planned event. Each call of a function of
keptn_remedy is noted in the order of time; a coroutine or generator counts when it starts, not when
it is resumed. A hop is a call into another module than that of the call before. The journal, logs,
metrics and the clock are left out: every module uses them. Of several events the one with the
fewest hops counts, because the loops of the service add theirs to the others.

`--calls` prints every call instead of the list of hops. To measure another checkout, put its
`core` first: `PYTHONPATH=CHECKOUT/core .venv/bin/python tests/tools/hops.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import structlog
from aiohttp import ClientSession

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.service import running
from keptn_remedy.settings import Settings
from keptn_remedy.testing import registry_of, triggered

PACKAGE = "keptn_remedy."
# As they are named now, and as they were before `support` gathered three of them.
LEFT_OUT = tuple(
    PACKAGE + name
    for name in (
        *("journal", "testing"),
        *("logs", "metrics", "clock"),
        *("support.logs", "support.metrics", "support.clock"),
    )
)
STARTED_ONCE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
EVENTS = 20
PAUSE_SECONDS, LOOK_SECONDS, END_SECONDS = 0.1, 0.001, 10.0
OPEN = (
    "SELECT 1 FROM executions WHERE id = ?1 AND state <> 'finished'"
    " UNION ALL SELECT 1 FROM reports WHERE execution = ?1"
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of our functions; `caller` is the module that made it, if it is ours."""

    module: str
    function: str
    caller: str | None


class Noop(PlannedAction):
    """Plans one more replica of the service, and changes nothing."""

    name = "noop"
    Value = Any

    async def plan(self, context: Context, value: Any) -> Plan:
        trigger = context.trigger
        target = f"deployments.apps/{trigger.project}-{trigger.stage}/{trigger.service}"
        return Plan((Change(target, "replicas", 1, 2),))

    async def apply(self, context: Context, plan: Plan) -> None:
        pass

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.passed("nothing to do")

    async def undo(self, context: Context, plan: Plan) -> None:
        pass


class Calls:
    """Notes the calls of our functions, in all threads that start while it listens."""

    def __init__(self) -> None:
        self._noted: list[Call] | None = None
        self._started: dict[int, FrameType] = {}  # holding the frames keeps their ids unique

    @contextmanager
    def listen(self) -> Iterator[None]:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    @contextmanager
    def note(self) -> Iterator[list[Call]]:
        noted: list[Call] = []
        self._noted = noted
        try:
            yield noted
        finally:
            self._noted = None  # what has started stays: it may go on within the next event

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        noted = self._noted
        module = _our_module(frame)
        if noted is None or event != "call" or module is None:
            return
        if frame.f_code.co_flags & STARTED_ONCE:
            if id(frame) in self._started:
                return
            self._started[id(frame)] = frame
        noted.append(Call(module, frame.f_code.co_qualname, _our_module(frame.f_back)))


def _our_module(frame: FrameType | None) -> str | None:
    if frame is None:
        return None
    name: str = frame.f_globals.get("__name__", "")
    return name if name.startswith(PACKAGE) and not name.startswith(LEFT_OUT) else None


def hops(calls: list[Call]) -> Counter[tuple[str, str]]:
    """From which module to which, and how often."""
    return Counter(
        (before.module, after.module)
        for before, after in pairwise(calls)
        if before.module != after.module
    )


async def calls_of_one_event() -> list[Call]:
    """The calls that a planned event takes, from its arrival until its reports are sent."""
    calls = Calls()
    with calls.listen(), TemporaryDirectory(prefix="keptn-remedy-") as folder:
        journal = Path(folder) / "journal.db"
        config = Settings(journal=journal, transport="local", port=0, ops_port=0, log_level="error")
        async with running(config, registry_of(Noop)) as service, ClientSession() as session:
            url = f"http://127.0.0.1:{service.event_port}/"
            played = []
            for number in range(EVENTS):  # each in a project of its own, or a rail would refuse it
                trigger = triggered(Noop.name, {"by": 1}, project=f"project-{number}")
                played.append(await _play(calls, session, url, journal, trigger))
            await service.drain()
    return min(played, key=lambda each: hops(each).total())


async def _play(
    calls: Calls, session: ClientSession, url: str, journal: Path, trigger: dict[str, Any]
) -> list[Call]:
    headers = {"Content-Type": "application/cloudevents+json"}
    await asyncio.sleep(PAUSE_SECONDS)
    with (
        closing(sqlite3.connect(journal, isolation_level=None)) as connection,
        calls.note() as ours,
    ):
        async with session.post(url, json=trigger, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
        async with asyncio.timeout(END_SECONDS):
            while connection.execute(OPEN, (trigger["id"],)).fetchone():
                await asyncio.sleep(LOOK_SECONDS)
    return ours


def main() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # print the figures alone
    calls = asyncio.run(calls_of_one_event())
    found = hops(calls)
    direct = sum(call.caller not in (None, call.module) for call in calls)
    print(f"hops: {found.total()}")
    print(f"calls: {len(calls)}, of which {direct} directly from another module")
    if "--calls" in sys.argv:
        lines = [f"{_short(call.module)}: {call.function}" for call in calls]
    else:
        lines = [f"{_short(a)} → {_short(b)}: {n}" for (a, b), n in sorted(found.items())]
    print(*lines, sep="\n")


def _short(module: str) -> str:
    return module.removeprefix(PACKAGE)


if __name__ == "__main__":
    main()
