"""What is stored keeps its age, whatever the wall clock is set to, also between two processes.

A service stamps and compares by a clock that nobody sets (`SteadyClock`). The next process begins
with the wall clock's time again, and moves what is stored along.
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.store import Cursor, Reader, Store
from keptn_remedy.support.clock import STEP_SECONDS, Clock, Gap, Reading

# More than any pause before a report is sent again.
LONGEST_PAUSE_SECONDS = 120.0
# Moving 100,000 effects takes about 3 s. Rails look at the newest ones.
RECENT_SECONDS = 7 * 86_400.0
SHORTEST_JUMP_SECONDS, MAX_JUMPS = 60.0, 100
_CLOCKS, _JUMPS = ("", "clocks"), ("", "jumps")

_NEWEST_TIME = """
SELECT max(
    coalesce((SELECT accepted_at FROM executions ORDER BY seq DESC LIMIT 1), 0),
    coalesce((SELECT max(finished_at) FROM executions WHERE state = 'finished'), 0))"""

_TEXT = "CAST(question AS TEXT)"
_ASKED_AT, _EXPIRES_AT = (f"json_extract({_TEXT}, '$.{name}_at')" for name in ("asked", "expires"))
_MOVE_QUESTION = f"""
UPDATE executions INDEXED BY executions_asking SET question = CAST(json_set({_TEXT},
    '$.asked_at', {_ASKED_AT} + %(by)s, '$.expires_at', {_EXPIRES_AT} + %(by)s) AS BLOB)
WHERE question IS NOT NULL AND state <> 'finished' AND iif(json_valid({_TEXT}), %(where)s, FALSE)"""  # noqa: S608

# What an undo waits for ends so long after its execution: these times belong together.
_UNDONE_LATER = """
seq IN (SELECT execution FROM undos WHERE ended_at IS NULL AND due_at IS NOT NULL)"""
# Nobody knows the age of what lies in the future. It counts as new, in the order that it has.
_MAKE_NEW = (
    """
UPDATE undos SET due_at = due_at - finished_at + :now FROM executions
WHERE seq = execution AND ended_at IS NULL AND due_at IS NOT NULL AND finished_at > :now""",
    f"UPDATE executions SET finished_at = :now WHERE finished_at > :now AND {_UNDONE_LATER}",  # noqa: S608
    _MOVE_QUESTION % {"by": f"(:now - {_ASKED_AT})", "where": f"{_ASKED_AT} > :now"},
    """
UPDATE executions INDEXED BY executions_open
SET accepted_at = :now, started_at = min(started_at, :now)
WHERE state <> 'finished' AND accepted_at > :now""",
    """
UPDATE reports SET created_at = min(created_at, :now), due_at = min(due_at, :now + :longest)
WHERE created_at > :now OR due_at > :now + :longest""",
    """
UPDATE effects SET admitted_at = :now - 0.001 * newer, ended_at = min(ended_at, :now),
    settled_at = min(settled_at, :now + settle)
FROM (SELECT execution AS of, row_number() OVER (ORDER BY admitted_at DESC) AS newer
    FROM effects WHERE admitted_at > :now AND leads) WHERE execution = of""",
    "UPDATE forgiven SET at = :now WHERE at > :now",
    "UPDATE notices SET at = :now WHERE at > :now",
    "UPDATE notifications SET at = :now WHERE at > :now",
    """
UPDATE episodes SET opened_at = min(opened_at, :now), firing_at = min(firing_at, :now),
    quiet_since = min(quiet_since, :now), absent_since = min(absent_since, :now),
    due_at = min(due_at, :now), held_since = min(held_since, :now), version = version + 1
WHERE closed_at IS NULL AND firing_at > :now""",
)
_MOVE_TIMES = (
    """
UPDATE executions INDEXED BY executions_open
SET accepted_at = accepted_at + :by, started_at = started_at + :by WHERE state <> 'finished'""",
    f"""
UPDATE executions SET accepted_at = accepted_at + :by, started_at = started_at + :by,
    finished_at = finished_at + :by, reported_at = reported_at + :by
WHERE {_UNDONE_LATER} AND state = 'finished'""",  # noqa: S608
    "UPDATE reports SET created_at = created_at + :by, due_at = due_at + :by",
    """
UPDATE effects SET admitted_at = admitted_at + :by, ended_at = ended_at + :by,
    settled_at = settled_at + :by WHERE admitted_at > :now - max(:recent, abs(:by))""",
    "UPDATE forgiven SET at = at + :by",
    "UPDATE notices SET at = at + :by",
    "UPDATE notifications SET at = at + :by",
    "UPDATE undos SET asked_at = asked_at + :by WHERE ended_at IS NULL",
    """
UPDATE episodes SET opened_at = opened_at + :by, firing_at = firing_at + :by,
    quiet_since = quiet_since + :by, absent_since = absent_since + :by, due_at = due_at + :by,
    held_since = held_since + :by, helped_at = helped_at + :by, version = version + 1
WHERE closed_at IS NULL OR closed_at > :now - max(:recent, abs(:by))""",
    """
UPDATE episode_rungs SET began_at = began_at + :by, ended_at = ended_at + :by,
    settled_at = settled_at + :by, window_ends_at = window_ends_at + :by,
    good_since = good_since + :by
WHERE episode IN (SELECT seq FROM episodes WHERE closed_at IS NULL)""",
)
_MOVE_UNDOS = "UPDATE undos SET due_at = due_at + :by WHERE ended_at IS NULL"
_MOVE_DEADLINES = (_MOVE_UNDOS, _MOVE_QUESTION % {"by": ":by", "where": "TRUE"})
# Silence that denies may come early: nothing is done.
_SILENCE_APPROVES = f"json_extract({_TEXT}, '$.default') = 'approve'"
_PUT_OFF = (_MOVE_UNDOS, _MOVE_QUESTION % {"by": ":by", "where": _SILENCE_APPROVES})


class SqlAges(Store):
    """The part of the journal that keeps the ages of what it holds."""

    _is_taken_over = False

    async def take_over(self, reading: Reading) -> Gap:
        if self._is_taken_over:
            return Gap()
        gap = await self._run(lambda cursor: _take_over(cursor, reading))
        self._is_taken_over = True
        return gap

    async def note_reading(self, reading: Reading) -> None:
        await self._write(_noted(reading))

    def _follow_service(self, connection: Reader) -> None:
        """Take the time from the service that serves from this file, or did so last."""
        here = Clock().reading()
        stored = _recalled(connection, _CLOCKS)
        if stored and (last := Reading(*stored)).boot == here.boot != "":
            self._now = lambda: time.monotonic() - last.monotonic + last.now


def surely_before(cursor: Cursor, before: float) -> float:
    """What is stamped earlier is surely at least as old as the time `before`: each jump that came
    since has made it look older than it is.
    """
    for at, seconds in reversed(_jumps(cursor)):
        if at <= before:
            break
        before -= seconds
    return before


def _take_over(cursor: Cursor, reading: Reading) -> Gap:
    gap = _gap(cursor, reading)
    before = reading.now - gap.ahead
    bound = {"now": before, "longest": LONGEST_PAUSE_SECONDS, "recent": RECENT_SECONDS}
    for statement in _MAKE_NEW:
        cursor.execute(statement, bound)
    for statement in _MOVE_TIMES if gap.ahead else ():
        cursor.execute(statement, {**bound, "by": gap.ahead})
    for statement in _MOVE_DEADLINES if gap.ahead else ():
        cursor.execute(statement, {"by": gap.ahead})
    # Where nobody knows how long no service ran, what leads to a change waits its full time.
    for statement in _PUT_OFF if gap.unknown else ():
        cursor.execute(statement, {"by": gap.unknown})
    _note_jump(cursor, reading.now, max(gap.ahead, 0.0) + gap.unknown)
    cursor.execute(*_noted(reading))
    return gap


def _gap(cursor: Cursor, reading: Reading) -> Gap:
    if stored := _recalled(cursor, _CLOCKS):
        return Gap.between(Reading(*stored), reading)
    # An older release kept no readings: all that tells are the times of its executions.
    newest = cursor.execute(_NEWEST_TIME).fetchone()[0] or reading.now
    passed = reading.now - newest
    return Gap(unknown=max(0.0, passed)) if passed > -STEP_SECONDS else Gap(step=passed)


def _note_jump(cursor: Cursor, at: float, seconds: float) -> None:
    """What is finished is not moved: it would take too long. So it looks older from now on."""
    if seconds < SHORTEST_JUMP_SECONDS:
        return
    jumps = [*_jumps(cursor), (at, seconds)]
    if len(jumps) > MAX_JUMPS:
        (_, first), (until, second), *jumps = jumps
        jumps = [(until, first + second), *jumps]
    cursor.execute(sql.REMEMBER, (*_JUMPS, orjson.dumps(jumps)))


def _jumps(cursor: Cursor) -> list[tuple[float, float]]:
    """At which time all that is older began to look older, and by how many seconds."""
    found: list[tuple[float, float]] | None = _recalled(cursor, _JUMPS)
    return found or []


def _noted(reading: Reading) -> tuple[str, tuple[Any, ...]]:
    return sql.REMEMBER, (*_CLOCKS, orjson.dumps(list(reading)))


def _recalled(cursor: Cursor | Reader, key: tuple[str, str]) -> Any:
    row = cursor.execute(sql.RECALL, key).fetchone()
    return orjson.loads(row[0]) if row else None
