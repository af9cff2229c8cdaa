"""What time it is by the clock of a server that is asked, which may differ from ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

# A header of whole seconds, and an answer that takes its time, tell no smaller difference.
TOLD_SECONDS = 2.0


def answered_at(headers: Mapping[str, str], ours: float) -> float:
    """The Unix time at which the server answered, by its own clock (RFC 9110 §6.6.1): up to a
    second early. `ours` where the answer has no such header.
    """
    try:
        sent = parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return ours
    at = (sent if sent.tzinfo else sent.replace(tzinfo=UTC)).timestamp()
    age = headers.get("Age", "")
    # A cache has kept it for so long.
    return at + int(age) if age.isascii() and age.isdigit() and len(age) < 10 else at


def ahead(headers: Mapping[str, str], asked_at: float) -> float:
    """By how many seconds our clock is ahead of the server's at least, where it showed `asked_at`
    before the server was asked. Negative where it is behind; 0 where they differ by less than can
    be told.
    """
    found = asked_at - answered_at(headers, asked_at)
    return found - 1.0 if abs(found) > TOLD_SECONDS else 0.0
