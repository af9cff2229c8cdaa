"""Executions and undos that ignore their deadline: ended for Keptn, while their code runs on."""

from __future__ import annotations

from collections.abc import Callable

from keptn_remedy.journal import Execution


class Overdue:
    """Which they are, so that nobody waits without end for what they hold."""

    def __init__(self) -> None:
        self._executions: dict[str, Execution] = {}
        self._undos: set[str] = set()
        self._listeners: list[Callable[[Execution], None]] = []

    def __contains__(self, execution_id: object) -> bool:
        return execution_id in self._executions or execution_id in self._undos

    def notify(self, listener: Callable[[Execution], None]) -> None:
        """Call this with each overdue execution once its end is stored."""
        self._listeners.append(listener)

    def add(self, execution: Execution) -> None:
        """An execution ignores its deadline."""
        self._executions[execution.id] = execution

    def finished(self, execution: Execution) -> None:
        """The end of an overdue execution is stored, while its code still runs."""
        for listener in self._listeners:
            listener(execution)

    def discard(self, execution_id: str) -> None:
        """The code of an execution has ended after all."""
        self._executions.pop(execution_id, None)

    def add_undo(self, execution_id: str) -> None:
        """The undo of this execution ignores its deadline. It holds its targets, and no lane."""
        self._undos.add(execution_id)

    def discard_undo(self, execution_id: str) -> None:
        """The code of an undo has ended after all."""
        self._undos.discard(execution_id)

    def in_lane(self, lane: str) -> str | None:
        """The id of one that holds this lane."""
        if not self._executions:
            return None
        found = (execution.id for execution in self._executions.values() if execution.lane == lane)
        return next(found, None)
