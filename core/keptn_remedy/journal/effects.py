"""What rails count in the journal: effects, streaks and the pause; and what they admit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar

from keptn_remedy.action import Plan
from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.bounds import Bounds
from keptn_remedy.journal.foreseen import NOTHING_FORESEEN, Counted, Foreseen
from keptn_remedy.journal.history import History
from keptn_remedy.journal.store import Cursor, Store
from keptn_remedy.journal.values import Alike, Effect, Execution, Last, Pause

T = TypeVar("T")


class _Newest(NamedTuple):
    """The newest effect on a target."""

    last: Last
    context: str
    judged: str | None

    def helps_another(self, action: str, context: str) -> bool:
        """Whether the action helped against something else than is asked about now."""
        return self.judged == "helped" and self.last.action == action and self.context != context


# A clock that jumps back by more is believed.
TICK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Raised:
    """What deciding raised: the fault of one execution, not of the transaction."""

    error: Exception


class SqlEffects(Store):
    """The part of the journal that keeps effects, and the pause."""

    _admitted_at = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._bounds = Bounds()

    async def admit(
        self,
        execution: Execution,
        plan: Plan | None,
        effects: Sequence[Effect],
        decide: Callable[[History], T | None],
        foreseen: Foreseen = NOTHING_FORESEEN,
    ) -> T | None:
        def admit(cursor: Cursor) -> T | Raised | None:
            found = cursor.execute(sql.IS_ADMITTED, (execution.handle,)).fetchone()
            if found is None:
                return Raised(LookupError(f"the execution {execution.id} is not open"))
            is_admitted, is_asking, is_paused = found
            if is_admitted:
                return None
            self._bounds.begin(foreseen)
            history = SqlHistory(cursor, self._now(), self._bounds, is_paused=is_paused)
            said = decided(decide, history, self.trouble)
            if said is None:
                self._add(cursor, execution, effects)
                self._bounds.add(foreseen.counted_in)
                if plan or is_asking:
                    text = plan.to_json() if plan else None
                    cursor.execute(sql.ADMIT, (text, execution.handle))
            return said

        said = await self._run(admit)
        if isinstance(said, Raised):
            raise said.error
        return said

    def _add(self, cursor: Cursor, execution: Execution, effects: Sequence[Effect]) -> None:
        now = self._stamp()
        for number, effect in enumerate(effects):
            cursor.execute(sql.ADD_EFFECT, (execution.handle, *effect, number == 0, now))

    def _stamp(self) -> float:
        self._admitted_at = _just_after(self._admitted_at, self._now())
        return self._admitted_at

    async def forgive(self, target: str | None, by: str) -> int:
        # Counted by reading: a long history must not keep the service from writing.
        look, bound = (sql.IS_JUDGED, (target,)) if target is not None else (sql.COUNT_IN_VAIN, ())
        found = await self._rows(look, bound)
        now = self._stamp()
        await self._write((sql.FORGIVE, (target or "", now, by)))
        return int(found[0][0])

    async def pause(self, by: str, reason: str) -> Pause:
        now = self._now()
        await self._write((sql.PAUSE, (by, reason, now)), (sql.GIVE_ORDER, ()))
        return rows.pause((by, reason, now))

    async def resume(self) -> Pause | None:
        def resume(cursor: Cursor) -> Pause | None:
            ended = _paused(cursor)
            cursor.execute(sql.RESUME)
            cursor.execute(sql.GIVE_ORDER)
            return ended

        return await self._run(resume)

    async def paused(self) -> Pause | None:
        found = await self._rows(sql.PAUSED, ())
        return rows.pause(found[0]) if found else None


class SqlHistory:
    """The past as one transaction sees it, in which there is no pause unless it `is_paused`."""

    __slots__ = ("_bounds", "_cursor", "_is_paused", "_newest", "now")

    def __init__(self, cursor: Cursor, now: float, bounds: Bounds, *, is_paused: bool) -> None:
        self.now = now
        self._cursor = cursor
        self._is_paused = is_paused
        self._bounds = bounds
        self._newest: dict[str, _Newest | None] = {}

    def pause(self) -> Pause | None:
        return _paused(self._cursor) if self._is_paused else None

    def count(self, since: float, alike: Alike, limit: int | None = None) -> int:
        if alike.target is not None:
            last = self.last(alike.target)
            if last is None or last.admitted_at < since:
                return 0
        if limit is not None and self._bounds.is_below(limit, ("executions", alike), since):
            return 0
        return self._counted(("executions", alike), since)

    def admitted_at(self, since: float, alike: Alike, place: int) -> float:
        which = executions(_names(alike))
        look = f"SELECT admitted_at {which} ORDER BY admitted_at LIMIT 1 OFFSET ?"
        row = self._cursor.execute(look, (*_values(alike), since, place)).fetchone()
        return float(row[0])

    def last(self, target: str) -> Last | None:
        newest = self._newest_on(target)
        return newest.last if newest else None

    def execution_id(self, last: Last) -> str:
        row = self._cursor.execute(sql.ID_OF, (last.handle,)).fetchone()
        return str(row[0])

    def effects(self, since: float, project: str, stage: str, limit: int | None = None) -> int:
        counted: Counted = "effects", Alike(None, None, project, stage)
        if limit is not None and self._bounds.is_below(limit, counted, since):
            return 0
        return self._counted(counted, since)

    def distinct(
        self, what: Literal["target", "service"], since: float, project: str, stage: str
    ) -> frozenset[str]:
        bound = (project, stage, since)
        return frozenset(row[0] for row in self._cursor.execute(sql.DISTINCT[what], bound))

    def streak(self, action: str, target: str, context: str) -> int:
        newest = self._newest_on(target)
        if newest is None or newest.helps_another(action, context):
            return 0
        return self._streak(action, target, context)

    def unsettled(self, now: float) -> int:
        return self._number(sql.UNSETTLED, (now,))

    def _streak(self, action: str, target: str, context: str) -> int:
        forgiven_at = self._cursor.execute(sql.FORGIVEN_AT, (target,)).fetchone()[0] or 0.0
        length = 0
        rows = self._cursor.execute(sql.OF_ACTION, (target, action))
        for earlier, judged, admitted_at in rows:
            if admitted_at <= forgiven_at:
                break
            if judged == "failed" or (judged == "helped" and earlier == context):
                length += 1
            elif judged == "helped":
                break
            context = earlier
        return length

    def _newest_on(self, target: str) -> _Newest | None:
        if target in self._newest:
            return self._newest[target]
        row = self._cursor.execute(sql.LAST, (target,)).fetchone()
        found = _Newest(rows.last(row), *row[len(rows.LAST) :]) if row else None
        self._newest[target] = found
        return found

    def _counted(self, what: Counted, since: float) -> int:
        found = self._number(*count_of(what, since))
        self._bounds.note(what, since, found)
        return found

    def _number(self, look: str, bound: tuple[object, ...]) -> int:
        found: int = self._cursor.execute(look, bound).fetchone()[0]
        return found


@cache
def executions(attributes: tuple[str, ...]) -> str:
    """What selects executions, since some time, whose effects have these attributes in common.

    Raises:
        TypeError: there is no index for them.
    """
    index = _index(set(attributes))
    same = " AND ".join(f"{name} = ?" for name in attributes)
    # On one target an execution has one effect; elsewhere one of its effects stands for it.
    once = "" if "target" in attributes else " AND leads"
    return f"FROM effects INDEXED BY {index} WHERE {same} AND admitted_at >= ?{once}"


def count_of(counted: Counted, since: float) -> tuple[str, tuple[object, ...]]:
    """What counts these since that time: a statement, and what it binds.

    Raises:
        TypeError: as `executions`.
    """
    what, alike = counted
    if what == "effects":
        return sql.OF_STAGE, (alike.project, alike.stage, since)
    return f"SELECT count(*) {executions(_names(alike))}", (*_values(alike), since)


def _names(alike: Alike) -> tuple[str, ...]:
    named = zip(Alike._fields, alike, strict=True)
    return tuple(name for name, value in named if value is not None)


def _values(alike: Alike) -> list[str]:
    return [value for value in alike if value is not None]


def _index(attributes: set[str]) -> str:
    if "target" in attributes:
        return "effects_of_target"
    if {"project", "stage"} <= attributes:
        return "effects_of_stage"
    if "action" in attributes:
        return "effects_of_action"
    raise TypeError("effects are counted by target, action, or project and stage")


def _just_after(last: float, now: float) -> float:
    """The time, but never the same twice: effects are ordered by it."""
    return math.nextafter(last, math.inf) if abs(now - last) < TICK_SECONDS and now <= last else now


def decided(
    decide: Callable[[History], T | None], history: History, trouble: tuple[type[Exception], ...]
) -> T | Raised | None:
    try:
        return decide(history)
    except trouble:
        raise  # the journal's own
    except Exception as error:  # noqa: BLE001  whatever it is, it is raised in the caller
        return Raised(error)


def _paused(cursor: Cursor) -> Pause | None:
    row = cursor.execute(sql.PAUSED).fetchone()
    return rows.pause(row) if row else None
