"""Keptn's events: reading and writing CloudEvents, the trigger, and our replies to it."""

from keptn_remedy.events.cloud_event import (
    STRUCTURED,
    Event,
    NotACloudEvent,
    read,
    read_structured,
)
from keptn_remedy.events.endings import PROBLEM, closed_problem, is_an_ending
from keptn_remedy.events.replies import (
    FINISHED,
    LOG_ERROR,
    MAX_REPORT_BYTES,
    STARTED,
    STATUS_CHANGED,
    Replies,
    Report,
    ReportKind,
    as_text,
    report_id,
)
from keptn_remedy.events.trigger import (
    MAX_ATTRIBUTE_CHARACTERS,
    TRIGGERED,
    ActionTriggered,
    Problem,
    Unusable,
    stored_trigger,
    trigger_of,
)

__all__ = [
    "FINISHED",
    "LOG_ERROR",
    "MAX_ATTRIBUTE_CHARACTERS",
    "MAX_REPORT_BYTES",
    "PROBLEM",
    "STARTED",
    "STATUS_CHANGED",
    "STRUCTURED",
    "TRIGGERED",
    "ActionTriggered",
    "Event",
    "NotACloudEvent",
    "Problem",
    "Replies",
    "Report",
    "ReportKind",
    "Unusable",
    "as_text",
    "closed_problem",
    "is_an_ending",
    "read",
    "read_structured",
    "report_id",
    "stored_trigger",
    "trigger_of",
]
