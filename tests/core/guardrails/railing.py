"""A provider with a policy and knobs to turn, and what it reports when a guard-rail refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.action import AnyAction
from keptn_remedy.journal import Execution
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import MovedClock
from tests.log_lines import Line, LogLines, captured_logs
from tests.providing import Gate, Greet, event_url, get_json, ops_url, provider
from tests.waiting import until


class Turn(BaseModel):
    """Which knobs to turn, and where to; by default one further."""

    knobs: list[str] = ["a"]
    to: int | None = None
    what: str = "number"
    in_vain: bool = False


@dataclass
class Knobs:
    """What the action changes. It stops at the gate while that is shut, with the knob turned."""

    numbers: dict[str, int] = field(default_factory=dict[str, int])
    steps: list[str] = field(default_factory=list[str])
    gate: Gate = field(default_factory=Gate)

    def __post_init__(self) -> None:
        self.gate.open()

    def shut(self) -> Gate:
        self.gate = Gate()
        return self.gate


def turning(knobs: Knobs, called: str = "turn") -> type[PlannedAction]:
    """An action that turns these knobs."""

    class TurnKnobs(PlannedAction):
        name = called
        Value = Turn
        timeout = deadline = 10 * 86_400.0  # tests move the time while it runs

        async def plan(self, context: Context, value: Turn) -> Plan:
            knobs.steps.append("plan")
            turns = [(knob, knobs.numbers.get(knob, 1)) for knob in value.knobs]
            changes = tuple(
                Change(knob, value.what, now, now + 1 if value.to is None else value.to)
                for knob, now in turns
                if now != value.to
            )
            return Plan(changes, memo={"in_vain": value.in_vain})

        async def apply(self, context: Context, plan: Plan) -> None:
            knobs.steps.append("apply")
            knobs.numbers |= {change.target: change.after for change in plan.changes}
            await knobs.gate.passage(context.trigger.id)

        async def verify(self, context: Context, plan: Plan) -> Outcome:
            return Outcome.failed("in vain") if plan.memo["in_vain"] else Outcome.passed("turned")

        async def undo(self, context: Context, plan: Plan) -> None:
            knobs.steps.append("undo")
            knobs.numbers |= {change.target: change.before for change in plan.changes}

    return TurnKnobs


@dataclass(frozen=True)
class Ask:
    """An execution to ask for."""

    knobs: tuple[str, ...] = ("a",)
    to: int | None = None
    what: str = "number"
    in_vain: bool = False
    action: str = "turn"
    project: str = "sockshop"
    stage: str = "production"
    service: str = "carts"
    context: str | None = None
    labels: dict[str, str] = field(default_factory=dict[str, str])

    def event(self) -> dict[str, Any]:
        value = {"knobs": self.knobs, "to": self.to, "what": self.what, "in_vain": self.in_vain}
        scope = {"project": self.project, "stage": self.stage, "service": self.service}
        event = triggered(self.action, value, labels=self.labels, **scope)
        return {**event, "shkeptncontext": self.context or str(uuid4())}


ONE = Ask()


@dataclass(frozen=True)
class Ended:
    """An execution as Keptn, the log and the API show it."""

    id: str
    status: str
    result: str
    message: str
    told: dict[str, Any]
    line: Line
    detail: dict[str, Any]

    @property
    def details(self) -> dict[str, Any]:
        details: dict[str, Any] = self.detail["details"]
        return details


class Rig:
    """What stays when the provider is restarted: journal, policy, time, knobs, log and Keptn."""

    def __init__(self, folder: Path, keptn: FakeKeptn, log: LogLines) -> None:
        self.folder = folder
        self.journal = folder / "journal.db"
        self.policy = folder / "policy.yaml"
        self.keptn = keptn
        self.log = log
        self.clock = MovedClock()
        self._began = time.monotonic()
        self.knobs = Knobs()
        self._serving: Service | None = None

    @property
    def service(self) -> Service:
        assert self._serving, "nothing serves"
        return self._serving

    def write(self, *rules: str) -> None:
        """The policy: each rule's settings, as YAML in one line."""
        names = ("the rule", "another rule", "a third rule")
        lines = [f"- {{name: {n}, {rule}}}" for n, rule in zip(names, rules, strict=False)]
        self.policy.write_text("\n".join(["version: 1", "rules:" if rules else "", *lines]))

    @asynccontextmanager
    async def serving(self, **others: Any) -> AsyncIterator[Service]:
        """A provider; leaving it drains it."""
        kinds: list[type[AnyAction]] = [turning(self.knobs), turning(self.knobs, "push"), Greet]
        policy = {"policy": self.policy} if self.policy.exists() else {}
        given = {"clock": self.clock, **policy, **others}
        async with provider(self.journal, self.keptn, *kinds, **given) as self._serving:
            yield self._serving

    async def deliver(self, ask: Ask = ONE) -> str:
        """Ask for an execution."""
        event = ask.event()
        answer = await self.keptn.deliver(event, to=event_url(self.service))
        assert answer.status == 202, answer.body
        return str(event["id"])

    async def ended(self, execution_id: str) -> Ended:
        """How it ends."""
        await self.keptn.task_finished(execution_id, timeout=20)
        await until(lambda: bool(self._lines(execution_id)))
        (finished,) = self.keptn.finished(execution_id)
        detail = await self.detail(execution_id)
        data = finished.data
        (line,) = self._lines(execution_id)
        told = data["remedy"]
        return Ended(
            execution_id, data["status"], data["result"], data["message"], told, line, detail
        )

    async def detail(self, execution_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await get_json(
            ops_url(self.service, f"/api/executions/{execution_id}")
        )
        return found

    async def ask(self, ask: Ask = ONE) -> Ended:
        return await self.ended(await self.deliver(ask))

    async def acts(self, *asks: Ask) -> None:
        """Each is carried out."""
        for ask in asks:
            ended = await self.ask(ask)
            expected = "hello" if ask.action == "greet" else "turned"
            assert ended.message.startswith("in vain" if ask.in_vain else expected), ended.message

    async def refused(self, ask: Ask, rail: str, rule: str, **numbers: Any) -> Ended:
        """It is refused and changes nothing; message, log, event and API say by what and why."""
        before = dict(self.knobs.numbers)
        counted = self.refusals(rail, rule, ask.action)
        ended = await self.ask(ask)
        self.is_told(ended, rail, rule, **numbers)
        assert self.knobs.numbers == before
        assert self.refusals(rail, rule, ask.action) == counted + 1
        return ended

    def is_told(self, ended: Ended, rail: str, rule: str, **numbers: Any) -> None:
        """In the message, the log, the event's details and the API."""
        named = f"refused by guard-rail {rail} ({rule}): "
        assert ended.message.startswith(named), ended.message
        assert ended.line["outcome"] == ended.detail["message"] == ended.message
        expected = {"rail": rail, "rule": rule} | numbers
        assert ended.details.keys() == expected.keys()
        for name, text in ended.details.items():
            assert self._is(text, expected[name]), (name, text, expected[name])
        assert ended.told.items() >= ended.details.items()

    def _is(self, text: str, expected: Any) -> bool:
        """Whether it is that; seconds differ by no more than the real time that has passed."""
        if "." in text and text.replace(".", "", 1).isdecimal():
            passed = time.monotonic() - self._began
            return abs(float(text) - float(expected)) <= passed + 0.5
        return text == str(expected)

    def refusals(self, rail: str, rule: str, action: str = "turn") -> float:
        labels = {"rail": rail, "rule": rule, "action": action}
        registry = self.service.engine.runtime.metrics.registry
        return registry.get_sample_value("remedy_refusals_total", labels) or 0.0

    async def asking(self, ask: Ask = ONE) -> str:
        """An execution that waits for a person."""
        execution_id = await self.deliver(ask)
        await until(lambda: self.is_asking(execution_id))
        return execution_id

    async def is_asking(self, execution_id: str) -> bool:
        questions: list[Execution] = await self.service.journal.questions(10)
        return execution_id in [execution.id for execution in questions]

    async def answer(self, execution_id: str, verdict: Any, reason: str | None = None) -> None:
        """What the command line and the operator API do."""
        refused = await self.service.journal.answer(execution_id, verdict, "ann", reason)
        assert refused is None
        self.service.engine.look()

    async def pause(self, reason: str = "release freeze") -> None:
        await self.service.journal.pause("ann", reason)
        self.service.engine.look()
        await until(self.is_paused)

    def is_paused(self) -> bool:
        return self.service.pauses.current is not None

    async def resume(self) -> None:
        await self.service.journal.resume()
        self.service.engine.look()
        await until(lambda: not self.is_paused())

    def _lines(self, execution_id: str) -> list[Line]:
        lines = self.log.saying("execution finished")
        return [line for line in lines if line["execution"] == execution_id]


@asynccontextmanager
async def rigged(folder: Path) -> AsyncIterator[Rig]:
    with captured_logs() as log:
        async with FakeKeptn() as keptn, asyncio.timeout(100):
            yield Rig(folder, keptn, log)
