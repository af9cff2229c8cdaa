"""Ends that come in before their beginnings: nothing orders what a sender repeats."""

from __future__ import annotations

from datetime import datetime

from keptn_remedy.journal.episode_values import Ignored, SeenAlert
from keptn_remedy.journal.store import Cursor

# For so long a beginning may be on its way that its end has overtaken.
REMEMBERED_SECONDS = 3600.0

_WHY = "it ended before it was told that it began"
_EARLY = "SELECT reason FROM ignored_alerts WHERE source = ? AND name = ? AND seen_at >= ?"
_KNOWN = "SELECT 1 FROM episodes WHERE source = ? AND alert_key = ? LIMIT 1"


def early(cursor: Cursor, alert: SeenAlert) -> Ignored | None:
    """What is kept of an end that matches no open episode; None where its beginning was known, or
    where senders list what fires.
    """
    if not alert.fires_once or cursor.execute(_KNOWN, (alert.source, alert.key)).fetchone():
        return None
    return Ignored(alert.source, _name(alert), f"{_mark(alert)}{alert.starts_at}")


def is_over(cursor: Cursor, alert: SeenAlert, now: float) -> bool:
    """Whether the end of what this tells has come in before it. What has begun after that end, by
    the times that the sender gives both, is news.
    """
    if not alert.fires_once:
        return False
    mark, since = _mark(alert), now - REMEMBERED_SECONDS
    kept = cursor.execute(_EARLY, (alert.source, _name(alert), since)).fetchall()
    ends = [str(reason).removeprefix(mark) for (reason,) in kept if str(reason).startswith(mark)]
    return any(not _is_after(alert.starts_at, end) for end in ends)


def _name(alert: SeenAlert) -> str:
    return alert.labels.get("alertname") or alert.key


def _mark(alert: SeenAlert) -> str:
    return f"{_WHY}: {alert.key} "


def _is_after(began: str, ended: str) -> bool:
    try:
        return datetime.fromisoformat(began) > datetime.fromisoformat(ended)
    except (ValueError, TypeError):
        return False
