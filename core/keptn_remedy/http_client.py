"""The HTTP session lent to actions: errors and redirects raise temporary or permanent errors."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientHandlerType,
    ClientMiddlewareType,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
)
from yarl import URL

from keptn_remedy.action import PermanentError, TemporaryError

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
_TEMPORARY = frozenset({408, 425, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What another host needs of a request. Any other header may be a secret: X-Api-Key, X-Vault-Token.
_HARMLESS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)


class Uncertain(TemporaryError):
    """A retry may help, but the failed attempt may have had its effect."""


with warnings.catch_warnings():
    # aiohttp discourages it, but a session has no setting for redirects.
    warnings.simplefilter("ignore", DeprecationWarning)

    class _LentSession(ClientSession):
        """Follows a redirect only where a request says `allow_redirects=True`.

        aiohttp follows by default: a redirected POST becomes a GET, whose 200 looks like success.
        """

        def get(self, url: str | URL, *, allow_redirects: bool = False, **more: Any) -> Any:
            return super().get(url, allow_redirects=allow_redirects, **more)

        def options(self, url: str | URL, *, allow_redirects: bool = False, **more: Any) -> Any:
            return super().options(url, allow_redirects=allow_redirects, **more)

        async def _request(
            self,
            method: str,
            str_or_url: str | URL,
            *,
            allow_redirects: bool = False,
            middlewares: Sequence[ClientMiddlewareType] | None = None,
            **more: Any,
        ) -> ClientResponse:
            return await super()._request(
                method,
                str_or_url,
                allow_redirects=allow_redirects,
                middlewares=(*(middlewares or ()), _SecretsStay()),
                **more,
            )


class _SecretsStay:
    """Keeps the headers of one request from any origin but the first; aiohttp keeps only some."""

    def __init__(self) -> None:
        self._origin: URL | None = None

    async def __call__(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        origin = request.url.origin()
        self._origin = self._origin or origin
        if origin != self._origin:
            for name in set(request.headers):
                if name.lower() not in _HARMLESS:
                    del request.headers[name]
        return await send(request)


def lent_session() -> ClientSession:
    """A session with time-outs and without cookies; the caller closes it."""
    return _LentSession(
        timeout=ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS),
        cookie_jar=DummyCookieJar(),
        raise_for_status=_raise_for_status,
    )


def in_words(error: BaseException) -> str:
    """The type of an error and its message, without the request's headers, which the `repr` of
    aiohttp's errors shows; or why there was no connection.
    """
    if isinstance(error, ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return f"has a certificate that isn't trusted: {why}"
    if isinstance(error, ClientConnectorError):
        return f"can't be reached: {_of_the_system(error.os_error)}"
    said = error.message if isinstance(error, ClientResponseError) else str(error)
    return ": ".join(filter(None, (type(error).__name__, said)))


def _of_the_system(error: OSError) -> str:
    if error.errno is None or error.errno <= 0:  # from the resolver
        return error.strerror or str(error)
    return os.strerror(error.errno)


def is_temporary(status: int) -> bool:
    """Whether the same request may succeed later (RFC 9110 §15, 6585 §4, 8470 §5.2)."""
    return status >= 500 or status in _TEMPORARY


def was_not_taken(status: int, retry_after: float | None) -> bool:
    """Whether the server did nothing. After any other error the request may have had its effect: a
    proxy answers 503, too, when what is behind it breaks off, and tells no time to come back.
    """
    return status in {425, 429} or (status == 503 and retry_after is not None)


def retry_after(
    headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Seconds until the time that Retry-After names (RFC 9110 §10.2.3), at most 300; None where it
    names none. A date is compared with the peer's own clock, where the answer tells it.
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            sent_at = headers.get("Date")
            answered_at = parsedate_to_datetime(sent_at) if sent_at else now()
            seconds = (parsedate_to_datetime(text) - answered_at).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


async def _raise_for_status(answer: ClientResponse) -> None:
    said = f"{answer.method} {answer.url.host} answered {answer.status} {answer.reason}"
    if answer.status in _REDIRECTS:
        raise PermanentError(
            f"{said}, a redirect{_target(answer)}: correct the address, or pass"
            " allow_redirects=True to follow it"
        )
    if answer.status < 400:
        return
    if is_temporary(answer.status):
        delay = retry_after(answer.headers)
        kind = TemporaryError if was_not_taken(answer.status, delay) else Uncertain
        raise kind(said, delay)
    raise PermanentError(said)


def _target(answer: ClientResponse) -> str:
    """Where it leads, without a path or query that may hold secrets."""
    try:
        return f" to {answer.url.join(URL(answer.headers['Location'])).origin()}"
    except (KeyError, ValueError):
        return ""
