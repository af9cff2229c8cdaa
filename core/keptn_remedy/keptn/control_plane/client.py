"""A client of Keptn's HTTP API with limits of time and size, which follows no redirect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

ASK_SECONDS = 5.0
MAX_ANSWER_BYTES = 32 * 1024**2


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. Without a status there was none that could be used, and `body` says why."""

    status: int | None
    body: bytes

    @property
    def reason(self) -> str:
        """Why it is of no use, as the end of a sentence about who answered."""
        return f"answered {self.status}" if self.status else self.body.decode()


class ApiClient:
    """Keptn's API at one address, with its token."""

    def __init__(self, api_url: str, token: str | None) -> None:
        self._api = URL(api_url)
        self._headers = {"x-token": token} if token else {}
        self._session: ClientSession | None = None

    async def get(self, path: str, query: Mapping[str, str]) -> Reply:
        """The response to one GET request. Never raises; redirects are not followed."""
        return await self._request("GET", self._url(path).with_query(query))

    async def post(self, path: str, body: bytes) -> Reply:
        """The response to one POST request with JSON. As `get`."""
        return await self._request("POST", self._url(path), body)

    def _url(self, path: str) -> URL:
        return self._api.joinpath(path, encoded=True)

    async def _request(self, method: str, url: URL, body: bytes | None = None) -> Reply:
        if self._session is None:
            self._session = ClientSession(
                timeout=ClientTimeout(total=ASK_SECONDS), cookie_jar=DummyCookieJar()
            )
        headers = {**self._headers, "Content-Type": "application/json"} if body else self._headers
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return await _read(answer)
        except (ClientError, TimeoutError, OSError) as error:
            return Reply(None, repr(error).encode())

    async def close(self) -> None:
        if self._session:
            await self._session.close()


async def _read(answer: ClientResponse) -> Reply:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            return Reply(None, b"answered with over 32 MiB")
    return Reply(answer.status, bytes(body))


def path_of(*segments: str) -> str:
    """A URL path of these segments, each escaped, slashes included."""
    return "/".join(quote(segment, safe="") for segment in segments)
