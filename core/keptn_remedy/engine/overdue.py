"""Executions and undos that ignore their deadline: told as ended, while their code goes on here."""

from __future__ import annotations

from collections.abc import Callable

from keptn_remedy.journal import Execution


class Overdue:
    """Who they are, so that nobody waits in vain for what they hold. `on_finished` is told each
    once that is stored.
    """

    def __init__(self) -> None:
        self.on_finished: Callable[[Execution], None] = lambda execution: None
        self._executions: dict[str, Execution] = {}
        self._undos: set[str] = set()

    def __contains__(self, execution_id: object) -> bool:
        return execution_id in self._executions or execution_id in self._undos

    def add(self, execution: Execution) -> None:
        """Note one."""
        self._executions[execution.id] = execution

    def discard(self, execution_id: str) -> None:
        """Its code has come to an end after all."""
        self._executions.pop(execution_id, None)

    def add_undo(self, execution_id: str) -> None:
        """Note the undo of one, which holds its targets and no lane."""
        self._undos.add(execution_id)

    def discard_undo(self, execution_id: str) -> None:
        """The undo has come to an end after all."""
        self._undos.discard(execution_id)

    def in_lane(self, lane: str) -> str | None:
        """The id of one that holds this lane."""
        if not self._executions:
            return None
        found = (execution.id for execution in self._executions.values() if execution.lane == lane)
        return next(found, None)
