"""Unleash's admin API: the calls that toggle-feature needs, and what each refusal means."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout
from pydantic import ValidationError
from yarl import URL

from keptn_remedy import PermanentError, TemporaryError, proxy_for
from keptn_remedy_actions.flag_backends import near
from keptn_remedy_actions.flag_backends.http_api import retry_after
from keptn_remedy_actions.flag_backends.restoring import Gone
from keptn_remedy_actions.flag_backends.unleash_feature import (
    Feature,
    FlagState,
    InEnvironment,
    Names,
    Refusal,
)
from keptn_remedy_actions.reaching import why_unreached

_TEMPORARY: Final = (408, 425, 429)
_LONGEST_QUOTE: Final = 300
# What encodeURIComponent leaves as it is (Unleash's `nameType`).
_NAME: Final = re.compile(r"[A-Za-z0-9\-_.~!*'()]{1,100}")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def refusal(self) -> Refusal:
        try:
            return Refusal.model_validate_json(self.body)
        except ValidationError:  # such as the page of a proxy
            return Refusal()

    def __str__(self) -> str:
        # The message of an internal error may be that of the database, with its SQL.
        message = "" if self.status == HTTPStatus.INTERNAL_SERVER_ERROR else self.refusal.message
        words = f"{self.status} {self.refusal.name} {message}".split()
        return "".join(filter(str.isprintable, " ".join(words)))[:_LONGEST_QUOTE]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnleashApi:
    """The admin API for one environment of one project.

    Calls raise TemporaryError, PermanentError or `Gone`, which say what to do.
    """

    http: ClientSession
    url: str
    token: str
    project: str
    environment: str
    timeout_seconds: float

    @property
    def place(self) -> str:
        return f"{self.environment} (Unleash project {self.project})"

    async def read(self, flag: str) -> FlagState:
        """The flag's state in this environment."""
        answer = await self._send("GET", flag, or_missing=True)
        if answer.status == 404:
            raise await self._missing(flag, answer)
        try:
            feature = Feature.model_validate_json(answer.body)
        except ValidationError:
            raise PermanentError(
                f"{self.url} does not answer as Unleash's admin API: check UNLEASH_URL"
            ) from None
        if feature.archived:  # old releases answer 200
            raise self._archived(flag)
        for found in feature.environments:
            if found.name == self.environment:
                return FlagState(
                    **dict(found), parents=feature.dependencies, children=feature.children
                )
        raise self._no_environment(feature.environments)

    async def look(self, flag: str) -> FlagState | None:
        """The state of a flag that is only looked at; None where it can't be read."""
        try:
            return await self.read(flag)
        except (PermanentError, TemporaryError):
            return None

    async def switch(self, flag: str, *, on: bool) -> None:
        """Switch the flag. One that is so already stays, without an event in Unleash."""
        await self._send("POST", flag, "environments", self.environment, "on" if on else "off")

    async def delete_strategy(self, flag: str, strategy: str) -> None:
        """Delete a strategy; with the last one, Unleash switches the flag off."""
        where = ("environments", self.environment, "strategies", strategy)
        await self._send("DELETE", flag, *where, or_missing=True)

    async def set_rollout(self, flag: str, strategy: str, percent: str) -> None:
        """Set the percentage of a strategy, which stays as it is otherwise (JSON Patch)."""
        where = ("environments", self.environment, "strategies", strategy)
        change = {"op": "replace", "path": "/parameters/rollout", "value": percent}
        await self._send("PATCH", flag, *where, body=[change])

    async def _missing(self, flag: str, answer: _Answer) -> PermanentError:
        # An archived flag answers 404, but its environments still answer 200.
        where = ("environments", self.environment)
        if (await self._send("GET", flag, *where, or_missing=True)).status == 200:
            return self._archived(flag)
        return self._unknown(flag, answer, near(flag, await self._names()))

    async def _names(self) -> Collection[str]:
        """The project's flags, as far as they can be read; only a hint depends on it."""
        try:
            answer = await self._answer("GET", ("projects", self.project, "features"))
            return [flag.name for flag in Names.model_validate_json(answer.body).features]
        except (ClientError, TimeoutError, ValidationError):
            return ()

    async def _send(
        self, method: str, flag: str, *path: str, or_missing: bool = False, body: Any = None
    ) -> _Answer:
        where = ("projects", self.project, "features", flag, *path)
        try:
            answer = await self._answer(method, where, body)
        except TimeoutError:
            raise TemporaryError(
                f"Unleash at {self.url}{self._way} did not answer within {self.timeout_seconds:g} s"
            ) from None
        except ClientError as error:
            raise TemporaryError(
                f"Unleash at {self.url}{self._way} can't be reached: {why_unreached(error)}"
            ) from None
        if 200 <= answer.status < 300 or (or_missing and answer.status == 404):
            return answer
        raise self._failure(flag, answer)

    @property
    def _way(self) -> str:
        proxy = proxy_for(URL(self.url))
        return f" through the proxy {proxy.host}:{proxy.port}" if proxy else ""

    async def _answer(self, method: str, path: Collection[str], body: Any = None) -> _Answer:
        url = URL(f"{self.url}/api/admin/{'/'.join(map(_segment, path))}", encoded=True)
        async with self.http.request(
            method,
            url,
            headers={"Authorization": self.token},
            json=body,
            proxy=proxy_for(url),
            timeout=ClientTimeout(self.timeout_seconds),
            allow_redirects=False,  # a redirected POST arrives as a GET
            raise_for_status=False,
        ) as response:
            return _Answer(response.status, response.headers, await response.read())

    def _failure(self, flag: str, answer: _Answer) -> PermanentError | TemporaryError:
        if answer.status >= 500 or answer.status in _TEMPORARY:
            return TemporaryError(self._not_now(answer), retry_after(answer.headers))
        if answer.status == 404:
            return self._unknown(flag, answer)
        if answer.refusal.name == "ArchivedFeatureError":
            return self._archived(flag)
        return PermanentError(self._refused(flag, answer))

    def _not_now(self, answer: _Answer) -> str:
        if answer.status == 429:
            return f"Unleash at {self.url} limits the rate of requests: {answer}"
        if "maintenance" in answer.refusal.message:
            return f"Unleash at {self.url} is in maintenance mode: {answer}"
        return f"Unleash at {self.url} can't answer: {answer}"

    def _refused(self, flag: str, answer: _Answer) -> str:
        if answer.status == 401:
            return (
                f"Unleash at {self.url} does not know the token:"
                " set UNLEASH_API_TOKEN to the token of a service account, or an admin token"
            )
        if answer.status == 403:
            return self._forbidden(flag, answer)
        if answer.status < 400:
            elsewhere = answer.headers.get("Location", "elsewhere")
            return f"{self.url} redirects to {elsewhere}: correct UNLEASH_URL"
        return f"Unleash refuses to switch {flag} in {self.place}: {answer}"

    def _forbidden(self, flag: str, answer: _Answer) -> str:
        refused = f"Unleash refuses to switch {flag} in {self.place}"
        permissions = answer.refusal.permissions
        if "SKIP_CHANGE_REQUEST" in permissions:
            return (
                f"{refused}: change requests are required there; switch them off, or give the"
                " account of UNLEASH_API_TOKEN the permission SKIP_CHANGE_REQUEST"
            )
        if permissions:
            needed = " or ".join(permissions)
            return f"{refused}: the account of UNLEASH_API_TOKEN lacks the permission {needed}"
        if "token type" in answer.refusal.message:
            return (
                "UNLEASH_API_TOKEN is an application's token:"
                " set it to the token of a service account, or an admin token"
            )
        return f"{refused}: {answer}"

    def _archived(self, flag: str) -> PermanentError:
        return Gone(f"flag {flag} of Unleash project {self.project} is archived")

    def _unknown(self, flag: str, answer: _Answer, hint: str = "") -> PermanentError:
        # Unleash's own message also says when another project has the flag.
        return Gone(
            f"flag {flag} is unknown in {self.place}{hint}: {answer}"
            " (UNLEASH_PROJECT and UNLEASH_ENVIRONMENT say where to look)"
        )

    def _no_environment(self, found: Sequence[InEnvironment]) -> PermanentError:
        names = ", ".join(state.name for state in found) or "none"
        return PermanentError(
            f"Unleash project {self.project} has no environment {self.environment}; it has {names};"
            " set UNLEASH_ENVIRONMENT, which maps Keptn's stages to them"
        )


def _segment(name: str) -> str:
    """A name as one part of a path; one that Unleash can't have given is never sent.

    Escaping doesn't help: servers and proxies on the way may read %2E as a dot, and to some names
    Unleash answers with an internal error.
    """
    if name in {".", ".."} or not _NAME.fullmatch(name):
        raise PermanentError(
            f"{name!r} can't be the name of a flag, project or environment in Unleash:"
            " those have up to 100 letters, digits and -_.~!*'()"
        )
    return name
