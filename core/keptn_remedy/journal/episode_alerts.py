"""Alerts in SQL: folded into episodes, compared with what is listed, and spoken of by people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import orjson

from keptn_remedy.journal import episode_rows as rows
from keptn_remedy.journal.episode_folding import Folding
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

_LISTED = f"""
UPDATE episodes SET absent_since = NULL, due_at = {rows.LOOK_NOW}, version = version + 1
WHERE seq IN (SELECT value FROM json_each(:handles)) AND closed_at IS NULL
    AND absent_since IS NOT NULL"""  # noqa: S608  our words
_STILL_FIRES = """
UPDATE episodes SET firing_at = :now WHERE seq IN (SELECT value FROM json_each(:handles))
    AND closed_at IS NULL AND firing_at < :before"""
_NOT_LISTED = f"""
UPDATE episodes SET absent_since = :now, due_at = {rows.LOOK_NOW}, version = version + 1
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
UPDATE episodes SET acknowledged = :acknowledged, word_at = :at, due_at = {rows.LOOK_NOW},
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
            look_at, relapsed_since = now + first_look_seconds, now - relapse_seconds
            folding = Folding(cursor, now=now, look_at=look_at, relapsed_since=relapsed_since)
            counts = folding.take(alerts)
            for (source, name, reason), times in Counter(
                (each.source, each.name, each.reason) for each in (*ignored, *folding.early)
            ).items():
                cursor.execute(_IGNORE, (source, name, reason, times, now))
            if ignored or folding.early:
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
