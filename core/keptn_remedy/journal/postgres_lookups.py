"""What rails will ask about the past, looked up for all admissions of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.effects import count_of
from keptn_remedy.journal.foreseen import Counted, Foreseen
from keptn_remedy.journal.postgres_connection import PostgresConnection, PostgresCursor
from keptn_remedy.journal.store import Bound
from keptn_remedy.journal.values import Effect

_Key = tuple[str, tuple[Any, ...]]


class Lookups:
    """A `store.Cursor` that knows the answers to what was foreseen. `add` tells it what was
    admitted since; whatever else is asked, the database is, once `store` has stored that.
    """

    def __init__(self, connection: PostgresConnection, store: Callable[[], None]) -> None:
        self._connection = connection
        self._store = store
        self._asked: dict[_Key, PostgresCursor] = {}
        self._known: dict[_Key, list[Any]] = {}
        self._counts: dict[_Key, Counted] = {}
        self._of_target: dict[str, set[_Key]] = {}
        self._now = 0.0
        self._rows: list[Any] = []

    def ask(self, foreseen: Iterable[Foreseen], now: float) -> None:
        """Send the questions, each once, in the pipeline that is open."""
        self._now = now
        self._send(sql.PAUSED, ())
        for each in foreseen:
            for target in each.targets:
                self._of(target, self._send(sql.LAST, (target,)))
            for action, target in each.streaks:
                self._send(sql.FORGIVEN_AT, (target,))
                self._of(target, self._send(sql.OF_ACTION, (target, action)))
            for counted, within, _ in each.counts:
                self._counts[self._send(*count_of(counted, now - within))] = counted
            if each.unsettled:
                self._send(sql.UNSETTLED, (now,))

    def take(self) -> None:
        """Read the answers, after the pipeline."""
        self._known = {key: cursor.fetchall() for key, cursor in self._asked.items()}

    def add(self, effects: Sequence[Effect]) -> None:
        """Let what was just admitted count."""
        for key, counted in self._counts.items():
            if more := _matching(effects, counted):
                self._known[key] = [(self._known[key][0][0] + more,)]
        for effect in effects:
            for key in self._of_target.pop(effect.target, ()):
                del self._known[key]
        unsettled = (sql.UNSETTLED, (self._now,))
        if unsettled in self._known and any(effect.planned for effect in effects):
            self._known[unsettled] = [(self._known[unsettled][0][0] + 1,)]

    def execute(self, statement: str, bound: Bound = (), /) -> Self:
        known = self._known.get((statement, tuple(bound)))
        if known is None:
            self._store()
            known = self._connection.execute(statement, bound).fetchall()
        self._rows = list(known)
        return self

    @property
    def rowcount(self) -> int:
        return len(self._rows)

    @property
    def lastrowid(self) -> int | None:
        return None

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def __iter__(self) -> Any:
        return iter(self.fetchall())

    def _send(self, statement: str, bound: Sequence[Any]) -> _Key:
        key = statement, tuple(bound)
        if key not in self._asked:
            self._asked[key] = self._connection.execute(statement, bound)
        return key

    def _of(self, target: str, key: _Key) -> None:
        self._of_target.setdefault(target, set()).add(key)


def _matching(effects: Sequence[Effect], counted: Counted) -> int:
    what, alike = counted
    among = effects
    if what == "executions" and alike.target is None:
        among = effects[:1]  # one effect of an execution stands for it
    values = [(name, value) for name, value in alike._asdict().items() if value is not None]
    return sum(all(getattr(each, name) == value for name, value in values) for each in among)
