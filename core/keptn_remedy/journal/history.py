"""What rails ask the journal about the past."""

from __future__ import annotations

from typing import Literal, Protocol

from keptn_remedy.journal.values import Alike, Last, Pause


class History(Protocol):
    """What rails ask about the past, inside the transaction that admits. The execution that asks
    has no effects yet.
    """

    @property
    def now(self) -> float:
        """The Unix time of the transaction, by the clock that stamps effects."""
        ...

    def pause(self) -> Pause | None:
        """What stops everything, if anything does."""
        ...

    def count(self, since: float, alike: Alike, limit: int | None = None) -> int:
        """Executions with such an effect, admitted at or after that Unix time. With a limit, what
        is below it may be any number below it: it need not be counted.

        Raises:
            TypeError: `alike` has neither a target, nor an action, nor a project and a stage.
        """
        ...

    def admitted_at(self, since: float, alike: Alike, place: int) -> float:
        """The Unix time at which one of those that `count` counts was admitted: the one in this
        place, where the oldest has 0; there must be so many.
        """
        ...

    def last(self, target: str) -> Last | None:
        """The newest effect on a target."""
        ...

    def execution_id(self, last: Last) -> str:
        """The id of its execution."""
        ...

    def effects(self, since: float, project: str, stage: str, limit: int | None = None) -> int:
        """How many effects a stage had at or after that Unix time: as many targets, or fewer. The
        limit is as in `count`.
        """
        ...

    def distinct(
        self, what: Literal["target", "service"], since: float, project: str, stage: str
    ) -> frozenset[str]:
        """What was affected in a stage at or after that Unix time: at most 1,000 of it."""
        ...

    def streak(self, action: str, target: str, context: str) -> int:
        """How many of the newest effects in a row did not help, up to 50.

        One did not help if its execution failed, or if the next one, or the one that asks, has the
        same Keptn context: it had to be asked for again. Those that run or were aborted are passed
        over. What was forgiven, and what came before, does not count.
        """
        ...

    def unsettled(self, now: float) -> int:
        """Planned executions that run, or whose effects still settle at that Unix time."""
        ...
