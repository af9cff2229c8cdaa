"""Keptn's API, called from inside or outside its cluster: one client for all that ask."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from yarl import URL

from keptn_remedy.keptn.api.connections import Connections, Reply
from keptn_remedy.keptn.api.credentials import Credentials, NoCredentials
from keptn_remedy.keptn.api.pauses import Pauses
from keptn_remedy.support.clock import Clock

__all__ = ["ApiClient", "Reply", "path_of"]


class ApiClient:
    """Keptn's API at one address.

    With credentials, after a 401 or 429 nothing is sent until a pause is over, and then one request
    first; the others get a reply without a status. After a 403 that holds for its path alone. A 401
    or 403 is tried again at once where the credentials have changed.
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
        self._pauses = Pauses(clock or Clock()) if credentials else None

    @property
    def address(self) -> str:
        """Where it is, without user and password."""
        return str(self._api.with_user(None))

    @property
    def credentials(self) -> Credentials | None:
        """What its requests carry, if anything."""
        return self._credentials if self._pauses else None

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
        if self._pauses is None:
            return await self._sent(method, url, body)
        place = f"{method} {url.raw_path}"
        if (refused := self._pauses.refused(place)) is not None:
            return refused
        numbers = self._pauses.numbers(place)
        reply = await self._sent(method, url, body)
        self._pauses.note(place, reply, numbers)
        return reply

    async def _sent(self, method: str, url: URL, body: bytes | None) -> Reply:
        send, credentials = self._connections.request, self._credentials
        content = {"Content-Type": "application/json"} if body else {}
        try:
            given = await credentials.headers()
            reply = await send(method, url, headers={**given, **content}, data=body)
            if await credentials.renew(given, reply.status):
                given = await credentials.headers()
                reply = await send(method, url, headers={**given, **content}, data=body)
        except NoCredentials as error:
            return Reply(None, str(error).encode(), is_refused=True)
        return reply


def path_of(*segments: str) -> str:
    """A URL path of these segments, each escaped, slashes included."""
    return "/".join(quote(segment, safe="") for segment in segments)
