"""How executions, times and outcomes are put for people, alike on every screen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keptn_remedy.action import Plan
from keptn_remedy.journal import Record, UndoState
from keptn_remedy.support.page_paths import path_of

_REFUSED = re.compile(r"refused by guard-rail (\S+) \(")
_UNDO_WORDS: Mapping[UndoState, str] = {
    "armed": "will be undone",
    "wanted": "undo ordered",
    "running": "being undone",
    "done": "undone",
    "refused": "undo refused",
    "failed": "undo failed",
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in a word and a sign, so that it is not told by its colour alone. `tone` is one of
    good, warn, bad, busy, wait, off.
    """

    words: str
    sign: str
    tone: str


BADGES: Mapping[str, Badge] = {
    "pass": Badge("pass", "✓", "good"),
    "warning": Badge("warning", "!", "warn"),
    "fail": Badge("fail", "✕", "bad"),
    "errored": Badge("errored", "✕", "bad"),
    "aborted": Badge("aborted", "◼", "off"),
    "refused": Badge("refused", "⊘", "warn"),
    "running": Badge("running", "▸", "busy"),
    "accepted": Badge("waits for its turn", "…", "wait"),
    "waiting": Badge("waits for a person", "?", "wait"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One execution in a list."""

    id: str
    address: str
    badge: Badge
    action: str
    scope: str
    accepted_at: datetime
    took: str
    message: str
    undone: str


def row(record: Record, *, is_asking: bool = False) -> Row:
    """An execution in a list."""
    return Row(
        id=record.id,
        address=path_of(record.id),
        badge=badge(record, is_asking=is_asking),
        action=record.action,
        scope=scope(record),
        accepted_at=record.accepted_at,
        took=took(record),
        message=record.message or "",
        undone=_UNDO_WORDS.get(record.undone, "") if record.undone else "",
    )


def badge(record: Record, *, is_asking: bool = False) -> Badge:
    """How it stands."""
    if record.state == "accepted":
        return BADGES["accepted"]
    if record.state == "started":
        return BADGES["waiting" if is_asking else "running"]
    if record.status != "succeeded":
        return BADGES.get(record.status or "", BADGES["errored"])
    if rail_in(record.message):
        return BADGES["refused"]
    return BADGES.get(record.result or "", BADGES["fail"])


def rail_in(message: str | None) -> str | None:
    """The guard-rail that refused an execution, as its message says; None if none did."""
    found = _REFUSED.match(message or "")
    return found[1] if found else None


def scope(record: Record) -> str:
    """Whom it is about."""
    return f"{record.project} / {record.stage} / {record.service}"


def took(record: Record) -> str:
    """From the event to the end, as far as it has ended."""
    if record.finished_at is None:
        return ""
    return lasted((record.finished_at - record.accepted_at).total_seconds())


def lasted(seconds: float) -> str:
    """A duration, as short as people say it."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    large, small, size = ("min", "s", 60) if seconds < 3600 else ("h", "min", 3600)
    whole, rest = divmod(round(seconds * 60 / size), 60)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"


@dataclass(frozen=True, slots=True)
class Diff:
    """One change, as two lines. `picture` tells whether both are numbers, or both on or off."""

    target: str
    field: str
    before: str
    after: str
    picture: str
    is_same: bool


def diffs(plan: Plan | None) -> list[Diff]:
    """The changes of a plan."""
    return [
        Diff(
            each.target,
            each.field,
            value(each.before),
            value(each.after),
            _kind(each.before, each.after),
            each.before == each.after,
        )
        for each in (plan.changes if plan else ())
    ]


def value(given: Any) -> str:
    """A value of a change, as people read it: flags are on and off."""
    if isinstance(given, bool):
        return "on" if given else "off"
    if given is None:
        return "nothing"
    if isinstance(given, str):
        return given or '""'
    if isinstance(given, float) and given.is_integer():
        return f"{given:.0f}"
    return _json(given)


def _json(given: Any) -> str:
    import orjson

    return orjson.dumps(given, option=orjson.OPT_SORT_KEYS).decode()


def _kind(before: Any, after: Any) -> str:
    if isinstance(before, bool) and isinstance(after, bool):
        return "switch"
    both = (before, after)
    if all(isinstance(it, int | float) and not isinstance(it, bool) for it in both):
        return "bars"
    return ""


def moment(unix: float) -> datetime:
    """A Unix time in seconds."""
    return datetime.fromtimestamp(unix, UTC)
