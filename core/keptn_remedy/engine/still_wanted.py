"""Whether Keptn still waits for an execution: asked before it acts, where that is in doubt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from keptn_remedy.action import Outcome
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.guardrails.units import in_words
from keptn_remedy.journal import Execution, TaskEnded
from keptn_remedy.support import logs

# Keptn ends no task of this age: a person hardly aborts what has just begun.
YOUNG_SECONDS: Final = 30.0
HOLD_SECONDS: Final = 60.0
ASK_AGAIN_SECONDS: Final = 5.0
# As what a refusal is reported and counted, beside those of the guard-rails.
STALE: Final = "stale"
STALE_RULE: Final = "REMEDY_STALE_AFTER"
ENDED: Final = "Keptn no longer waits for it"

# What begins may share an answer of the last seconds: after a restart there may be thousands.
SHARED_SECONDS: Final = 2.0

HasEnded = Callable[[Execution, float], Awaitable[bool | None]]
"""Whether Keptn has ended the task of an execution; None where it can't be asked. The answer may be
so many seconds old.
"""


class Unconfirmed:
    """Keptn could not be asked: an objection that is waited out."""


UNCONFIRMED: Final = Unconfirmed()


class StillWanted:
    """Asks Keptn whether it waits for an execution; without `has_ended` there is nobody to ask.
    `ended` is why one is aborted that nobody waits for.

    While there is no answer, an execution is held for `HOLD_SECONDS`. They count from the first
    question of its project that had no answer, so a Keptn that can never be asked holds up the
    first ones only. After that the age decides: from `stale_seconds` on, it is refused.
    """

    def __init__(
        self,
        runtime: Runtime,
        waiting_room: WaitingRoom,
        has_ended: HasEnded | None = None,
        *,
        stale_seconds: float = 600.0,
        ended: str = ENDED,
    ) -> None:
        self._runtime = runtime
        self._clock = runtime.clock
        self._waiting_room = waiting_room
        self._has_ended = has_ended
        self._stale_seconds = stale_seconds
        self._ended = ended
        # By project, since when (monotonic, in seconds) questions have had no answer.
        self._unanswered_since: dict[str, float] = {}

    def _is_young(self, execution: Execution) -> bool:
        # An age below 0 is unknown: the clock was set back.
        return 0 <= self._age(execution) < YOUNG_SECONDS

    async def is_confirmed(self, execution: Execution) -> bool:
        """Whether Keptn waits for it; False where it can't be asked now.

        Raises:
            TaskEnded: it doesn't.
        """
        return await self._answer(execution, 0.0)

    async def until_confirmed(
        self, execution: Execution, max_age: float = SHARED_SECONDS
    ) -> Outcome | None:
        """Wait until Keptn says that it waits for it, or was asked for long enough. Returns the
        refusal of what is too old to act without an answer. An answer may be `max_age` seconds old.

        Raises:
            TaskEnded: Keptn doesn't wait for it.
        """
        asked_first = self._clock.monotonic()
        while not await self._answer(execution, max_age):
            if self._is_young(execution):
                return None  # had the last process lived, nobody would have asked
            since = min(asked_first, self._unanswered_since[execution.trigger.project])
            if self._clock.monotonic() - since >= HOLD_SECONDS:
                return self._refusal(execution)
            await self._waiting_room.for_seconds(ASK_AGAIN_SECONDS)
        return None

    async def may_be_announced(self, execution: Execution) -> bool:
        """Whether a `started` may be sent before its turn has come: not while it is held.

        Raises:
            TaskEnded: Keptn doesn't wait for it.
        """
        if await self._answer(execution, SHARED_SECONDS):
            return True
        since = self._unanswered_since[execution.trigger.project]
        return self._clock.monotonic() - since >= HOLD_SECONDS

    async def _answer(self, execution: Execution, max_age: float) -> bool:
        """Whether Keptn waits for it; False where it can't be asked. Raises TaskEnded."""
        has_ended = await self._has_ended(execution, max_age) if self._has_ended else False
        project = execution.trigger.project
        if has_ended is None:
            if project not in self._unanswered_since:
                self._unanswered_since[project] = self._clock.monotonic()
                self._log(execution, "Keptn doesn't say whether it still waits for an execution")
            return False
        self._unanswered_since.pop(project, None)
        if has_ended:
            await self._note_end(execution)
            raise TaskEnded(self._ended)
        return True

    async def _note_end(self, execution: Execution) -> None:
        journal = self._runtime.journal
        if await self._runtime.insist(lambda: journal.note_abort(execution.id, self._ended)):
            self._log(execution, "execution aborted", reason=self._ended)

    def _refusal(self, execution: Execution) -> Outcome | None:
        age = self._age(execution)
        if 0 <= age < self._stale_seconds:
            return None
        old = f"it is {in_words(round(age))} old" if age >= 0 else "its age is not known"
        limit = in_words(self._stale_seconds)
        message = (
            f"refused: {old}, and Keptn doesn't say whether it still waits for it"
            f" (REMEDY_STALE_AFTER is {limit}; REMEDY_KEPTN_API is asked)"
        )
        return Outcome.failed(message, rail=STALE, rule=STALE_RULE)

    def _age(self, execution: Execution) -> float:
        return self._clock.now() - execution.accepted_at

    def _log(self, execution: Execution, message: str, **others: str) -> None:
        fields = logs.execution_fields(execution.trigger, execution.action)
        logs.logger().warning(message, **fields, **others)
