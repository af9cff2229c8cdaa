"""The running service that a command is about: named by options or variables, called by HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import orjson

from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.settings import PREFIX, CommandSettings
from keptn_remedy.support import variables

if TYPE_CHECKING:
    from aiohttp import StreamReader

T = TypeVar("T")

ANSWER_SECONDS = 30.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024  # a page of 500 executions has 2 MB at most
SERVER, TOKEN_FILE = "REMEDY_SERVER", "REMEDY_TOKEN_FILE"
# The options of this command, under the names of their variables.
_OPTIONS: ContextVar[Mapping[str, str]] = ContextVar("options", default={})  # noqa: B039  never set
_NO_ORDERS = "the service takes no orders: its REMEDY_OPERATOR_TOKEN_FILE is not set"


class ServerError(Exception):
    """The service could not be asked, or refused; the message says why. `status` is its answer's,
    0 if there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def choose(name: str, value: str) -> None:
    """Let an option of this command win over its variable."""
    _OPTIONS.set({**_OPTIONS.get(), name: value})


def chosen() -> RemoteService | None:
    """The service that options or variables name; None where a command opens the journal itself.

    Raises:
        SettingsError: they hold a mistake.
    """
    given = named()
    if given.server is None:
        return None
    return RemoteService(str(given.server), given.token.get_secret_value() if given.token else None)


def named() -> CommandSettings:
    """What options or variables say of a running service.

    Raises:
        SettingsError: they hold a mistake.
    """
    found = {**variables.read(os.environ), **_OPTIONS.get()}
    return variables.build(CommandSettings, PREFIX, found)


class RemoteService:
    """The ops port of a running service, at this address."""

    def __init__(self, url: str, token: str | None = None, seconds: float = ANSWER_SECONDS) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._seconds = seconds
        self._session: Any = None

    async def get(self, path: str, **query: object) -> Any:
        """The JSON that it answers.

        Raises:
            ServerError: no answer, or an error.
        """
        given = {name: str(value) for name, value in query.items() if value is not None}
        return await self._ask("GET", path, params=given)

    async def order(self, path: str, **body: object) -> Any:
        """Give an order; the JSON that it answers.

        Raises:
            ServerError: no answer, or it refused.
        """
        given = {name: value for name, value in body.items() if value is not None}
        headers = {"Content-Type": "application/json"}
        if self._token:  # reading needs none, so it is not shown to more servers than it must be
            headers["Authorization"] = f"Bearer {self._token}"
        return await self._ask("POST", path, data=orjson.dumps(given), headers=headers)

    def understood(self, read: Callable[[Any], T], found: Any) -> T:
        """What an answer means.

        Raises:
            ServerError: `read` raises a ValueError.
        """
        try:
            return read(found)
        except ValueError as error:
            why = f"answered what this release can't read ({error})"
            raise ServerError(f"{self.url} {why}: is it of another release?") from None

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        from aiohttp import ClientError
        from yarl import URL

        try:
            # Followed, an order would become a GET, which some answer as if it were done.
            asked = self._opened().request(
                method, URL(f"{self.url}{path}", encoded=True), allow_redirects=False, **request
            )
            async with asked as answer:
                body, status = await self._read(answer.content), answer.status
                leads_to = answer.headers.get("Location", "")
        except (ClientError, TimeoutError) as error:
            raise ServerError(f"can't reach {self.url}: {self._why(error)}") from None
        if 300 <= status < 400:
            why = f"answered {status}, and leads to {leads_to or 'nowhere'}"
            raise ServerError(f"{self.url} {why}; name the ops port itself as the server", status)
        if status < 300 or path == "/readyz":
            return self._parsed(body)
        raise ServerError(self._refusal(method, path, status, body), status)

    async def _read(self, content: StreamReader) -> bytes:
        found = bytearray()
        while chunk := await content.readany():
            found += chunk
            if len(found) > MAX_ANSWER_BYTES:
                raise ServerError(f"{self.url} answered more than {MAX_ANSWER_BYTES:,} bytes")
        return bytes(found)

    def _opened(self) -> Any:
        from aiohttp import ClientSession, ClientTimeout

        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=self._seconds))
        return self._session

    def _parsed(self, body: bytes) -> Any:
        with suppress(orjson.JSONDecodeError):
            found = orjson.loads(body)
            if is_object(found):
                return found
        raise ServerError(f"{self.url} is not the ops port of a keptn-remedy")

    def _refusal(self, method: str, path: str, status: int, body: bytes) -> str:
        title = self._title(body)
        if status == 401:
            return f"{self.url} answered: {title or 'unauthorized'}; see --token-file"
        if title is None:
            return f"{self.url} is not the ops port of a keptn-remedy: it answered {status}"
        if method == "POST" and title in ("Not Found", "Method Not Allowed"):
            return f"{_NO_ORDERS} (POST {path} was answered {status})"
        return title

    def _title(self, body: bytes) -> str | None:
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        title = found.get("title") if is_object(found) else None
        return title if isinstance(title, str) else None

    def _why(self, error: Exception) -> str:
        from keptn_remedy.cli.send_command import why_unanswered

        if isinstance(error, TimeoutError):
            return f"no answer within {self._seconds:g} s"
        return why_unanswered(error)


def of_execution(execution_id: str) -> str:
    """The path of an execution."""
    return f"/api/executions/{segment(execution_id)}"


def segment(name: str) -> str:
    """A name as one segment of a path, also if it is `.` or `..`, which paths take out."""
    return quote(name, safe="").replace(".", "%2E")
