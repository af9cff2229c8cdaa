"""What agents may do: ask why, plan, ask for an execution or an undo, and follow it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from keptn_remedy.action import Plan
from keptn_remedy.engine.preview import Preview, Previewed
from keptn_remedy.events import (
    ActionTriggered,
    Unusable,
    requested_trigger,
)
from keptn_remedy.guardrails.objections import ApprovalNeeded, DryRun, Objection
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.journal import Criteria, Journal, Record, WholeRecord
from keptn_remedy.ops import models
from keptn_remedy.ops.agents import arguments
from keptn_remedy.ops.agents.waiting_requests import WaitingRequests
from keptn_remedy.ops.asked_undos import MOST_WAITING, AskedUndos
from keptn_remedy.ops.digests import digest_of_essence
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask

SOURCE: Final = "keptn-remedy/agents"
MOST_ASKING: Final = 20
"""So many requests may wait for a person at a time."""
LATEST: Final = 5
_SHOWN: Final = (
    "id",
    "state",
    "action",
    "project",
    "stage",
    "service",
    "waiting",
    "question",
    "plan",
    "notes",
    "result",
    "message",
    "details",
    "undo",
    "aborted",
)

JsonObject = dict[str, Any]


class Refused(Exception):
    """The tool did nothing; the message says why, and what to do instead."""


class TakesRequests(Protocol):
    """Takes a trigger that somebody asked for here, and says why not where it doesn't."""

    async def request(self, trigger: ActionTriggered) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The five tools. What they return is a JSON object without secrets.

    `tell` tells people, durably, and returns the channels it went to. Each tool raises Refused, and
    JournalError where the journal can't be used.
    """

    journal: Journal
    pauses: Pauses
    preview: Preview
    intake: TakesRequests
    tell: Callable[[WholeRecord, str], Awaitable[list[str]]]
    waiting: WaitingRequests
    asked_undos: AskedUndos
    clock: Clock
    mask: Mask

    async def explain(self, given: arguments.PlanArguments) -> JsonObject:
        """What holds for an action on a service now, and what came of it lately."""
        previewed = await self._previewed(_trigger(given, self.clock))
        alike = Criteria(
            project=given.project,
            stage=given.stage,
            service=given.service,
            action=previewed.action,
        )
        latest = await self.journal.search(alike, limit=LATEST)
        pause = self.pauses.current
        return self._masked(
            {
                "pause": {"by": pause.by, "reason": pause.reason} if pause else None,
                "now": _now(previewed),
                "latest": [_short(record) for record in latest],
            }
        )

    async def plan(self, given: arguments.PlanArguments) -> JsonObject:
        """What the action would change now, from what to what, and what the rules say of it."""
        previewed = await self._previewed(_trigger(given, self.clock))
        if previewed.failure:
            raise Refused(f"there is no plan: {previewed.failure.message}")
        planned = previewed.plan
        return self._masked(
            {
                "action": previewed.action,
                "changes": _changes(planned),
                "notes": list(planned.notes) if planned else [],
                "digest": digest_of_essence(previewed.essence),
                "now": _now(previewed),
            }
        )

    async def request(self, given: arguments.RequestArguments) -> JsonObject:
        """Ask for an execution. It waits until a person approves its plan."""
        trigger = _trigger(given, self.clock, reason=given.reason)
        previewed = await self._previewed(trigger)
        if previewed.failure:
            raise Refused(f"there is no plan: {previewed.failure.message}")
        if digest_of_essence(previewed.essence) != given.digest:
            raise Refused("the plan is another one by now: plan again, and send its digest")
        said = previewed.objection
        if said and not isinstance(said, ApprovalNeeded):
            raise Refused(f"{_verdict(said)}: {_why(said)}")
        async with self.waiting.lock:
            if await self.waiting.count() >= MOST_ASKING:
                raise Refused(f"{MOST_ASKING} requests wait for a person; ask again later")
            if why_not := await self.intake.request(trigger):
                raise Refused(why_not)
            self.waiting.note(trigger.id)
        logs.logger().info(
            "an agent asks for an execution",
            **logs.execution_fields(trigger, previewed.action),
            reason=self.mask.text(given.reason),
        )
        return {"execution": trigger.id, "waits_for": "a person who approves it"}

    async def status(self, given: arguments.OfAnExecution) -> JsonObject:
        """How an execution stands."""
        record = await self._record(given.execution)
        denied = await self.asked_undos.denied(record.id)
        said = {"by": denied.by, "reason": denied.reason} if denied else None
        return {**self._shown(record), "undo_denied": self.mask.value(said)}

    async def ask_undo(self, given: arguments.UndoArguments) -> JsonObject:
        """Ask people to undo an execution. Nothing is undone before one of them orders it."""
        record = await self._record(given.execution)
        if record.state == "accepted" or record.finished_at is None:
            raise Refused("it has not ended: there is nothing to undo yet")
        if record.plan is None or not record.plan.changes or record.undone == "done":
            raise Refused("it changed nothing that could be undone, or it is undone already")
        reason = self.mask.text(given.reason)
        if not await self.asked_undos.ask(record.id, reason):
            raise Refused(f"{MOST_WAITING} undos wait for a person; ask again later")
        channels = await self.tell(record, reason)
        logs.logger().warning(
            "an agent asks for an undo",
            execution=record.id,
            action=record.action,
            reason=reason,
            how=f"remedy undo {record.id}",
        )
        told = "; ".join(
            ["it waits in the inbox", *([f"told on: {', '.join(channels)}"] if channels else [])]
        )
        return {"execution": record.id, "waits_for": "a person who orders the undo", "people": told}

    async def _previewed(self, trigger: ActionTriggered) -> Previewed:
        try:
            return await self.preview.of(trigger)
        except LookupError as error:
            raise Refused(str(error)) from None

    async def _record(self, execution_id: str) -> WholeRecord:
        record = await self.journal.record(execution_id)
        if record is None:
            raise Refused("there is no such execution")
        return record

    def _shown(self, record: WholeRecord) -> JsonObject:
        shown = models.ExecutionDetail.of(record).model_dump(mode="json")
        question = shown["question"]
        if question:
            plan = record.question.plan if record.question else None
            question["digest"] = digest_of_essence(self.preview.essence(record.action, plan))
        return self._masked({name: shown[name] for name in _SHOWN})

    def _masked(self, answer: JsonObject) -> JsonObject:
        masked: JsonObject = self.mask.value(answer)
        return masked


def _trigger(
    given: arguments.PlanArguments, clock: Clock, reason: str | None = None
) -> ActionTriggered:
    data: JsonObject = {
        "project": given.project,
        "stage": given.stage,
        "service": given.service,
        "action": {"action": given.action, "value": given.value},
    }
    if reason:
        data["request"] = {"by": "an agent", "reason": reason}
    try:
        return requested_trigger(data, SOURCE, clock.utc().isoformat())
    except Unusable as error:
        raise Refused(str(error)) from None


def _now(previewed: Previewed) -> JsonObject:
    """What would happen to a request now, and why."""
    if previewed.failure:
        return {"verdict": "fails", "why": previewed.failure.message}
    said = previewed.objection
    if said is None:
        return {"verdict": "changes nothing", "why": "it is already so"}
    return {"verdict": _verdict(said), "why": _why(said)}


def _verdict(said: Objection) -> str:
    match said:
        case ApprovalNeeded():
            return "asks"
        case DryRun():
            return "dry-run"
        case _:
            return "refused"


def _why(said: Objection) -> str:
    match said:
        case ApprovalNeeded():
            return "a person must approve it"
        case DryRun(rule, refusal):
            return f"{rule} lets it plan only" + (f"; it would be {refusal}" if refusal else "")
        case _:
            return f"{said}"


def _changes(planned: Plan | None) -> list[Mapping[str, Any]] | None:
    if planned is None:
        return None
    return [
        {"target": each.target, "field": each.field, "from": each.before, "to": each.after}
        for each in planned.changes
    ]


def _short(record: Record) -> JsonObject:
    return {
        "execution": record.id,
        "state": record.state,
        "result": record.result,
        "message": record.message,
        "at": record.accepted_at.isoformat(),
    }
