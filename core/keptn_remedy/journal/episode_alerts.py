"""Alerts in SQL: folded into episodes, compared with what is listed, and spoken of by people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any
from uuid import uuid4

import orjson

from keptn_remedy.journal import episode_rows as rows
from keptn_remedy.journal.episode_rows import NOTE
from keptn_remedy.journal.episode_values import (
    MOST_IGNORED,
    Ignored,
    OpenMember,
    PersonsWord,
    SeenAlert,
    Taken,
)
from keptn_remedy.journal.store import Cursor, Store

# That an alert fires on is news no more often.
NEWS_SECONDS = 600.0

OPEN_OF_KEY = """
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


class SqlEpisodeAlerts(Store):
    """The part of the journal that learns of problems."""

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
                    cursor.execute(NOTE, (seq, now, state, f"{word.says} by {word.by}"))
            return len(meant)

        return await self._run(take)

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
    open_one = cursor.execute(OPEN_OF_KEY, (alert.source, alert.key)).fetchone()
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
            cursor.execute(NOTE, (seq, now, "waiting", "it fires again: the remedy did not last"))
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
    cursor.execute(NOTE, (seq, now, "open", f"it began: {next(iter(alert.names), alert.key)}"))
    return seq


def _reopen(cursor: Cursor, seq: int, now: float) -> int:
    cursor.execute(_REOPEN, {"seq": seq, "now": now})
    cursor.execute(NOTE, (seq, now, "waiting", "it fires again: the remedy did not last"))
    return seq


def _resolve(cursor: Cursor, alert: SeenAlert, now: float) -> str:
    found = cursor.execute(OPEN_OF_KEY, (alert.source, alert.key)).fetchone()
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
