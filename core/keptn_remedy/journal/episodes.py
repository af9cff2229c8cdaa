"""Episodes in SQL: alerts folded into them, and the moves of their ladders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any
from uuid import uuid4

import orjson

from keptn_remedy.journal import episode_rows as rows
from keptn_remedy.journal.ages import surely_before
from keptn_remedy.journal.episode_values import (
    Episode,
    Ignored,
    Member,
    Move,
    OpenMember,
    PersonsWord,
    Rung,
    Score,
    SeenAlert,
    Taken,
    WholeEpisode,
)
from keptn_remedy.journal.notified import note_whole
from keptn_remedy.journal.store import Cursor, Reader, Store

# What is ignored may have any name: of each source so many are kept, the newest.
MOST_IGNORED = 1000
# That an alert fires on is news no more often.
NEWS_SECONDS = 600.0

_OPEN_OF_KEY = """
SELECT seq, state, quiet_since, helped_at FROM episodes
WHERE source = ? AND alert_key = ? AND closed_at IS NULL"""
_RELAPSED = """
SELECT seq FROM episodes WHERE source = ? AND alert_key = ? AND closed_at IS NOT NULL
    AND state = 'closed' AND helped_at >= ? ORDER BY closed_at DESC LIMIT 1"""
_INSERT = """
INSERT INTO episodes (id, source, alert_key, project, stage, service, names, labels, annotations,
    url, state, opened_at, firing_at, due_at)
VALUES (:id, :source, :key, :project, :stage, :service, :names, :labels, :annotations, :url,
    'open', :now, :now, :due_at)"""
_REOPEN = """
UPDATE episodes SET closed_at = NULL, closing = NULL, state = 'waiting', rung = rung + 1,
    quiet_since = NULL, absent_since = NULL, helped_at = NULL, firing_at = :now, due_at = :now,
    reason = NULL, escalated_at = NULL, told_at = NULL, version = version + 1 WHERE seq = :seq"""
_CLIMB_ON = """
UPDATE episodes SET state = 'waiting', rung = rung + 1, helped_at = NULL, quiet_since = NULL,
    absent_since = NULL, firing_at = :now, due_at = :now, version = version + 1 WHERE seq = :seq"""
# News has an episode looked at, but a time that has to pass first is not cut short.
_LOOK_NOW = "CASE WHEN state IN ('open', 'settling') OR due_at < :now THEN due_at ELSE :now END"
# What repeats is no news for the ladder; what fires again after it was quiet is.
_FIRES = f"""
UPDATE episodes SET firing_at = :now,
    version = version
        + CASE WHEN quiet_since IS NULL AND absent_since IS NULL THEN 0 ELSE 1 END,
    due_at = CASE WHEN quiet_since IS NULL THEN due_at ELSE {_LOOK_NOW} END,
    absent_since = NULL, quiet_since = NULL WHERE seq = :seq"""  # noqa: S608  our words
_QUIET = f"""
UPDATE episodes SET quiet_since = :now, due_at = {_LOOK_NOW}, version = version + 1
WHERE seq = :seq AND quiet_since IS NULL AND NOT EXISTS (
    SELECT 1 FROM episode_members WHERE episode = :seq AND firing)"""  # noqa: S608
_MEMBER = """
INSERT INTO episode_members (episode, fingerprint, firing, starts_at, seen_at, labels)
VALUES (:seq, :fingerprint, :firing, :starts_at, :now, :labels)
ON CONFLICT (episode, fingerprint) DO UPDATE SET firing = excluded.firing,
    seen_at = excluded.seen_at, starts_at = excluded.starts_at"""
_RESOLVE = """
UPDATE episode_members SET firing = FALSE, seen_at = ? WHERE episode = ? AND fingerprint = ?"""
_LISTED = f"""
UPDATE episodes SET absent_since = NULL, due_at = {_LOOK_NOW}, version = version + 1
WHERE seq IN (SELECT value FROM json_each(:handles)) AND closed_at IS NULL
    AND absent_since IS NOT NULL"""  # noqa: S608  our words
_STILL_FIRES = """
UPDATE episodes SET firing_at = :now WHERE seq IN (SELECT value FROM json_each(:handles))
    AND closed_at IS NULL AND firing_at < :before"""
_NOT_LISTED = f"""
UPDATE episodes SET absent_since = :now, due_at = {_LOOK_NOW}, version = version + 1
WHERE seq IN (SELECT value FROM json_each(:handles)) AND closed_at IS NULL
    AND absent_since IS NULL AND firing_at <= :asked_at"""  # noqa: S608
_NOTE = "INSERT INTO episode_notes (episode, at, state, text) VALUES (?, ?, ?, ?)"
_IGNORE = """
INSERT INTO ignored_alerts (source, name, reason, times, seen_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (source, name, reason) DO UPDATE SET times = ignored_alerts.times + excluded.times,
    seen_at = excluded.seen_at"""
_FORGET_IGNORED = """
DELETE FROM ignored_alerts WHERE seen_at < (
    SELECT seen_at FROM ignored_alerts ORDER BY seen_at DESC LIMIT 1 OFFSET ?)"""
_SAID_OF = """
SELECT seq, state, id, names, labels FROM episodes
WHERE closed_at IS NULL AND project = ? AND stage = ? AND service = ?
UNION SELECT seq, state, id, names, labels FROM episodes WHERE closed_at IS NULL AND id = ?"""
# A word that comes late, as it was sent again, is no news.
_SAID = f"""
UPDATE episodes SET acknowledged = :acknowledged, word_at = :at, due_at = {_LOOK_NOW},
    version = version + 1 WHERE seq = :seq AND (word_at IS NULL OR word_at < :at)"""  # noqa: S608
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


class SqlEpisodes(Store):
    """The part of the journal that keeps episodes."""

    _make_new = _MAKE_NEW
    _move_times = _MOVE_TIMES

    async def take_alerts(
        self,
        alerts: Sequence[SeenAlert],
        ignored: Sequence[Ignored] = (),
        *,
        first_look_seconds: float,
        relapse_seconds: float,
    ) -> Taken:
        now = self._now()

        def take(cursor: Cursor) -> Taken:
            counts = Counter[str]()
            # In one message firing wins over resolved.
            for alert in sorted(alerts, key=lambda each: each.is_firing):
                if alert.is_firing:
                    done = _fire(cursor, alert, now, now + first_look_seconds, relapse_seconds)
                else:
                    done = _resolve(cursor, alert, now)
                counts[done] += 1
            for (source, name, reason), times in Counter(
                (each.source, each.name, each.reason) for each in ignored
            ).items():
                cursor.execute(_IGNORE, (source, name, reason, times, now))
            if ignored:
                cursor.execute(_FORGET_IGNORED, (MOST_IGNORED,))
            return Taken(**counts)

        return await self._run(take)

    async def take_word(self, word: PersonsWord, *, by_name: bool) -> int:
        now = self._now()

        def take(cursor: Cursor) -> int:
            place = (word.project, word.stage, word.service) if by_name else ("", "", "")
            found = cursor.execute(_SAID_OF, (*place, word.episode)).fetchall()
            meant = [each[:2] for each in found if _is_meant(word, *each[2:])]
            for seq, state in meant:
                by = word.by if word.holds else None
                bound = {"acknowledged": by, "at": word.at, "now": now, "seq": seq}
                cursor.execute(_SAID, bound)
                if cursor.rowcount:
                    cursor.execute(_NOTE, (seq, now, state, f"{word.says} by {word.by}"))
            return len(meant)

        return await self._run(take)

    async def due_episodes(self, now: float, limit: int) -> list[Episode]:
        look = f"""SELECT {rows.EPISODE} FROM episodes INDEXED BY episodes_due
            WHERE closed_at IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?"""  # noqa: S608
        return [*map(rows.episode, await self._rows(look, (now, limit)))]

    async def next_due(self) -> float | None:
        look = """SELECT due_at FROM episodes INDEXED BY episodes_due
            WHERE closed_at IS NULL ORDER BY due_at LIMIT 1"""
        return next((row[0] for row in await self._rows(look, ())), None)

    async def look_at_execution(self, execution_id: str) -> bool:
        written = await self._write((_WAKE, (self._now(), execution_id)))
        return bool(written.rows)

    async def open_members(self, source: str) -> list[OpenMember]:
        look = """SELECT episode, fingerprint, firing, absent_since IS NOT NULL
            FROM episode_members JOIN episodes ON episode = seq
            WHERE source = ? AND closed_at IS NULL"""
        return [
            OpenMember(*row[:2], *map(bool, row[2:])) for row in await self._rows(look, (source,))
        ]

    async def compare_with_listing(
        self, firing: Collection[int], absent: Collection[int], *, asked_at: float
    ) -> None:
        now = self._now()

        def note(cursor: Cursor) -> None:
            there = {"handles": self._list(firing), "now": now}
            cursor.execute(_LISTED, there)
            cursor.execute(_STILL_FIRES, {**there, "before": now - NEWS_SECONDS})
            gone = {"handles": self._list(absent), "now": now, "asked_at": asked_at}
            cursor.execute(_NOT_LISTED, gone)

        await self._run(note)

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
                cursor.execute(_NOTE, (episode.handle, now, state, move.text))
            if move.notice:
                cursor.execute(*note_whole(move.notice))
            look = f"SELECT {rows.EPISODE} FROM episodes WHERE seq = ?"  # noqa: S608
            return rows.episode(cursor.execute(look, (episode.handle,)).fetchone())

        return await self._run(write)

    async def members(self, episode: Episode) -> list[Member]:
        return [*map(rows.member, await self._rows(rows.MEMBERS, (episode.handle,)))]

    async def rungs(self, episode: Episode) -> list[Rung]:
        return [*map(rows.rung, await self._rows(rows.RUNGS, (episode.handle,)))]

    async def opened_since(self, since: float, project: str, stage: str) -> int:
        look = """SELECT count(*) FROM episodes
            WHERE project = ? AND stage = ? AND opened_at >= ?"""
        return int((await self._rows(look, (project, stage, since)))[0][0])

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

    async def ignored(self, limit: int) -> list[tuple[Ignored, int, float]]:
        look = """SELECT source, name, reason, times, seen_at FROM ignored_alerts
            ORDER BY seen_at DESC LIMIT ?"""
        found = await self._rows(look, (limit,))
        return [(Ignored(*each[:3]), int(each[3]), float(each[4])) for each in found]


def _is_meant(word: PersonsWord, episode: str, names: str, labels: str) -> bool:
    """Whether somebody speaks of this episode: its id is known, or a name of it is in the title."""
    if episode == word.episode:
        return True
    title = word.title.lower()
    called = [*orjson.loads(names), orjson.loads(labels).get("alertname", "")]
    return any(name and name.lower() in title for name in called)


def _fire(
    cursor: Cursor, alert: SeenAlert, now: float, look_at: float, relapse_seconds: float
) -> str:
    open_one = cursor.execute(_OPEN_OF_KEY, (alert.source, alert.key)).fetchone()
    if open_one is None:
        of_it = (alert.source, alert.key, now - relapse_seconds)
        relapsed = cursor.execute(_RELAPSED, of_it).fetchone()
        seq = _reopen(cursor, relapsed[0], now) if relapsed else _open(cursor, alert, now, look_at)
        done = "reopened" if relapsed else "opened"
    else:
        seq, state, quiet_since, helped_at = open_one
        is_relapse = state == "helped" and quiet_since is not None
        if is_relapse and helped_at is not None and helped_at >= now - relapse_seconds:
            cursor.execute(_CLIMB_ON, {"seq": seq, "now": now})
            cursor.execute(_NOTE, (seq, now, "waiting", "it fires again: the remedy did not last"))
            done = "reopened"
        else:
            cursor.execute(_FIRES, {"seq": seq, "now": now})
            done = "repeated"
    cursor.execute(_MEMBER, {"seq": seq, "now": now, **_member(alert)})
    return done


def _open(cursor: Cursor, alert: SeenAlert, now: float, look_at: float) -> int:
    bound: dict[str, Any] = {
        "id": str(uuid4()),
        "source": alert.source,
        "key": alert.key,
        "project": alert.project,
        "stage": alert.stage,
        "service": alert.service,
        "names": rows.stored(alert.names),
        "labels": rows.stored(alert.labels),
        "annotations": rows.stored(alert.annotations),
        "url": alert.url,
        "now": now,
        "due_at": look_at,
    }
    cursor.execute(_INSERT, bound)
    seq = int(cursor.lastrowid or 0)
    cursor.execute(_NOTE, (seq, now, "open", f"it began: {next(iter(alert.names), alert.key)}"))
    return seq


def _reopen(cursor: Cursor, seq: int, now: float) -> int:
    cursor.execute(_REOPEN, {"seq": seq, "now": now})
    cursor.execute(_NOTE, (seq, now, "waiting", "it fires again: the remedy did not last"))
    return seq


def _resolve(cursor: Cursor, alert: SeenAlert, now: float) -> str:
    found = cursor.execute(_OPEN_OF_KEY, (alert.source, alert.key)).fetchone()
    if found is None:
        return "unknown"
    cursor.execute(_RESOLVE, (now, found[0], alert.fingerprint))
    if not cursor.rowcount:
        return "unknown"
    cursor.execute(_QUIET, {"seq": found[0], "now": now})
    return "resolved"


def _member(alert: SeenAlert) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint,
        "firing": alert.is_firing,
        "starts_at": alert.starts_at,
        "labels": orjson.dumps(alert.labels).decode(),
    }
