"""One notification for many: what a storm becomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from keptn_remedy.notifications.notification import Notification, Severity

MAX_LINES = 15
# What somebody has to do comes first.
_ORDER = ("approval", "suspended", "parked", "paused", "failed", "undone", "refused")


def summary(of: Sequence[Notification], page_url: str | None) -> Notification:
    """What tells of all of these, those first that need somebody."""
    in_order = sorted(of, key=lambda each: _ORDER.index(each.kind) if each.kind in _ORDER else 0)
    counts = Counter(each.kind for each in in_order)
    lines = [_line(each) for each in in_order[:MAX_LINES]]
    more = len(in_order) - MAX_LINES
    projects = {each.facts.get("project", "") for each in in_order}
    severities: tuple[Severity, ...] = get_args(Severity)
    worst: Severity = severities[max(severities.index(each.severity) for each in of)]
    return Notification(
        key=f"summary {min(each.at for each in of)}",
        kind="summary",
        severity=worst,
        title=f"{len(of)} notifications: {', '.join(f'{n} {kind}' for kind, n in counts.items())}",
        text="\n".join([*lines, f"and {more} more"] if more > 0 else lines),
        at=max(each.at for each in of),
        facts={"project": projects.pop()} if len(projects) == 1 else {},
        link=page_url,
    )


def _line(one: Notification) -> str:
    how = f" ({one.command})" if one.command and not one.is_over else ""
    return f"{one.title}{how}"
