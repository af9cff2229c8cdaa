"""Notices and notifications, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import orjson

from keptn_remedy.action import JSON
from keptn_remedy.journal.notifications import (
    ChannelBacklog,
    Notice,
    NoticeKind,
    Queued,
    Unnotified,
)
from keptn_remedy.journal.store import Cursor, Statement, Store

# In a table WITHOUT ROWID: noting leaves last_insert_rowid() alone, by which reports are known.
_NOTE = """
INSERT INTO notices (key, kind, execution, at, about)
VALUES (:key, :kind, :execution, :at, :about) ON CONFLICT (key) DO NOTHING"""
# Only by the change that finished the execution.
_NOTE_ENDED = """
INSERT INTO notices (key, kind, execution, at)
SELECT 'ended ' || id, 'ended', id, :now FROM executions WHERE seq = :seq AND finished_at = :now
ON CONFLICT (key) DO NOTHING"""
_NOTE_UNDONE = """
INSERT INTO notices (key, kind, execution, at)
SELECT 'undone ' || executions.id || ' ' || undos.ended_at, 'undone', executions.id, :now
FROM undos JOIN executions ON executions.seq = undos.execution
WHERE undos.ended_at = :now AND (executions.seq = :seq OR executions.id = :id)
ON CONFLICT (key) DO NOTHING"""
_NOTICES = "SELECT key, kind, execution, at, about FROM notices ORDER BY at, key LIMIT ?"
_FORGET_NOTICES = "DELETE FROM notices WHERE key IN (SELECT value FROM json_each(?))"
_QUEUE = """
INSERT INTO notifications (channel, key, body, at, stands)
VALUES (:channel, :key, :body, :at, :stands)
ON CONFLICT (channel, key) DO UPDATE SET body = excluded.body, at = excluded.at,
    stands = excluded.stands, state = 'waiting', reason = NULL
WHERE notifications.state <> 'waiting' AND notifications.at < excluded.at - :quiet"""
_FIRST_ONE = "SELECT state FROM notifications WHERE channel = :channel AND key = :key AND stands"
_OVER = """
UPDATE notifications SET stands = FALSE,
    state = CASE WHEN state = 'waiting' THEN 'dropped' ELSE state END,
    reason = CASE WHEN state = 'waiting' THEN 'it was over before it was sent' ELSE reason END
WHERE channel = :channel AND key = :key"""
_OF_CHANNEL = """
SELECT seq, channel, body, at FROM notifications INDEXED BY notifications_waiting
WHERE state = 'waiting' AND channel = ? ORDER BY seq LIMIT ?"""
_STANDING = """
SELECT seq, channel, body, at FROM notifications INDEXED BY notifications_standing
WHERE stands ORDER BY seq"""
_SENT = """
UPDATE notifications SET state = 'sent' WHERE seq IN (SELECT value FROM json_each(?))"""
_DROP = """
UPDATE notifications SET state = 'dropped', reason = ?, stands = FALSE
WHERE seq IN (SELECT value FROM json_each(?))"""
_TOO_OLD = """
SELECT seq, channel, at FROM (
    SELECT seq, channel, at, row_number() OVER (PARTITION BY channel ORDER BY seq DESC) AS place
    FROM notifications WHERE state = 'waiting') AS waiting
WHERE at < ? OR place > ? ORDER BY seq"""
_FORGET = "DELETE FROM notifications WHERE state <> 'waiting' AND NOT stands AND at < ?"
_WAITING = """
SELECT channel, count(*), min(at) FROM notifications WHERE state = 'waiting' GROUP BY channel"""
# Never again.
_EVER = 1e18


def note(key: str, kind: NoticeKind, execution: str | None, at: float) -> Statement:
    """What notes that people may have to be told, in the change that made it so."""
    return note_whole(Notice(key, kind, execution, at, {}))


def note_whole(notice: Notice) -> Statement:
    """The same, with what it is about."""
    about = orjson.dumps(notice.about) if notice.about else None
    return _NOTE, {
        "key": notice.key,
        "kind": notice.kind,
        "execution": notice.execution,
        "at": notice.at,
        "about": about,
    }


def note_ended(seq: int, now: float) -> Statement:
    """The same of an execution, in the change that finishes it."""
    return _NOTE_ENDED, {"seq": seq, "now": now}


def note_undone(now: float, *, seq: int | None = None, id: str | None = None) -> Statement:  # noqa: A002  as the column
    """The same of an undo, in the change that ends it."""
    return _NOTE_UNDONE, {"seq": seq, "id": id, "now": now}


class SqlNotifications(Store):
    """The part of the journal that keeps what people have to be told."""

    async def notices(self, limit: int) -> list[Notice]:
        found = await self._rows(_NOTICES, (limit,))
        return [
            Notice(key, kind, execution, at, orjson.loads(about or b"{}"))
            for key, kind, execution, at, about in found
        ]

    async def note_ready(self, key: str, execution: str, about: Mapping[str, JSON]) -> None:
        bound = {"key": key, "kind": "ready", "execution": execution, "at": self._now()}
        await self._write((_NOTE, {**bound, "about": orjson.dumps(about).decode()}))

    async def notify(self, queued: Sequence[Queued], done: Collection[str]) -> int:
        def notify(cursor: Cursor) -> int:
            new = sum(_queue(cursor, one) for one in queued)
            cursor.execute(_FORGET_NOTICES, (self._list(done),))
            return new

        return await self._run(notify)

    async def unnotified(self, channel: str, limit: int) -> list[Unnotified]:
        return [Unnotified(*row) for row in await self._rows(_OF_CHANNEL, (channel, limit))]

    async def standing(self) -> list[Unnotified]:
        return [Unnotified(*row) for row in await self._rows(_STANDING, ())]

    async def note_notified(self, handles: Collection[int]) -> None:
        await self._write((_SENT, (self._list(handles),)))

    async def drop_notifications(self, handles: Collection[int], reason: str) -> None:
        await self._write((_DROP, (reason, self._list(handles))))

    async def drop_old_notifications(self, before: float, most: int) -> list[ChannelBacklog]:
        def drop(cursor: Cursor) -> list[ChannelBacklog]:
            found: dict[str, list[tuple[int, float]]] = {}
            for seq, channel, at in cursor.execute(_TOO_OLD, (before, most)).fetchall():
                found.setdefault(channel, []).append((seq, at))
            dropped = [seq for entries in found.values() for seq, _ in entries]
            cursor.execute(_DROP, ("too old, or too many", self._list(dropped)))
            return [ChannelBacklog(c, len(e), min(at for _, at in e)) for c, e in found.items()]

        return await self._run(drop)

    async def forget_notifications(self, before: float) -> None:
        await self._write((_FORGET, (before,)))

    async def waiting_notifications(self) -> list[ChannelBacklog]:
        return [ChannelBacklog(*row) for row in await self._rows(_WAITING, ())]


def _queue(cursor: Cursor, one: Queued) -> int:
    of_it = {"channel": one.channel, "key": one.key}
    if one.is_over:
        first = cursor.execute(_FIRST_ONE, of_it).fetchone()
        cursor.execute(_OVER, of_it)
        if first is None or first[0] != "sent":
            return 0
        of_it["key"] = f"{one.key} over"
    quiet = _EVER if one.quiet_seconds is None and not one.is_over else one.quiet_seconds or 0.0
    more = {"body": one.body, "at": one.at, "stands": one.stands, "quiet": quiet}
    return cursor.execute(_QUEUE, {**of_it, **more}).rowcount
