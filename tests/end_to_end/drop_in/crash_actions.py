"""Actions for the crash tests: each leaves a trace of every run, and waits where a test wants it.

The trace of a step is `<folder>/<step>/<execution>`, one line a time. A gate is shut while there is
a file `<folder>/shut/<gate>`.
"""

import asyncio
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

from pydantic import BaseModel

from keptn_remedy import Action, ActionSettings, Change, Context, Outcome, Plan, PlannedAction

LOOK_SECONDS = 0.01


class CrashSettings(ActionSettings):
    folder: Path


class Work(BaseModel):
    """How long to work, and at which gates to wait."""

    seconds: float = 0.0
    gate: str = ""
    plan_gate: str = ""
    counter: str = ""


class _Traced:
    env_prefix: ClassVar[str | None] = "CRASH_"
    Settings: ClassVar[Any] = CrashSettings
    Value: ClassVar[Any] = Work

    settings: CrashSettings

    def trace(self, step: str, execution: str, text: str = "") -> None:
        path = self.settings.folder / step / execution
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as lines:
            lines.write(f"{text}\n")

    async def work(self, value: Work) -> None:
        await asyncio.sleep(value.seconds)
        await self.wait_at(value.gate)

    async def wait_at(self, gate: str) -> None:
        while gate and self.is_shut(gate):  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(LOOK_SECONDS)

    def is_shut(self, gate: str) -> bool:
        return (self.settings.folder / "shut" / gate).exists()


class SetFile(_Traced, PlannedAction):
    """Writes what its plan says into a file of its own; each plan says something else."""

    name = "set-file"

    async def plan(self, context: Context, value: Work) -> Plan:
        change = Change(context.trigger.id, "content", None, str(uuid4()))
        return Plan((change,), memo=value.model_dump())

    async def apply(self, context: Context, plan: Plan) -> None:
        change = plan.changes[0]
        self.trace("ran", context.trigger.id, change.after)
        await self.work(Work(**plan.memo))
        self._effect(plan).write_text(change.after)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        if self._effect(plan).read_text() == plan.changes[0].after:
            return Outcome.passed("written")
        return Outcome.failed("somebody else wrote")

    async def undo(self, context: Context, plan: Plan) -> None:
        self._effect(plan).unlink()

    def _effect(self, plan: Plan) -> Path:
        return self.settings.folder / "effects" / plan.changes[0].target


class CountUp(_Traced, PlannedAction):
    """Adds one to a counter that executions of all services share."""

    name = "count-up"

    async def plan(self, context: Context, value: Work) -> Plan:
        before = self._read(value.counter)
        self.trace("planned", context.trigger.id, str(before))
        await self.wait_at(value.plan_gate)
        change = Change(value.counter, "value", before, before + 1)
        return Plan((change,), memo=value.model_dump())

    async def apply(self, context: Context, plan: Plan) -> None:
        change = plan.changes[0]
        self.trace("ran", context.trigger.id, str(change.after))
        await self.work(Work(**plan.memo))
        self._write(change.target, change.after)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.passed(f"counted to {plan.changes[0].after}")

    async def undo(self, context: Context, plan: Plan) -> None:
        self._write(plan.changes[0].target, plan.changes[0].before)

    def _read(self, counter: str) -> int:
        path = self.settings.folder / "effects" / counter
        return int(path.read_text()) if path.exists() else 0

    def _write(self, counter: str, value: int) -> None:
        (self.settings.folder / "effects" / counter).write_text(str(value))


class RunOften(_Traced, Action):
    """Harmless to repeat."""

    name = "run-often"

    async def run(self, context: Context, value: Work) -> Outcome:
        self.trace("ran", context.trigger.id)
        await self.work(value)
        return Outcome.passed("ran")


class RunOnce(RunOften):
    """Must never be repeated."""

    name = "run-once"
    idempotent = False


class Stubborn(_Traced, Action):
    """Does not let itself be cancelled."""

    name = "stubborn"

    async def run(self, context: Context, value: Work) -> Outcome:
        self.trace("ran", context.trigger.id)
        while self.is_shut(value.gate):
            with suppress(asyncio.CancelledError):
                await self.work(value)
        return Outcome.passed("got its way")


class StuckThread(_Traced, Action):
    """Blocks a thread, which nobody can cancel."""

    name = "stuck-thread"

    async def run(self, context: Context, value: Work) -> Outcome:
        self.trace("ran", context.trigger.id)
        await asyncio.to_thread(self._block, value.gate)
        return Outcome.passed("came loose")

    def _block(self, gate: str) -> None:
        pause = threading.Event()
        while self.is_shut(gate):
            pause.wait(LOOK_SECONDS)


class Exit(_Traced, Action):
    """Calls sys.exit in a task of its own, which asyncio would let end the process."""

    name = "exit"

    async def run(self, context: Context, value: Work) -> Outcome:
        self.trace("ran", context.trigger.id)
        await asyncio.gather(self._exit(), self.work(value))
        return Outcome.passed("never")

    async def _exit(self) -> None:
        sys.exit(4)


class BlockLoop(_Traced, Action):
    """Keeps the event loop busy."""

    name = "block-loop"

    async def run(self, context: Context, value: Work) -> Outcome:
        self.trace("ran", context.trigger.id)
        while self.is_shut(value.gate):
            pass
        return Outcome.passed("done")
