"""What is stored keeps its age, whatever the wall clock is set to, also between two processes.

A service stamps and compares by a clock that nobody sets (`SteadyClock`). The next process begins
with the wall clock's time again, and moves what is stored along.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
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
CLOCKS, _JUMPS = ("", "clocks"), ("", "jumps")

_NEWEST_TIME = """
SELECT max(
    coalesce((SELECT accepted_at FROM executions ORDER BY seq DESC LIMIT 1), 0),
    coalesce((SELECT max(finished_at) FROM executions WHERE state = 'finished'), 0))"""

_ASKING = "SELECT seq, question FROM executions WHERE question IS NOT NULL AND state <> 'finished'"
_MOVE_QUESTION = "UPDATE executions SET question = ? WHERE seq = ?"

# What an undo waits for ends so long after its execution: these times belong together.
_UNDONE_LATER = """
seq IN (SELECT execution FROM undos WHERE ended_at IS NULL AND due_at IS NOT NULL)"""
# Nobody knows the age of what lies in the future. It counts as new, in the order that it has.
_MAKE_NEW = (
    """
UPDATE undos SET due_at = due_at - finished_at + :now FROM executions
WHERE seq = execution AND ended_at IS NULL AND due_at IS NOT NULL AND finished_at > :now""",
    f"UPDATE executions SET finished_at = :now WHERE finished_at > :now AND {_UNDONE_LATER}",  # noqa: S608
    """
UPDATE executions INDEXED BY executions_open
SET accepted_at = :now, started_at = CASE WHEN started_at > :now THEN :now ELSE started_at END,
    timer_due = CASE WHEN timer_since > :now THEN timer_due - timer_since + :now ELSE timer_due END,
    timer_since = CASE WHEN timer_since > :now THEN :now ELSE timer_since END
WHERE state <> 'finished' AND accepted_at > :now""",
    """
UPDATE reports SET created_at = CASE WHEN created_at > :now THEN :now ELSE created_at END,
    due_at = CASE WHEN due_at > :now + :longest THEN :now + :longest ELSE due_at END
WHERE created_at > :now OR due_at > :now + :longest""",
    """
UPDATE effects SET admitted_at = :now - 0.001 * newer,
    ended_at = CASE WHEN ended_at > :now THEN :now ELSE ended_at END,
    settled_at = CASE WHEN settled_at > :now + settle THEN :now + settle ELSE settled_at END
FROM (SELECT execution AS of, row_number() OVER (ORDER BY admitted_at DESC) AS newer
    FROM effects WHERE admitted_at > :now AND leads) AS future WHERE execution = of""",
    "UPDATE forgiven SET at = :now WHERE at > :now",
    "UPDATE notices SET at = :now WHERE at > :now",
    "UPDATE notifications SET at = :now WHERE at > :now",
    "UPDATE failed_attempts SET failed_at = :now WHERE failed_at > :now",
)
_MOVE_TIMES = (
    """
UPDATE executions INDEXED BY executions_open
SET accepted_at = accepted_at + :by, started_at = started_at + :by,
    timer_since = timer_since + :by, timer_due = timer_due + :by WHERE state <> 'finished'""",
    f"""
UPDATE executions SET accepted_at = accepted_at + :by, started_at = started_at + :by,
    finished_at = finished_at + :by, reported_at = reported_at + :by
WHERE {_UNDONE_LATER} AND state = 'finished'""",  # noqa: S608
    "UPDATE reports SET created_at = created_at + :by, due_at = due_at + :by",
    """
UPDATE effects SET admitted_at = admitted_at + :by, ended_at = ended_at + :by,
    settled_at = settled_at + :by WHERE admitted_at > :now - :recent""",
    "UPDATE forgiven SET at = at + :by",
    "UPDATE notices SET at = at + :by",
    "UPDATE notifications SET at = at + :by",
    """
UPDATE failed_attempts SET failed_at = failed_at + :by
WHERE execution IN (SELECT seq FROM executions WHERE state <> 'finished')""",
    "UPDATE undos SET asked_at = asked_at + :by WHERE ended_at IS NULL",
)
_MOVE_UNDOS = "UPDATE undos SET due_at = due_at + :by WHERE ended_at IS NULL"


class SqlAges(Store):
    """The part of the journal that keeps the ages of what it holds."""

    _is_taken_over = False

    async def take_over(self, reading: Reading) -> Gap:
        if self._is_taken_over:
            return Gap()
        gap = await self._run(
            lambda cursor: self._catch_up(cursor, reading, self._gap(cursor, reading))
        )
        self._is_taken_over = True
        return gap

    def _catch_up(self, cursor: Cursor, reading: Reading, gap: Gap) -> Gap:
        before = reading.now - gap.ahead
        _move_questions(cursor, lambda asked: min(0.0, before - asked["asked_at"]))
        bound = {"now": before, "longest": LONGEST_PAUSE_SECONDS}
        for statement in (*_MAKE_NEW, *self._make_new):
            cursor.execute(statement, bound)
        if gap.ahead:
            recent = max(RECENT_SECONDS, abs(gap.ahead))
            for statement in (*_MOVE_TIMES, *self._move_times, _MOVE_UNDOS):
                cursor.execute(statement, {**bound, "by": gap.ahead, "recent": recent})
            _move_questions(cursor, lambda _: gap.ahead)
        if gap.unknown:
            # Nobody knows how long no service ran: what leads to a change waits its full time.
            # Silence that denies may come early: nothing is done.
            cursor.execute(_MOVE_UNDOS, {"by": gap.unknown})
            _move_questions(cursor, lambda asked: gap.unknown * (asked["default"] == "approve"))
        _note_jump(cursor, reading.now, max(gap.ahead, 0.0) + gap.unknown)
        cursor.execute(*_noted(reading))
        return gap

    def _gap(self, cursor: Cursor, reading: Reading) -> Gap:
        """What has happened since the last reading."""
        if stored := recalled(cursor, CLOCKS):
            return Gap.between(Reading(*stored), reading)
        # An older release kept no readings: all that tells are the times of its executions.
        newest = cursor.execute(_NEWEST_TIME).fetchone()[0] or reading.now
        passed = reading.now - newest
        return Gap(unknown=max(0.0, passed)) if passed > -STEP_SECONDS else Gap(step=passed)

    async def note_reading(self, reading: Reading) -> None:
        await self._write(_noted(reading))

    def _follow_service(self, connection: Reader) -> None:
        """Take the time from the service that serves from this file, or did so last."""
        here = Clock().reading()
        stored = recalled(connection, CLOCKS)
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


def _move_questions(cursor: Cursor, by: Callable[[dict[str, Any]], float]) -> None:
    """Move the times of questions by so many seconds; those that can't be read stay."""
    for seq, text in cursor.execute(_ASKING).fetchall():
        with suppress(KeyError, TypeError, ValueError):
            asked = orjson.loads(text)
            if seconds := by(asked):
                asked["asked_at"] += seconds
                asked["expires_at"] += seconds
                cursor.execute(_MOVE_QUESTION, (orjson.dumps(asked), seq))


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
    found: list[tuple[float, float]] | None = recalled(cursor, _JUMPS)
    return found or []


def _noted(reading: Reading) -> tuple[str, tuple[Any, ...]]:
    return sql.REMEMBER, (*CLOCKS, orjson.dumps(list(reading)))


def recalled(cursor: Cursor | Reader, key: tuple[str, str]) -> Any:
    """What is remembered under a key, or None."""
    row = cursor.execute(sql.RECALL, key).fetchone()
    return orjson.loads(row[0]) if row else None
