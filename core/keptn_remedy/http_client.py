"""The HTTP session lent to actions: an error status raises a temporary or permanent error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar

from keptn_remedy.action import PermanentError, TemporaryError

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
# The server did nothing; after any other error the request may have had its effect.
NOT_TAKEN = frozenset({425, 429, 503})
_TEMPORARY = frozenset({408, 425, 429})


class Uncertain(TemporaryError):
    """A retry may help, but the failed attempt may have had its effect."""


def lent_session() -> ClientSession:
    """A session with time-outs and without cookies; the caller closes it."""
    return ClientSession(
        timeout=ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
        cookie_jar=DummyCookieJar(),
        raise_for_status=_raise_for_status,
    )


def is_temporary(status: int) -> bool:
    """Whether the same request may succeed later (RFC 9110 §15, 6585 §4, 8470 §5.2)."""
    return status >= 500 or status in _TEMPORARY


def retry_after(
    headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Seconds until the time that Retry-After names (RFC 9110 §10.2.3), at most 300; None where it
    names none. A date is compared with the peer's own clock, where the answer tells it.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            sent_at = headers.get("Date")
            answered_at = parsedate_to_datetime(sent_at) if sent_at else now()
            seconds = (parsedate_to_datetime(text) - answered_at).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


async def _raise_for_status(answer: ClientResponse) -> None:
    if answer.status < 400:
        return
    said = f"{answer.method} {answer.url.host} answered {answer.status} {answer.reason}"
    if is_temporary(answer.status):
        kind = TemporaryError if answer.status in NOT_TAKEN else Uncertain
        raise kind(said, retry_after(answer.headers))
    raise PermanentError(said)
