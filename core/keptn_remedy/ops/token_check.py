"""Whether a request carries a bearer token, and how often somebody may guess it."""

from __future__ import annotations

import math
from collections.abc import Callable

from aiohttp import web

from keptn_remedy.ops.answers import HttpError
from keptn_remedy.ops.guesses import Guesses, RateLimit
from keptn_remedy.ops.operator_token import OperatorToken, are_same
from keptn_remedy.support import logs
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.variables import SettingsError

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Unauthorized(HttpError):
    """The sender could not be authorized."""


class TokenCheck:
    """Compares what a request carries with the token. `name` is what its holder calls the token."""

    def __init__(
        self,
        token: OperatorToken,
        name: str,
        metrics: Metrics,
        monotonic: Callable[[], float],
    ) -> None:
        self._token = token
        self._name = name
        self._metrics = metrics
        for answer in ("wrong", "limited"):
            metrics.refused_tokens(answer)  # from 0 on, so that an alert sees the first one
        self._wrong_tokens, self._lines = Guesses(monotonic), RateLimit(monotonic)

    async def authorize(self, request: web.Request) -> None:
        """Raises Unauthorized unless the request carries the token."""
        given = _bearer(request)
        if not given:
            raise Unauthorized(401, f"send the {self._name} as a bearer token", _CHALLENGE)
        guesses = self._wrong_tokens.of(request.remote or "")
        self._refuse_guessing(guesses)
        token = await self._current_token()
        # Again, since others may have guessed meanwhile; from here on nothing is waited for.
        self._refuse_guessing(guesses)
        if not are_same(given, token):
            guesses.note()
            self._metrics.refused_tokens("wrong").inc()
            raise Unauthorized(401, f"the {self._name} is wrong", _CHALLENGE)

    def _refuse_guessing(self, guesses: RateLimit) -> None:
        """Nothing is compared for an address that has guessed too often: not even the right token
        tells it that it is right.
        """
        if seconds := guesses.pause_seconds():
            self._metrics.refused_tokens("limited").inc()
            retry = {"Retry-After": str(math.ceil(seconds))}
            raise Unauthorized(
                429, f"too many wrong {self._name}s; wait as Retry-After says", retry
            )

    async def _current_token(self) -> str:
        try:
            return await self._token.read()
        except SettingsError as error:
            if not self._lines.pause_seconds():
                self._lines.note()
                logs.logger().error(f"the {self._name} can't be read", reason=str(error))
            raise Unauthorized(503, f"the provider's {self._name} can't be read") from None


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
