"""Runs an action by the real runner, or step by step to look between the steps."""

import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import orjson
import structlog
from pydantic import TypeAdapter
from structlog.testing import CapturingLogger

from keptn_remedy import Context, Outcome, Plan, PlannedAction
from keptn_remedy.events import stored_trigger
from keptn_remedy.testing import run_action, triggered


@dataclass
class InMemory:
    values: dict[str, Any] = field(default_factory=dict)

    async def get(self, key: str) -> Any:
        return self.values.get(key)

    async def put(self, key: str, value: Any) -> None:
        self.values[key] = value


@dataclass
class Driven:
    """One action for one trigger."""

    action: PlannedAction
    event: dict[str, Any]
    context: Context
    logged: CapturingLogger

    async def plan(self, value: Any) -> Plan:
        read: Any = TypeAdapter(self.action.Value).validate_python(value)
        plan = await cast("Awaitable[Plan]", self.action.plan(self.context, read))
        return Plan.from_json(plan.to_json())  # as the journal returns it

    async def apply(self, plan: Plan) -> None:
        await cast("Awaitable[None]", self.action.apply(self.context, plan))

    async def verify(self, plan: Plan) -> Outcome:
        return await cast("Awaitable[Outcome]", self.action.verify(self.context, plan))

    async def undo(self, plan: Plan) -> str:
        """The message that the runner would report."""
        undone = cast("Awaitable[str | None]", self.action.undo(self.context, plan))
        return await undone or "undone"

    async def run(self, value: Any, *, dry_run: bool = False) -> Outcome:
        """The whole action, by the real runner."""
        return await run_action(
            type(self.action),
            settings=self.action.settings,
            event=self.event | {"data": self._data_with(value)},
            dry_run=dry_run,
        )

    async def refusal(self, value: Any) -> str:
        """The message of a run that is errored."""
        outcome = await self.run(value)
        assert outcome.status == "errored"
        return outcome.message

    def _data_with(self, value: Any) -> Any:
        data = self.event["data"]
        return data | {"action": data["action"] | {"value": value}}


@asynccontextmanager
async def driven(
    action: PlannedAction, *, stage: str = "production", seconds: float = 60
) -> AsyncIterator[Driven]:
    logged = CapturingLogger()
    event = triggered(action.name, stage=stage)
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        context = Context(
            trigger=stored_trigger(orjson.dumps(event)),
            attempt=1,
            deadline=time.time() + seconds,
            dry_run=False,
            http=http,
            memory=InMemory(),
            make_log=lambda: structlog.wrap_logger(logged, processors=[lambda *_: _[-1]]),
        )
        yield Driven(action, event, context, logged)
