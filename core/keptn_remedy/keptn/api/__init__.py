"""Keptn's API, called from inside or outside its cluster: one client for all that ask."""

from __future__ import annotations

import random
from collections.abc import Mapping
from urllib.parse import quote

from yarl import URL

from keptn_remedy.keptn.api.connections import TOO_MANY, Connections, Reply
from keptn_remedy.keptn.api.credentials import Credentials, NoCredentials
from keptn_remedy.support.clock import Clock

__all__ = ["ApiClient", "Reply", "path_of"]

# Keptn's gateway answers 429 to more than one failed login a second.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
_UNKNOWN = (401, 403)


class ApiClient:
    """Keptn's API at one address.

    With credentials, after a 401, 403 or 429 nothing is sent until a pause is over, and then one
    request first; the others get a reply without a status. A 401 or 403 is tried again at once
    where the credentials have changed.
    """

    def __init__(
        self,
        api_url: str,
        credentials: Credentials | None = None,
        connections: Connections | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._api = URL(api_url)
        self._credentials = credentials or Credentials()
        self._connections = connections or Connections()
        self._pause = _Pause(clock or Clock()) if credentials else None

    @property
    def address(self) -> str:
        """Where it is, without user and password."""
        return str(self._api.with_user(None))

    async def get(self, path: str, query: Mapping[str, str]) -> Reply:
        """The response to one GET request. Never raises; redirects are not followed."""
        return await self._request("GET", self._url(path).with_query(query))

    async def post(self, path: str, body: bytes) -> Reply:
        """The response to one POST request with JSON. As `get`."""
        return await self._request("POST", self._url(path), body)

    async def put(self, path: str, body: bytes | None = None) -> Reply:
        """The response to one PUT request, perhaps with JSON. As `get`."""
        return await self._request("PUT", self._url(path), body)

    async def delete(self, path: str) -> Reply:
        """The response to one DELETE request. As `get`."""
        return await self._request("DELETE", self._url(path))

    async def close(self) -> None:
        await self._credentials.close()
        await self._connections.close()

    def _url(self, path: str) -> URL:
        return self._api.joinpath(path, encoded=True)

    async def _request(self, method: str, url: URL, body: bytes | None = None) -> Reply:
        if self._pause is None:
            return await self._sent(method, url, body)
        if (refused := self._pause.refused()) is not None:
            return refused
        number = self._pause.number
        reply = await self._sent(method, url, body)
        self._pause.note(reply, number)
        return reply

    async def _sent(self, method: str, url: URL, body: bytes | None) -> Reply:
        send, credentials = self._connections.request, self._credentials
        content = {"Content-Type": "application/json"} if body else {}
        try:
            given = await credentials.headers()
            reply = await send(method, url, headers={**given, **content}, data=body)
            if reply.status in _UNKNOWN and await credentials.renew(given):
                given = await credentials.headers()
                reply = await send(method, url, headers={**given, **content}, data=body)
        except NoCredentials as error:
            return Reply(None, str(error).encode(), is_refused=True)
        return reply


class _Pause:
    """Holds requests back while Keptn refuses them. `number` counts the pauses."""

    def __init__(self, clock: Clock) -> None:
        self.number = 0
        self._clock = clock
        self._refusal: Reply | None = None
        self._in_a_row = 0
        self._until = 0.0

    def refused(self) -> Reply | None:
        """The reply to a request that isn't sent; None for one that may be."""
        if self._refusal is None:
            return None
        now = self._clock.monotonic()
        if now < self._until:
            left, why = self._until - now, self._refusal.reason.encode()
            return Reply(None, why, retry_after=left, is_refused=True)
        self._until = now + FIRST_PAUSE_SECONDS  # the others wait for what this one is told
        return None

    def note(self, reply: Reply, number: int) -> None:
        """Begin a pause after a refusal, each time a longer one; end it after another response.

        Race: of requests that were under way together, the first one that is refused begins it.
        """
        if not reply.is_refused:
            if reply.status is not None:
                self._refusal, self._in_a_row = None, 0
        elif number == self.number:
            self.number += 1
            pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self._in_a_row, 10)
            if reply.status == TOO_MANY:
                pause = max(pause, reply.retry_after or 0.0)
            pause = min(pause, LONGEST_PAUSE_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311  (jitter, not a secret)
            self._until = self._clock.monotonic() + pause
            self._refusal, self._in_a_row = reply, self._in_a_row + 1


def path_of(*segments: str) -> str:
    """A URL path of these segments, each escaped, slashes included."""
    return "/".join(quote(segment, safe="") for segment in segments)
