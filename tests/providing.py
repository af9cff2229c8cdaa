"""A provider in this process, on ports of its own, with actions that tests can steer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import ClientSession

from keptn_remedy import Action, Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.action import AnyAction
from keptn_remedy.registry import Registry
from keptn_remedy.service import Service, running
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import FakeKeptn, registry_of
from tests.waiting import until


def settings(journal: Path | str, keptn: FakeKeptn | None = None, **others: Any) -> Settings:
    """Settings of a provider with free ports, telling `keptn`, or nobody; it holds nothing back."""
    where = _found(keptn, "REMEDY_") if keptn else {"transport": "local"}
    at_once = {"port": 0, "ops_port": 0, "finished_after_seconds": 0}
    return Settings(**{"journal": journal, **at_once, **where, **others})


def _found(keptn: FakeKeptn, prefix: str) -> dict[str, Any]:
    """The settings with this prefix that lead to it."""
    named = {k: v for k, v in keptn.environment.items() if k.startswith(prefix)}
    return {name.removeprefix(prefix).lower(): value for name, value in named.items()}


@asynccontextmanager
async def provider(
    journal: Path | str,
    keptn: FakeKeptn | None,
    *actions: type[AnyAction],
    registry: Registry | None = None,
    clock: Clock | None = None,
    **others: Any,
) -> AsyncIterator[Service]:
    """A provider with these actions, or those of a registry; it is drained before the context is
    left.
    """
    config = settings(journal, keptn, **others)
    own = KeptnSettings.model_validate(_found(keptn, "") if keptn else {})
    known = registry or registry_of(*actions)
    async with running(config, known, keptn=own, clock=clock) as service:
        await until(lambda: not service.readiness.starting)
        yield service
        await service.drain()


def event_url(service: Service) -> str:
    return f"http://127.0.0.1:{service.event_port}/"


def ops_url(service: Service, path: str) -> str:
    return f"http://127.0.0.1:{service.ops_port}{path}"


async def get_json(url: str) -> Any:
    """The JSON of a page, whatever its status."""
    async with ClientSession() as session, session.get(url) as answer:
        return await answer.json(content_type=None)


async def get_text(url: str) -> str:
    """The text of a page, whatever its status."""
    async with ClientSession() as session, session.get(url) as answer:
        return await answer.text()


class Greet(Action):
    """Passes, and remembers whom it greeted."""

    name = "greet"
    aliases = ("say-hello",)
    Value = dict[str, Any]
    greeted: ClassVar[list[str]] = []

    async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
        self.greeted.append(context.trigger.id)
        return Outcome.passed(f"hello {value.get('name', 'world')}", greeted=value)


class Gate:
    """Holds actions until it is opened, and knows how many wait."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.most_at_once = 0
        self._inside = 0
        self._open = asyncio.Event()
        self._changed = asyncio.Condition()

    def open(self) -> None:
        self._open.set()

    async def passage(self, name: str) -> None:
        self.entered.append(name)
        self._inside += 1
        self.most_at_once = max(self.most_at_once, self._inside)
        async with self._changed:
            self._changed.notify_all()
        try:
            await self._open.wait()
        finally:
            self._inside -= 1

    async def until_entered(self, count: int) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.entered) >= count)


def gated(gate: Gate, **attributes: Any) -> type[Action]:
    """An action that waits at the gate."""

    class Wait(Action):
        name = "wait"

        async def run(self, context: Context, value: Any) -> Outcome:
            await gate.passage(context.trigger.id)
            return Outcome.passed("waited")

    for name, value in attributes.items():
        setattr(Wait, name, value)
    return Wait


class Dial(PlannedAction):
    """Sets a number in `state`, as a planned action sets something in the world."""

    name = "dial"
    Value = int
    state: ClassVar[dict[str, int]] = {}
    log: ClassVar[list[str]] = []

    async def plan(self, context: Context, value: int) -> Plan:
        self.log.append("plan")
        return Plan((Change("dial", "number", self.state.get("dial", 0), value),))

    async def apply(self, context: Context, plan: Plan) -> None:
        self.log.append("apply")
        self.state["dial"] = plan.changes[0].after

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        self.log.append("verify")
        return Outcome.passed(f"dial at {self.state['dial']}")

    async def undo(self, context: Context, plan: Plan) -> None:
        self.log.append("undo")
        self.state["dial"] = plan.changes[0].before
