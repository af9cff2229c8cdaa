"""What an answer to a report means for it."""

from __future__ import annotations

from keptn_remedy.http_client import is_temporary
from keptn_remedy.keptn.transports import Blocked, Rejected, Undelivered

# Answers about what was sent: the same body will never be taken. All others are about the way.
_ABOUT_THE_BODY = frozenset({400, 413, 422})
# A proxy or a service mesh also answers 503 when what is behind it took the report and then broke
# off the connection: it is asked for before it is sent again.
_NOT_TAKEN = frozenset({425, 429})


def failure(status: int, reason: str, retry_after: float | None) -> Undelivered | Rejected:
    """What an answer that is no 2xx means for the report."""
    if status in _ABOUT_THE_BODY:
        return Rejected(reason)
    if not is_temporary(status):
        return Blocked(reason)
    return Undelivered(reason, doubtful=status not in _NOT_TAKEN, retry_after=retry_after)
