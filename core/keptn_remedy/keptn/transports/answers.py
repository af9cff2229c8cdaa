"""What an answer to a report means for it."""

from __future__ import annotations

from keptn_remedy.http_client import is_temporary, was_not_taken
from keptn_remedy.keptn.transports import Blocked, Rejected, Undelivered

# Answers about what was sent: the same body will never be taken. All others are about the way.
_ABOUT_THE_BODY = frozenset({400, 413, 422})


def failure(status: int, reason: str, retry_after: float | None) -> Undelivered | Rejected:
    """What an answer that is no 2xx means for the report."""
    if status in _ABOUT_THE_BODY:
        return Rejected(reason)
    if not is_temporary(status):
        return Blocked(reason)
    doubtful = not was_not_taken(status, retry_after)
    return Undelivered(reason, doubtful=doubtful, retry_after=retry_after)
