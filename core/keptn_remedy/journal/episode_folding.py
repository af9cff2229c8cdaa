"""The alerts of one message, folded into episodes; new ones many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from uuid import uuid4

from keptn_remedy.journal import episode_rows as rows
from keptn_remedy.journal.early_ends import early, is_over
from keptn_remedy.journal.episode_rows import NOTE
from keptn_remedy.journal.episode_values import Ignored, SeenAlert
from keptn_remedy.journal.store import Cursor

# So many rows are inserted by one statement. The sizes are few, as each makes a statement.
_AT_ONCE = (64, 8, 1)

OPEN_OF_KEY = """
SELECT seq, state, quiet_since, absent_since FROM episodes
WHERE source = ? AND alert_key = ? AND closed_at IS NULL"""
_RELAPSED = """
SELECT seq FROM episodes WHERE source = ? AND alert_key = ? AND closed_at IS NOT NULL
    AND state = 'closed' AND helped_at >= ? ORDER BY closed_at DESC LIMIT 1"""
# By the start that it had when it ended, a message is known that was sent before its end.
_ENDED_BEFORE = """
SELECT 1 FROM episode_members JOIN episodes ON episode = seq
WHERE source = ? AND alert_key = ? AND fingerprint = ? AND starts_at = ? AND NOT firing LIMIT 1"""
_INSERT = """
INSERT INTO episodes (id, source, alert_key, project, stage, service, names, labels, annotations,
    url, state, opened_at, firing_at, due_at)
VALUES """
_INSERT_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?)"
_NOTE, _NOTE_ROW = NOTE.split("(?")[0], "(?, ?, ?, ?)"
_MEMBER = """
INSERT INTO episode_members (episode, fingerprint, firing, starts_at, seen_at, labels)
VALUES """
_MEMBER_ROW = "(?, ?, ?, ?, ?, ?)"
_MEMBER_KNOWN = """
ON CONFLICT (episode, fingerprint) DO UPDATE SET firing = excluded.firing,
    seen_at = excluded.seen_at, starts_at = excluded.starts_at"""
_REOPEN = """
UPDATE episodes SET closed_at = NULL, closing = NULL, state = 'waiting', rung = rung + 1,
    quiet_since = NULL, absent_since = NULL, helped_at = NULL, firing_at = :now, due_at = :now,
    reason = NULL, escalated_at = NULL, told_at = NULL, version = version + 1 WHERE seq = :seq"""
_CLIMB_ON = """
UPDATE episodes SET state = 'waiting', rung = rung + 1, helped_at = NULL, quiet_since = NULL,
    absent_since = NULL, firing_at = :now, due_at = :now, version = version + 1 WHERE seq = :seq"""
# What repeats is no news for the ladder; what fires again after it was quiet is.
_FIRES = f"""
UPDATE episodes SET firing_at = :now,
    version = version
        + CASE WHEN quiet_since IS NULL AND absent_since IS NULL THEN 0 ELSE 1 END,
    due_at = CASE WHEN quiet_since IS NULL THEN due_at ELSE {rows.LOOK_NOW} END,
    absent_since = NULL, quiet_since = NULL WHERE seq = :seq"""  # noqa: S608  our words
_QUIET = f"""
UPDATE episodes SET quiet_since = :now, due_at = {rows.LOOK_NOW}, version = version + 1
WHERE seq = :seq AND quiet_since IS NULL AND NOT EXISTS (
    SELECT 1 FROM episode_members WHERE episode = :seq AND firing)"""  # noqa: S608
_RESOLVE = """
UPDATE episode_members SET firing = FALSE, seen_at = ? WHERE episode = ? AND fingerprint = ?"""

_Key = tuple[str, str]


class _Open(NamedTuple):
    """What decides of an open episode what an alert means for it."""

    seq: int
    state: str
    quiet_since: float | None
    absent_since: float | None


class Folding:
    """One message, within a transaction. `look_at` is when a new episode is looked at first; a
    closed one that was helped since `relapsed_since` goes on.
    """

    def __init__(
        self, cursor: Cursor, *, now: float, look_at: float, relapsed_since: float
    ) -> None:
        self._cursor = cursor
        self._now = now
        self._look_at = look_at
        self._relapsed_since = relapsed_since
        self.early: list[Ignored] = []
        """What is to be kept of ends that came before their beginnings."""

    def take(self, alerts: Sequence[SeenAlert]) -> dict[str, int]:
        """Fold them in; returns what became of how many, by the names of `Taken`."""
        firing = [each for each in alerts if each.is_firing]
        news = [each for each in firing if not self._is_late(each)]
        counts = self._fire(news)
        counts["repeated"] += len(firing) - len(news)
        resolved = [each for each in alerts if not each.is_firing]
        if resolved:
            # In one message firing wins over resolved.
            fired = {(_key(each), each.fingerprint) for each in alerts if each.is_firing}
            for alert in resolved:
                fires_too = (_key(alert), alert.fingerprint) in fired
                counts["repeated" if fires_too else self._resolve(alert)] += 1
        return counts

    def _fire(self, alerts: Sequence[SeenAlert]) -> dict[str, int]:
        counts: dict[str, int] = dict.fromkeys(
            ("opened", "reopened", "repeated", "resolved", "unknown"), 0
        )
        handles: dict[_Key, int] = {}
        new: dict[_Key, SeenAlert] = {}
        for alert in alerts:
            key = _key(alert)
            if key in handles or key in new:
                done = "repeated"
            elif episode := self._known(key):
                handles[key] = episode.seq
                done = self._fires_again(episode)
            elif relapsed := self._relapsed(key):
                handles[key] = relapsed
                done = self._go_on(_REOPEN, relapsed)
            else:
                new[key] = alert
                done = "opened"
            counts[done] += 1
        if new:
            handles |= self._open(new)
        self._put_members(alerts, handles)
        return counts

    def _is_late(self, alert: SeenAlert) -> bool:
        """Whether it ended since this was sent."""
        if is_over(self._cursor, alert, self._now):
            return True
        if not (alert.fires_once and alert.starts_at):
            return False
        about = (*_key(alert), alert.fingerprint, alert.starts_at)
        return self._cursor.execute(_ENDED_BEFORE, about).fetchone() is not None

    def _known(self, key: _Key) -> _Open | None:
        found = self._cursor.execute(OPEN_OF_KEY, key).fetchone()
        return _Open(*found) if found else None

    def _relapsed(self, key: _Key) -> int | None:
        found = self._cursor.execute(_RELAPSED, (*key, self._relapsed_since)).fetchone()
        return int(found[0]) if found else None

    def _fires_again(self, episode: _Open) -> str:
        was_gone = episode.quiet_since is not None or episode.absent_since is not None
        if was_gone and episode.state == "helped":
            return self._go_on(_CLIMB_ON, episode.seq)
        self._cursor.execute(_FIRES, {"seq": episode.seq, "now": self._now})
        return "repeated"

    def _go_on(self, statement: str, seq: int) -> str:
        self._cursor.execute(statement, {"seq": seq, "now": self._now})
        text = "it fires again: the remedy did not last"
        self._cursor.execute(NOTE, (seq, self._now, "waiting", text))
        return "reopened"

    def _open(self, alerts: Mapping[_Key, SeenAlert]) -> dict[_Key, int]:
        self._put(_INSERT, _INSERT_ROW, [self._new(each) for each in alerts.values()])
        opened: dict[_Key, int] = {}
        notes: list[tuple[Any, ...]] = []
        for key, alert in alerts.items():
            [seq, *_] = self._cursor.execute(OPEN_OF_KEY, key).fetchone()
            opened[key] = seq
            text = f"it began: {next(iter(alert.names), alert.key)}"
            notes.append((seq, self._now, "open", text))
        self._put(_NOTE, _NOTE_ROW, notes)
        return opened

    def _new(self, alert: SeenAlert) -> tuple[Any, ...]:
        return (
            str(uuid4()),
            alert.source,
            alert.key,
            alert.project,
            alert.stage,
            alert.service,
            rows.stored(alert.names),
            rows.stored(alert.labels),
            rows.stored(alert.annotations),
            alert.url,
            self._now,
            self._now,
            self._look_at,
        )

    def _put_members(self, alerts: Sequence[SeenAlert], handles: Mapping[_Key, int]) -> None:
        # Of what stands in a message twice, the last counts.
        members = {(handles[_key(each)], each.fingerprint): each for each in alerts}
        told = [
            (seq, print_, True, each.starts_at, self._now, rows.stored(each.labels))
            for (seq, print_), each in members.items()
        ]
        self._put(_MEMBER, _MEMBER_ROW, told, _MEMBER_KNOWN)

    def _put(
        self, insert: str, row: str, values: Sequence[tuple[Any, ...]], more: str = ""
    ) -> None:
        at = 0
        while left := len(values) - at:
            size = next(each for each in _AT_ONCE if each <= left)
            bound = [each for one in values[at : at + size] for each in one]
            self._cursor.execute(_statement(insert, row, size, more), bound)
            at += size

    def _resolve(self, alert: SeenAlert) -> str:
        episode = self._known(_key(alert))
        if episode is None:
            if found := early(self._cursor, alert):
                self.early.append(found)
            return "unknown"
        self._cursor.execute(_RESOLVE, (self._now, episode.seq, alert.fingerprint))
        if not self._cursor.rowcount:
            return "unknown"
        self._cursor.execute(_QUIET, {"seq": episode.seq, "now": self._now})
        return "resolved"


@cache
def _statement(insert: str, row: str, times: int, more: str) -> str:
    return insert + ", ".join([row] * times) + more


def _key(alert: SeenAlert) -> _Key:
    return alert.source, alert.key
