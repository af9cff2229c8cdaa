"""What rails will ask about the past, looked up for all admissions of a batch at once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Self

import psycopg

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.effects import count_of
from keptn_remedy.journal.foreseen import Counted, Foreseen, Kind
from keptn_remedy.journal.postgres_connection import PostgresConnection, execute
from keptn_remedy.journal.postgres_dialect import translated
from keptn_remedy.journal.store import Bound
from keptn_remedy.journal.values import Alike, Effect

_Key = tuple[str, tuple[Any, ...]]
_PLACE = re.compile(r"\$(\d+)")
_ACTION = rows.LAST.index("action")
# Where the newest effect helped, a streak is not read back: it counts only where the same problem
# is there again, which is seldom.
_READ_BACK = """
WHERE NOT EXISTS (SELECT 1 FROM (SELECT action, judged FROM effects WHERE target = given.v1
        ORDER BY admitted_at DESC, execution DESC LIMIT 1) AS newest
    WHERE newest.action = given.v2 AND newest.judged = 'helped')"""


class Lookups:
    """A `store.Cursor` that knows the answers to what was foreseen. `add` tells it what was
    admitted since; whatever else is asked, the database is, once `store` has stored that.
    """

    def __init__(self, connection: PostgresConnection, store: Callable[[], None]) -> None:
        self._connection = connection
        self._store = store
        self._wanted: defaultdict[str, dict[tuple[Any, ...], None]] = defaultdict(dict)
        self._sent: list[tuple[str, list[tuple[Any, ...]], psycopg.RawCursor[Any]]] = []
        self._known: dict[_Key, list[Any]] = {}
        self._counts: defaultdict[Counted, set[_Key]] = defaultdict(set)
        self._kinds: set[Kind] = set()
        self._of_target: dict[str, set[_Key]] = {}
        self._now = 0.0
        self._rows: list[Any] = []

    def ask(self, foreseen: Iterable[Foreseen], now: float) -> None:
        """Send the questions, all of a kind together, in the pipeline that is open."""
        self._now = now
        self._want(sql.PAUSED, ())
        for each in foreseen:
            for target in each.targets:
                self._of(target, self._want(sql.LAST, (target,)))
            for action, target in each.streaks:
                self._want(sql.FORGIVEN_AT, (target,))
                self._of(target, self._want(sql.OF_ACTION, (target, action)))
            for counted, within, _ in each.counts:
                self._count(counted, self._want(*count_of(counted, now - within)))
            if each.unsettled:
                self._want(sql.UNSETTLED, (now,))
        for statement, wanted in self._wanted.items():
            bounds = [*wanted]
            cursor = self._connection.raw_cursor()
            text = for_many(
                statement,
                tuple("text" if isinstance(value, str) else "float8" for value in bounds[0]),
            )
            execute(cursor, text, [list(column) for column in zip(*bounds, strict=True)])
            self._sent.append((statement, bounds, cursor))

    def take(self) -> None:
        """Read the answers, after the pipeline."""
        for statement, bounds, cursor in self._sent:
            found: list[list[Any]] = [[] for _ in bounds]
            for place, *row in cursor.fetchall():
                found[place - 1].append(tuple(row))
            self._known |= {
                (statement, bound): answer for bound, answer in zip(bounds, found, strict=True)
            }
        for target, action in self._wanted.get(sql.OF_ACTION, ()):
            key = sql.OF_ACTION, (target, action)
            newest = self._known.get((sql.LAST, (target,)), [(None, action)])
            if not self._known[key] and any(row[_ACTION] == action for row in newest):
                del self._known[key]  # it was not read back

    def add(self, effects: Sequence[Effect]) -> None:
        """Let what was just admitted count."""
        for what, names in self._kinds:
            # On one target an execution has one effect; elsewhere one of its effects stands for it.
            leads = what == "executions" and "target" not in names
            for effect in effects[:1] if leads else effects:
                for key in self._counts.get((what, _alike(effect, names)), ()):
                    self._known[key] = [(self._known[key][0][0] + 1,)]
        for effect in effects:
            for key in self._of_target.pop(effect.target, ()):
                self._known.pop(key, None)
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
        found, self._rows = self._rows, []
        return found

    def __iter__(self) -> Any:
        return iter(self.fetchall())

    def _want(self, statement: str, bound: tuple[Any, ...]) -> _Key:
        self._wanted[statement][bound] = None
        return statement, bound

    def _count(self, counted: Counted, key: _Key) -> None:
        what, alike = counted
        self._counts[counted].add(key)
        named = zip(Alike._fields, alike, strict=True)
        self._kinds.add((what, tuple(name for name, value in named if value is not None)))

    def _of(self, target: str, key: _Key) -> None:
        self._of_target.setdefault(target, set()).add(key)


@cache
def for_many(statement: str, types: tuple[str, ...]) -> str:
    """The same for many at once: each row has the place of what it is found for, from 1 on."""
    given = "(SELECT 1) AS given(place)"
    if types:
        arrays = ", ".join(f"${number}::{name}[]" for number, name in enumerate(types, 1))
        names = ", ".join(f"v{number}" for number, _ in enumerate(types, 1))
        given = f"unnest({arrays}) WITH ORDINALITY AS given({names}, place)"
    of_one = _PLACE.sub(r"given.v\1", translated(statement).text)
    among = _READ_BACK if statement == sql.OF_ACTION else ""
    return f"""
SELECT place, found.* FROM {given} CROSS JOIN LATERAL ({of_one}) AS found{among}"""  # noqa: S608


def _alike(effect: Effect, names: tuple[str, ...]) -> Alike:
    return Alike(*[getattr(effect, name) if name in names else None for name in Alike._fields])
