"""Episodes in SQL: what is due, the moves of their ladders, and what is shown of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields

from keptn_remedy.journal import episode_rows as rows
from keptn_remedy.journal.ages import surely_before
from keptn_remedy.journal.episode_alerts import SqlEpisodeAlerts
from keptn_remedy.journal.episode_values import (
    Episode,
    Member,
    Move,
    Rung,
    Score,
    WholeEpisode,
)
from keptn_remedy.journal.notified import note_whole
from keptn_remedy.journal.store import Cursor, Reader

_RUNNING = """
SELECT count(*) FROM episodes WHERE project = ? AND stage = ?
    AND closed_at IS NULL AND state IN ('acting', 'settling', 'judging')"""
_IN_STORM = """
SELECT count(*) FROM episodes WHERE project = ? AND stage = ?
    AND closed_at IS NULL AND in_storm AND tries = 0"""
# Decided where it is stored: two that look at once would both find that none runs.
_NONE_RUNS = """ AND NOT EXISTS (SELECT 1 FROM episodes AS others
    WHERE others.project = episodes.project AND others.stage = episodes.stage
    AND others.closed_at IS NULL AND others.state IN ('acting', 'settling', 'judging'))"""
_PUT_RUNG = f"""
INSERT INTO episode_rungs ({rows.RUNG}, episode) VALUES ({rows.RUNG_BOUND}, :episode)
ON CONFLICT (episode, number) DO UPDATE SET {rows.RUNG_SET}"""  # noqa: S608  our names
_WAKE = """
UPDATE episodes SET due_at = ?, version = version + 1 WHERE closed_at IS NULL AND state = 'acting'
    AND seq = (SELECT episode FROM episode_rungs WHERE execution = ?)"""
_COUNTED = ", ".join(
    f"count(CASE WHEN {counted} THEN 1 END)"
    for counted in (
        "acted",
        "acted AND verdict = 'helped'",
        "acted AND verdict = 'failed'",
        "acted AND verdict = 'worse'",
        "acted AND verdict = 'unknown'",
        "NOT acted",
        "NOT acted AND verdict = 'helped'",
    )
)
_SCORES = f"""
SELECT project, stage, service, action, {_COUNTED}
FROM episode_rungs JOIN episodes ON episode = seq
WHERE began_at >= ? AND episode_rungs.status = 'succeeded'
GROUP BY project, stage, service, action
ORDER BY project, stage, service, action"""  # noqa: S608  our words
_PRUNABLE = """
SELECT seq FROM episodes WHERE closed_at IS NOT NULL AND closed_at < ? ORDER BY closed_at LIMIT ?"""
_PRUNE = (
    "DELETE FROM episodes WHERE seq IN (SELECT value FROM json_each(?))",
    "DELETE FROM episode_members WHERE episode IN (SELECT value FROM json_each(?))",
    "DELETE FROM episode_rungs WHERE episode IN (SELECT value FROM json_each(?))",
    "DELETE FROM episode_notes WHERE episode IN (SELECT value FROM json_each(?))",
)
_WHICH = {None: "", True: "AND closed_at IS NULL", False: "AND closed_at IS NOT NULL"}
_SINCE = "opened_at", "firing_at", "quiet_since", "absent_since", "due_at", "held_since"
_AS_NEW = ", ".join(f"{at} = CASE WHEN {at} > :now THEN :now ELSE {at} END" for at in _SINCE)
_MAKE_NEW = (
    f"""
UPDATE episodes SET {_AS_NEW}, version = version + 1
WHERE closed_at IS NULL AND firing_at > :now""",  # noqa: S608
)
_MOVE_TIMES = (
    """
UPDATE episodes SET opened_at = opened_at + :by, firing_at = firing_at + :by,
    quiet_since = quiet_since + :by, absent_since = absent_since + :by, due_at = due_at + :by,
    held_since = held_since + :by, helped_at = helped_at + :by, version = version + 1
WHERE closed_at IS NULL OR closed_at > :now - :recent""",
    """
UPDATE episode_rungs SET began_at = began_at + :by, ended_at = ended_at + :by,
    settled_at = settled_at + :by, window_ends_at = window_ends_at + :by,
    good_since = good_since + :by
WHERE episode IN (SELECT seq FROM episodes WHERE closed_at IS NULL)""",
)


class SqlEpisodes(SqlEpisodeAlerts):
    """The part of the journal that keeps episodes."""

    _make_new = _MAKE_NEW
    _move_times = _MOVE_TIMES

    async def due_episodes(
        self, now: float, limit: int, *, but: Collection[int] = ()
    ) -> list[Episode]:
        look = f"""SELECT {rows.EPISODE} FROM episodes INDEXED BY episodes_due
            WHERE closed_at IS NULL AND due_at <= ?
            AND seq NOT IN (SELECT value FROM json_each(?))
            ORDER BY due_at LIMIT ?"""  # noqa: S608
        return [*map(rows.episode, await self._rows(look, (now, self._list(but), limit)))]

    async def next_due(self) -> float | None:
        look = """SELECT due_at FROM episodes INDEXED BY episodes_due
            WHERE closed_at IS NULL ORDER BY due_at LIMIT 1"""
        return next((row[0] for row in await self._rows(look, ())), None)

    async def look_at_execution(self, execution_id: str) -> bool:
        written = await self._write((_WAKE, (self._now(), execution_id)))
        return bool(written.rows)

    async def move(self, episode: Episode, move: Move) -> Episode | None:
        now = self._now()

        def write(cursor: Cursor) -> Episode | None:
            alone = _NONE_RUNS if move.alone else ""
            assigned = ", ".join(f"{rows.column(name)} = ?" for name in move.fields)
            cursor.execute(
                f"UPDATE episodes SET {assigned}, version = version + 1"  # noqa: S608
                f" WHERE seq = ? AND version = ? AND closed_at IS NULL{alone}",
                (*map(rows.stored, move.fields.values()), episode.handle, episode.version),
            )
            if not cursor.rowcount:
                return None
            if move.rung:
                cursor.execute(_PUT_RUNG, rows.rung_bound(move.rung, episode.handle))
            if move.text:
                state = move.fields.get("state", episode.state)
                cursor.execute(rows.NOTE, (episode.handle, now, state, move.text))
            if move.notice:
                cursor.execute(*note_whole(move.notice))
            look = f"SELECT {rows.EPISODE} FROM episodes WHERE seq = ?"  # noqa: S608
            return rows.episode(cursor.execute(look, (episode.handle,)).fetchone())

        return await self._run(write)

    async def members(self, episode: Episode) -> list[Member]:
        return [*map(rows.member, await self._rows(rows.MEMBERS, (episode.handle,)))]

    async def rungs(self, episode: Episode) -> list[Rung]:
        return [*map(rows.rung, await self._rows(rows.RUNGS, (episode.handle,)))]

    async def opened_between(self, begin: float, end: float, project: str, stage: str) -> int:
        look = """SELECT count(*) FROM episodes
            WHERE project = ? AND stage = ? AND opened_at >= ? AND opened_at <= ?"""
        return int((await self._rows(look, (project, stage, begin, end)))[0][0])

    async def storm(self, project: str, stage: str) -> tuple[int, int]:
        place = (project, stage)
        running, waiting = await self._rows(_RUNNING, place), await self._rows(_IN_STORM, place)
        return int(running[0][0]), int(waiting[0][0])

    async def episodes(
        self, *, is_open: bool | None = None, before: int | None = None, limit: int = 100
    ) -> list[Episode]:
        look = f"""SELECT {rows.EPISODE} FROM episodes
            WHERE seq < ? {_WHICH[is_open]} ORDER BY seq DESC LIMIT ?"""  # noqa: S608
        return [*map(rows.episode, await self._rows(look, (before or 2**62, limit)))]

    async def escalated_episodes(self, limit: int) -> list[Episode]:
        look = f"""SELECT {rows.EPISODE} FROM episodes
            WHERE closed_at IS NULL AND state = 'escalated' ORDER BY seq LIMIT ?"""  # noqa: S608
        return [*map(rows.episode, await self._rows(look, (limit,)))]

    async def whole_episode(self, episode_id: str) -> WholeEpisode | None:
        def read(reader: Reader) -> WholeEpisode | None:
            look = f"SELECT {rows.EPISODE} FROM episodes WHERE id >= ? AND id < ? LIMIT 2"  # noqa: S608
            found = reader.execute(look, (episode_id, episode_id + "\U0010ffff")).fetchall()
            if len(found) != 1:
                return None
            episode = rows.episode(found[0])
            of_it = (episode.handle,)
            return WholeEpisode(
                episode=episode,
                members=[*map(rows.member, reader.execute(rows.MEMBERS, of_it))],
                rungs=[*map(rows.rung, reader.execute(rows.RUNGS, of_it))],
                notes=[*map(rows.note, reader.execute(rows.NOTES, of_it))],
            )

        return await self._read_at_once(read)

    async def scores(self, since: float) -> list[Score]:
        names = [each.name for each in fields(Score)]
        found = await self._rows(_SCORES, (since,))
        return [Score(**dict(zip(names, row, strict=True))) for row in found]

    async def prune_episodes(self, before: float, limit: int) -> int:
        def prune(cursor: Cursor) -> int:
            surely = surely_before(cursor, before)
            found = [row[0] for row in cursor.execute(_PRUNABLE, (surely, limit))]
            for statement in _PRUNE:
                cursor.execute(statement, (self._list(found),))
            return len(found)

        return await self._run(prune)
