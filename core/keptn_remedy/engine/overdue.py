"""Executions and undos that ignore their deadline: ended for Keptn, while their code runs on."""

from __future__ import annotations

from collections.abc import Callable

from keptn_remedy.journal import Execution


class Overdue:
    """Which they are, so that nobody waits without end for what they hold. `lanes` are the lanes of
    the executions, each with an execution's id.
    """

    def __init__(self) -> None:
        self.lanes: dict[str, str] = {}
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
        self.lanes[execution.lane] = execution.id

    def finished(self, execution: Execution) -> None:
        """The end of an overdue execution is stored, while its code still runs."""
        for listener in self._listeners:
            listener(execution)

    def discard(self, execution_id: str) -> None:
        """The code of an execution has ended after all."""
        execution = self._executions.pop(execution_id, None)
        if execution and self.lanes.get(execution.lane) == execution_id:
            del self.lanes[execution.lane]

    def add_undo(self, execution_id: str) -> None:
        """The undo of this execution ignores its deadline. It holds its targets, and no lane."""
        self._undos.add(execution_id)

    def discard_undo(self, execution_id: str) -> None:
        """The code of an undo has ended after all."""
        self._undos.discard(execution_id)
