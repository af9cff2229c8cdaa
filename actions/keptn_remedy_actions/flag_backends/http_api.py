"""JSON over HTTP, as the stores of flags speak it: what each refusal means, within bounds."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast
from urllib.parse import quote

from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
)
from yarl import URL

from keptn_remedy import PermanentError, TemporaryError, proxy_for
from keptn_remedy_actions.flag_backends.compared import Raced
from keptn_remedy_actions.flag_backends.restoring import Gone
from keptn_remedy_actions.reaching import why_unreached

_TEMPORARY: Final = (408, 425, 429)
_RACED: Final = (409, 412)
_LONGEST_QUOTE: Final = 300
_LONGEST_DELAY: Final = 3600.0
_SHORTEST_SECRET: Final = 6  # a shorter one can't be recognised in other text
_QUOTED: Final = ("message", "detail", "error", "errorMessage", "title")
# Names that the stores give; "." and ".." would be parts of the path.
_NAME: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~-]{1,256}")


class Refused(PermanentError):
    """The store refuses with this status, which means nothing in general."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of 2xx; `body` is what its JSON holds, None where it has none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def map(self) -> dict[str, Any]:
        """The JSON object; an empty one where it is something else."""
        body: Any = self.body
        return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpApi:
    """The API of one store.

    Calls raise TemporaryError, or PermanentError: `Gone` for 404, `Raced` for 409 and 412.
    `secrets` are masked wherever the server repeats them; `account` names their setting.
    """

    http: ClientSession
    store: str
    url: str
    url_setting: str
    account: str
    headers: Mapping[str, str] = field(repr=False)
    secrets: Sequence[str] = field(repr=False)

    REQUEST_SECONDS: ClassVar[float] = 10.0
    LARGEST_ANSWER: ClassVar[int] = 4 * 1024 * 1024

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; `path` is made of `segment`s."""
        url = URL(f"{self.url}/{path}", encoded=True).update_query(query or {})
        try:
            status, its_headers, text = await self._exchange(method, url, body, headers or {})
        except TimeoutError:
            said = f"{self.store} at {self.url} did not answer within {self.REQUEST_SECONDS:g} s"
            raise TemporaryError(said) from None
        except ClientError as error:
            why = self._shown(why_unreached(error))
            said = f"{self.store} at {self.url} can't be reached: {why}"
            raise TemporaryError(said) from None
        if 200 <= status < 300:
            return Answer(status, its_headers, self._parsed(text))
        raise self._failure(status, its_headers, text)

    async def _exchange(
        self, method: str, url: URL, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = {"Accept": "application/json", **self.headers, **headers}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.http.request(
            method,
            url,
            headers=sent,
            data=None if body is None else json.dumps(body).encode(),
            proxy=proxy_for(url),
            timeout=ClientTimeout(self.REQUEST_SECONDS),
            allow_redirects=False,
            raise_for_status=False,
            middlewares=() if method == "GET" else (_Once(),),
        ) as response:
            text = b""
            async for chunk in response.content.iter_any():
                text += chunk
                if len(text) > self.LARGEST_ANSWER:
                    most = self.LARGEST_ANSWER // (1024 * 1024)
                    raise PermanentError(f"{self.store} answers with more than {most} MiB")
            return response.status, response.headers, text

    def _parsed(self, text: bytes) -> Any:
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self.stranger() from None

    def stranger(self) -> PermanentError:
        """The error for an answer that the store doesn't give."""
        said = f"{self.url} does not answer as the API of {self.store}: check {self.url_setting}"
        return PermanentError(said)

    def _failure(self, status: int, headers: Mapping[str, str], text: bytes) -> Exception:
        said = f"{status} {self._quoted(status, text)}".rstrip()
        if status >= 500 or status in _TEMPORARY:
            why = "limits the rate of requests" if status == 429 else "can't answer"
            return TemporaryError(f"{self.store} at {self.url} {why}: {said}", _delay(headers))
        if status < 400:
            return PermanentError(
                f"{self.url} redirects with {status}, which is not followed: correct"
                f" {self.url_setting}"
            )
        if status in _RACED:
            return Raced(f"{self.store} answers {said}")
        return self._refusal(status, said)

    def _refusal(self, status: int, said: str) -> PermanentError:
        if status == HTTPStatus.UNAUTHORIZED:
            return PermanentError(f"{self.store} does not know {self.account}: correct it")
        if status == HTTPStatus.FORBIDDEN:
            return PermanentError(f"{self.store} does not allow {self.account} to do this: {said}")
        if status == HTTPStatus.NOT_FOUND:
            return Gone(f"{self.store} answers {said}")
        return Refused(f"{self.store} refuses: {said}", status)

    def _quoted(self, status: int, text: bytes) -> str:
        """What the error says. An internal one may hold anything, so it is not quoted."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            return ""
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError):  # such as the page of a proxy
            return ""
        if isinstance(found, dict):
            fields = cast("dict[str, Any]", found)
            found = next((fields[name] for name in _QUOTED if fields.get(name)), "")
        if not isinstance(found, str):
            found = json.dumps(found) if found else ""
        return self._shown(found)

    def _shown(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
        return "".join(filter(str.isprintable, " ".join(text.split())))[:_LONGEST_QUOTE]


class _Once:
    """Sends a request once: aiohttp repeats a PUT by itself where no answer came, and its effect
    may be there already.
    """

    def __init__(self) -> None:
        self._is_sent = False

    async def __call__(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        if self._is_sent:
            raise ClientConnectionError("the connection was closed without an answer")
        self._is_sent = True
        return await send(request)


def segment(name: str, what: str = "flag") -> str:
    """A name as one part of a path; one that the stores can't have given is never sent.

    Escaping doesn't help: servers and proxies on the way may read %2E as a dot.
    """
    if not _NAME.fullmatch(name):
        raise PermanentError(
            f"{name!r} can't be the name of a {what}: those have up to 256 letters, digits and -_.~"
        )
    return quote(name, safe="")


def _delay(headers: Mapping[str, str]) -> float | None:
    """Seconds until another try may succeed: Retry-After, or LaunchDarkly's own header."""
    if (delay := retry_after(headers)) is not None:
        return delay
    reset = headers.get("X-Ratelimit-Reset", "")
    if reset.isascii() and reset.isdigit():  # milliseconds since 1970
        seconds = int(reset[:16]) / 1000 - _server_time(headers)
        return min(max(0.0, seconds), _LONGEST_DELAY)
    return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header (RFC 9110 §10.2.3); None where it has none."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_DELAY)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - _server_time(headers))
    except ValueError:
        return None


def _server_time(headers: Mapping[str, str]) -> float:
    """By the server's own clock, as ours may differ. Raises ValueError where it is no time."""
    sent_at = headers.get("Date")
    return email.utils.parsedate_to_datetime(sent_at).timestamp() if sent_at else time.time()
