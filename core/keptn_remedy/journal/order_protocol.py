"""What people order through the journal, in roles: verdicts, undos, and whether they were heard."""

from __future__ import annotations

from typing import Literal, Protocol

from keptn_remedy.journal.values import DueUndo, Execution, Question, Undo, Verdict


class Questions(Protocol):
    """What executions ask of people."""

    async def ask(self, execution: Execution, question: Question) -> None:
        """Store a question, instead of an earlier one; runs so far count no more."""
        ...

    async def answer(
        self,
        execution_id: str,
        verdict: Verdict,
        by: str,
        reason: str | None,
        *,
        asked_at: float | None = None,
    ) -> str | None:
        """Store the verdict on a question, once; or why it can't be taken. With `asked_at`, only on
        the question that was asked then: the next one may be about another plan.
        """
        ...

    async def close_question(self, execution: Execution) -> Question | None:
        """The question whose time is over, with the verdict that holds: somebody's, or else from
        now on its default, by nobody. None where it can't be read.
        """
        ...

    async def answered(self) -> list[str]:
        """Ids of open executions whose question has a verdict."""
        ...

    async def questions(self, limit: int) -> list[Execution]:
        """Open executions that wait for a verdict, oldest first."""
        ...


class Hearing(Protocol):
    """Whether the service has heard what people ordered: pauses, their ends, and reports to be sent
    again.
    """

    async def orders_given(self) -> int:
        """How many orders there were so far."""
        ...

    async def note_heard(self, orders: int) -> None:
        """Store that the first so many orders are in force."""
        ...

    async def all_heard(self) -> bool:
        """Whether every order so far is in force."""
        ...


class Undos(Protocol):
    """Undoing what finished executions changed."""

    async def want_undo(
        self, execution_id: str, cause: str, by: str | None = None, reason: str | None = None
    ) -> str | None:
        """Ask that a finished execution be undone; or why it can't be."""
        ...

    async def problem_closed(self, context: str) -> int:
        """Want the undos that wait for this; mark open executions, whose undo may come to wait for
        it; how many in all.
        """
        ...

    async def due_undos(self, now: float, limit: int) -> list[DueUndo]:
        """Undos to be carried out now; those that people asked for come first. The others wait for
        open undos of what acted on one of their targets later.
        """
        ...

    async def undos_begun(self) -> list[DueUndo]:
        """Undos under way, or cut off by the end of a process and not taken up since."""
        ...

    async def begin_undo(self, execution_id: str) -> bool:
        """Store that an undo begins, perhaps anew; False when it has ended, has to wait for
        another, or none was armed or wanted.
        """
        ...

    async def put_off_undo(self, execution_id: str) -> None:
        """Want an undo that has begun anew, later: it may not act now."""
        ...

    async def end_undo(
        self, execution_id: str, state: Literal["done", "refused", "failed"], message: str
    ) -> None:
        """Store how an undo ended, once."""
        ...

    async def overtaken(self, execution_id: str) -> str | None:
        """A later execution that helped on one of its targets, and is not undone."""
        ...

    async def undo_of(self, execution_id: str) -> Undo | None:
        """The undo of an execution, armed, under way or ended."""
        ...
