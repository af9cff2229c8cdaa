"""What carrying out an execution takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar, cast, get_args

from aiohttp import ClientSession

from keptn_remedy.action import (
    JSON,
    Denied,
    Outcome,
    PermanentError,
    Result,
    Status,
    TemporaryError,
)
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.events import ActionTriggered, as_text
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Journal, insist
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Who and what an execution calls upon.

    `value_of` finds the value of a trigger elsewhere than in its event, where that is wanted.
    """

    journal: Journal
    http: ClientSession
    metrics: Metrics
    clock: Clock
    mask: Mask
    targets: TargetLocks
    guard: Guard
    rests: WaitingRoom
    overdue: Overdue
    dry_run: bool = False
    value_of: Callable[[ActionTriggered], Awaitable[JSON]] | None = None

    def presentable(self, returned: object) -> Outcome:
        """What an author returned, in one line, as text, without secrets, in Keptn's vocabulary."""
        try:
            outcome = _checked(returned)
            message = self.mask.text(" ".join(outcome.message.split()))
            return replace(
                outcome, message=message, details=self.mask.value(as_text(outcome.details))
            )
        except Exception as error:  # noqa: BLE001  whatever was returned, Keptn must be told
            return Outcome.errored(self.mask.text(f"unusable outcome: {text_of(error)}"))

    async def insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """What must be stored is delayed by a journal that fails, and not lost."""
        return await insist(write, self.clock.sleep)


def _checked(returned: object) -> Outcome:
    if not isinstance(returned, Outcome):
        raise TypeError(f"the action returned {type(returned).__name__} instead of an Outcome")
    if returned.status not in get_args(Status) or returned.result not in get_args(Result):
        raise ValueError(f"Keptn knows no outcome {returned.status}/{returned.result}")
    if not isinstance(cast("object", returned.message), str):
        raise TypeError("the message is no text")
    return returned


def text_of(error: BaseException | None) -> str:
    """An error in a few words; those that authors raise on purpose speak for themselves."""
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001  an author's exception may fail to describe itself
        return name
    if isinstance(error, TemporaryError | PermanentError | Denied):
        return said
    return f"{name}: {said}" if said else name
