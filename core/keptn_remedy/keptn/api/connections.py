"""HTTP connections to Keptn's API and its login: TLS, the proxy, limits of time and size."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientProxyConnectionError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
)
from yarl import URL

from keptn_remedy.http_client import in_words, retry_after
from keptn_remedy.support.proxy import proxy_for

ASK_SECONDS = 5.0
# Over the internet an answer may be large, and slow.
REMOTE_SECONDS, CONNECT_SECONDS = 30.0, 5.0
MAX_ANSWER_BYTES = 32 * 1024**2
UNKNOWN, FORBIDDEN, TOO_MANY = 401, 403, 429
REFUSALS = (UNKNOWN, FORBIDDEN, TOO_MANY)
_NOTHING_SENT = (ClientConnectorError, ClientHttpProxyError, ConnectionTimeoutError)


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. Without a status there was none that could be used, and `body` says why.

    `retry_after` is how many seconds the peer asked us to wait. `doubtful`: the request may have
    had its effect although there was no response. `is_refused`: the peer doesn't know us, or has
    had too many requests.
    """

    status: int | None
    body: bytes
    retry_after: float | None = None
    doubtful: bool = False
    is_refused: bool = False

    @property
    def reason(self) -> str:
        """Why it is of no use, as the end of a sentence about who answered."""
        return f"answered {self.status}" if self.status else self.body.decode()


class Connections:
    """Connections that keep no cookies and follow no redirects.

    `tls` is False where no certificate is checked. With `is_remote` they go through the proxy of
    the environment, and may take longer.
    """

    def __init__(self, *, tls: ssl.SSLContext | bool = True, is_remote: bool = False) -> None:
        self._tls = tls
        self._is_remote = is_remote
        self._session: ClientSession | None = None

    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        data: bytes | Mapping[str, str] | None = None,
    ) -> Reply:
        """The response to one request. Never raises."""
        proxy = None
        try:
            proxy = proxy_for(url) if self._is_remote else None
            async with self._open_session().request(
                method,
                url,
                headers=headers,
                data=data,
                proxy=proxy,
                ssl=self._tls,
                allow_redirects=False,
            ) as answer:
                return await _read(answer)
        except (ClientError, TimeoutError, OSError, ValueError) as error:
            is_doubtful = not isinstance(error, _NOTHING_SENT)
            return Reply(None, self._why(error, proxy).encode(), doubtful=is_doubtful)

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    def _open_session(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                timeout=ClientTimeout(total=self._seconds, sock_connect=CONNECT_SECONDS),
                cookie_jar=DummyCookieJar(),
            )
        return self._session

    @property
    def _seconds(self) -> float:
        return REMOTE_SECONDS if self._is_remote else ASK_SECONDS

    def _why(self, error: Exception, proxy: URL | None) -> str:
        """What went wrong, as the end of a sentence about who should have answered."""
        if isinstance(error, ClientHttpProxyError | ClientProxyConnectionError) and proxy:
            status = (
                f": it answered {error.status}" if isinstance(error, ClientHttpProxyError) else ""
            )
            return f"can't be reached through the proxy {proxy.host}:{proxy.port}{status}"
        if isinstance(error, ClientConnectorCertificateError):
            why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return f"has a certificate that isn't trusted: {why}"
        if isinstance(error, ClientConnectorError):
            return f"can't be reached: {error.os_error.strerror or error.os_error}"
        if isinstance(error, ConnectionTimeoutError):
            return f"can't be reached: no connection within {CONNECT_SECONDS:g} s"
        if isinstance(error, TimeoutError):
            return f"didn't answer within {self._seconds:g} s"
        # A ValueError is about the address, the proxy or a header.
        did = "can't be asked" if isinstance(error, ValueError) else "broke off"
        return f"{did}: {in_words(error)}"


def tls_of(ca_file: Path | None, *, is_verified: bool) -> ssl.SSLContext | bool:
    """What checks certificates: with the system's authorities, and those in the file.

    Raises:
        OSError: the file can't be read, or holds no certificates.
    """
    if not is_verified:
        return False
    if ca_file is None:
        return True
    context = ssl.create_default_context()
    context.load_verify_locations(ca_file)
    return context


async def _read(answer: ClientResponse) -> Reply:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return Reply(None, b"answered with over 32 MiB", doubtful=True)
    status = answer.status
    is_refused = status in REFUSALS
    return Reply(status, bytes(body), retry_after(answer.headers), is_refused=is_refused)
