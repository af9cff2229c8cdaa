"""Why an execution did not act, and when it could again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keptn_remedy.journal import WholeRecord
from keptn_remedy.ops.page.views.shown import rail_in

_ALLOWED = re.compile(r"allowed again at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
# A calendar speaks of local time, with its zone.
_OPENS = re.compile(r"allowed again (from [^;]+)")
# Left out of the sentence where it is told by itself.
_TOLD_APART = re.compile(r"; allowed again (?:at|from) [^;]+")
# What has to happen first, where no time is known.
_UNTIL: Mapping[str, str] = {
    "pause": "free again once somebody resumes",
    "decision": "free again once the policy says otherwise",
    "suspended": "free again once a person resumes the target",
    "approval": "free again at once: the next execution asks anew",
    "at-once": "free again once other executions have ended and settled",
    "storm": "free again once fewer targets of the stage were touched lately; first look for the"
    " cause that they share",
    "calendar": "free again inside the next window",
    "replicas": "free again for a plan within the limits",
    "resources": "free again for a plan within the limits",
    "targets": "free again for a plan with fewer targets",
    "target": "free again once the action names its targets",
    "action": "the action itself refused",
    "stale": "Keptn did not say whether it still waits",
}


@dataclass(frozen=True, slots=True)
class WhyNot:
    """A sentence; the rail and the rule behind it, if one refused; when it is free again, or what
    has to happen first.
    """

    sentence: str
    rail: str
    rule: str
    free_at: datetime | None
    until: str


def why_not(record: WholeRecord, peer: str) -> WhyNot | None:
    """Why it did not act; None if it did, or may still. `peer` had asked for it."""
    if record.state != "finished":
        return None
    details = record.details
    rail = details.get("rail")
    if isinstance(rail, str) and (rail_in(record.message) or rail == "action"):
        return _refused(record, rail, details)
    if record.status == "aborted":
        why = record.aborted or record.message or "its task was ended"
        who = f"{peer} no longer waits" if peer else "Nobody waits"
        return WhyNot(f"{who} for it: {why}", "", "", None, "")
    message = record.message or ""
    if message.startswith("dry run"):
        return WhyNot(message, "", "", None, "acts where neither a rule nor REMEDY_DRY_RUN says so")
    return None


def _refused(record: WholeRecord, rail: str, details: Mapping[str, Any]) -> WhyNot:
    free_at = free_again(record.message or "", record.finished_at, details)
    rule = str(details.get("rule", ""))
    opens = _OPENS.search(record.message or "")
    until = "" if free_at else f"free again {opens[1]}" if opens else _UNTIL.get(rail, "")
    sentence = _TOLD_APART.sub("", record.message or "")
    return WhyNot(sentence, rail, rule, free_at, until)


def free_again(
    message: str, refused_at: datetime | None, details: Mapping[str, Any]
) -> datetime | None:
    """When a rail lets it act again, as far as the refusal says."""
    if found := _ALLOWED.search(message):
        return datetime.fromisoformat(found[1])
    left = details.get("seconds_left")
    if refused_at and isinstance(left, int | float) and not isinstance(left, bool) and left >= 0:
        return refused_at + timedelta(seconds=float(min(left, 1e9)))
    return None
